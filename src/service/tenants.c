// SPDX-License-Identifier: Apache-2.0
//
// Tenants as operators see and limit them. The table and its JSON are tenant/'s; here stands who may.

#include "service/internal.h"

bool service_may_administer(const struct tw_caller *caller, struct tw_error *err) {
    return tw_caller_may(caller, TW_ROLE_ADMIN, err) &&
           (caller->all_tenants ||
            tw_fail(err, TW_ERR_TENANT_SCOPE, "this needs a token that covers all tenants (tenant=*)"));
}

bool tw_service_tenant_get(struct tw_service *service, const struct tw_caller *caller, uint64_t tenant,
                           struct tw_buf *out, struct tw_error *err) {
    return (caller->tenant == tenant || service_may_administer(caller, err)) &&
           tw_quotas_get(service->quotas, tenant, out, err);
}

bool tw_service_tenants(struct tw_service *service, const struct tw_caller *caller, struct tw_str cursor,
                        uint32_t limit, struct tw_buf *out, struct tw_error *err) {
    return service_may_administer(caller, err) && tw_quotas_list(service->quotas, cursor, limit, out, err);
}

bool tw_service_tenant_set(struct tw_service *service, const struct tw_caller *caller, uint64_t tenant,
                           const struct tw_json *settings, struct tw_buf *out, struct tw_error *err) {
    return service_may_administer(caller, err) && tw_quotas_set(service->quotas, tenant, settings, out, err);
}
