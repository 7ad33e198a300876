// SPDX-License-Identifier: Apache-2.0
//
// The thread pool: everything queued runs once, the queue is bounded, closing drains.

#include "harness/test.h"

struct job {
    struct tw_task task; // first, so that the task's address is the job's
    struct tw_counter *ran;
    struct tw_state *gate; // waits until it is 1
    struct tw_state *started;
};

static void job_run(struct tw_task *task) {
    struct job *job = (struct job *)task;
    if (job->started) {
        tw_state_set(job->started, 1);
        tw_state_wake(job->started);
    }
    while (job->gate && tw_state_get(job->gate) == 0)
        tw_state_wait(job->gate, 0, -1);
    tw_counter_add(job->ran, 1);
}

TW_TEST("everything that was queued runs once, and closing waits for it") {
    enum { JOBS = 5000 };
    static struct job jobs[JOBS];
    struct tw_counter ran = {};
    struct tw_error err = {};
    struct tw_pool *pool = tw_pool_new("pool", 3, JOBS, &err);
    tw_assert_ok(pool, &err);
    for (unsigned i = 0; i < JOBS; i++) {
        jobs[i] = (struct job){.task = {.run = job_run}, .ran = &ran};
        tw_assert_ok(tw_pool_submit(pool, &jobs[i].task, &err), &err);
    }
    tw_pool_free(pool);
    ck_assert_int_eq(tw_counter_get(&ran), JOBS);
}

TW_TEST("a full queue refuses at once") {
    struct tw_counter ran = {};
    struct tw_state gate = {}, started = {};
    struct tw_error err = {};
    struct tw_pool *pool = tw_pool_new("pool", 1, 2, &err);
    tw_assert_ok(pool, &err);
    struct job running = {.task = {.run = job_run}, .ran = &ran, .gate = &gate, .started = &started};
    struct job waiting[3];
    tw_assert_ok(tw_pool_submit(pool, &running.task, &err), &err);
    while (tw_state_get(&started) == 0)
        tw_state_wait(&started, 0, -1);
    for (unsigned i = 0; i < 3; i++)
        waiting[i] = (struct job){.task = {.run = job_run}, .ran = &ran};
    tw_assert_ok(tw_pool_submit(pool, &waiting[0].task, &err), &err);
    tw_assert_ok(tw_pool_submit(pool, &waiting[1].task, &err), &err);
    ck_assert(!tw_pool_submit(pool, &waiting[2].task, &err));
    ck_assert_int_eq(err.code, TW_ERR_CAPACITY);
    ck_assert_str_eq(err.message, "2 tasks wait already, the limit is 2; try again later");
    tw_state_set(&gate, 1);
    tw_state_wake(&gate);
    tw_pool_free(pool);
    ck_assert_int_eq(tw_counter_get(&ran), 3);
}

TW_TEST("a pool that cannot start all its threads starts none") {
    for (unsigned n = 1;; n++) {
        char fault[16];
        struct tw_error err = {};
        snprintf(fault, sizeof(fault), "alloc:%u", n);
        tw_fault_configure(fault);
        struct tw_pool *pool = tw_pool_new("pool", 3, 1, &err);
        tw_fault_configure(NULL);
        if (pool) {
            ck_assert_uint_eq(n, 5); // the pool and three starts
            tw_pool_free(pool);
            break;
        }
        ck_assert_int_eq(err.code, TW_ERR_CAPACITY);
    }
    tw_pool_free(NULL);
}
