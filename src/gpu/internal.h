// SPDX-License-Identifier: Apache-2.0
//
// What the files of gpu/ share. A launch becomes a job:
//
//     launch.c checks and fills a job → stream.c queues it in its stream → at the stream's head it needs a
//     permit (permits.c) → device->hooks->start runs it (cpu/pool.c) → gpu_job_end: metrics, permit back,
//     next of the stream
//
// Locks, in the order they may be taken: context, permits, pool; the registry of runners, a runner, the kernel table; the
// arenas stand alone. No kernel, compiler or waiter runs under any of them.
#pragma once

#include "gpu/device.h"
#include "gpu/gpu.h"
#include "gpu/limits.h"
#include "interp/interp.h"
#include "telemetry/telemetry.h"

// ---- handles: (serial << 16 | slot). Serials are the process's, so a handle names one object for ever. ----
// Confined to the context's thread.
struct gpu_handles {
    struct gpu_handle {
        uint64_t handle; // 0: free
        void *object;
        uint32_t next_free;
    } *slots;
    size_t count, capacity;    // slots ever used
    uint32_t live, first_free; // first_free: index + 1
};
[[nodiscard]] bool gpu_handle_add(struct gpu_handles *handles, void *object, uint32_t max,
                                  uint64_t *ret_handle);
void *gpu_handle_find(const struct gpu_handles *handles, uint64_t handle); // NULL: not there
void *gpu_handle_remove(struct gpu_handles *handles, uint64_t handle);
void *gpu_handle_next(const struct gpu_handles *handles, size_t *position); // start with 0; NULL at the end
void gpu_handles_done(struct gpu_handles *handles);

// ---- arenas ----
struct gpu_arenas;
[[nodiscard]] struct gpu_arenas *gpu_arenas_new(uint32_t max, struct tw_error *err);
void gpu_arenas_free(struct gpu_arenas *arenas);
struct tw_gpu_arena *gpu_arena_take(struct gpu_arenas *arenas, struct tw_error *err);
void gpu_arena_give(struct gpu_arenas *arenas, struct tw_gpu_arena *arena);

// ---- objects: machine code from ELF relocatables ----
// Frozen. Code is readable and executable, constants are readable; nothing is writable.
struct gpu_text {
    uint8_t *mapping;
    size_t mapping_bytes;
    size_t code_bytes; // from `mapping` on
    tw_kernel_entry entry;
};
[[nodiscard]] bool gpu_object_load(struct tw_span object, struct gpu_text *ret_text, struct tw_error *err);
void gpu_text_done(struct gpu_text *text);

// ---- kernels ----
// One variant's code. Frozen but for the counters.
struct gpu_code {
    struct tw_artifact *artifact; // or NULL: `bytes` is ours
    uint8_t *bytes;
    struct tw_kernel_artifact parts;   // points into either
    struct gpu_text text;              // of machine code
    struct tw_interp_program *program; // or NULL: it is machine code
    struct tw_counter block_ns;        // time of a block lately, in 1/16 ns; 0: not known yet
    struct tw_counter busy_ns;         // time in it
    struct tw_flag promoted;           // a better variant was asked for
    const struct gpu_code *exact;      // where wrong guesses go; set once, then `has_exact`
    struct tw_state has_exact;
};
// NULL: not compiled yet. Any thread, signal handlers too.
static inline const struct gpu_code *gpu_code_exact(const struct gpu_code *code) {
    return tw_state_look(&code->has_exact) ? code->exact : NULL;
}
static inline tw_kernel_entry gpu_code_entry(const struct gpu_code *code) {
    return code->program ? tw_interp_run : code->text.entry;
}
static inline tw_kernel_exact gpu_exact_entry(const struct gpu_code *exact) {
    return (tw_kernel_exact)(uintptr_t)exact->text.entry; // its object's one function
}
[[nodiscard]] struct gpu_code *gpu_code_new(struct tw_artifact *artifact, struct tw_span bytes,
                                            struct tw_error *err);
void gpu_code_free(struct gpu_code *code);

// Light code that takes over from a program for the block shapes that it serves: compiled while the program runs, once it has
// run for long. `variant`, `program`, `kernels` and `kernel` are frozen, `code` is once `came` is raised.
struct gpu_successor {
    struct tw_task task;      // compiles it
    struct tw_flag looked_up; // in the artifact cache
    struct tw_flag asked, came;
    struct tw_counter spent_ns; // in the program, for these shapes
    struct tw_kernel_variant variant;
    const struct gpu_code *program;
    struct gpu_code *code;
    struct gpu_kernels *kernels;
    struct gpu_kernel *kernel; // in which it is; counted as used while the task is under way
    uint64_t tenant;           // who asked
};

// One entry of one PTX text, with its variants. Guarded by the table's lock; variants stay until the kernel
// goes.
struct gpu_kernel {
    struct tw_digest key, ptx_digest;
    char entry[TW_KERNEL_NAME_MAX + 1];
    uint8_t *ptx; // NULL: loaded without one, and has one variant only
    size_t ptx_len;
    enum gpu_kernel_state { GPU_KERNEL_LOADING, GPU_KERNEL_READY, GPU_KERNEL_BROKEN } state;
    struct tw_error error; // BROKEN
    uint32_t users;
    struct gpu_code *variants[GPU_VARIANTS_MAX];
    uint32_t variant_count;
    struct gpu_successor successors[GPU_SUCCESSORS_MAX];
    uint32_t successor_count;
    struct tw_counter generation;     // changes when a better variant came
    struct gpu_kernel *newer, *older; // of the idle ones
};
// Guarded by `lock`; `compiler`, `tier`, `unconfined` and the pools are frozen.
struct gpu_kernels {
    struct tw_compiler *compiler;
    enum tw_gpu_tier tier;
    bool unconfined;
    struct tw_pool *light, *full; // compile in the background
    struct tw_flag closing;       // what waits there is not worth it any more
    struct tw_lock lock;
    struct tw_cond changed;
    struct tw_map table; // key → struct gpu_kernel
    struct gpu_kernel *newest, *oldest;
    uint32_t idle;
    uint64_t ptx_kept;
};
[[nodiscard]] struct gpu_kernels *gpu_kernels_new(const struct tw_gpu_options *options, struct tw_error *err);
void gpu_kernels_free(struct gpu_kernels *kernels);
// A kernel with at least one variant, counted as used; the caller gives it back. What has to be compiled, here and below, takes
// the tenant's turn.
[[nodiscard]] struct gpu_kernel *gpu_kernel_take(struct gpu_kernels *kernels, uint64_t tenant,
                                                 struct tw_str ptx, struct tw_str entry, int64_t deadline_ns,
                                                 struct tw_error *err);
// The same for a text whose sha256 is known, if it is compiled already; else NULL.
struct gpu_kernel *gpu_kernel_take_ready(struct gpu_kernels *kernels, const struct tw_digest *ptx,
                                         struct tw_str entry);
void gpu_kernel_give(struct gpu_kernels *kernels, struct gpu_kernel *kernel);
bool gpu_kernel_is_ready(struct gpu_kernels *kernels, struct tw_str ptx, struct tw_str entry);
// variant.c: what is asked of the compiler. Of the variants in `cached` the first that the artifact cache has is as good.
struct gpu_order {
    uint64_t tenant;
    struct tw_kernel_variant variant, cached[2];
    unsigned cached_count;
    bool only_cached; // nothing is compiled: NULL and NOT_FOUND
    int64_t deadline_ns;
};
// Code that is in no table yet.
[[nodiscard]] struct gpu_code *gpu_variant_new(const struct gpu_kernels *kernels,
                                               const struct gpu_kernel *kernel, const struct gpu_order *order,
                                               bool *ret_cached, struct tw_error *err);
// The variant from the kernel's table, or a new one put there. The kernel keeps it.
[[nodiscard]] struct gpu_code *gpu_variant_get(struct gpu_kernels *kernels, struct gpu_kernel *kernel,
                                               const struct gpu_order *order, struct tw_error *err);
struct tw_kernel_variant gpu_variant_for(struct gpu_kernels *kernels, const struct gpu_kernel *kernel,
                                         const uint32_t block[3], enum tw_kernel_tier tier);
void gpu_variant_count(const struct gpu_code *code); // as compiled
bool gpu_variants_begin_interpreted(const struct gpu_kernels *kernels);
// The code for a block shape, compiled if need be; what takes over from it when that comes, or NULL.
[[nodiscard]] struct gpu_code *gpu_kernel_code(struct gpu_kernels *kernels, struct gpu_kernel *kernel,
                                               uint64_t tenant, const uint32_t block[3], int64_t deadline_ns,
                                               struct gpu_successor **ret_successor, struct tw_error *err);
// The exact version of `code`, compiled if need be.
[[nodiscard]] const struct gpu_code *gpu_kernel_exact(struct gpu_kernels *kernels, struct gpu_kernel *kernel,
                                                      uint64_t tenant, struct gpu_code *code,
                                                      int64_t deadline_ns, struct tw_error *err);
// promote.c. Counts a launch's time in its code; a kernel that has run for long is compiled again, better, in the background.
void gpu_kernel_ran(struct gpu_kernels *kernels, struct gpu_kernel *kernel, struct gpu_code *code,
                    const uint32_t block[3], int64_t ns);
// The same for a program, whose successor is asked for, in the middle of a launch too.
void gpu_successor_spent(struct gpu_successor *successor, uint64_t tenant, int64_t ns);
// The watcher's look at a launch that runs for so long already: perhaps it is all one long block.
void gpu_successor_waits(struct gpu_successor *successor, uint64_t tenant, int64_t ns);
// Asks for it at once.
void gpu_successor_ask(struct gpu_successor *successor, uint64_t tenant);
// Asks for light code of a kernel that has begun with a program, for blocks of whole rows of 32.
void gpu_kernel_ask_light(struct gpu_kernels *kernels, struct gpu_kernel *kernel, uint64_t tenant);
struct gpu_successor *gpu_successor_find_locked(struct gpu_kernels *kernels, struct gpu_kernel *kernel,
                                                const struct gpu_code *program,
                                                const struct tw_kernel_variant *variant);

// Module variables of one PTX text in one context, shared by the entries loaded from it. Confined to the
// context.
struct gpu_globals {
    struct tw_digest ptx_digest;
    uint64_t address, bytes;
    uint64_t taken, taken_bytes; // device memory they lie in
    struct tw_digest image;      // of the initial bytes
    uint32_t users;
    struct gpu_globals *next;
};

// A kernel loaded in a context. Confined.
struct gpu_loaded {
    struct gpu_kernel *kernel;
    struct gpu_globals *globals; // NULL: none
    uint64_t ptx_bytes;
    struct gpu_code *code; // for `block`, as of `generation`; NULL: not asked for yet
    struct gpu_successor *successor;
    uint32_t block[3];
    int64_t generation;
    struct tw_state ran; // of the last launch that has ended: a bit an enum tw_kernel_tier
};
// Loads an artifact without a compiler, for tests and tools.
[[nodiscard]] bool gpu_load_artifact(struct tw_gpu_context *context, struct tw_span bytes,
                                     int64_t *ret_kernel, struct tw_error *err);
void gpu_loaded_free(struct tw_gpu_context *context, struct gpu_loaded *loaded);

// ---- tenants and permits ----
// Guarded by the permits' lock; counted by the contexts that belong to it.
struct gpu_tenant {
    uint64_t id;
    struct tw_account *account; // NULL: none; holds a reference
    uint32_t users;
    uint32_t in_flight;
    uint32_t workers;             // device threads busy for it; guarded by the pool's lock
    struct gpu_job *first, *last; // wait for a permit
    struct gpu_tenant *ring_next; // tenants with waiting jobs
    uint64_t turns;               // had while others waited, divided by its weight
    struct tw_series *dispatches, *latency, *failures, *memory;
};
struct gpu_permits;
[[nodiscard]] struct gpu_permits *gpu_permits_new(unsigned permits, struct tw_error *err);
void gpu_permits_free(struct gpu_permits *permits);
[[nodiscard]] struct gpu_tenant *gpu_tenant_take(struct gpu_permits *permits, uint64_t id,
                                                 struct tw_account *account, struct tw_error *err);
void gpu_tenant_give(struct gpu_permits *permits, struct gpu_tenant *tenant);
enum gpu_permit { GPU_PERMIT_GRANTED, GPU_PERMIT_QUEUED, GPU_PERMIT_REFUSED };
enum gpu_permit gpu_permit_ask(struct gpu_permits *permits, struct gpu_job *job);
// Gives one back; the job that has it now, or NULL: the caller starts it.
[[nodiscard]] struct gpu_job *gpu_permit_return(struct gpu_permits *permits, struct gpu_tenant *tenant);
// A waiting job whose deadline has passed or that was stopped, taken out of the queue; NULL: none.
struct gpu_job *gpu_permit_expired(struct gpu_permits *permits, int64_t now_ns);
void gpu_permits_state(struct gpu_permits *permits, uint32_t *ret_used, uint32_t *ret_max,
                       uint32_t *ret_waiting);

// ---- jobs ----
enum gpu_stop { GPU_STOP_NONE, GPU_STOP_TIME_LIMIT, GPU_STOP_DEADLINE, GPU_STOP_CANCEL, GPU_STOP_FAULT };

// One launch, from its checks to its end. Written by the launching thread until it is queued; then by whoever
// holds the lock named, and by the thread that ends it.
struct gpu_job {
    struct tw_gpu_context *context;
    struct gpu_stream *stream;
    struct gpu_loaded *loaded;
    struct gpu_code *code;           // what it was prepared with
    struct gpu_successor *successor; // whose code takes over; NULL: none does
    struct tw_counter changed_ns;    // when it first did; 0: it has not
    struct tw_kernel_frame frame;    // what all participants share; windows are filled in by each
    uint64_t block_total;
    uint32_t threads;     // a block
    uint64_t local_bytes; // a block
    int64_t deadline_ns;  // of the invocation
    bool has_permit;
    bool kept;                    // the launching thread waits and recycles it
    bool ended;                   // context lock
    int64_t started_ns, limit_ns; // 0: not started
    int64_t ended_ns;             // 0: not known
    bool only;                    // no other job of its context was there when it came
    bool on_caller;               // ran on the launching thread, whose time is the guest's
    struct tw_counter cpu_ns;     // of all threads that worked on it; 0: not told
    struct tw_counter waited_at;  // a thread's frame->fault_site when it was stopped; 0: none
    struct tw_state stop;         // enum gpu_stop; the first reason stays
    struct tw_error error;        // by whoever set the reason, and by the end
    struct tw_gpu_waiter *waiter; // NULL: none
    struct gpu_job *next_in_stream, *next_in_queue; // context lock; permits lock
    struct gpu_job *next, *previous;                // the context's jobs, or its spare ones; context lock
    struct gpu_pool_part {                          // pool lock, but for next_block
        struct tw_counter next_block;
        uint32_t participants;
        bool listed;
        int64_t listed_ns;
        struct gpu_job *next;
    } pool;
    _Alignas(64) uint8_t params[GPU_PARAM_BYTES_MAX];
};
// Sets the reason unless there is one; true for the first.
bool gpu_job_stop(struct gpu_job *job, enum gpu_stop reason);
void gpu_job_end(struct gpu_job *job); // once, no lock held
// Starts the clock: called by the device when the first thread enters the job.
void gpu_job_begin(struct gpu_job *job, int64_t now_ns);

// Guarded by the context's lock.
struct gpu_stream {
    int64_t id;
    struct gpu_job *first, *last; // the first one runs, or waits for a permit
    struct tw_error error;        // the first since the last sync
};

// Fills job->params from the guest's records. CUDA_INVALID_ARGS, _ARGS_UNSUPPORTED, _INVALID_POINTER,
// _INVALID_HANDLE.
[[nodiscard]] bool gpu_args_bind(const struct tw_gpu_context *context, const struct tw_kernel_info *info,
                                 const struct tw_gpu_launch *launch, uint8_t *params, struct tw_error *err);

// ---- contexts ----
struct gpu_buffer {
    uint64_t address, size;
};

// Confined to its instance, but for what the lock guards and the counters.
struct tw_gpu_context {
    struct tw_gpu_device *device;
    struct tw_gpu *gpu;
    struct tw_gpu_arena *arena;
    struct gpu_tenant *tenant;
    struct tw_gpu_limits limits;
    void *device_state; // the kind's own; NULL before first use
    bool used;          // anything since the last reset
    struct gpu_handles kernels, buffers, streams;
    struct gpu_globals *globals;
    uint64_t ptx_bytes, allocated_bytes;
    struct tw_counter kernel_ns, launches;
    struct gpu_job *own_job; // a spare one that needs no lock
    uint32_t workers;        // device threads busy for it; guarded by the pool's lock

    struct tw_lock lock; // what follows, and the streams
    struct tw_cond ended;
    struct gpu_stream default_stream;
    struct gpu_job *jobs, *spare_jobs;
    struct tw_buf log; // what kernels printed
    uint32_t job_count;
    uint64_t next_grid_id;
    struct tw_gpu_waiter *sync_waiter;
    struct gpu_stream *sync_stream; // NULL: all
    bool sync_takes_errors;
};
[[nodiscard]] bool gpu_context_use(struct tw_gpu_context *context, struct tw_error *err); // first use
// print.c: formats a worker's records into the context's log and empties the list.
void gpu_prints_collect(const struct gpu_job *job, struct tw_kernel_prints *prints);
void gpu_context_wait_idle(struct tw_gpu_context *context);
struct gpu_stream *gpu_stream_find(struct tw_gpu_context *context, int64_t stream); // NULL: no such
void gpu_streams_free(struct tw_gpu_context *context);
void gpu_buffers_free(struct tw_gpu_context *context);
// Device memory that counts against the context's limits.
[[nodiscard]] bool gpu_memory_take(struct tw_gpu_context *context, uint64_t size, uint64_t *ret_address,
                                   struct tw_error *err);
void gpu_memory_give(struct tw_gpu_context *context, uint64_t address, uint64_t size);

// Jobs, on the context's thread. A spare one, or a new one; NULL without memory.
struct gpu_job *gpu_job_take(struct tw_gpu_context *context);
void gpu_job_give(struct tw_gpu_context *context, struct gpu_job *job);
// Queues it in its stream and starts what can start.
// *ret_ended: it has ended on this thread.
[[nodiscard]] bool gpu_job_submit(struct gpu_job *job, enum gpu_start how, bool *ret_ended,
                                  struct tw_error *err);

// ---- the watcher: time limits ----
// Of a thread that runs kernels: 16 KiB of registers a warp and some calls fit many times over.
#define GPU_STACK_BYTES (1ULL << 20)
// A thread while it runs kernels. `job` is guarded by the runner's lock, so that a signal sent under it
// reaches a thread that is still in that job; the rest is the thread's own.
struct gpu_runner {
    struct tw_lock lock;
    struct gpu_job *job;
    pthread_t thread;
    uint8_t *stack; // for kernels: mapping with a guard below
    size_t stack_bytes, guard_bytes;
    uint8_t *spill;
    size_t spill_bytes;
    struct gpu_runner *next, *previous; // registry
};
// The calling thread's; made at first use, freed when the thread ends.
[[nodiscard]] struct gpu_runner *gpu_runner_mine(struct tw_error *err);
struct gpu_watch;
[[nodiscard]] struct gpu_watch *gpu_watch_new(struct tw_gpu *gpu, struct tw_error *err);
void gpu_watch_free(struct gpu_watch *watch);
void gpu_watch_enter(struct gpu_watch *watch, struct gpu_runner *runner, struct gpu_job *job);
void gpu_watch_leave(struct gpu_runner *runner);
void gpu_watch_wake(struct gpu_watch *watch); // something may have to end
void gpu_watch_now(struct gpu_watch *watch);  // something was stopped

// ---- the whole ----
struct tw_gpu_device {
    struct tw_gpu *gpu;
    const struct gpu_device_hooks *hooks;
    unsigned index;
    void *state;
};
// Frozen but for what has its own lock.
struct tw_gpu {
    struct tw_gpu_device devices[GPU_DEVICES_MAX];
    unsigned device_count;
    unsigned kernel_timeout_ms;
    struct gpu_arenas *arenas;
    struct gpu_kernels *kernels;
    struct gpu_permits *permits;
    struct gpu_watch *watch;
    struct tw_counter contexts;
};
extern const struct gpu_device_hooks gpu_cpu_hooks;
