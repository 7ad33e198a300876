// SPDX-License-Identifier: Apache-2.0
//
// What can be limited: names, what an operator may say, what holds, what is used.

#include "tenant/internal.h"

static const struct {
    const char *name;
    uint64_t max;
} limits[TW_LIMIT_COUNT] = {
#define TW_RESOURCE(id, name, code, help) {name, INT64_MAX},
#include "base/account.def"
#undef TW_RESOURCE
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

uint64_t tenant_limit(const struct tw_quotas *quotas, const struct tenant_entry *tenant,
                      enum tw_limit limit) {
    return tenant && tenant->settings.is_own[limit] ? tenant->settings.limits[limit]
                                                    : quotas->options.limits[limit];
}

struct tw_account_use tenant_use(const struct tenant_entry *tenant, enum tw_limit limit) {
    if (limit < (enum tw_limit)TW_RESOURCE_COUNT)
        return tw_account_use(tenant->account, (enum tw_resource)limit);
    if (limit == TW_LIMIT_CPU) {
        struct tw_account_cpu cpu = tw_account_cpu(tenant->account);
        return (struct tw_account_use){cpu.limit, cpu.now, cpu.peak, cpu.refused};
    }
    return (struct tw_account_use){.refused = limit == TW_LIMIT_REQUESTS ? tenant->rate_refused : 0};
}
