// SPDX-License-Identifier: Apache-2.0
//
// The table of tenants: the settings and the account of each. Its callers hold the lock. Where room is wanted, one
// is forgotten by which nothing is lost.

#include "tenant/internal.h"

static struct tw_span key_of(const uint64_t *id) {
    return tw_span_of(id, sizeof *id);
}

struct tenant_entry *tenant_find_locked(const struct tw_quotas *quotas, uint64_t id) {
    return tw_map_find(&quotas->by_id, key_of(&id));
}

// Nothing would be lost by forgetting it but its peaks and refusals.
static bool is_idle(const struct tenant_entry *tenant, int64_t now_ns) {
    bool is_used = tenant->has_record || tenant->next_ns > now_ns || tw_account_is_shared(tenant->account) ||
                   tw_account_cpu(tenant->account).now > 0;
    for (unsigned i = 0; i < TW_RESOURCE_COUNT; i++)
        is_used = is_used || tw_account_use(tenant->account, (enum tw_resource)i).now > 0;
    return !is_used;
}

void tenant_entry_free(struct tenant_entry *tenant) {
    if (tenant)
        tw_account_unref(tenant->account);
    free(tenant);
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
        struct tenant_entry *tenant = value;
        if (is_idle(tenant, now_ns)) {
            tw_map_remove(&quotas->by_id, key_of(&tenant->id));
            tenant_publish_locked(tenant);
            tenant_entry_free(tenant);
            return;
        }
    }
}

void tenant_apply_locked(const struct tw_quotas *quotas, struct tenant_entry *tenant) {
    struct tw_account *account = tenant->account;
    for (unsigned i = 0; i < TW_RESOURCE_COUNT; i++)
        tw_account_set_limit(account, (enum tw_resource)i, tenant_limit(quotas, tenant, (enum tw_limit)i));
    tw_account_set_cpu_limit(account, tenant_limit(quotas, tenant, TW_LIMIT_CPU));
    tw_account_set_weight(account, tenant->settings.weight);
    tenant->next_ns = 0; // a new rate begins with a full bucket
}

static struct tenant_entry *entry_new(const struct tw_quotas *quotas, uint64_t id, struct tw_error *err) {
    struct tenant_entry *tenant = tw_alloc_zero(1, sizeof *tenant);
    struct tw_account *account = tenant ? tw_account_new(id, err) : NULL;
    if (!account) {
        free(tenant);
        return NULL;
    }
    *tenant = (struct tenant_entry){.id = id, .settings.weight = 1, .account = account};
    tenant_apply_locked(quotas, tenant);
    return tenant;
}

struct tenant_entry *tenant_get_locked(struct tw_quotas *quotas, uint64_t id, struct tw_error *err) {
    struct tenant_entry *tenant = tenant_find_locked(quotas, id);
    if (tenant)
        return tenant;
    if (quotas->by_id.count >= TENANT_TABLE_MAX)
        forget_one_locked(quotas);
    tenant = entry_new(quotas, id, err);
    if (tenant && tw_map_put(&quotas->by_id, key_of(&id), tenant))
        return tenant;
    tenant_entry_free(tenant);
    tw_fail(err, TW_ERR_CAPACITY, "no room for one more tenant; this server keeps %d", TENANT_TABLE_MAX);
    return NULL;
}
