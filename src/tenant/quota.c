// SPDX-License-Identifier: Apache-2.0
//
// The table of tenants: what each may use, uses now, used at most, and was refused. One lock guards it: every
// step is a lookup and a few additions.
//
// The rate is a token bucket in its form without a counter (GCRA, ITU-T I.371): `next_ns` is when the next
// request would come at the steady rate; a request may come early by (burst - 1) intervals.

#include "telemetry/telemetry.h"
#include "tenant/internal.h"

static const struct {
    const char *name;
    uint64_t max;
} limits[TW_LIMIT_COUNT] = {
#define TW_LIMIT(id, name, max, help) {name, max},
#include "tenant/quota.def"
#undef TW_LIMIT
};

const char *tenant_limit_name(enum tw_limit limit) {
    return limits[limit].name;
}

uint64_t tenant_limit_max(enum tw_limit limit) {
    return limits[limit].max;
}

uint64_t tenant_limit(const struct tw_quotas *quotas, const struct tw_quota_tenant *tenant,
                      enum tw_limit limit) {
    return tenant && tenant->settings.is_own[limit] ? tenant->settings.limits[limit]
                                                    : quotas->options.limits[limit];
}

// ---- the table ----

static struct tw_span key_of(const uint64_t *id) {
    return tw_span_of(id, sizeof *id);
}

struct tw_quota_tenant *tenant_find_locked(const struct tw_quotas *quotas, uint64_t id) {
    return tw_map_find(&quotas->by_id, key_of(&id));
}

// Nothing would be lost by forgetting it but its peaks and refusals.
static bool is_idle(const struct tw_quota_tenant *tenant, int64_t now_ns) {
    bool is_used = tenant->has_record || tenant->next_ns > now_ns;
    for (unsigned i = 0; i < TW_LIMIT_COUNT; i++)
        is_used = is_used || tenant->use[i] > 0;
    return !is_used;
}

static void forget_one_locked(struct tw_quotas *quotas) {
    int64_t now_ns = tw_clock_ns();
    for (unsigned i = 0; i < TENANT_EVICT_STEPS; i++) {
        void *value;
        struct tw_span key;
        if (!tw_map_next(&quotas->by_id, &quotas->evict_position, &key, &value)) {
            quotas->evict_position = 0;
            continue;
        }
        struct tw_quota_tenant *tenant = value;
        if (is_idle(tenant, now_ns)) {
            tw_map_remove(&quotas->by_id, key_of(&tenant->id));
            free(tenant);
            return;
        }
    }
}

struct tw_quota_tenant *tenant_get_locked(struct tw_quotas *quotas, uint64_t id, struct tw_error *err) {
    struct tw_quota_tenant *tenant = tenant_find_locked(quotas, id);
    if (tenant)
        return tenant;
    if (quotas->by_id.count >= TENANT_TABLE_MAX)
        forget_one_locked(quotas);
    tenant = tw_alloc_zero(1, sizeof *tenant);
    if (tenant) {
        tenant->id = id;
        tenant->settings.weight = 1;
        if (tw_map_put(&quotas->by_id, key_of(&id), tenant))
            return tenant;
        free(tenant);
    }
    tw_fail(err, TW_ERR_CAPACITY, "no room for one more tenant; this server keeps %d", TENANT_TABLE_MAX);
    return NULL;
}

struct tw_quotas *tw_quotas_new(const struct tw_quotas_options *options, struct tw_error *err) {
    struct tw_quotas *quotas = tw_alloc_zero(1, sizeof *quotas);
    if (!quotas) {
        tw_fail(err, TW_ERR_CAPACITY, "out of memory");
        return NULL;
    }
    quotas->options = *options;
    tw_lock_init(&quotas->write_lock);
    tw_lock_init(&quotas->lock);
    tw_map_init(&quotas->by_id, TENANT_TABLE_MAX);
    if (!options->store || tenant_load_records(quotas, err))
        return quotas;
    tw_quotas_free(quotas);
    return NULL;
}

void tw_quotas_free(struct tw_quotas *quotas) {
    if (!quotas)
        return;
    size_t position = 0;
    void *value;
    struct tw_span key;
    while (tw_map_next(&quotas->by_id, &position, &key, &value))
        free(value);
    tw_map_done(&quotas->by_id);
    tw_lock_done(&quotas->lock);
    tw_lock_done(&quotas->write_lock);
    free(quotas);
}

// ---- taking and giving ----

static bool refuse(const struct tw_quotas *quotas, struct tw_quota_tenant *tenant, enum tw_limit limit,
                   uint64_t amount, struct tw_error *err) {
    uint64_t max = tenant_limit(quotas, tenant, limit), now = tenant->use[limit];
    tenant->refused[limit]++;
    if (limit == TW_LIMIT_REQUESTS || limit == TW_LIMIT_BURST)
        return tw_fail(err, TW_ERR_RATE_LIMITED,
                       "tenant %" PRIu64 " may start %" PRIu64 " calls a second; try again later", tenant->id,
                       max);
    if (limit == TW_LIMIT_CONCURRENT)
        return tw_fail(err, TW_ERR_CONCURRENCY,
                       "tenant %" PRIu64 " has %" PRIu64 " calls running, the limit is %" PRIu64
                       "; try again when one has ended",
                       tenant->id, now, max);
    return tw_fail(err, TW_ERR_QUOTA,
                   "tenant %" PRIu64 " has %" PRIu64 " %s, %" PRIu64 " more would pass the limit of %" PRIu64
                   "; delete some functions",
                   tenant->id, now, tenant_limit_name(limit), amount, max);
}

// The locked part of taking: nothing is changed but `refused` when it fails.
static bool take_locked(struct tw_quotas *quotas, struct tw_quota_tenant *tenant, enum tw_limit limit,
                        uint64_t amount, struct tw_lease *lease, struct tw_error *err) {
    uint64_t max = tenant_limit(quotas, tenant, limit), *use = &tenant->use[limit];
    if (amount > 0 && (*use > max || amount > max - *use))
        return refuse(quotas, tenant, limit, amount, err);
    *use += amount;
    if (*use > tenant->peak[limit])
        tenant->peak[limit] = *use;
    *lease = (struct tw_lease){quotas, tenant, limit, amount};
    return true;
}

static void count_refusal(uint64_t tenant, enum tw_limit limit) {
    struct tw_labels labels = tw_labels_tenant(tenant);
    labels.values[1] = tenant_limit_name(limit);
    tw_metric_add(TW_METRIC_TENANT_REFUSALS, labels, 1);
}

bool tw_quota_take(struct tw_quotas *quotas, uint64_t id, enum tw_limit limit, uint64_t amount,
                   struct tw_lease *ret_lease, struct tw_error *err) {
    *ret_lease = (struct tw_lease){};
    if (amount == 0)
        return true;
    tw_lock_take(&quotas->lock);
    struct tw_quota_tenant *tenant = tenant_get_locked(quotas, id, err);
    bool ok = tenant && take_locked(quotas, tenant, limit, amount, ret_lease, err);
    tw_lock_give(&quotas->lock);
    if (tenant && !ok)
        count_refusal(id, limit);
    return ok;
}

// May a request come now? Its new `next_ns` if so.
static bool rate_allows(const struct tw_quotas *quotas, const struct tw_quota_tenant *tenant, int64_t now_ns,
                        int64_t *ret_next_ns) {
    uint64_t rate = tenant_limit(quotas, tenant, TW_LIMIT_REQUESTS);
    uint64_t burst = tenant_limit(quotas, tenant, TW_LIMIT_BURST);
    *ret_next_ns = tenant->next_ns;
    if (rate == TW_UNLIMITED)
        return true;
    if (rate == 0 || burst == 0)
        return false;
    int64_t interval_ns = TW_NS_PER_S / (int64_t)rate;
    int64_t early_ns = ((int64_t)(burst == TW_UNLIMITED ? rate : burst) - 1) * interval_ns;
    int64_t next_ns = tenant->next_ns > now_ns ? tenant->next_ns : now_ns;
    *ret_next_ns = next_ns + interval_ns;
    return next_ns - now_ns <= early_ns;
}

bool tw_quota_admit(struct tw_quotas *quotas, uint64_t id, struct tw_lease *ret_lease, struct tw_error *err) {
    *ret_lease = (struct tw_lease){};
    enum tw_limit refused = TW_LIMIT_CONCURRENT;
    int64_t next_ns;
    tw_lock_take(&quotas->lock);
    struct tw_quota_tenant *tenant = tenant_get_locked(quotas, id, err);
    bool ok = tenant;
    if (tenant && !rate_allows(quotas, tenant, tw_clock_ns(), &next_ns)) {
        refused = TW_LIMIT_REQUESTS;
        ok = refuse(quotas, tenant, refused, 1, err);
    }
    ok = ok && take_locked(quotas, tenant, TW_LIMIT_CONCURRENT, 1, ret_lease, err);
    if (ok)
        tenant->next_ns = next_ns;
    tw_lock_give(&quotas->lock);
    if (tenant && !ok)
        count_refusal(id, refused);
    return ok;
}

static void give_locked(struct tw_lease *lease) {
    lease->tenant->use[lease->limit] -= lease->amount;
    *lease = (struct tw_lease){};
}

void tw_quota_give(struct tw_lease *lease) {
    if (!lease->tenant)
        return;
    struct tw_quotas *quotas = lease->quotas;
    TW_LOCK_SCOPE(&quotas->lock);
    give_locked(lease);
}

bool tw_quota_settle(struct tw_quotas *quotas, uint64_t id, enum tw_limit limit, int64_t delta,
                     struct tw_lease *lease, struct tw_error *err) {
    TW_LOCK_SCOPE(&quotas->lock);
    struct tw_quota_tenant *tenant = tenant_get_locked(quotas, id, err);
    if (!tenant)
        return false;
    if (lease && lease->tenant)
        give_locked(lease);
    uint64_t *use = &tenant->use[limit];
    uint64_t less = delta < 0 ? (uint64_t)-delta : 0;
    *use = delta < 0 ? *use - (less < *use ? less : *use) : *use + (uint64_t)delta;
    if (*use > tenant->peak[limit])
        tenant->peak[limit] = *use;
    return true;
}

struct tw_quota_use tw_quota_use(struct tw_quotas *quotas, uint64_t id, enum tw_limit limit) {
    TW_LOCK_SCOPE(&quotas->lock);
    const struct tw_quota_tenant *tenant = tenant_find_locked(quotas, id);
    struct tw_quota_use use = {.limit = tenant_limit(quotas, tenant, limit)};
    if (tenant) {
        use.now = tenant->use[limit];
        use.peak = tenant->peak[limit];
        use.refused = tenant->refused[limit];
    }
    return use;
}
