// SPDX-License-Identifier: Apache-2.0
//
// The use cases: deploy, list, delete, invoke, what the host has. No HTTP and no argv in here; http/ and cli/
// translate.
//
//     struct tw_service *service = tw_service_new(&options, &err);
//     tw_service_deploy(service, &caller, &request, &out, &err); // blocks: in a task (tw_service_submit)
//     tw_service_invoke(service, &caller, &call, &err);          // returns at once; call.done runs on a worker
//
// Answers are JSON text in a tw_buf, in the wire's format. Another tenant's things are NOT_FOUND. Any thread.
#pragma once

#include "base/base.h"
#include "engine/engine.h"
#include "gpu/gpu.h"
#include "tenant/tenant.h"

struct tw_service_options {
    const char *data_dir;
    const char *compiler_program; // NULL: tensor-wasm-compiler beside this program
    const char *device;           // "auto", "cpu", "cuda[:N]"
    unsigned dispatch_permits, kernel_timeout_ms, invoke_timeout_ms;
    uint32_t queue_target_ms, queue_burst_ms; // as struct tw_engine_options'
    enum tw_gpu_tier kernel_tier;
    bool kernel_unconfined; // with one_tenant only: see tw_gpu_options
    uint32_t max_instances, warm_per_function, max_warm;
    uint64_t max_memory_bytes, max_code_bytes;
    uint32_t blob_grace_s;         // what no record names for so long is removed from the store; 0: never
    unsigned workers;              // 0: one a core
    uint32_t warm_idle_ms;         // a warm instance that no call took for so long is let go
    uint32_t instance_idle_ms;     // an instance that keeps its state ends when nobody called it for so long
    uint32_t rate_qps, rate_burst; // of tenants without a rate of their own; 0: unlimited, as rate_qps
    enum tw_interrupt interrupt;
    const char *kernel_keys_file; // public keys whose signatures of kernels count; NULL or empty: none
    bool require_kernel_signature;
    const char
        *snapshot_key; // 64 hex digits, with which snapshots are signed and verified; NULL or empty: none
    bool require_snapshot_signature; // go on from no other
    enum tw_reset reset;
    enum tw_memory_backend memory;
    uint32_t max_long_calls; // threads in calls that compute for long; 0: 256
    bool one_tenant;         // a process of one user's: nobody else waits for the device
};
struct tw_service;
[[nodiscard]] struct tw_service *tw_service_new(const struct tw_service_options *options,
                                                struct tw_error *err);
// Has a compiler process started in the background, for the first deploy. When requests can be taken already.
void tw_service_warm_up(struct tw_service *service);
void tw_service_free(struct tw_service *service); // after tw_service_drain
// Refuses new work with DRAINING and waits until what runs has ended; false when `until_ns` came first.
bool tw_service_drain(struct tw_service *service, int64_t until_ns);
void tw_service_cancel_jobs(struct tw_service *service); // those that have not ended
// Reads the file of trusted keys again; the old ones stay when that fails. Blocks.
[[nodiscard]] bool tw_service_reload(struct tw_service *service, struct tw_error *err);
// Queues a task for the threads that may block, which tenants share by their weights; as tw_pool_submit. `caller`: on
// whose behalf; NULL: the server's own.
[[nodiscard]] bool tw_service_submit(struct tw_service *service, const struct tw_caller *caller,
                                     struct tw_task *task, struct tw_error *err);
const char *tw_service_path(const struct tw_service *service); // the data folder. Borrowed

// Ready to serve: store writable (checked at most once a second), device healthy, not draining. Blocks.
[[nodiscard]] bool tw_service_ready(struct tw_service *service, struct tw_buf *out, struct tw_error *err);

// ---- tenants ----
// Who may: an administrator of all tenants; reading also the tenant itself. JSON and settings: tenant.h.
[[nodiscard]] bool tw_service_tenant_get(struct tw_service *service, const struct tw_caller *caller,
                                         uint64_t tenant, struct tw_buf *out, struct tw_error *err);
[[nodiscard]] bool tw_service_tenants(struct tw_service *service, const struct tw_caller *caller,
                                      struct tw_str cursor, uint32_t limit, struct tw_buf *out,
                                      struct tw_error *err);
[[nodiscard]] bool tw_service_tenant_set(struct tw_service *service, const struct tw_caller *caller,
                                         uint64_t tenant, const struct tw_json *settings, struct tw_buf *out,
                                         struct tw_error *err); // blocks

// The server at a glance, as members of an object that the caller began: version, devices, readiness, engine,
// functions and instances (500 of each at most), the busiest tenants, a digest of the metrics. Blocks. For an
// administrator of all tenants; after a failure nothing was written.
[[nodiscard]] bool tw_service_observe(struct tw_service *service, const struct tw_caller *caller,
                                      struct tw_json_writer *writer, struct tw_error *err);

// ---- functions ----
enum { TW_FUNCTION_NAME_MAX = 128, TW_FUNCTION_ID_MAX = 40 };
struct tw_deploy {
    struct tw_str name;           // [A-Za-z0-9][A-Za-z0-9._-]*, at most TW_FUNCTION_NAME_MAX
    struct tw_span wasm;          // binary
    const struct tw_json *config; // {"memory_bytes","timeout_ms","env":{…},"args":[…]} or NULL
    // PUT: a new version; else an existing name is CONFLICT (same bytes and config: the same answer again).
    bool replace;
    struct service_function *before; // the service's: what was there under that name
};
// Blocks. Writes {id, name, version, digest, exports, imports, …}.
[[nodiscard]] bool tw_service_deploy(struct tw_service *service, const struct tw_caller *caller,
                                     struct tw_deploy *request, struct tw_buf *out, struct tw_error *err);
// Lets go of the version before, which may be a module, its code and its instances: best after the answer. Harmless to repeat.
void tw_deploy_done(struct tw_deploy *request);
// {"functions":[…],"next":cursor or null}; `cursor` empty at first; limit 1–1,000 (0: 100).
[[nodiscard]] bool tw_service_functions(struct tw_service *service, const struct tw_caller *caller,
                                        struct tw_str cursor, uint32_t limit, struct tw_buf *out,
                                        struct tw_error *err);
[[nodiscard]] bool tw_service_function_get(struct tw_service *service, const struct tw_caller *caller,
                                           struct tw_str id_or_name, struct tw_buf *out,
                                           struct tw_error *err);
[[nodiscard]] bool tw_service_function_delete(struct tw_service *service, const struct tw_caller *caller,
                                              struct tw_str id_or_name, struct tw_error *err); // blocks
[[nodiscard]] bool tw_service_prewarm(struct tw_service *service, const struct tw_caller *caller,
                                      struct tw_str id_or_name, uint32_t count, struct tw_buf *out,
                                      struct tw_error *err); // blocks

// ---- invoke ----
// The caller owns it; from tw_service_invoke (true) until `done` it is the service's.
struct tw_service_call {
    struct tw_str function; // id or name
    struct tw_str instance; // or the id of one that keeps its state
    bool is_json;           // body is {export?, args?}; else the body is the guest's input
    struct tw_span body;    // lives until done
    struct tw_str export;   // raw mode: from the query, may be empty
    uint32_t deadline_ms; // X-TensorWasm-Deadline-Ms; 0: the function's or the server's default (never longer
                          // than that)
    const char *trace_id;
    struct tw_trace *trace;                                           // the request's; may be NULL
    bool (*emit)(struct tw_service_call *call, struct tw_span bytes); // streaming; may be NULL
    bool (*is_slow)(struct tw_service_call *call, bool waits);        // as tw_invoke's; may be NULL
    void (*done)(struct tw_service_call *call); // on a worker or the executor's thread, once
    void *context;
    bool is_patient;              // as tw_invoke's
    struct tw_executor *executor; // an event loop's; tw_service_invoke is called on its thread. NULL: workers
    int64_t asked_ns;             // with an executor: when its loop read the request, on the monotonic clock

    struct tw_error error; // TW_OK: `body_out` is the answer; else tw_service_call_detail adds to the problem
    // JSON mode: {function_id, instance_id?, result}; raw mode: the guest's output. The caller does tw_buf_done.
    struct tw_buf body_out;
    const char *content_type;   // of an answer; borrowed from the call
    int status;                 // 200, or what the guest set (raw mode)
    struct tw_service *service; // the service's
    void *state;                // the service's
    struct tw_invoke invoke;    // the service's; last because of its results
};
void tw_service_call_init(struct tw_service_call *call); // an empty one
[[nodiscard]] bool tw_service_invoke(struct tw_service *service, const struct tw_caller *caller,
                                     struct tw_service_call *call, struct tw_error *err);
void tw_service_call_cancel(struct tw_service_call *call); // the client went away
void tw_service_call_resume(struct tw_service_call *call); // it has caught up, after is_slow said true
void tw_service_call_done(struct tw_service_call *call);   // frees what the service put into it
// An event loop's place to run calls itself: as tw_executor_init, _done, _waiting and _run in engine.h.
[[nodiscard]] bool tw_service_executor_init(struct tw_service *service, struct tw_executor *executor,
                                            struct tw_error *err);
void tw_service_executor_done(struct tw_executor *executor);
uint32_t tw_service_executor_waiting(const struct tw_executor *executor);
[[nodiscard]] bool tw_service_executor_run(struct tw_executor *executor, int64_t budget_ns);
// What stands beside an error's kind and message, or a job's result (trap kind, backtrace, exit code, stderr), as
// `,"trap":…`; empty when there is nothing.
[[nodiscard]] bool tw_service_call_detail(const struct tw_service_call *call, struct tw_buf *out);

// ---- instances that keep their state between calls ----
struct tw_instance_request {
    struct tw_str function; // id or name
    uint32_t idle_ms;       // ends after so long without a call; 0, or longer than the server's: the server's
};
// Writes {id, function_id, function, version, state, calls, …}. Blocks.
[[nodiscard]] bool tw_service_instance_new(struct tw_service *service, const struct tw_caller *caller,
                                           const struct tw_instance_request *request, struct tw_buf *out,
                                           struct tw_error *err);
// {"instances":[…],"next":cursor or null}, the oldest first.
[[nodiscard]] bool tw_service_instances(struct tw_service *service, const struct tw_caller *caller,
                                        struct tw_str cursor, uint32_t limit, struct tw_buf *out,
                                        struct tw_error *err);
[[nodiscard]] bool tw_service_instance_get(struct tw_service *service, const struct tw_caller *caller,
                                           struct tw_str id, struct tw_buf *out, struct tw_error *err);
// Ends it; a running call is cancelled.
[[nodiscard]] bool tw_service_instance_delete(struct tw_service *service, const struct tw_caller *caller,
                                              struct tw_str id, struct tw_error *err);

// ---- snapshots: kept instances as files, from which others go on ----
struct tw_snapshot_request {
    struct tw_str instance; // the id of a kept one
    struct tw_str function; // or a function (id or name): as its instances begin
    struct tw_trace *trace; // may be NULL
};
// Keeps one and writes {digest, size_bytes, function_id, …}. Waits for a running call. Blocks. CONFLICT: the instance
// holds what no snapshot can, or has ended. QUOTA: stored bytes.
[[nodiscard]] bool tw_service_snapshot_save(struct tw_service *service, const struct tw_caller *caller,
                                            const struct tw_snapshot_request *request, struct tw_buf *out,
                                            struct tw_error *err);
struct tw_restore_request {
    struct tw_str digest;   // of one that the tenant keeps
    struct tw_span file;    // or one, whole; it is kept then. Role deploy
    struct tw_str instance; // the new instance's id; empty: a new one
    uint32_t idle_ms;       // as tw_instance_request
    struct tw_trace *trace; // may be NULL
};
// Makes a kept instance that goes on from there and writes it as tw_service_instance_new does. Blocks. CONFLICT: there
// is an instance of that id. SNAPSHOT_SIGNATURE, INVALID_REQUEST (the file), and what deploying may say.
[[nodiscard]] bool tw_service_snapshot_restore(struct tw_service *service, const struct tw_caller *caller,
                                               const struct tw_restore_request *request, struct tw_buf *out,
                                               struct tw_error *err);
// {"snapshots":[…],"next":cursor or null}, the oldest first.
[[nodiscard]] bool tw_service_snapshots(struct tw_service *service, const struct tw_caller *caller,
                                        struct tw_str cursor, uint32_t limit, struct tw_buf *out,
                                        struct tw_error *err);
// The file; the caller unmaps it. Role deploy. Blocks, as deleting.
[[nodiscard]] bool tw_service_snapshot_map(struct tw_service *service, const struct tw_caller *caller,
                                           struct tw_str digest, struct tw_mapping *ret_file,
                                           struct tw_error *err);
[[nodiscard]] bool tw_service_snapshot_delete(struct tw_service *service, const struct tw_caller *caller,
                                              struct tw_str digest, struct tw_error *err);

// ---- jobs: calls whose caller does not wait ----
struct tw_job_request {
    struct tw_str function, export;
    bool is_json; // as tw_service_call
    struct tw_span body;
    const char *trace_id;         // 32 digits; may be NULL
    const struct tw_trace *trace; // of the request that starts it; may be NULL
    uint32_t deadline_ms;
};
// Blocks until the job is on disk. Writes {"job_id","state"}. Its end is seen with tw_service_job_get.
[[nodiscard]] bool tw_service_job_start(struct tw_service *service, const struct tw_caller *caller,
                                        const struct tw_job_request *request, struct tw_buf *out,
                                        struct tw_error *err);
// {"jobs":[…],"next":cursor or null}, the newest first. Blocks (forgets expired ones).
[[nodiscard]] bool tw_service_jobs(struct tw_service *service, const struct tw_caller *caller,
                                   struct tw_str cursor, uint32_t limit, struct tw_buf *out,
                                   struct tw_error *err);
[[nodiscard]] bool tw_service_job_get(struct tw_service *service, const struct tw_caller *caller,
                                      struct tw_str id, struct tw_buf *out, struct tw_error *err);
// Stops one that has not ended; forgets one that has. Blocks.
[[nodiscard]] bool tw_service_job_cancel(struct tw_service *service, const struct tw_caller *caller,
                                         struct tw_str id, struct tw_error *err);

// ---- idempotency keys: a creating request that is sent again is answered again, not done again ----
// Blocks. True with *ret_status 0: it is new; do it, then tell tw_service_once_end. True with a status: `out` is what
// it was answered. KEY_REUSED: the key stands for a request with another digest. IN_PROGRESS. QUOTA.
[[nodiscard]] bool tw_service_once_begin(struct tw_service *service, const struct tw_caller *caller,
                                         struct tw_str key, const struct tw_digest *request, int *ret_status,
                                         struct tw_buf *out, struct tw_error *err);
// A success is kept for a day, on disk when this returns; after a failure the key is free again. Blocks.
void tw_service_once_end(struct tw_service *service, const struct tw_caller *caller, struct tw_str key,
                         int status, struct tw_str body);

// ---- the host ----
[[nodiscard]] bool tw_service_devices(struct tw_service *service,
                                      struct tw_buf *out); // {"devices":[…],"isolation":…}
[[nodiscard]] bool tw_version_json(struct tw_buf *out);    // {"version",…}

// ---- published kernels: a tenant's, by name and version ----
enum { TW_KERNEL_VERSION_MAX = 64 };
struct tw_publish {
    struct tw_str name, version; // as a function's name; a version at most TW_KERNEL_VERSION_MAX
    struct tw_str ptx, entry;    // entry empty: the only one that the PTX has
    struct tw_str signature;     // base64, or empty
};
// What a signature covers: five lines of text. `digest` is the PTX's sha256. False when it does not fit.
[[nodiscard]] bool tw_kernel_signed_text(struct tw_str name, struct tw_str version, struct tw_str entry,
                                         const struct tw_digest *digest, struct tw_buf *out);
// Blocks. Writes {name, version, entry, digest, size_bytes, params, signature, signed_by, published_at}. The
// same again is the same answer; CONFLICT when the version exists otherwise. CUDA_MALFORMED_PTX,
// KERNEL_SIGNATURE (missing where required, or made with no trusted key).
[[nodiscard]] bool tw_service_kernel_publish(struct tw_service *service, const struct tw_caller *caller,
                                             const struct tw_publish *publish, struct tw_buf *out,
                                             struct tw_error *err);
// {"kernels":[…],"next":cursor or null}, as tw_service_functions; by name and version.
[[nodiscard]] bool tw_service_kernels(struct tw_service *service, const struct tw_caller *caller,
                                      struct tw_str cursor, uint32_t limit, struct tw_buf *out,
                                      struct tw_error *err);
// Blocks. `with_ptx` adds "ptx_b64".
[[nodiscard]] bool tw_service_kernel_get(struct tw_service *service, const struct tw_caller *caller,
                                         struct tw_str name, struct tw_str version, bool with_ptx,
                                         struct tw_buf *out, struct tw_error *err);
[[nodiscard]] bool tw_service_kernel_delete(struct tw_service *service, const struct tw_caller *caller,
                                            struct tw_str name, struct tw_str version,
                                            struct tw_error *err); // blocks

// ---- kernels without a guest ----
// [{"name","params":[…],"required_block","max_block"}…] of the PTX's entries; one that cannot be compiled has
// "refused" with the place and the reason. Blocks.
[[nodiscard]] bool tw_service_kernel_entries(struct tw_service *service, uint64_t tenant, struct tw_str ptx,
                                             struct tw_buf *out, struct tw_error *err);
// Where a message of the PTX reader ("line 12, column 5: …") points: the line, and a caret below the column.
enum { TW_SOURCE_MARK_MAX = 160 };
struct tw_source_mark {
    uint32_t line, column;                                            // from 1
    char text[TW_SOURCE_MARK_MAX + 1], caret[TW_SOURCE_MARK_MAX + 2]; // of a long line the part around it
};
bool tw_source_mark_find(struct tw_str source, const char *message, struct tw_source_mark *ret_mark);
enum tw_kernel_arg_kind { TW_KERNEL_ARG_SCALAR, TW_KERNEL_ARG_BUFFER };
struct tw_kernel_arg {
    enum tw_kernel_arg_kind kind;
    uint8_t tag;           // SCALAR: the guest ABI's record tag (01 i32 … 06 u64)
    uint64_t bits;         // SCALAR: its value, in the low bits
    struct tw_buf *buffer; // BUFFER: what the device buffer holds before and, if `is_output`, after. Borrowed
    bool is_output;
};
struct tw_kernel_run {
    struct tw_str ptx, entry;
    uint32_t grid[3], block[3], shared_bytes;
    const struct tw_kernel_arg *args;
    uint32_t arg_count;
    uint32_t repeat;            // launches, at least 1
    double median_us, least_us; // set: of a launch
    double load_us, first_us;   // set: from the PTX to a kernel; the first launch
    unsigned first_ran,
        ran; // set: the code that the first launch and all of them ran, a bit for each enum tw_kernel_tier
    struct tw_buf *log; // what the kernel prints is appended; NULL: dropped
};
// Runs one kernel on the default device, with a context of its own. Blocks. Errors are the guest ABI's.
[[nodiscard]] bool tw_service_kernel_run(struct tw_service *service, struct tw_kernel_run *run,
                                         struct tw_error *err);
// The text of one stage of the kernel compiler: parse, ir, opt, program, llvm, asm, ptx, fence (PTX whose accesses
// are kept in one range), or time (microseconds that each part took). `full`: llvm, asm and time as for a kernel
// that is busy. `entry` may be empty when the PTX has one entry only.
// `block`: as made for blocks of that shape; zeros: of any multiples of 32 × 1 × 1.
[[nodiscard]] bool tw_service_kernel_dump(struct tw_service *service, struct tw_str ptx, struct tw_str entry,
                                          const char *stage, bool full, const uint32_t block[3],
                                          struct tw_buf *out, struct tw_error *err);

// ---- doctor ----
enum tw_finding_level { TW_FINDING_OK, TW_FINDING_HINT, TW_FINDING_WARNING, TW_FINDING_ERROR };
struct tw_finding {
    enum tw_finding_level level;
    const char *name;
    char text[320], remedy[320]; // remedy: empty when there is nothing to do
};
// What this machine has, what is missing, what limits speed. `service` NULL: it could not be opened (tell why
// beside this).
void tw_service_doctor(struct tw_service *service,
                       void (*visit)(void *context, const struct tw_finding *finding), void *context);

// JSON arguments to values by the signature: `1` is a valid i32, i64, f32 or f64; 64-bit integers also as
// strings; "NaN", "Infinity"; v128 as 32 hex digits. INVALID_ARGS names the position. `args` may be NULL (no
// arguments).
[[nodiscard]] bool tw_args_from_json(const struct tw_signature *signature, const struct tw_json *args,
                                     struct tw_value *ret_values, struct tw_error *err);
// null, one value, or an array of several. 64-bit integers beyond 2^53 stay numbers; NaN and infinities are
// strings; v128 is hex.
void tw_results_to_json(const struct tw_value *values, uint32_t count, struct tw_json_writer *writer);
