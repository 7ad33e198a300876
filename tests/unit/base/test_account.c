// SPDX-License-Identifier: Apache-2.0
//
// Accounts: no limit is passed by any number of takers, nothing leaks, CPU time is paid back.

#include "harness/test.h"

#include "base/base.h"

enum { THREADS = 8, ROUNDS = 20000, LIMIT = 5 };

struct crowd {
    struct tw_account *account;
    struct tw_counter inside, passed_limit, refused;
};

static void *take_and_give(void *context) {
    struct crowd *crowd = context;
    struct tw_error err;
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (!tw_account_take(crowd->account, TW_RESOURCE_INSTANCES, 1, &err)) {
            tw_counter_add(&crowd->refused, 1);
            continue;
        }
        if (tw_counter_add(&crowd->inside, 1) >= LIMIT)
            tw_counter_add(&crowd->passed_limit, 1);
        tw_counter_add(&crowd->inside, -1);
        tw_account_give(crowd->account, TW_RESOURCE_INSTANCES, 1);
    }
    return NULL;
}

TW_TEST("many threads cannot pass a limit together, and every refusal is counted") {
    struct tw_error err = {};
    struct crowd crowd = {.account = tw_account_new(7, &err)};
    tw_assert_ok(crowd.account, &err);
    tw_account_set_limit(crowd.account, TW_RESOURCE_INSTANCES, LIMIT);
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, take_and_give, &crowd), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    struct tw_account_use use = tw_account_use(crowd.account, TW_RESOURCE_INSTANCES);
    ck_assert_int_eq(tw_counter_get(&crowd.passed_limit), 0);
    ck_assert_uint_eq(use.now, 0);
    ck_assert_uint_le(use.peak, LIMIT);
    ck_assert_uint_ge(use.peak, 1);
    ck_assert_uint_eq(use.refused, (uint64_t)tw_counter_get(&crowd.refused));
    tw_account_unref(crowd.account);
}

TW_TEST("a refusal names limit and use; what is held beyond a lowered limit stays") {
    struct tw_error err = {};
    struct tw_account *account = tw_account_new(7, &err);
    tw_assert_ok(tw_account_take(account, TW_RESOURCE_STORED, 900, &err), &err);
    tw_account_set_limit(account, TW_RESOURCE_STORED, 500);
    ck_assert(!tw_account_take(account, TW_RESOURCE_STORED, 1, &err));
    ck_assert_int_eq(err.code, TW_ERR_QUOTA);
    ck_assert_ptr_nonnull(strstr(err.message, "tenant 7 uses 900 of its 500 stored_bytes"));
    tw_account_give(account, TW_RESOURCE_STORED, 900);
    tw_assert_ok(tw_account_take(account, TW_RESOURCE_STORED, 500, &err), &err);
    ck_assert(!tw_account_try(account, TW_RESOURCE_STORED, UINT64_MAX)); // no overflow
    struct tw_account_use use = tw_account_use(account, TW_RESOURCE_STORED);
    ck_assert_uint_eq(use.now, 500);
    ck_assert_uint_eq(use.peak, 900);
    ck_assert_uint_eq(use.refused, 1); // trying counts none
    tw_account_change(account, TW_RESOURCE_STORED, 700);
    tw_account_change(account, TW_RESOURCE_STORED, -1200);
    ck_assert_uint_eq(tw_account_use(account, TW_RESOURCE_STORED).now, 0);
    ck_assert_uint_eq(tw_account_use(account, TW_RESOURCE_STORED).peak, 1200);
    tw_account_unref(account);
}

TW_TEST("the error of a refusal is the resource's") {
    struct tw_error err = {};
    struct tw_account *account = tw_account_new(7, &err);
    static const struct {
        enum tw_resource resource;
        enum tw_code code;
    } expected[] = {
        {TW_RESOURCE_CONCURRENT, TW_ERR_CONCURRENCY},
        {TW_RESOURCE_CPU_MEMORY, TW_ERR_QUOTA},
        {TW_RESOURCE_DEVICE_MEMORY, TW_ERR_CUDA_QUOTA},
        {TW_RESOURCE_FUNCTIONS, TW_ERR_QUOTA},
    };
    for (size_t i = 0; i < TW_COUNT(expected); i++) {
        tw_account_set_limit(account, expected[i].resource, 0);
        ck_assert(!tw_account_take(account, expected[i].resource, 1, &err));
        ck_assert_int_eq(err.code, expected[i].code);
    }
    tw_account_unref(account);
}

TW_TEST("overdrawn CPU time is paid back before anything begins") {
    struct tw_error err = {};
    struct tw_account *account = tw_account_new(7, &err);
    tw_account_charge_cpu(account, 3 * TW_NS_PER_S); // without a limit only the sum is kept
    tw_assert_ok(tw_account_may_compute(account, &err), &err);
    ck_assert_uint_eq(tw_account_cpu(account).now, 0);
    tw_account_set_cpu_limit(account, 1000);
    tw_assert_ok(tw_account_may_compute(account, &err), &err);
    tw_account_charge_cpu(account, 900 * TW_NS_PER_MS);
    tw_assert_ok(tw_account_may_compute(account, &err), &err); // 100 ms are left
    tw_account_charge_cpu(account, 1600 * TW_NS_PER_MS);
    ck_assert(!tw_account_may_compute(account, &err));
    ck_assert_int_eq(err.code, TW_ERR_RATE_LIMITED);
    // 2.5 s at 1 s a minute: 150 s until it is full, 90 s until it is not empty.
    ck_assert_uint_le(err.retry_after_s, 90);
    ck_assert_uint_ge(err.retry_after_s, 30);
    struct tw_account_cpu cpu = tw_account_cpu(account);
    ck_assert_uint_eq(cpu.limit, 1000);
    ck_assert_uint_le(cpu.now, 2500);
    ck_assert_uint_ge(cpu.peak, cpu.now);
    ck_assert_uint_eq(cpu.refused, 1);
    ck_assert_uint_eq(cpu.total_ms, 5500);
    tw_account_set_cpu_limit(account, 2000); // a new limit begins afresh
    tw_assert_ok(tw_account_may_compute(account, &err), &err);
    tw_account_set_cpu_limit(account, 0);
    ck_assert(!tw_account_may_compute(account, &err));
    tw_account_unref(account);
}

TW_TEST("CPU time comes back evenly") {
    struct tw_error err = {};
    struct tw_account *account = tw_account_new(7, &err);
    tw_account_set_cpu_limit(account, 600'000); // 10 ms a ms
    tw_account_charge_cpu(account, 601 * TW_NS_PER_S);
    int64_t start_ns = tw_clock_ns();
    while (!tw_account_may_compute(account, &err))
        ck_assert_int_lt(tw_clock_ns() - start_ns, 60 * TW_NS_PER_S);
    ck_assert_int_ge(tw_clock_ns() - start_ns, 90 * TW_NS_PER_MS); // 1 s overdrawn: 100 ms
    tw_account_charge_cpu(account, UINT64_MAX);                    // nonsense does not overflow
    ck_assert(!tw_account_may_compute(account, &err));
    tw_account_unref(account);
}

TW_TEST("no account is no limit") {
    struct tw_error err = {};
    tw_assert_ok(tw_account_take(NULL, TW_RESOURCE_CPU_MEMORY, UINT64_MAX, &err), &err);
    tw_account_give(NULL, TW_RESOURCE_CPU_MEMORY, UINT64_MAX);
    tw_account_charge_cpu(NULL, 1);
    tw_assert_ok(tw_account_may_compute(NULL, &err), &err);
    ck_assert_uint_eq(tw_account_weight(NULL), 1);
    ck_assert_ptr_null(tw_account_ref(NULL));
    tw_account_unref(NULL);
}

TW_TEST("a weight can be changed and references count") {
    struct tw_error err = {};
    struct tw_account *account = tw_account_new(UINT64_MAX, &err);
    ck_assert_uint_eq(tw_account_weight(account), 1);
    tw_account_set_weight(account, 1000);
    ck_assert_uint_eq(tw_account_weight(account), 1000);
    ck_assert(!tw_account_is_shared(account));
    ck_assert_ptr_eq(tw_account_ref(account), account);
    ck_assert(tw_account_is_shared(account));
    tw_account_unref(account);
    ck_assert_uint_eq(tw_account_tenant(account), UINT64_MAX);
    tw_account_unref(account);
}
