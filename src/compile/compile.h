// SPDX-License-Identifier: Apache-2.0
//
// The compiler processes and the artifact cache. Tenants' Wasm and PTX are compiled in
// `tensor-wasm-compiler`, never in the server: under limits of memory and CPU time, behind seccomp, with no
// files and no network. The artifact comes back through a sealed memfd, is put into the cache with an HMAC
// under a local key, and is mapped from there ever after.
//
//     struct tw_compile_request request = {.kind = TW_COMPILE_PTX, .input = ptx, .entry = "saxpy", .variant =
//     v}; struct tw_artifact *artifact = tw_compile(compiler, &request, &err); … tw_artifact_bytes(artifact)
//     … tw_artifact_unref(artifact);
//
// tw_compile blocks for milliseconds to seconds: call it on a worker, never on an event loop. Any thread.
#pragma once

#include "base/base.h"
#include "kernel/frame.h"

enum tw_compile_kind {
    TW_COMPILE_WASM, // rewritten Wasm → Wasmtime's serialized code
    TW_COMPILE_PTX,  // PTX, one entry, one variant → kernel artifact (kernel/frame.h)
    TW_COMPILE_DUMP, // PTX → text of a stage
    TW_COMPILE_INFO  // PTX → JSON list of entries with their parameters
};

struct tw_compile_request {
    enum tw_compile_kind kind;
    struct tw_span input;
    const struct tw_digest *digest;     // of the input, when the caller knows it; NULL: it is computed
    char entry[TW_KERNEL_NAME_MAX + 1]; // PTX, DUMP
    struct tw_kernel_variant variant;   // PTX, DUMP
    char stage[16];                     // DUMP: parse ir opt program llvm asm ptx fence
    uint32_t interrupt;                 // WASM: enum tw_compile_interrupt
    uint64_t tenant;                    // whose turn it takes; no part of the key
    bool background;                    // nobody waits: after all others, with less CPU time, nice
    int64_t deadline_ns;                // monotonic; 0 or TW_NO_DEADLINE: the compiler's own limits only
    // What the caller has to do while the compiler works: called on its thread once a compiler process has the request, at
    // most once, and not where there was nothing to wait for. NULL: nothing. It must not wait itself.
    void (*meanwhile)(void *context);
    void *context; // for `meanwhile`
};
enum tw_compile_interrupt { TW_COMPILE_INTERRUPT_POLL, TW_COMPILE_INTERRUPT_EPOCH };

struct tw_compiler_options {
    const char *program;   // path of tensor-wasm-compiler
    const char *cache_dir; // where artifacts are kept; NULL (or a folder that cannot be written) keeps
                           // nothing on disk
    unsigned processes;    // how many run side by side; 0: one a core, 2 to 4
    uint64_t memory_bytes; // for one request; 0: 2 GiB
    unsigned cpu_seconds;  // for one request; 0: 60
    unsigned wall_ms;      // for one request; 0: 120,000
    uint64_t cache_bytes;  // what cache_dir may hold, the oldest are dropped; 0: 8 GiB
};

struct tw_compiler;
struct tw_artifact;

// Starts the processes when they are needed; starting one takes 40 ms of a core. INTERNAL when the program cannot be run.
[[nodiscard]] struct tw_compiler *tw_compiler_new(const struct tw_compiler_options *options,
                                                  struct tw_error *err);
// Starts one process in the background, so that the first request need not: it holds 8 MB of its own while it is idle.
void tw_compiler_start(struct tw_compiler *compiler);
void tw_compiler_free(struct tw_compiler *compiler); // ends the processes; no call may be running

// From the cache, or compiled. COMPILE_FAILED / CUDA_MALFORMED_PTX / CUDA_INVALID_KERNEL say what the input
// did wrong; COMPILE_FAILED also when the compiler died, hung or ran out of memory ("the compiler ran out of
// memory (limit 2 GiB)"): the next request works. TIMEOUT when the request's own deadline passed first,
// CAPACITY when too many wait. One compilation serves all who ask for the same at the same time. Tenants take turns at the
// processes: however many requests of others wait, a tenant's first one gets the next process that becomes free.
[[nodiscard]] struct tw_artifact *tw_compile(struct tw_compiler *compiler,
                                             const struct tw_compile_request *request, struct tw_error *err);
// Only from the cache: NULL and NOT_FOUND when it is not there.
[[nodiscard]] struct tw_artifact *tw_compile_cached(struct tw_compiler *compiler,
                                                    const struct tw_compile_request *request,
                                                    struct tw_error *err);

// Mapped, page-aligned, read-only, checked against its HMAC when it was opened. Shared: counted references,
// any thread.
struct tw_artifact *tw_artifact_ref(struct tw_artifact *artifact);
void tw_artifact_unref(struct tw_artifact *artifact);
struct tw_span tw_artifact_bytes(const struct tw_artifact *artifact);
int tw_artifact_fd(const struct tw_artifact
                       *artifact); // borrowed: a read-only descriptor of exactly these bytes, from offset 0
struct tw_digest
tw_artifact_key(const struct tw_artifact *artifact); // (input digest, options, target, version)

// What `tensor-wasm doctor`, /metrics and the logs show.
struct tw_compiler_stats {
    uint64_t requests, cache_hits, failures, crashes, timeouts, restarts;
    uint64_t compile_ns;     // total wall time
    uint64_t cache_failures; // artifacts that could not be kept on disk
    unsigned processes;      // alive now
};
void tw_compiler_stats(const struct tw_compiler *compiler, struct tw_compiler_stats *ret_stats);

// ---- the other side: the compiler process (compiler_main.c) ----
// What does the work; compile/ itself links neither LLVM nor Cranelift. `init` runs once, before any input is
// seen: it must warm up all that reads files, and start no thread. `compile` runs in a fork of the process
// for each request, locked in: no files, no threads, no network. `warm`, if there is one, runs in that fork before it
// has a request, with 0, 1, 2, … until it returns false or a request comes: it does what makes the request quick.
struct tw_compile_handlers {
    bool (*init)(struct tw_error *err);
    bool (*warm)(unsigned step);
    const char *(*target)(void); // names what code is made for; part of cache keys
    bool (*compile)(const struct tw_compile_request *request, struct tw_buf *out, struct tw_error *err);
};
enum { TW_COMPILE_FD = 3 }; // where the program finds its socket
// Answers requests on `fd` until its other end closes, each in a process of its own; the exit status.
int tw_compile_serve(int fd, const struct tw_compile_handlers *handlers);
