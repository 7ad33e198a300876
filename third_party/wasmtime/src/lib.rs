//! Re-exports the C API so that its symbols land in one static library.
pub use wasmtime_c_api::*;
