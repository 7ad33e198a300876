// SPDX-License-Identifier: Apache-2.0
//
// Admission, and what is held. One lock guards the table of tenants: every step is a lookup and a few
// additions. What a tenant holds lies in its account, which other rooms change under no lock of ours.
//
// The rate is a token bucket in its form without a counter (GCRA, ITU-T I.371): `next_ns` is when the next
// request would come at the steady rate; a request may come early by (burst - 1) intervals.

#include "telemetry/telemetry.h"
#include "tenant/internal.h"

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
    tw_metrics_on_collect(tenant_publish, quotas);
    if (!options->store || tenant_load_records(quotas, err))
        return quotas;
    tw_quotas_free(quotas);
    return NULL;
}

void tw_quotas_free(struct tw_quotas *quotas) {
    if (!quotas)
        return;
    tw_metrics_off_collect(tenant_publish, quotas);
    size_t position = 0;
    void *value;
    struct tw_span key;
    while (tw_map_next(&quotas->by_id, &position, &key, &value))
        tenant_entry_free(value);
    tw_map_done(&quotas->by_id);
    tw_lock_done(&quotas->lock);
    tw_lock_done(&quotas->write_lock);
    free(quotas);
}

// ---- taking and giving ----

struct tw_account *tw_quota_account(struct tw_quotas *quotas, uint64_t id, struct tw_error *err) {
    TW_LOCK_SCOPE(&quotas->lock);
    struct tenant_entry *tenant = tenant_get_locked(quotas, id, err);
    return tenant ? tw_account_ref(tenant->account) : NULL;
}

static bool take(struct tw_account *account, enum tw_resource resource, uint64_t amount,
                 struct tw_lease *ret_lease, struct tw_error *err) {
    if (!tw_account_take(account, resource, amount, err))
        return false;
    *ret_lease = (struct tw_lease){account, resource, amount};
    return true;
}

bool tw_quota_take(struct tw_quotas *quotas, uint64_t id, enum tw_resource resource, uint64_t amount,
                   struct tw_lease *ret_lease, struct tw_error *err) {
    *ret_lease = (struct tw_lease){};
    if (amount == 0)
        return true;
    TW_LOCK_SCOPE(&quotas->lock);
    struct tenant_entry *tenant = tenant_get_locked(quotas, id, err);
    return tenant && take(tenant->account, resource, amount, ret_lease, err);
}

// May a request come now? Its new `next_ns` if so, else how long to wait (0: for ever).
static bool rate_allows(const struct tw_quotas *quotas, const struct tenant_entry *tenant,
                        int64_t *ret_next_ns, int64_t *ret_wait_ns) {
    uint64_t rate = tenant_limit(quotas, tenant, TW_LIMIT_REQUESTS);
    uint64_t burst = tenant_limit(quotas, tenant, TW_LIMIT_BURST);
    *ret_next_ns = tenant->next_ns;
    *ret_wait_ns = 0;
    if (rate == TW_UNLIMITED)
        return true;
    if (rate == 0 || burst == 0)
        return false;
    int64_t now_ns = tw_clock_ns(), interval_ns = TW_NS_PER_S / (int64_t)rate;
    int64_t early_ns = ((int64_t)(burst == TW_UNLIMITED ? rate : burst) - 1) * interval_ns;
    int64_t next_ns = tenant->next_ns > now_ns ? tenant->next_ns : now_ns;
    *ret_next_ns = next_ns + interval_ns;
    *ret_wait_ns = next_ns - now_ns - early_ns;
    return *ret_wait_ns <= 0;
}

static bool check_rate(const struct tw_quotas *quotas, struct tenant_entry *tenant, int64_t *ret_next_ns,
                       struct tw_error *err) {
    int64_t wait_ns;
    if (rate_allows(quotas, tenant, ret_next_ns, &wait_ns))
        return true;
    tenant->rate_refused++;
    tw_fail(err, TW_ERR_RATE_LIMITED,
            "tenant %" PRIu64 " may start %" PRIu64 " calls a second; try again later", tenant->id,
            tenant_limit(quotas, tenant, TW_LIMIT_REQUESTS));
    return wait_ns ? tw_retry_after(err, wait_ns) : false;
}

bool tw_quota_admit(struct tw_quotas *quotas, uint64_t id, struct tw_lease *ret_lease, struct tw_error *err) {
    *ret_lease = (struct tw_lease){};
    int64_t next_ns;
    TW_LOCK_SCOPE(&quotas->lock);
    struct tenant_entry *tenant = tenant_get_locked(quotas, id, err);
    if (!tenant || !check_rate(quotas, tenant, &next_ns, err) ||
        !tw_account_may_compute(tenant->account, err) ||
        !take(tenant->account, TW_RESOURCE_CONCURRENT, 1, ret_lease, err))
        return false;
    tenant->next_ns = next_ns;
    return true;
}

void tw_quota_give(struct tw_lease *lease) {
    tw_account_give(lease->account, lease->resource, lease->amount);
    *lease = (struct tw_lease){};
}

bool tw_quota_settle(struct tw_quotas *quotas, uint64_t id, enum tw_resource resource, int64_t delta,
                     struct tw_lease *lease, struct tw_error *err) {
    TW_LOCK_SCOPE(&quotas->lock);
    struct tenant_entry *tenant = tenant_get_locked(quotas, id, err);
    if (!tenant)
        return false;
    if (lease)
        delta -= (int64_t)lease->amount;
    tw_account_change(tenant->account, resource, delta);
    if (lease)
        *lease = (struct tw_lease){};
    return true;
}

uint32_t tw_quota_weight(struct tw_quotas *quotas, uint64_t id) {
    TW_LOCK_SCOPE(&quotas->lock);
    const struct tenant_entry *tenant = tenant_find_locked(quotas, id);
    return tenant ? tw_account_weight(tenant->account) : 1;
}

struct tw_account_use tw_quota_use(struct tw_quotas *quotas, uint64_t id, enum tw_limit limit) {
    TW_LOCK_SCOPE(&quotas->lock);
    const struct tenant_entry *tenant = tenant_find_locked(quotas, id);
    struct tw_account_use use = tenant ? tenant_use(tenant, limit) : (struct tw_account_use){};
    use.limit = tenant_limit(quotas, tenant, limit);
    return use;
}
