// SPDX-License-Identifier: Apache-2.0
//
// What the files of engine/ share. A call's way through them:
//
//     sched.c queues it → a worker takes an instance (pool.c, instance.c) → call.c polls the guest's future
//        ↑ wake (a kernel ended, a timer is due)          │ pending: the fiber is parked, the worker goes on
//        └────────────────────────────────────────────────┘ ended: outcome (trap.c), reset (reset.c), done
//
// Locks, none held while another is taken: the scheduler's queue, the timers', a module's warm list, the
// stacks'. No guest code, device call or callback runs under any of them.
#pragma once

#include "engine/limits.h"
#include "engine/scheduling.h"

// ---- stacks (stack.c): fiber stacks kept for the next instance. Guarded by its lock. ----
struct engine_stack;
struct engine_slab;
struct engine_stacks {
    struct tw_lock lock;
    struct engine_stack *free;
    struct engine_slab *slabs;
    uint32_t free_count;
};
#define ENGINE_NO_STACK  "no memory for a stack" // what Wasmtime hears, and says in turn
#define ENGINE_POOL_FULL "maximum concurrent"    // what it says when its pool is used up
void engine_stacks_init(struct engine_stacks *stacks);
void engine_stacks_done(struct engine_stacks *stacks); // no stack is in use
void engine_stacks_configure(struct engine_stacks *stacks, wasm_config_t *config);

// ---- images (image.c): what every instance of a module begins as. Frozen. ----
enum { ENGINE_IMAGE_PAGE = 4096 };
struct engine_image_memory {
    uint64_t size_bytes;  // of the memory: whole Wasm pages
    uint64_t file_offset; // of its first byte, page-aligned
    uint64_t file_bytes;  // page-aligned; what follows is zeros
};
struct engine_image {
    uint8_t *mapping; // read-only
    size_t len;
    int fd;
    uint64_t file_at; // where it begins in the file
    bool replay;      // captured before start code ran: it runs in every instance
    const struct engine_image_memory *memories;
    const struct engine_image_global {
        uint32_t type; // enum tw_wasm_valtype; references are null
        uint32_t zero;
        uint8_t value[16];
    } *globals;
    const uint64_t *tables; // sizes, in elements
    uint32_t memory_count, global_count, table_count;
};
// Maps and checks what engine_image_capture made: `len` bytes of the file from `at`, a multiple of
// ENGINE_IMAGE_PAGE; 0: all that follow. Takes `fd`, also on failure.
[[nodiscard]] bool engine_image_map(int fd, uint64_t at, uint64_t len, const struct tw_digest *wasm,
                                    struct engine_image *ret_image, struct tw_error *err);
void engine_image_done(struct engine_image *image);
bool engine_image_is_zero(const uint8_t *page); // all of ENGINE_IMAGE_PAGE bytes
// The state of an instance as an image file, all of `out`, but for its checksums, for which the instance is not needed:
// engine_image_seal puts them in.
[[nodiscard]] bool engine_image_capture(struct engine_instance *instance, const struct tw_digest *wasm,
                                        bool replay, struct tw_buf *out, struct tw_error *err);
void engine_image_seal(struct tw_buf *out);
// The same file of a module that was not even compiled, sealed, where it follows from the module alone: no start code, no
// more than `out` may hold. False otherwise, or without memory: `out` is anything then.
[[nodiscard]] bool engine_image_foresee(const struct tw_module *module, const struct tw_wasm *wasm,
                                        const struct tw_wasm_rewritten *rewritten, struct tw_buf *out);

// ---- linear memories (memory.c). Confined to the instance. ----
struct engine_region {
    struct engine_instance *instance; // NULL: no guest's
    uint8_t *base;
    uint64_t size;        // bytes now, whole Wasm pages; [base, base + size) is readable and writable
    uint64_t limit;       // bytes, of all the instance's memories together
    uint64_t own_bytes;   // of a reservation of its own; 0: lies in the instance's arena
    uint64_t image_size;  // what a reset goes back to
    const uint8_t *image; // its bytes in the mapped image
    uint64_t image_bytes; // how many; zeros follow
    // Offsets of the pages that the last reset found to be the instance's own; all there were if `is_known`.
    struct engine_pages {
        uint64_t from, to;
    } known[ENGINE_RESET_KNOWN];
    uint32_t known_count;
    bool is_known;
    uint64_t counted; // bytes that the tenant's memory gauge has of it
    enum {
        ENGINE_NOT_DENIED,
        ENGINE_DENIED_BY_FUNCTION,
        ENGINE_DENIED_BY_TENANT
    } denied; // whose limit it met
};
// Counts `bytes` for this memory in the tenant's account and gauge. False when the account has no more.
[[nodiscard]] bool engine_region_count(struct engine_region *region, uint64_t bytes);
void engine_memory_configure(wasm_config_t *config);
// The instance whose memories Wasmtime asks for on this thread; NULL: none.
void engine_memory_creating(struct engine_instance *instance);
// False: the arena must not be used again.
[[nodiscard]] bool engine_memories_done(struct engine_instance *instance);
// Opens or closes the poll page. Closing stops the guest at its next poll. Any thread.
bool engine_poll_page(const struct engine_instance *instance, bool open);

// ---- Wasmtime's pooling allocator instead (pooling.c) ----
// Lowers `max_instances` to what there is room for.
[[nodiscard]] bool engine_pooling_configure(wasm_config_t *config, struct tw_engine_options *options,
                                            struct tw_error *err);
// Makes the image of a guest that was just instantiated, and its memories the instance's regions. QUOTA.
[[nodiscard]] bool engine_pooling_bind(struct engine_instance *instance, struct tw_error *err);
// Reads the memories' sizes, which the guest may have changed.
void engine_pooling_look(struct engine_instance *instance);
// Before its store goes. False: the store must stay, since its slots are not as Wasmtime believes.
[[nodiscard]] bool engine_pooling_leave(struct engine_instance *instance);

// ---- reset (reset.c) ----
struct engine_resetter {
    int pagemap;        // -1: madvise only
    bool counts_faults; // the kernel counts a thread's page faults
};
void engine_resetter_init(struct engine_resetter *resetter, enum tw_reset method);
void engine_resetter_done(struct engine_resetter *resetter);
// The memories' bytes back to the image. False: the instance cannot be reused.
[[nodiscard]] bool engine_regions_restore(struct engine_instance *instance);
// The guest is about to run on this thread. Every time, else a reset misses what it writes.
void engine_reset_watch(struct engine_instance *instance);

// ---- compiled code (code.c): one for all modules with the same rewritten bytes ----
struct engine_code;
// Those there are, and those that are mapped in the order of their use. Guarded by its lock.
struct engine_codes {
    struct tw_lock lock;
    struct tw_map by_key; // the artifact's
    struct engine_code *newest, *oldest;
    struct tw_counter mapped_bytes;
};
void engine_codes_init(struct engine_codes *codes);
void engine_codes_done(struct engine_codes *codes); // none is left
// Nothing is mapped yet. To be dropped.
[[nodiscard]] struct engine_code *engine_code_get(struct tw_engine *engine,
                                                  const struct tw_artifact *artifact, struct tw_error *err);
void engine_code_drop(struct engine_code *code);
// Maps it unless it is, and keeps it mapped until it was given back, from which time on it may be gone. Blocks.
[[nodiscard]] const wasmtime_instance_pre_t *engine_code_take(struct engine_code *code, struct tw_error *err);
void engine_code_give(struct engine_code *code);

// ---- modules (module.c) ----
struct tw_module {
    struct tw_ref ref;
    struct tw_engine *engine;
    struct tw_arena arena; // what the pointers below point into
    struct tw_digest digest;
    struct tw_module_limits limits;
    struct engine_code *code;
    struct engine_image image;
    struct tw_signature *exports;
    uint32_t *export_functions; // the exports' function indices
    uint32_t function_count;    // those behind are the rewrite's own
    uint32_t export_count;
    const struct tw_wasm_import *imports;
    uint32_t import_count;
    const struct tw_wasm_limits *memories; // defined ones, without the poll page's
    uint32_t memory_count, global_count, table_count;
    const uint8_t *global_types; // of tw:g0 …
    uint32_t abi_memory;         // which memory host functions mean; UINT32_MAX: none
    bool has_start, has_initialize, single_use;
    bool has_heap;                  // it makes objects or exceptions, so that the collector may run
    struct tw_counter long_tenants; // how many `habits` has
    // ---- guarded by `lock` ----
    struct tw_lock lock;
    struct tw_map pools;             // by tenant
    struct tw_map habits;            // by tenant: of those whose calls took long of late
    struct engine_pool *last_pool;   // found last; NULL: none
    struct tw_module *older, *newer; // the engine's list, guarded by the engine's lock
};
// Numeric or a reference that can cross the API.
bool engine_type_is_numeric(uint8_t type);

// ---- instances (instance.c, pool.c). Confined to the call that holds it. ----
// What host functions remember during a call; cleared by a reset.
struct engine_host {
    size_t input_at;
    uint64_t emitted;   // bytes of output
    uint8_t closed_fds; // bits of 0, 1, 2
    uint32_t gpu_error_len;
    char gpu_error[ENGINE_GPU_ERROR_MAX];
};
struct engine_instance {
    struct engine_instance *newer, *older; // of its pool
    int64_t idle_tick;                     // the keeper's when it came there
    struct tw_engine *engine;
    struct engine_code *code; // NULL: not instantiated yet
    struct tw_module *module; // borrowed while warm, referenced by the call else; not used to free it
    uint64_t tenant;
    struct tw_account *account; // NULL: none; holds a reference
    struct tw_gpu_arena *arena; // NULL: the memories are in Wasmtime's pool
    bool is_pooled;
    wasmtime_store_t *store;
    wasmtime_context_t *context;
    wasmtime_instance_t instance;
    struct engine_region *regions; // one a defined memory
    uint32_t region_count, regions_made;
    struct engine_region *memory; // of the guest ABI; NULL: none
    struct engine_region *heap;   // of objects and exceptions; NULL: none yet
    wasmtime_memory_t *memories;
    wasmtime_global_t *globals;
    struct engine_exported {
        wasmtime_func_t func;
        bool known;
    } *exports;              // in the module's order
    struct tw_lock gpu_lock; // guards the pointer `gpu` against engine_call_stop
    struct tw_gpu_context *gpu;
    struct engine_call *call; // NULL: idle
    struct engine_host host;
    uint8_t *poll; // the poll page; NULL: none
    bool poll_closed;
    uint64_t fault_thread,
        faults; // of the last reset, and its page faults then; 0: the guest ran elsewhere since
    uint64_t kernel_ns_before; // of calls before this one, on an instance that is kept
    struct tw_state gate;      // enum engine_gate: what a closed poll page means
};
// Made from the module's image, or (image not mapped yet) with zeros. Runs start code where the image says
// so, until `deadline_ns`.
[[nodiscard]] struct engine_instance *engine_instance_new(struct tw_module *module, uint64_t tenant,
                                                          struct tw_account *account, int64_t deadline_ns,
                                                          struct tw_error *err);
void engine_instance_free(struct engine_instance *instance);
// Fails with QUOTA, saying whose limit that memory met.
bool engine_instance_denied(const struct engine_instance *instance, uint32_t memory, struct tw_error *err);
// Start function and `_initialize`. START_FAILED.
[[nodiscard]] bool engine_instance_start(struct engine_instance *instance, int64_t deadline_ns,
                                         struct tw_error *err);
// What one call leaves and the next must not see even where memory lives on: input, output, streams, last error.
void engine_instance_end_call(struct engine_instance *instance);
uint64_t engine_instance_memory(const struct engine_instance *instance); // bytes of all its memories
// As fresh as new. False: it must be freed.
[[nodiscard]] bool engine_instance_reset(struct engine_instance *instance);
// A warm one of that tenant, or a new one. CAPACITY at the cap, QUOTA at the account's limits.
[[nodiscard]] struct engine_instance *engine_pool_take(struct tw_module *module, uint64_t tenant,
                                                       struct tw_account *account, int64_t deadline_ns,
                                                       struct tw_error *err);
// A new one; at the caps warm ones make room.
[[nodiscard]] struct engine_instance *engine_pool_make(struct tw_module *module, uint64_t tenant,
                                                       struct tw_account *account, int64_t deadline_ns,
                                                       struct tw_error *err);
// A warm one of that tenant; NULL: there is none.
struct engine_instance *engine_pool_take_warm(struct tw_module *module, uint64_t tenant);
// Keeps one that is as fresh as new warm where there is room, else frees it; no other one makes room for it.
void engine_pool_keep(struct engine_instance *instance);
// Resets it and keeps it warm, or frees it.
void engine_pool_give(struct engine_instance *instance);
// For modules whose instances serve once: has the next ones made, elsewhere.
void engine_pool_refill(struct tw_module *module, uint64_t tenant, struct tw_account *account);
// Frees what nobody took since that tick of the keeper.
void engine_pools_shrink(struct tw_engine *engine, int64_t idle_since);
void engine_pools_done(struct tw_module *module); // of a module that nobody uses any more
// len bytes at ptr in the guest's memory as it is now; NULL when they are not all there.
static inline uint8_t *engine_guest(const struct engine_instance *instance, uint32_t ptr, uint64_t len) {
    const struct engine_region *memory = instance->memory;
    return memory && ptr + len <= memory->size ? memory->base + ptr : NULL;
}

// ---- instances that keep their state (kept.c) ----
// To the run queue, or behind the instance's other calls. On false the call is still the caller's.
[[nodiscard]] bool engine_kept_submit(struct engine_call *call, struct tw_error *err);
// The guest, for the call whose turn it is. CONFLICT when the instance has ended.
[[nodiscard]] struct engine_instance *engine_kept_take(struct engine_call *call, struct tw_error *err);
// The call is over, whether it got the guest or not: the next one's turn.
void engine_kept_give(struct engine_call *call);
// Its call is answered, and its guest goes on with `rest` for an invoke: the instance has ended.
void engine_kept_answer(struct engine_call *call, struct tw_invoke *rest);
// Ends those that nobody has called for too long.
void engine_kept_expire(struct tw_engine *engine, int64_t now_ns);

// ---- the keeper (keeper.c): a thread that looks after what nobody uses. Guarded by its lock. ----
struct engine_keeper {
    int64_t period_ns, warm_ticks; // frozen; how many periods a warm instance may lie idle
    struct tw_lock lock;
    struct tw_cond changed;
    bool stopping, started;
    pthread_t thread;
};
[[nodiscard]] bool engine_keeper_init(struct tw_engine *engine, struct tw_error *err);
void engine_keeper_done(struct tw_engine *engine);

// ---- calls (call.c) ----
// RUNNING: on a thread. ARMED: on a thread, and somebody will wake it. PARKED: on none. WOKEN: what it waited
// for came.
enum engine_call_state { ENGINE_RUNNING, ENGINE_ARMED, ENGINE_PARKED, ENGINE_WOKEN };

// Done as a host function is: the guest's arguments in, CUDA_… codes out.
typedef bool (*engine_operation)(struct engine_instance *instance, const wasmtime_val_raw_t *args,
                                 struct tw_error *err);

// Owned by the engine from submit until `done` returned. Confined to the thread that runs it, but for the
// first group.
struct engine_call {
    struct tw_state state;        // enum engine_call_state
    struct tw_state cancelled;    // 1: by tw_invoke_cancel
    struct tw_state hold;         // enum engine_hold
    struct tw_flag stopping;      // the guest is to end; `stop_code` says why
    enum tw_code stop_code;       // written before `stopping` is raised
    struct engine_timer deadline; // set while it is parked
    struct engine_timer sleep;

    struct engine_call *next, *before; // of a queue
    struct engine_share
        *waits_in; // the share of the workers' queue, while it waits there; its lock guards it
    struct engine_call *waits_before; // of those that wait for the same kept instance
    struct tw_engine *engine;
    struct tw_invoke *invoke;
    struct engine_instance *instance;
    int64_t entered_ns;      // when it went into the guest last
    bool begins_long;        // as a managed one
    bool has_entered;        // the guest
    bool on_caller;          // runs on the thread that asked, not on workers
    bool exited;             // proc_exit
    bool yielding;           // waits for nothing: goes to the queue's end
    bool draining;           // its guest has returned, kernels that print have not
    bool may_go_on;          // in the collector, after it was stopped; frozen
    bool is_answer;          // not to be run, but answered for one whose guest goes on
    uint64_t output_counted; // bytes of the output in the tenant's account, as memory
    const struct tw_signature *signature;
    wasmtime_call_future_t *future;
    wasm_trap_t *trap;
    wasmtime_error_t *error;
    wasmtime_func_t func; // Wasmtime reads it while the future lives

    // What a host function waits for; `finish` puts its result when the call was woken.
    struct engine_wait {
        engine_operation operation; // of wasi_cuda, once no kernel runs, with its arguments
        wasmtime_val_raw_t args[5];
        void (*finish)(struct engine_call *call, wasmtime_val_raw_t *result);
        struct tw_gpu_waiter waiter;
        struct tw_task task;
        struct tw_error error;
        int64_t kernel;
        struct tw_str ptx, entry;    // load_ptx
        struct tw_str name, version; // load_kernel
        uint32_t events_ptr, count_ptr, subscriptions_ptr, subscription_count;
        int64_t started_ns, wall_offset_ns; // wall clock minus monotonic clock then
        enum tw_trace_span span;            // of the trace, begun at started_ns, with its amount
        int64_t amount;
        wasm_trap_t **trap;
        wasmtime_val_t *results;
        size_t result_count;
    } wait;
    wasmtime_val_t *args, *results; // in `values`
    wasmtime_val_t values[];
};
[[nodiscard]] struct engine_call *engine_call_new(struct tw_engine *engine, struct tw_invoke *invoke,
                                                  struct tw_error *err);
// Runs it until it ended (true: `done` was called and the call is gone) or waits (false: do not touch it any
// more). On a thread that uses a runner.
bool engine_call_step(struct engine_call *call);
// Ends a call that was accepted and cannot run.
void engine_call_refuse(struct engine_call *call, const struct tw_error *error);
// Makes its guest end soon, wherever it is. On the timers' thread, while the call cannot end.
void engine_call_stop(struct engine_call *call);
// From a handler, before it starts what will wake the call.
void engine_call_arm(struct engine_call *call, void (*finish)(struct engine_call *, wasmtime_val_raw_t *));
// Takes engine_call_arm back: the operation ended at once.
void engine_call_disarm(struct engine_call *call);
// Arms it and sets its alarm. False (not armed) without memory.
[[nodiscard]] bool engine_call_sleep(struct engine_call *call, int64_t due_ns,
                                     void (*finish)(struct engine_call *, wasmtime_val_raw_t *));
// Lets calls that are queued go first.
void engine_call_yield(struct engine_call *call, void (*finish)(struct engine_call *, wasmtime_val_raw_t *));
// What it waited for came. Any thread; the call may be gone when it returns.
void engine_call_wake(struct engine_call *call);
// Runs one function of an instance on this thread until it ended: start code. `invoke` takes the outcome.
void engine_call_inside(struct engine_instance *instance, const wasmtime_func_t *func,
                        struct tw_invoke *invoke);
// What its kernels printed, and the time they took, into the invoke.
void engine_call_gather(struct engine_call *call);
wasm_trap_t *engine_stop_trap(void);
// Whether the call of an instance is to end: what a host function does for long, it leaves then.
bool engine_is_stopping(const struct engine_instance *instance);
// A slice's length, of what is left to be moved.
static inline uint64_t engine_slice(uint64_t left) {
    return left < ENGINE_SLICE_BYTES ? left : ENGINE_SLICE_BYTES;
}
// Copies a slice at a time. False: the call is to end, and the rest was left.
[[nodiscard]] bool engine_copy(const struct engine_instance *instance, void *to, const void *from,
                               size_t len);

// ---- answers (answer.c): who has a call's invoke, drawn there ----
// HELD: its thread. LOOSE: nobody, its guest computes. ANSWERED: it is gone.
enum engine_hold { ENGINE_HELD, ENGINE_LOOSE, ENGINE_ANSWERED };
// From here on it can be cancelled.
void engine_invoke_go_live(struct tw_invoke *invoke, struct engine_call *call);
void engine_invoke_part(struct tw_invoke *invoke); // and from here on not any more; waits for who does so now
// On the guest's thread, before and after a host function; one that is waited for ends when it was waited for. False:
// it was answered, and its guest is to end.
[[nodiscard]] static inline bool engine_call_take_hold(struct engine_call *call) {
    return !call->may_go_on || tw_state_change(&call->hold, ENGINE_LOOSE, ENGINE_HELD);
}
static inline void engine_call_let_go(struct engine_call *call) {
    if (call->may_go_on)
        tw_state_set(&call->hold, ENGINE_LOOSE);
}
// Answers a stopped call whose guest goes on. False: it was answered, a host function runs, or memory lacks; it may be
// tried again. On the timers' thread, while the call cannot end.
bool engine_call_answer(struct engine_call *call);
void engine_answer_give(struct engine_call *answer); // on a worker: tells the caller

// ---- outcome (trap.c) ----
// The error of a call that was stopped, for that reason.
void engine_outcome_stopped(struct tw_invoke *invoke, enum tw_code code);
// Fills the invoke's error, trap kind and backtrace; frees trap and error. `stopped`: `stop_code` is the
// outcome.
void engine_outcome(struct engine_call *call, bool stopped);

// ---- host functions (link.c, host.c, host_*.c) ----
// Runs on the guest's fiber. Reads its arguments from `args` and puts the result into args[0]. A trap ends
// the guest.
typedef wasm_trap_t *(*engine_handler)(struct engine_instance *instance, wasmtime_val_raw_t *args);
struct engine_import {
    const char *module, *name, *signature; // "ii:i" — i: i32, I: i64
    engine_handler handler;
    bool may_suspend;
};
// The table of host.def with its aliases, one row a name. Frozen.
const struct engine_import *engine_imports(uint32_t *ret_count);
[[nodiscard]] bool engine_link(wasmtime_linker_t *linker, struct tw_error *err);
// UNKNOWN_IMPORT naming the first import that is not offered, and the nearest that is.
[[nodiscard]] bool engine_check_imports(const struct tw_wasm *wasm, struct tw_error *err);
// The wasi_cuda code of an error.
int engine_cuda_code(enum tw_code code);
// For a call whose guest has returned: false when kernels that print still run; it is woken to ask again.
bool engine_cuda_drain(struct engine_call *call);
#define HOST(module, name, signature, handler, may_suspend)                                                  \
    wasm_trap_t *handler(struct engine_instance *instance,                                                   \
                         wasmtime_val_raw_t *args); // again for rows that share one
#define HOST_CUDA(name, signature, handler, may_suspend) HOST("", name, signature, handler, may_suspend)
#include "engine/host.def"
#undef HOST
#undef HOST_CUDA
// Appends to the response, or hands it to the client: 0, -2 (cap), -3 (client gone).
int engine_emit(struct engine_instance *instance, struct tw_span bytes);
// What is gathered is memory that the tenant holds until the call ends, while its guest waits too: counts `bytes` of
// output, less than ENGINE_OUTPUT_FREE not. False when the tenant has no more.
[[nodiscard]] bool engine_output_count(struct engine_call *call, uint64_t bytes);
// Answers `value` in a host function that has emitted: at once, or when a slow client has caught up.
wasm_trap_t *engine_emitted(struct engine_instance *instance, wasmtime_val_raw_t *args, int value);
// Appends to the call's stderr_text as far as it fits.
void engine_append_stderr(struct engine_instance *instance, struct tw_span bytes);

// ---- the engine (engine.c) ----
struct tw_engine {
    struct tw_engine_options options;
    wasm_engine_t *wasmtime;
    wasmtime_linker_t *linker;
    struct engine_stacks stacks;
    struct engine_codes codes;
    struct engine_resetter resetter;
    struct engine_timers timers;
    struct engine_sched sched;
    struct tw_pool *blocking;  // kernels that are being compiled
    struct tw_pool *refilling; // instances that are made ahead
    struct engine_keeper keeper;
    struct tw_counter instances, warm, kept, tick; // tick: of the keeper
    struct tw_series *hits, *misses;               // of pool draws
    struct tw_lock lock; // guards the lists of modules, of pools and of kept instances
    struct engine_pool *first_pool, *last_pool;
    struct tw_module *newest;
    struct tw_instance *newest_kept;
};
