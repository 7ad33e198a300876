// SPDX-License-Identifier: Apache-2.0
//
// The thread pool: everything queued runs once, the queue is bounded, closing drains; tenants share the threads.

#include <sched.h>

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

static void wait_for(struct tw_counter *counter, int64_t value) {
    while (tw_counter_get(counter) < value)
        sched_yield();
}

// Counts up when it has begun, then waits for the gate.
struct held {
    struct tw_task task;
    struct tw_counter *begun;
    struct tw_state *gate;
};

static void held_run(struct tw_task *task) {
    struct held *held = (struct held *)task;
    tw_counter_add(held->begun, 1);
    while (tw_state_get(held->gate) == 0)
        tw_state_wait(held->gate, 0, -1);
}

static void submit_held(struct tw_pool *pool, struct held *held, uint64_t tenant, struct tw_counter *begun,
                        struct tw_state *gate) {
    struct tw_error err = {};
    *held = (struct held){{.run = held_run, .tenant = tenant, .weight = 1}, begun, gate};
    tw_assert_ok(tw_pool_submit(pool, &held->task, &err), &err);
}

TW_TEST("tenants whose tasks hold their threads leave some for the first task of any other") {
    enum { TASKS = 20 };
    static struct held first[TASKS], second[TASKS], third, fourth;
    struct tw_counter begun[4] = {};
    struct tw_state gate = {};
    struct tw_error err = {};
    struct tw_pool *pool = tw_pool_new("pool", 8, 1000, &err);
    tw_assert_ok(pool, &err);
    for (unsigned i = 0; i < TASKS; i++)
        submit_held(pool, &first[i], 1, &begun[0], &gate);
    wait_for(&begun[0], 4); // half of the threads
    for (unsigned i = 0; i < TASKS; i++)
        submit_held(pool, &second[i], 2, &begun[1], &gate);
    wait_for(&begun[1], 2); // of three quarters what is left
    submit_held(pool, &third, 3, &begun[2], &gate);
    submit_held(pool, &fourth, 4, &begun[3], &gate);
    wait_for(&begun[2], 1);
    wait_for(&begun[3], 1);
    ck_assert_int_eq(tw_counter_get(&begun[0]), 4);
    ck_assert_int_eq(tw_counter_get(&begun[1]), 2);
    tw_state_set(&gate, 1);
    tw_state_wake(&gate);
    tw_pool_free(pool);
    ck_assert_int_eq(tw_counter_get(&begun[0]), TASKS);
    ck_assert_int_eq(tw_counter_get(&begun[1]), TASKS);
}

TW_TEST(
    "a tenant's tasks are refused when it has more in the queue than is left, others' and our own are not") {
    enum { QUEUE = 100 };
    static struct held tasks[QUEUE + 1];
    struct tw_counter begun = {};
    struct tw_state gate = {};
    struct tw_error err = {};
    struct tw_pool *pool = tw_pool_new("pool", 1, QUEUE, &err);
    tw_assert_ok(pool, &err);
    submit_held(pool, &tasks[QUEUE], 9, &begun, &gate);
    wait_for(&begun, 1);
    size_t count = 0, of_tenant = 0;
    struct tw_task refused = {.run = held_run, .tenant = 7, .weight = 1};
    for (; of_tenant < QUEUE / 2; of_tenant++)
        submit_held(pool, &tasks[count++], 7, &begun, &gate);
    ck_assert(!tw_pool_submit(pool, &refused, &err));
    ck_assert_int_eq(err.code, TW_ERR_QUOTA);
    ck_assert_str_eq(err.message,
                     "50 tasks of tenant 7 wait already, and it may have no more than the 50 that are "
                     "left for all; send fewer at once");
    for (of_tenant = 0; of_tenant < QUEUE / 4; of_tenant++)
        submit_held(pool, &tasks[count++], 8, &begun, &gate);
    err = (struct tw_error){};
    refused.tenant = 8;
    ck_assert(!tw_pool_submit(pool, &refused, &err));
    ck_assert_int_eq(err.code, TW_ERR_QUOTA);
    while (count < QUEUE) { // the server's own
        tasks[count] = (struct held){{.run = held_run}, &begun, &gate};
        tw_assert_ok(tw_pool_submit(pool, &tasks[count++].task, &err), &err);
    }
    err = (struct tw_error){};
    ck_assert(!tw_pool_submit(pool, &refused, &err));
    ck_assert_int_eq(err.code, TW_ERR_CAPACITY);
    tw_state_set(&gate, 1);
    tw_state_wake(&gate);
    tw_pool_free(pool);
    ck_assert_int_eq(tw_counter_get(&begun), QUEUE + 1);
}

// Holds its thread for a while, and notes its place among all.
struct spell {
    struct tw_task task;
    struct tw_counter *order;
    int64_t place;
};

static void spell_run(struct tw_task *task) {
    struct spell *spell = (struct spell *)task;
    int64_t end_ns = tw_clock_ns() + 2 * TW_NS_PER_MS;
    while (tw_clock_ns() < end_ns)
        ;
    spell->place = tw_counter_add(spell->order, 1);
}

TW_TEST("who waits is served by weight, our own first, within a tenant in the order of asking") {
    enum { TASKS = 40, HEAVY = 64 };
    static struct spell light[TASKS], heavy[TASKS], own;
    static struct held blocker;
    struct tw_counter begun = {}, order = {};
    struct tw_state gate = {};
    struct tw_error err = {};
    struct tw_pool *pool = tw_pool_new("pool", 1, 1000, &err);
    tw_assert_ok(pool, &err);
    submit_held(pool, &blocker, 9, &begun, &gate);
    wait_for(&begun, 1);
    for (unsigned i = 0; i < TASKS; i++) {
        light[i] = (struct spell){.task = {.run = spell_run, .tenant = 1, .weight = 1}, .order = &order};
        tw_assert_ok(tw_pool_submit(pool, &light[i].task, &err), &err);
    }
    for (unsigned i = 0; i < TASKS; i++) {
        heavy[i] = (struct spell){.task = {.run = spell_run, .tenant = 2, .weight = HEAVY}, .order = &order};
        tw_assert_ok(tw_pool_submit(pool, &heavy[i].task, &err), &err);
    }
    own = (struct spell){.task = {.run = spell_run}, .order = &order};
    tw_assert_ok(tw_pool_submit(pool, &own.task, &err), &err);
    tw_state_set(&gate, 1);
    tw_state_wake(&gate);
    tw_pool_free(pool);
    ck_assert_int_lt(own.place, light[0].place);
    ck_assert_int_lt(own.place, heavy[0].place);
    for (unsigned i = 1; i < TASKS; i++) {
        ck_assert_int_lt(light[i - 1].place, light[i].place);
        ck_assert_int_lt(heavy[i - 1].place, heavy[i].place);
    }
    // One or two of the light one's by now, by their times: far from half of all, whatever a machine makes of 2 ms.
    ck_assert_int_lt(heavy[TASKS - 1].place, light[TASKS / 2].place);
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

struct submitting {
    struct tw_pool *pool;
    struct job job;
};

static void submit_it(void *context) {
    struct submitting *submitting = context;
    struct tw_error err = {};
    tw_assert_ok(tw_pool_submit(submitting->pool, &submitting->job.task, &err), &err);
}

TW_TEST("a pool may go once its last task ran, though who submitted that is still about it") {
    for (unsigned i = 0; i < 100; i++) {
        struct tw_counter ran = {};
        struct tw_error err = {};
        struct submitting submitting = {.job = {.task = {.run = job_run}, .ran = &ran}};
        submitting.pool = tw_pool_new("pool", 1, 1, &err);
        tw_assert_ok(submitting.pool, &err);
        pthread_t thread;
        tw_assert_ok(tw_thread_start(&thread, "submits", submit_it, &submitting, &err), &err);
        while (tw_counter_get(&ran) == 0)
            sched_yield();
        tw_pool_free(submitting.pool);
        tw_thread_join(thread);
    }
}
