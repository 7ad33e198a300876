// SPDX-License-Identifier: Apache-2.0
//
// Jobs: calls whose caller does not wait. Private to service/.
#pragma once

#include "service/internal.h"

enum job_state { JOB_QUEUED, JOB_RUNNING, JOB_DONE, JOB_FAILED, JOB_CANCELLED };

// Counted references: the table has one, the running call another. Fields marked are guarded by `lock`.
struct service_job {
    struct tw_ref ref;
    struct tw_service *service;
    uint64_t tenant;
    char id[TW_FUNCTION_ID_MAX + 1];
    char function_id[TW_FUNCTION_ID_MAX + 1], function[TW_FUNCTION_NAME_MAX + 1];
    struct tw_lock lock;
    enum job_state state;                     // lock
    int64_t created_ns, started_ns, ended_ns; // wall; lock
    char *outcome;                            // lock: `"result":…` or `"error":{…}`, once ended
    uint64_t stored;                          // lock: bytes of `outcome` that count as the tenant's
    bool cancel_asked;                        // lock
    struct tw_caller caller;
    struct tw_lease lease; // of the tenant's concurrent calls, until the call has it
    struct tw_service_call call;
    struct tw_buf body;
    char *export;
    char trace_id[33];     // of the request that started it, or empty
    struct tw_trace trace; // the call's, below that request's; confined to whoever works on the job
    struct tw_task finish_task;
    struct service_job *next_expired; // while expired ones are collected
};

[[nodiscard]] bool service_jobs_init(struct tw_service *service,
                                     struct tw_error *err); // loads what the store has
void service_jobs_done(struct tw_service *service);

// ---- job_record.c ----
struct service_job *service_job_new(struct tw_service *service, struct tw_error *err);
struct service_job *service_job_ref(struct service_job *job);
void service_job_unref(struct service_job *job);
bool service_job_has_ended_locked(const struct service_job *job);
// As tenants see it. The caller holds the job's lock.
[[nodiscard]] bool service_job_json_locked(const struct service_job *job, struct tw_buf *out,
                                           struct tw_error *err);
// Writes the record as the job stands. Blocks.
[[nodiscard]] bool service_job_save(struct service_job *job, struct tw_error *err);
[[nodiscard]] struct service_job *service_job_decode(struct tw_service *service, struct tw_span record,
                                                     struct tw_error *err);
// The `"result":…` or `"error":…` of a call that has ended; NULL without memory. `ret_kept` is false when the result
// could not be kept and an error stands for it.
char *service_job_outcome(const struct tw_service_call *call, bool *ret_kept);
// `"error":{…}` of an error that is no call's; NULL without memory.
char *service_job_problem(const struct tw_error *err);
