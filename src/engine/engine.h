// SPDX-License-Identifier: Apache-2.0
//
// Runs tenants' Wasm: modules with their images, instances on memory that we own, host functions, deadlines.
//
//     struct tw_module *module = tw_module_build(engine, wasm, &limits, NULL, NULL, &image, &err); // rewrite, compile, start
//     struct tw_invoke invoke = {.module = module, .tenant = 7, .input = body, .deadline_ns = …, .done = on_done};
//     tw_engine_submit(engine, &invoke, &err);                                         // on_done runs on a worker
//
// Every call runs on a fresh instance made from the image: no byte that one call wrote is ever seen by the
// next.
#pragma once

#include "base/base.h"
#include "compile/compile.h"
#include "gpu/gpu.h"
#include "telemetry/telemetry.h"
#include "wasmbin/wasmbin.h"

// How memory is put back after a call: by copying the written pages back (where the kernel can name them), or by
// giving all pages back to the kernel.
enum tw_reset { TW_RESET_AUTO, TW_RESET_MADVISE };
// Whose memory instances lie in: ours, reset in place, which devices need; or the slots of Wasmtime's pooling
// allocator, made anew for every call, for comparison.
enum tw_memory_backend { TW_MEMORY_OWNED, TW_MEMORY_POOLING };
enum tw_interrupt { TW_INTERRUPT_POLL, TW_INTERRUPT_EPOCH };

// A kernel that a tenant has published under a name. Plain value.
struct tw_registered_kernel {
    struct tw_digest digest; // of the PTX
    char entry[TW_KERNEL_NAME_MAX + 1];
    struct tw_mapping ptx; // the text, when it was asked for; the engine unmaps it
};
// Who knows the published kernels; any thread. Frozen.
struct tw_kernel_registry {
    void *context;
    // An empty version means the newest. Without the text it must not block, and may miss what another
    // server published. NOT_FOUND, KERNEL_SIGNATURE.
    bool (*find)(void *context, uint64_t tenant, struct tw_str name, struct tw_str version, bool with_ptx,
                 struct tw_registered_kernel *ret_kernel, struct tw_error *err);
};

struct tw_engine_options {
    struct tw_compiler *compiler;       // borrowed
    struct tw_gpu *gpu;                 // borrowed
    struct tw_kernel_registry registry; // `find` NULL: none
    enum tw_interrupt interrupt;
    enum tw_reset reset; // of owned memory
    enum tw_memory_backend memory;
    unsigned workers;       // threads that run guests; 0: one a core, at least 2
    uint32_t max_instances; // live, warm ones included
    uint32_t max_queued;    // calls that wait for a worker; 0: 4,096
    // Once a tenant's calls have had to wait for `queue_burst_ms` without a break, another one is refused when it
    // would wait for longer than the target. Target 0: none is; burst 0: 100 ms.
    uint32_t queue_target_ms, queue_burst_ms;
    uint32_t max_long_calls;              // threads in calls that compute for long, paused or not; 0: 256
    uint32_t warm_per_function, max_warm; // of a module and tenant; in all, 0: unlimited
    uint32_t warm_idle_ms;                // a warm instance that nobody took for so long goes; 0: 60,000
    uint64_t max_code_bytes; // compiled code that is mapped, unless there are instances of more; 0: unlimited
    size_t stack_bytes;      // of a guest's fiber; 0: 1 MiB
};
struct tw_engine;
[[nodiscard]] struct tw_engine *tw_engine_new(const struct tw_engine_options *options, struct tw_error *err);
// Every module unreferenced, no call running; waits for guests that go on after their calls were answered.
void tw_engine_free(struct tw_engine *engine);

// ---- modules ----
struct tw_module_limits {
    uint64_t memory_bytes;   // linear memory of an instance; 0: 256 MiB
    uint64_t table_elements; // 0: 1,000,000
    unsigned start_ms;       // for start code at deploy; 0: 5,000
    uint64_t tenant;         // for whom it is compiled: tenants take turns at the compilers
};
struct tw_module; // counted references; frozen

// Parses, rewrites, compiles (in a compiler process), instantiates once under the limits, runs start and
// `_initialize`, captures the image into `image` (an opaque file format: page-aligned, to be kept and given
// to tw_module_open). Blocks: worker threads only. INVALID_WASM, UNKNOWN_IMPORT (names module and function,
// suggests near ones), COMPILE_FAILED, START_FAILED (trap or timeout in start code), QUOTA, MODULE_TOO_LARGE.
// What the first instance takes counts for `account` (may be NULL).
//
// `foreseen` (may be NULL) is told, on this thread, while the code is compiled: `module`, for its exports and imports,
// and in its own `image` what the image will be; nothing where that does not follow from the module alone (start
// code, an image larger than the buffer may get). The code may still prove wrong; compare the image that comes.
// Once the code is there it is asked for a file that holds just this image, by now or for ever: a descriptor, which is the
// engine's then, or -1. With it no image comes into `image`: the module has that file's, and an instance of it waits for
// the first call.
struct tw_foreseen {
    void (*tell)(void *context, const struct tw_module *module);
    int (*open_image)(void *context); // NULL: there never is one
    void *context;
    struct tw_buf *image;
};
[[nodiscard]] struct tw_module *tw_module_build(struct tw_engine *engine, struct tw_span wasm,
                                                const struct tw_module_limits *limits,
                                                struct tw_account *account,
                                                const struct tw_foreseen *foreseen, struct tw_buf *image,
                                                struct tw_error *err);
// Where an image lies: `len` bytes (0: all that follow) of a file from `at`, a multiple of 4,096.
struct tw_image_file {
    const char *path;
    uint64_t at, len;
};
// From what an earlier build, or tw_instance_capture, left: the code comes from the artifact cache (compiled again
// only if it is not there), the image is mapped from its file. STORE when the image is damaged or another module's.
[[nodiscard]] struct tw_module *tw_module_open(struct tw_engine *engine, struct tw_span wasm,
                                               const struct tw_image_file *image,
                                               const struct tw_module_limits *limits, struct tw_error *err);
// A module that was built, and that nobody has called yet, goes on with its image from where that was kept: it is as
// tw_module_open would make it. On failure (STORE) it is as it was.
[[nodiscard]] bool tw_module_settle(struct tw_module *module, const struct tw_image_file *image,
                                    struct tw_error *err);
struct tw_module *tw_module_ref(struct tw_module *module);
void tw_module_unref(struct tw_module *module);

const struct tw_digest *tw_module_digest(const struct tw_module *module); // of the bytes it was made from
struct tw_signature {
    const char *name;                // the export
    const uint8_t *params, *results; // enum tw_wasm_valtype
    uint32_t param_count, result_count;
};
uint32_t tw_module_export_count(const struct tw_module *module); // functions, without reserved names
const struct tw_signature *tw_module_export_at(const struct tw_module *module, uint32_t index);
// NULL name: `_start`, then `main`. NULL when there is none.
const struct tw_signature *tw_module_export_find(const struct tw_module *module, const char *name);
uint32_t tw_module_import_count(const struct tw_module *module);
void tw_module_import_at(const struct tw_module *module, uint32_t index, struct tw_str *ret_module,
                         struct tw_str *ret_name);

// ---- calls ----
struct tw_value {
    uint8_t type; // enum tw_wasm_valtype, numeric only
    union {
        int32_t i32;
        int64_t i64;
        float f32;
        double f64;
        uint8_t v128[16];
    } of;
};
enum { TW_INVOKE_VALUES_MAX = 64, TW_CONTENT_TYPE_MAX = 128 };

struct tw_invoke_times {
    int64_t queued_ns, started_ns, running_ns,
        ended_ns; // monotonic: submitted, taken, guest entered, guest left
    uint64_t kernel_ns;
};

// One call. The caller owns it and fills the first part; from submit until `done` it is the engine's; then
// the second part is valid.
struct tw_invoke {
    struct tw_module *module;     // referenced by the caller for the duration
    struct tw_instance *instance; // one of that module's, which keeps its state; NULL: a fresh one
    uint64_t tenant;
    struct tw_account *account;           // the tenant's; borrowed until `done`; NULL: without limits
    const char *export;                   // NULL: the default
    const struct tw_signature *signature; // of the export, if the caller has looked it up; NULL: by its name
    const struct tw_value *args;          // types already matched to the export's signature
    uint32_t arg_count;
    struct tw_span input;                           // WASI stdin and read-input
    uint64_t output_max;                            // bytes; 0: 64 MiB
    int64_t queued_ns, deadline_ns;                 // monotonic; queued_ns: when it was asked for, 0: now
    const char *trace_id;                           // for the guest's log lines; may be NULL
    struct tw_trace *trace;                         // where device spans go; may be NULL
    const char *const *wasi_args, *const *wasi_env; // NULL-terminated; may be NULL
    // Takes emitted bytes as they come instead of gathering them in `output`; false: the client is gone. May
    // be NULL. Runs on a worker.
    bool (*emit)(struct tw_invoke *invoke, struct tw_span bytes);
    // Asked after bytes were emitted: is the client so slow that the guest had better wait? With `waits` it does
    // so if the answer is true, and tw_invoke_resume follows, once. May be NULL.
    bool (*is_slow)(struct tw_invoke *invoke, bool waits);
    void (*done)(struct tw_invoke *invoke); // on a worker or the executor's thread, once
    void *context;                          // the caller's
    // An event loop's that runs it if it can at once; submitted on its thread. NULL: workers run it.
    struct tw_executor *executor;
    bool is_patient; // it would rather wait than be refused because others wait
    bool has_permit; // the account counts it as one of its concurrent calls

    // Its guest is in the collector, which nothing stops, and goes on after `done` until that has ended. The permit is
    // the engine's then, which gives it back.
    bool goes_on;

    struct tw_error error;     // code TW_OK: it returned
    uint32_t result_count;     // of `results`, below
    struct tw_buf output;      // stdout and emitted bytes; the caller does tw_buf_done
    struct tw_buf stderr_text; // what the guest wrote to standard error and logged, at most 64 KiB
    char content_type[TW_CONTENT_TYPE_MAX]; // set-content-type, or ""
    int status;                             // set-status, or 0
    int exit_code;                          // of proc_exit
    char trap_kind[32];                     // "unreachable", "out_of_bounds", …, with GUEST_TRAP
    struct tw_buf backtrace;                // JSON array of {"function","index","offset"}, with GUEST_TRAP
    struct tw_invoke_times times;
    void *engine_state; // the engine's, as what follows
    struct tw_state engine_hold;
    // Last, so that those who make an invoke anew for every call may leave them as they are.
    struct tw_value results[TW_INVOKE_VALUES_MAX];
};
// Queues the call. CAPACITY when the queue is full or stands for too long, CONCURRENCY when it does so with this
// tenant's calls and others have some too, both with retry_after_s; MISSING_EXPORT, INVALID_ARGS at once. On false
// `done` is not called.
[[nodiscard]] bool tw_engine_submit(struct tw_engine *engine, struct tw_invoke *invoke, struct tw_error *err);
// Runs it on the calling thread (the CLI's `run`), on a fresh instance; `done` may be NULL.
void tw_engine_run(struct tw_engine *engine, struct tw_invoke *invoke);
// Stops a submitted call soon with CANCELLED; harmless when it has ended. Any thread, as long as the invoke
// and its module are there.
void tw_invoke_cancel(struct tw_invoke *invoke);
// The client has caught up: the guest goes on. As tw_invoke_cancel.
void tw_invoke_resume(struct tw_invoke *invoke);

// ---- instances that keep their state between calls ----
// Memory, globals, tables, device buffers, kernels and streams live on; input, output, standard streams and
// the last device error are a call's own. One call at a time: others wait, first come first served, until
// their deadlines. A call that traps, exits or is stopped ends the instance: what it left half done is not to
// be trusted.
struct tw_instance; // counted references; any thread

// Begins as the module's image. Blocks (start code may run). Ends by itself after `idle_ns` without a call.
// CAPACITY, QUOTA, START_FAILED.
[[nodiscard]] struct tw_instance *tw_instance_new(struct tw_module *module, uint64_t tenant,
                                                  struct tw_account *account, int64_t idle_ns,
                                                  struct tw_error *err);
struct tw_instance *tw_instance_ref(struct tw_instance *instance);
void tw_instance_unref(struct tw_instance *instance);
// Ends it and says why in `reason`, which later calls get to see; a running call is cancelled, waiting ones
// fail. Nothing happens if it has ended already.
void tw_instance_end(struct tw_instance *instance, const char *reason);
// Its memories and globals as they are while no call runs, into `image`, as tw_module_build writes one: an instance
// of a module opened with it goes on from there. Waits for a running call, not beyond `deadline_ns` (TIMEOUT); calls
// that come meanwhile wait for it. Blocks. CONFLICT: it has ended, or holds what no image can: changed tables,
// objects, anything on a device. QUOTA when the image would be larger than `image` may grow.
[[nodiscard]] bool tw_instance_capture(struct tw_instance *instance, int64_t deadline_ns,
                                       struct tw_buf *image, struct tw_error *err);
struct tw_instance_state {
    bool has_ended, is_running;
    uint32_t waiting; // calls
    uint64_t calls;   // that ran
    uint64_t memory_bytes;
    int64_t used_ns;                   // monotonic: made, or the last call's end, or its own
    char reason[TW_ERROR_MESSAGE_MAX]; // why it ended, else ""
};
void tw_instance_look(struct tw_instance *instance, struct tw_instance_state *ret_state);

// An event loop's place to run calls on its own thread. Embedded; used by the loop's thread of the moment.
struct tw_executor {
    // The thread is inside a call that goes on for long: another one is to take the loop over and to call
    // tw_executor_run from now on. On the engine's thread of timers.
    void (*overdue)(struct tw_executor *executor);
    // On the thread that was replaced, when its guest has ended or waits, before `done`.
    void (*replaced)(struct tw_executor *executor);
    struct engine_executor *state; // the engine's
};
[[nodiscard]] bool tw_executor_init(struct tw_executor *executor, struct tw_engine *engine,
                                    struct tw_error *err);        // the hooks are set
void tw_executor_done(struct tw_executor *executor);              // no call is left
uint32_t tw_executor_waiting(const struct tw_executor *executor); // calls
// Runs calls that were submitted with it, fairly between tenants, for about `budget_ns`. Must not be called
// from within a call's `done`. False: the thread was replaced; what is the loop's is not its any more.
[[nodiscard]] bool tw_executor_run(struct tw_executor *executor, int64_t budget_ns);

struct tw_engine_stats {
    uint32_t instances, warm, kept, running, queued;
    int64_t queue_wait_ns;      // of the call that is next in a queue, the longest one; 0: none waits
    uint64_t code_bytes;        // compiled code that is mapped
    uint32_t max_instances;     // fewer than asked for where the pool has no room for more
    const char *memory_backend; // "owned" or "pooling"
    const char *reset_method;   // "pagemap_scan", "madvise", or "instantiate"
};
void tw_engine_stats(const struct tw_engine *engine, struct tw_engine_stats *ret_stats);

// Instances made ahead for the next calls; how many are warm now.
[[nodiscard]] bool tw_module_prewarm(struct tw_engine *engine, struct tw_module *module, uint64_t tenant,
                                     struct tw_account *account, uint32_t count, uint32_t *ret_warm,
                                     struct tw_error *err);

// ---- in the compiler process: rewritten Wasm → serialized code, with the settings of the server's engine ----
// Makes what compiling needs, so that it can be called after the process has locked itself down. Once, before
// the first compilation.
[[nodiscard]] bool tw_engine_precompile_init(struct tw_error *err);
// INVALID_WASM when it is not valid, COMPILE_FAILED when the code does not fit `out`. `interrupt`: enum
// tw_interrupt. Confined to one thread.
[[nodiscard]] bool tw_engine_precompile(struct tw_span wasm, uint32_t interrupt, struct tw_buf *out,
                                        struct tw_error *err);
const char *tw_engine_target(void); // "wasmtime48.0.8:…"
