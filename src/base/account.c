// SPDX-License-Identifier: Apache-2.0
//
// Accounts. Every number is an atomic of its own: a taker compares and swaps, so that no two can pass a limit
// together. Peaks and refusals may lag by a moment.
//
// The bucket of CPU time has no counter (GCRA, ITU-T I.371): `full_ns` is when it will be full again. A
// charge moves it by the time the bucket needs to fill that much; it is empty while `full_ns` lies more than
// a minute ahead.

#include "base/account.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/ref.h"

#define MINUTE_NS       (60 * TW_NS_PER_S)
#define BUCKET_AHEAD_NS (366LL * 24 * 3600 * TW_NS_PER_S) // nobody waits longer; keeps sums far from overflow

static const struct {
    const char *name;
    enum tw_code code;
} resources[TW_RESOURCE_COUNT] = {
#define TW_RESOURCE(id, name, code, help) {name, TW_ERR_##code},
#include "base/account.def"
#undef TW_RESOURCE
};

struct cell {
    _Atomic uint64_t limit, now, peak, refused;
};

struct tw_account {
    struct tw_ref ref;
    uint64_t tenant; // frozen
    _Atomic uint32_t weight;
    struct cell cells[TW_RESOURCE_COUNT];
    _Atomic uint64_t cpu_ns, cpu_limit_ms, cpu_refused, cpu_peak_ms;
    _Atomic int64_t full_ns;
};

const char *tw_resource_name(enum tw_resource resource) {
    return resources[resource].name;
}

struct tw_account *tw_account_new(uint64_t tenant, struct tw_error *err) {
    struct tw_account *account = tw_alloc_zero(1, sizeof *account);
    if (!account) {
        tw_fail(err, TW_ERR_CAPACITY, "no memory for a tenant's account");
        return NULL;
    }
    tw_ref_init(&account->ref);
    account->tenant = tenant;
    atomic_init(&account->weight, 1);
    atomic_init(&account->cpu_limit_ms, TW_UNLIMITED);
    for (unsigned i = 0; i < TW_RESOURCE_COUNT; i++)
        atomic_init(&account->cells[i].limit, TW_UNLIMITED);
    return account;
}

struct tw_account *tw_account_ref(struct tw_account *account) {
    if (account)
        tw_ref_up(&account->ref);
    return account;
}

void tw_account_unref(struct tw_account *account) {
    if (account && tw_ref_down(&account->ref))
        free(account);
}

bool tw_account_is_shared(const struct tw_account *account) {
    return tw_ref_is_shared(&account->ref);
}

uint64_t tw_account_tenant(const struct tw_account *account) {
    return account->tenant;
}

uint32_t tw_account_weight(const struct tw_account *account) {
    return account ? atomic_load_explicit(&account->weight, memory_order_relaxed) : 1;
}

void tw_account_set_weight(struct tw_account *account, uint32_t weight) {
    atomic_store_explicit(&account->weight, weight, memory_order_relaxed);
}

// ---- what is held ----

static uint64_t get(const _Atomic uint64_t *value) {
    return atomic_load_explicit(value, memory_order_relaxed);
}

static void raise_to(_Atomic uint64_t *peak, uint64_t value) {
    uint64_t now = get(peak);
    while (now < value && !atomic_compare_exchange_weak_explicit(peak, &now, value, memory_order_relaxed,
                                                                 memory_order_relaxed))
        ;
}

void tw_account_set_limit(struct tw_account *account, enum tw_resource resource, uint64_t limit) {
    atomic_store_explicit(&account->cells[resource].limit, limit, memory_order_relaxed);
}

bool tw_account_try(struct tw_account *account, enum tw_resource resource, uint64_t amount) {
    if (!account)
        return true;
    struct cell *cell = &account->cells[resource];
    uint64_t limit = get(&cell->limit), now = get(&cell->now);
    do {
        if (now > limit || amount > limit - now)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&cell->now, &now, now + amount, memory_order_relaxed,
                                                    memory_order_relaxed));
    raise_to(&cell->peak, now + amount);
    return true;
}

bool tw_account_take(struct tw_account *account, enum tw_resource resource, uint64_t amount,
                     struct tw_error *err) {
    if (tw_account_try(account, resource, amount))
        return true;
    struct cell *cell = &account->cells[resource];
    atomic_fetch_add_explicit(&cell->refused, 1, memory_order_relaxed);
    return tw_fail(err, resources[resource].code,
                   "tenant %" PRIu64 " uses %" PRIu64 " of its %" PRIu64 " %s and asks for %" PRIu64
                   " more; free some, or have the limit raised",
                   account->tenant, get(&cell->now), get(&cell->limit), resources[resource].name, amount);
}

void tw_account_give(struct tw_account *account, enum tw_resource resource, uint64_t amount) {
    if (!account)
        return;
    // Releases what its holder did with the account: whoever finds nothing held may free it.
    uint64_t before = atomic_fetch_sub_explicit(&account->cells[resource].now, amount, memory_order_release);
    TW_ASSERT(before >= amount);
}

void tw_account_change(struct tw_account *account, enum tw_resource resource, int64_t delta) {
    if (!account)
        return;
    if (delta < 0) {
        tw_account_give(account, resource, -(uint64_t)delta);
        return;
    }
    struct cell *cell = &account->cells[resource];
    uint64_t before = atomic_fetch_add_explicit(&cell->now, (uint64_t)delta, memory_order_relaxed);
    raise_to(&cell->peak, before + (uint64_t)delta);
}

struct tw_account_use tw_account_use(const struct tw_account *account, enum tw_resource resource) {
    const struct cell *cell = &account->cells[resource];
    return (struct tw_account_use){.limit = get(&cell->limit),
                                   .now = atomic_load_explicit(&cell->now, memory_order_acquire),
                                   .peak = get(&cell->peak),
                                   .refused = get(&cell->refused)};
}

// ---- CPU time ----

// How long the bucket takes to fill by `cpu_ns`.
static int64_t filling_ns(uint64_t cpu_ns, uint64_t limit_ms) {
    double ns = (double)cpu_ns * ((double)MINUTE_NS / ((double)limit_ms * (double)TW_NS_PER_MS));
    return ns < (double)BUCKET_AHEAD_NS ? (int64_t)ns : BUCKET_AHEAD_NS;
}

// What the time until the bucket is full is worth, in ms.
static uint64_t owed_ms(int64_t ahead_ns, uint64_t limit_ms) {
    return ahead_ns > 0 ? (uint64_t)((double)limit_ms * (double)ahead_ns / (double)MINUTE_NS + 0.5) : 0;
}

void tw_account_charge_cpu(struct tw_account *account, uint64_t cpu_ns) {
    if (!account || cpu_ns == 0)
        return;
    atomic_fetch_add_explicit(&account->cpu_ns, cpu_ns, memory_order_relaxed);
    uint64_t limit_ms = get(&account->cpu_limit_ms);
    if (limit_ms == TW_UNLIMITED || limit_ms == 0)
        return;
    int64_t now_ns = tw_clock_ns(), more_ns = filling_ns(cpu_ns, limit_ms), next_ns;
    int64_t full_ns = atomic_load_explicit(&account->full_ns, memory_order_relaxed);
    do {
        next_ns = (full_ns > now_ns ? full_ns : now_ns) + more_ns;
        if (next_ns > now_ns + BUCKET_AHEAD_NS)
            next_ns = now_ns + BUCKET_AHEAD_NS;
    } while (!atomic_compare_exchange_weak_explicit(&account->full_ns, &full_ns, next_ns,
                                                    memory_order_relaxed, memory_order_relaxed));
    raise_to(&account->cpu_peak_ms, owed_ms(next_ns - now_ns, limit_ms));
}

bool tw_account_may_compute(struct tw_account *account, struct tw_error *err) {
    uint64_t limit_ms = account ? get(&account->cpu_limit_ms) : TW_UNLIMITED;
    if (limit_ms == TW_UNLIMITED)
        return true;
    int64_t ahead_ns = atomic_load_explicit(&account->full_ns, memory_order_relaxed) - tw_clock_ns();
    if (limit_ms > 0 && ahead_ns < MINUTE_NS)
        return true;
    atomic_fetch_add_explicit(&account->cpu_refused, 1, memory_order_relaxed);
    if (limit_ms == 0)
        return tw_fail(err, TW_ERR_RATE_LIMITED,
                       "tenant %" PRIu64 " has no cpu_ms_per_minute; have the limit raised", account->tenant);
    tw_fail(err, TW_ERR_RATE_LIMITED,
            "tenant %" PRIu64 " has used up its %" PRIu64
            " cpu_ms_per_minute; wait as long as Retry-After says, or have the limit raised",
            account->tenant, limit_ms);
    return tw_retry_after(err, ahead_ns - MINUTE_NS);
}

void tw_account_set_cpu_limit(struct tw_account *account, uint64_t limit_ms_per_minute) {
    atomic_store_explicit(&account->cpu_limit_ms, limit_ms_per_minute, memory_order_relaxed);
    atomic_store_explicit(&account->full_ns, 0, memory_order_relaxed);
}

struct tw_account_cpu tw_account_cpu(const struct tw_account *account) {
    uint64_t limit_ms = get(&account->cpu_limit_ms);
    int64_t ahead_ns = atomic_load_explicit(&account->full_ns, memory_order_relaxed) - tw_clock_ns();
    return (struct tw_account_cpu){.limit = limit_ms,
                                   .now = limit_ms == TW_UNLIMITED ? 0 : owed_ms(ahead_ns, limit_ms),
                                   .peak = get(&account->cpu_peak_ms),
                                   .refused = get(&account->cpu_refused),
                                   .total_ms = get(&account->cpu_ns) / (uint64_t)TW_NS_PER_MS};
}
