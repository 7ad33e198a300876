// SPDX-License-Identifier: Apache-2.0
//
// Who may hold how much of what all bodies may take together.

#include "harness/test.h"

#include "internal.h"

enum { TENANTS = 5, THREADS = 4, ROUNDS = 20000 };

static struct http_shares shares;
static struct tw_error err;

static int64_t take_all(uint64_t tenant) {
    int64_t taken = 0;
    while (http_shares_take(&shares, tenant, 1, &err))
        taken++;
    return taken;
}

TW_TEST("a tenant takes no more than it leaves, however many there are") {
    static const int64_t wanted[TENANTS] = {512, 256, 128, 64,
                                            32}; // of 1,024, each one half of what it finds
    http_shares_init(&shares, 1024);
    for (uint64_t i = 0; i < TENANTS; i++) {
        ck_assert_int_eq(take_all(i), wanted[i]);
        ck_assert_int_eq(err.code, TW_ERR_QUOTA);
        ck_assert_ptr_nonnull(strstr(err.message, "are left for all"));
    }
    ck_assert(!http_shares_take(&shares, TENANTS, 33, &err)); // above what is left
    ck_assert_int_eq(err.code, TW_ERR_CAPACITY);
    http_shares_give(&shares, 0, 512);
    ck_assert_int_eq(take_all(4), 256); // 544 were left: 288 and 288
    for (uint64_t i = 1; i < 4; i++)
        http_shares_give(&shares, i, wanted[i]);
    http_shares_give(&shares, 4, 288);
    ck_assert_int_eq(shares.total, 0);
    ck_assert_uint_eq(shares.held.count, 0);
    http_shares_done(&shares);
}

TW_TEST("nothing taken and nothing given back is nothing") {
    http_shares_init(&shares, 10);
    ck_assert(http_shares_take(&shares, 7, 0, &err));
    http_shares_give(&shares, 7, 0);
    ck_assert_uint_eq(shares.held.count, 0);
    ck_assert(http_shares_take(&shares, 7, 5, &err));
    ck_assert(!http_shares_take(&shares, 7, 1, &err));
    ck_assert(http_shares_take(&shares, 7, 0, &err));
    http_shares_give(&shares, 7, 5);
    http_shares_done(&shares);
}

static void *mix(void *own) {
    uint64_t tenant = *(uint64_t *)own, state = tenant + 1;
    int64_t held = 0;
    struct tw_error ignored;
    for (int i = 0; i < ROUNDS; i++) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        int64_t bytes = (int64_t)(state >> 60);
        if (state >> 59 & 1 && held) {
            http_shares_give(&shares, tenant, held);
            held = 0;
        } else if (http_shares_take(&shares, tenant, bytes, &ignored)) {
            held += bytes;
        }
    }
    http_shares_give(&shares, tenant, held);
    return NULL;
}

TW_TEST("after any mix of threads nothing is held") {
    pthread_t threads[THREADS];
    uint64_t tenants[THREADS] = {1, 2, 3, 1};
    http_shares_init(&shares, 100);
    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, mix, &tenants[i]), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(shares.total, 0);
    ck_assert_uint_eq(shares.held.count, 0);
    http_shares_done(&shares);
}
