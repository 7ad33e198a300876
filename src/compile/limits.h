// SPDX-License-Identifier: Apache-2.0
//
// The maxima of compile/, each with its reason.
#pragma once

enum {
    // Code is about ten times as large as the Wasm it comes from, and modules end at TW_WASM_MAX_BYTES; what
    // is
    // larger would not fit the compiler's memory anyway. Also the most a compiler process may write.
    COMPILE_MAX_ARTIFACT = 256 << 20,
    // The rewriter adds polls and exports to a module that is at most TW_WASM_MAX_BYTES (64 MiB) long.
    COMPILE_MAX_WASM = 128 << 20,
    // Requests that wait for a process. At 50 ms each on two processes the last one waits some six seconds. Then the tenant
    // that has most of them gives way.
    COMPILE_MAX_WAITING = 256,
    // Tenants that are known for what they have of the processes: more than can wait and run at one time.
    COMPILE_MAX_SHARES = 512,
    // Different keys being compiled or waited for at one time; more than waiters, since flights wait too.
    COMPILE_MAX_FLIGHTS = 1'024,
    // Open artifacts kept ready in memory. Each holds a descriptor and a mapping.
    COMPILE_TABLE_ENTRIES = 512,
    COMPILE_TABLE_BYTES = 512 << 20,
    // Processes side by side: compilation is bound by cores.
    COMPILE_MAX_PROCESSES = 64,
    // Writes to the cache folder that wait for their time or the disk; beyond that an artifact is not kept.
    COMPILE_MAX_WRITES = 256,
    // "x86-64-v4:znver5:llvm22:tw1|wasmtime48.0.8:…"
    COMPILE_TARGET_MAX = 512,
    // How long an artifact waits before it is written to the cache folder: whoever waited for it has used it by then, and the
    // core and the file system's journal are free again.
    COMPILE_WRITE_DELAY_NS = 10'000'000,
    // The compiler's start: LLVM and Wasmtime set themselves up in 10 to 50 ms; a loaded machine may take
    // longer.
    COMPILE_START_MS = 20'000,
    // What the fork server gets on top of a request's own wall time before it is killed too.
    COMPILE_GRACE_MS = 5'000,
    // CPU time of a compilation that nobody waits for, and how nice it is to those that somebody does wait for. Real
    // kernels take less than a second; what takes longer is large enough that its light code will do.
    COMPILE_BACKGROUND_CPU_S = 10,
    COMPILE_BACKGROUND_NICE = 10,
    // How long a child that has replied sleeps before it ends, which holds a core for 2 ms: what the server does with a reply,
    // and the first call that often follows, takes half of that.
    COMPILE_REST_NS = 2'500'000,
    // Above the standard streams in every process; our own descriptors move out of the way of those given to
    // a child.
    COMPILE_FD_FLOOR = 16,
};
