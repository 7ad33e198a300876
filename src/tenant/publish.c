// SPDX-License-Identifier: Apache-2.0
//
// What the accounts say, as metrics. Accounts are counted by rooms below telemetry, and calls should not pay for
// metrics twice, so this adds what has changed since the last time whenever metrics are asked for.

#include "telemetry/telemetry.h"
#include "tenant/internal.h"

enum { SLICE = 1000 }; // tenants looked at under the lock at once: less than a tenth of a millisecond

// Memory is not here: its own gauges (…_memory_bytes_per_tenant) follow every change.
static const struct {
    enum tw_resource resource;
    enum tw_metric metric;
} held[] = {
    {TW_RESOURCE_CONCURRENT, TW_METRIC_TENANT_CONCURRENT},
    {TW_RESOURCE_INSTANCES, TW_METRIC_TENANT_INSTANCES},
    {TW_RESOURCE_LAUNCHES, TW_METRIC_TENANT_LAUNCHES},
    {TW_RESOURCE_FUNCTIONS, TW_METRIC_TENANT_FUNCTIONS},
    {TW_RESOURCE_STORED, TW_METRIC_TENANT_STORED},
    {TW_RESOURCE_ANSWERS, TW_METRIC_TENANT_ANSWERS},
};

static void add(enum tw_metric metric, struct tw_labels labels, uint64_t *shown, uint64_t value) {
    if (value != *shown)
        tw_metric_add(metric, labels, (int64_t)(value - *shown));
    *shown = value;
}

void tenant_publish_locked(struct tenant_entry *tenant) {
    struct tw_labels labels = tw_labels_tenant(tenant->id);
    for (size_t i = 0; i < TW_COUNT(held); i++)
        add(held[i].metric, labels, &tenant->shown_use[held[i].resource],
            tw_account_use(tenant->account, held[i].resource).now);
    add(TW_METRIC_TENANT_CPU, labels, &tenant->shown_cpu_s, tw_account_cpu(tenant->account).total_ms / 1000);
    for (unsigned i = 0; i < TW_LIMIT_COUNT; i++) {
        labels.values[1] = tenant_limit_name((enum tw_limit)i);
        add(TW_METRIC_TENANT_REFUSALS, labels, &tenant->shown_refused[i],
            tenant_use(tenant, (enum tw_limit)i).refused);
    }
}

// A slice at a time. Should the table move its entries between two slices, some are looked at twice and some not
// before the next time.
void tenant_publish(void *context) {
    struct tw_quotas *quotas = context;
    size_t position = 0;
    for (bool more = true; more;) {
        TW_LOCK_SCOPE(&quotas->lock);
        struct tw_span key;
        void *tenant;
        for (unsigned i = 0; i < SLICE && more; i++) {
            more = tw_map_next(&quotas->by_id, &position, &key, &tenant);
            if (more)
                tenant_publish_locked(tenant);
        }
    }
}
