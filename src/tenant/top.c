// SPDX-License-Identifier: Apache-2.0
//
// The tenants that matter most now: those with calls and instances, then those that have computed most.

#include "tenant/internal.h"

struct ranked {
    uint64_t id, live, cpu_ms;
};

static bool is_before(const struct ranked *a, const struct ranked *b) {
    if (a->live != b->live)
        return a->live > b->live;
    return a->cpu_ms != b->cpu_ms ? a->cpu_ms > b->cpu_ms : a->id < b->id;
}

static size_t insert(struct ranked *top, size_t count, const struct ranked *next) {
    size_t at = count;
    while (at > 0 && is_before(next, &top[at - 1]))
        at--;
    if (at == TENANT_TOP)
        return count;
    size_t last = count < TENANT_TOP ? count : TENANT_TOP - 1;
    memmove(&top[at + 1], &top[at], (last - at) * sizeof top[0]);
    top[at] = *next;
    return last + 1;
}

void tw_quotas_top(struct tw_quotas *quotas, struct tw_json_writer *writer) {
    struct ranked top[TENANT_TOP];
    size_t count = 0, position = 0;
    struct tw_span key;
    void *value;
    tw_lock_take(&quotas->lock);
    while (tw_map_next(&quotas->by_id, &position, &key, &value)) {
        const struct tenant_entry *tenant = value;
        uint64_t calls = tw_account_use(tenant->account, TW_RESOURCE_CONCURRENT).now;
        uint64_t instances = tw_account_use(tenant->account, TW_RESOURCE_INSTANCES).now;
        struct ranked next = {tenant->id, calls + instances, tw_account_cpu(tenant->account).total_ms};
        count = insert(top, count, &next);
    }
    tw_lock_give(&quotas->lock);
    struct tw_error ignored = {}; // a tenant that there is no memory for is left out
    tw_json_write_array(writer);
    for (size_t i = 0; i < count; i++)
        (void)tenant_write(writer, quotas, top[i].id, &ignored);
    tw_json_write_end(writer, ']');
}
