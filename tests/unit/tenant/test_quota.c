// SPDX-License-Identifier: Apache-2.0
//
// Limits and use of tenants: nothing leaks, nothing passes a limit, settings survive.

#include "harness/test.h"

#include "store/store.h"
#include "tenant/tenant.h"

static struct tw_error err;

static struct tw_quotas *quotas_of(uint64_t concurrent, uint64_t rate, uint64_t burst,
                                   struct tw_store *store) {
    struct tw_quotas_options options = {.store = store};
    for (unsigned i = 0; i < TW_LIMIT_COUNT; i++)
        options.limits[i] = TW_UNLIMITED;
    options.limits[TW_LIMIT_CONCURRENT] = concurrent;
    options.limits[TW_LIMIT_REQUESTS] = rate;
    options.limits[TW_LIMIT_BURST] = burst;
    struct tw_quotas *quotas = tw_quotas_new(&options, &err);
    tw_assert_ok(quotas, &err);
    return quotas;
}

static enum tw_code set(struct tw_quotas *quotas, uint64_t tenant, const char *json) {
    struct tw_buf out;
    tw_buf_init(&out, 4096);
    err = (struct tw_error){};
    struct tw_json *root = tw_json_parse(tw_span_of(json, strlen(json)), &err);
    ck_assert_ptr_nonnull(root);
    bool ok = tw_quotas_set(quotas, tenant, root, &out, &err);
    tw_json_free(root);
    tw_buf_done(&out);
    return ok ? TW_OK : err.code;
}

TW_TEST("a lease given back twice is given back once") {
    struct tw_quotas *quotas = quotas_of(2, TW_UNLIMITED, TW_UNLIMITED, NULL);
    struct tw_lease a, b, c;
    tw_assert_ok(tw_quota_admit(quotas, 7, &a, &err), &err);
    tw_assert_ok(tw_quota_admit(quotas, 7, &b, &err), &err);
    ck_assert(!tw_quota_admit(quotas, 7, &c, &err));
    ck_assert_int_eq(err.code, TW_ERR_CONCURRENCY);
    tw_quota_give(&c); // holds nothing
    tw_assert_ok(tw_quota_admit(quotas, 8, &c, &err), &err);
    tw_quota_give(&a);
    tw_quota_give(&a);
    ck_assert_uint_eq(tw_quota_use(quotas, 7, TW_LIMIT_CONCURRENT).now, 1);
    tw_quota_give(&b);
    tw_quota_give(&c);
    struct tw_account_use use = tw_quota_use(quotas, 7, TW_LIMIT_CONCURRENT);
    ck_assert_uint_eq(use.now, 0);
    ck_assert_uint_eq(use.peak, 2);
    ck_assert_uint_eq(use.refused, 1);
    ck_assert_uint_eq(use.limit, 2);
    tw_quotas_free(quotas);
}

enum { THREADS = 8, ROUNDS = 20000, TENANTS = 3, CONCURRENT = 4 };
struct crowd {
    struct tw_quotas *quotas;
    struct tw_counter inside[TENANTS], taken, passed_limit;
};

static void *mix(void *context) {
    struct crowd *crowd = context;
    unsigned seed = (unsigned)tw_counter_add(&crowd->taken, 1);
    for (unsigned i = 0; i < ROUNDS; i++) {
        seed = seed * 1103515245 + 12345;
        uint64_t tenant = (seed >> 16) % TENANTS;
        struct tw_error error;
        struct tw_lease call, bytes;
        bool has_call = tw_quota_admit(crowd->quotas, tenant, &call, &error);
        if (has_call && tw_counter_add(&crowd->inside[tenant], 1) >= CONCURRENT)
            tw_counter_add(&crowd->passed_limit, 1);
        if (tw_quota_take(crowd->quotas, tenant, TW_RESOURCE_STORED, seed % 1000, &bytes, &error) &&
            seed % 3 == 0)
            // Kept, then deleted.
            if (tw_quota_settle(crowd->quotas, tenant, TW_RESOURCE_STORED, seed % 1000, &bytes, &error) &&
                !tw_quota_settle(crowd->quotas, tenant, TW_RESOURCE_STORED, -(int64_t)(seed % 1000), NULL,
                                 &error))
                abort();
        tw_quota_give(&bytes);
        if (has_call)
            tw_counter_add(&crowd->inside[tenant], -1);
        tw_quota_give(&call);
    }
    return NULL;
}

TW_TEST("after any mix of threads nothing is used and no limit was passed") {
    struct crowd crowd = {.quotas = quotas_of(CONCURRENT, TW_UNLIMITED, TW_UNLIMITED, NULL)};
    for (uint64_t i = 0; i < TENANTS; i++)
        ck_assert_int_eq(set(crowd.quotas, i, "{\"limits\":{\"stored_bytes\":1500}}"), TW_OK);
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, mix, &crowd), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(tw_counter_get(&crowd.passed_limit), 0);
    for (uint64_t i = 0; i < TENANTS; i++) {
        ck_assert_uint_eq(tw_quota_use(crowd.quotas, i, TW_LIMIT_CONCURRENT).now, 0);
        ck_assert_uint_le(tw_quota_use(crowd.quotas, i, TW_LIMIT_CONCURRENT).peak, CONCURRENT);
        ck_assert_uint_eq(tw_quota_use(crowd.quotas, i, TW_LIMIT_STORED).now, 0);
        ck_assert_uint_le(tw_quota_use(crowd.quotas, i, TW_LIMIT_STORED).peak, 1500);
        ck_assert_uint_gt(tw_quota_use(crowd.quotas, i, TW_LIMIT_STORED).peak, 0);
    }
    tw_quotas_free(crowd.quotas);
}

TW_TEST("the rate lets a burst through, then the steady rate") {
    struct tw_quotas *quotas = quotas_of(TW_UNLIMITED, 50, 10, NULL);
    struct tw_lease lease;
    int64_t start_ns = tw_clock_ns();
    unsigned passed = 0;
    while (passed < 28) {
        if (tw_quota_admit(quotas, 1, &lease, &err))
            passed++;
        else
            ck_assert_int_eq(err.code, TW_ERR_RATE_LIMITED);
        tw_quota_give(&lease);
    }
    double seconds = (double)(tw_clock_ns() - start_ns) * 1e-9;
    // 10 at once, then one every 20 ms, as far as this thread was there to take it.
    ck_assert_uint_le(passed, (unsigned)(10 + 50 * seconds + 1));
    ck_assert_uint_gt(tw_quota_use(quotas, 1, TW_LIMIT_REQUESTS).refused, 0);
    tw_assert_ok(tw_quota_admit(quotas, 2, &lease, &err), &err); // another tenant's is untouched
    tw_quota_give(&lease);
    tw_quotas_free(quotas);
}

TW_TEST("a call refused for concurrency costs none of the rate") {
    struct tw_quotas *quotas = quotas_of(1, 1, 2, NULL);
    struct tw_lease first, second;
    tw_assert_ok(tw_quota_admit(quotas, 1, &first, &err), &err);
    for (unsigned i = 0; i < 5; i++) {
        ck_assert(!tw_quota_admit(quotas, 1, &second, &err));
        ck_assert_int_eq(err.code, TW_ERR_CONCURRENCY);
    }
    tw_quota_give(&first);
    tw_assert_ok(tw_quota_admit(quotas, 1, &second, &err), &err);
    tw_quota_give(&second);
    ck_assert(!tw_quota_admit(quotas, 1, &second, &err));
    ck_assert_int_eq(err.code, TW_ERR_RATE_LIMITED);
    tw_quotas_free(quotas);
}

TW_TEST("settings survive in the store, and default goes back to the server's") {
    struct tw_store *store = tw_store_open(":memory:", &err);
    tw_assert_ok(store, &err);
    struct tw_quotas *quotas = quotas_of(5, TW_UNLIMITED, TW_UNLIMITED, store);
    ck_assert_int_eq(set(quotas, 7,
                         "{\"name\":\"Zoë\",\"weight\":3,\"limits\":{\"functions\":2,"
                         "\"concurrent_invocations\":null}}"),
                     TW_OK);
    ck_assert_int_eq(set(quotas, 7, "{\"limits\":{\"stored_bytes\":0}}"), TW_OK);
    tw_quotas_free(quotas);
    quotas = quotas_of(5, TW_UNLIMITED, TW_UNLIMITED, store);
    ck_assert_uint_eq(tw_quota_use(quotas, 7, TW_LIMIT_FUNCTIONS).limit, 2);
    ck_assert_uint_eq(tw_quota_use(quotas, 7, TW_LIMIT_STORED).limit, 0);
    ck_assert_uint_eq(tw_quota_use(quotas, 7, TW_LIMIT_CONCURRENT).limit, TW_UNLIMITED);
    struct tw_lease lease;
    ck_assert(!tw_quota_take(quotas, 7, TW_RESOURCE_STORED, 1, &lease, &err));
    ck_assert_int_eq(err.code, TW_ERR_QUOTA);
    struct tw_buf out;
    tw_buf_init(&out, 65536);
    tw_assert_ok(tw_quotas_list(quotas, TW_STR(""), 0, &out, &err), &err);
    struct tw_json *root = tw_json_parse(tw_buf_span(&out), &err);
    const struct tw_json *tenants = tw_json_get(root, "tenants"), *tenant = tw_json_at(tenants, 0);
    ck_assert_uint_eq(tw_json_count(tenants), 1);
    ck_assert(tw_str_equal(tw_json_str(tw_json_get(tenant, "name")), TW_STR("Zoë")));
    ck_assert_int_eq(tw_json_int(tw_json_get(tenant, "weight")), 3);
    ck_assert_uint_eq(tw_json_count(tw_json_get(tenant, "own")), 3);
    tw_json_free(root);
    tw_buf_done(&out);
    ck_assert_int_eq(set(quotas, 7, "{\"limits\":{\"concurrent_invocations\":\"default\"}}"), TW_OK);
    ck_assert_uint_eq(tw_quota_use(quotas, 7, TW_LIMIT_CONCURRENT).limit, 5);
    tw_quotas_free(quotas);
    tw_store_close(store);
}

TW_TEST("wrong settings change nothing") {
    struct tw_quotas *quotas = quotas_of(5, TW_UNLIMITED, TW_UNLIMITED, NULL);
    static const char *const bad[] = {
        "[]",
        "{\"limits\":[]}",
        "{\"limits\":{\"functions\":1,\"cats\":1}}",
        "{\"limits\":{\"functions\":-1}}",
        "{\"limits\":{\"functions\":1.5}}",
        "{\"limits\":{\"requests_per_s\":1000001}}",
        "{\"limits\":{\"functions\":\"none\"}}",
        "{\"weight\":0}",
        "{\"weight\":1001}",
        "{\"weight\":\"2\"}",
        "{\"name\":\"a\\u0007b\"}",
        "{\"name\":5}",
        "{\"colour\":\"red\"}",
        "{\"name\":\"0123456789012345678901234567890123456789012345678901234567890123x\"}",
    };
    for (size_t i = 0; i < TW_COUNT(bad); i++)
        ck_assert_msg(set(quotas, 7, bad[i]) == TW_ERR_INVALID_REQUEST, "%s", bad[i]);
    ck_assert_uint_eq(tw_quota_use(quotas, 7, TW_LIMIT_FUNCTIONS).limit, TW_UNLIMITED);
    tw_quotas_free(quotas);
}

TW_TEST("the table forgets idle tenants and keeps those with a record") {
    struct tw_quotas *quotas = quotas_of(TW_UNLIMITED, TW_UNLIMITED, TW_UNLIMITED, NULL);
    struct tw_lease lease;
    ck_assert_int_eq(set(quotas, 7, "{\"limits\":{\"functions\":2}}"), TW_OK);
    for (uint64_t i = 1000; i < 1000 + 150000; i++) {
        ck_assert_msg(tw_quota_admit(quotas, i, &lease, &err), "tenant %" PRIu64, i);
        tw_quota_give(&lease);
    }
    ck_assert_uint_eq(tw_quota_use(quotas, 7, TW_LIMIT_FUNCTIONS).limit, 2);
    ck_assert_uint_eq(tw_quota_use(quotas, 1000 + 149999, TW_LIMIT_CONCURRENT).peak, 1);
    tw_quotas_free(quotas);
}

TW_TEST("pages of tenants are sorted and whole") {
    struct tw_quotas *quotas = quotas_of(5, TW_UNLIMITED, TW_UNLIMITED, NULL);
    for (uint64_t i = 0; i < 25; i++)
        ck_assert_int_eq(set(quotas, i * 7 % 25, "{}"), TW_OK);
    char cursor[32] = "";
    uint64_t next = 0;
    for (unsigned page = 0; page < 3; page++) {
        struct tw_buf out;
        tw_buf_init(&out, 1 << 20);
        tw_assert_ok(tw_quotas_list(quotas, tw_str_from(cursor), 10, &out, &err), &err);
        struct tw_json *root = tw_json_parse(tw_buf_span(&out), &err);
        const struct tw_json *tenants = tw_json_get(root, "tenants");
        ck_assert_uint_eq(tw_json_count(tenants), page < 2 ? 10 : 5);
        for (size_t i = 0; i < tw_json_count(tenants); i++) {
            char id[24];
            snprintf(id, sizeof id, "%" PRIu64, next++);
            ck_assert(tw_str_equal(tw_json_str(tw_json_get(tw_json_at(tenants, i), "id")), tw_str_from(id)));
        }
        snprintf(cursor, sizeof cursor, "%.*s", TW_STR_ARG(tw_json_str(tw_json_get(root, "next"))));
        tw_json_free(root);
        tw_buf_done(&out);
    }
    ck_assert_str_eq(cursor, "");
    tw_quotas_free(quotas);
}
