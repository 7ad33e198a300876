// SPDX-License-Identifier: Apache-2.0
//
// The fake service's instances and tenants: answers say what the gateway passed on.

#include "fake_service.h"

bool tw_service_instance_new([[maybe_unused]] struct tw_service *service,
                             [[maybe_unused]] const struct tw_caller *caller,
                             const struct tw_instance_request *request, struct tw_buf *out,
                             [[maybe_unused]] struct tw_error *err) {
    return tw_buf_printf(out, "{\"function\":\"%.*s\",\"idle_ms\":%u}", TW_STR_ARG(request->function),
                         request->idle_ms);
}

bool tw_service_instances([[maybe_unused]] struct tw_service *service,
                          [[maybe_unused]] const struct tw_caller *caller, struct tw_str cursor,
                          uint32_t limit, struct tw_buf *out, [[maybe_unused]] struct tw_error *err) {
    return tw_buf_printf(out, "{\"cursor\":\"%.*s\",\"limit\":%u}", TW_STR_ARG(cursor), limit);
}

bool tw_service_instance_get([[maybe_unused]] struct tw_service *service,
                             [[maybe_unused]] const struct tw_caller *caller, struct tw_str id,
                             struct tw_buf *out, struct tw_error *err) {
    if (!tw_str_equal(id, TW_STR("in-1")))
        return tw_fail(err, TW_ERR_NOT_FOUND, "no such instance");
    return tw_buf_printf(out, "{\"id\":\"in-1\",\"state\":\"idle\"}");
}

bool tw_service_instance_delete([[maybe_unused]] struct tw_service *service,
                                [[maybe_unused]] const struct tw_caller *caller, struct tw_str id,
                                struct tw_error *err) {
    return tw_str_equal(id, TW_STR("in-1")) || tw_fail(err, TW_ERR_NOT_FOUND, "no such instance");
}

bool tw_service_tenant_get([[maybe_unused]] struct tw_service *service,
                           [[maybe_unused]] const struct tw_caller *caller, uint64_t tenant,
                           struct tw_buf *out, [[maybe_unused]] struct tw_error *err) {
    return tw_buf_printf(out, "{\"id\":%" PRIu64 "}", tenant);
}

bool tw_service_tenants([[maybe_unused]] struct tw_service *service,
                        [[maybe_unused]] const struct tw_caller *caller, struct tw_str cursor, uint32_t limit,
                        struct tw_buf *out, [[maybe_unused]] struct tw_error *err) {
    return tw_buf_printf(out, "{\"cursor\":\"%.*s\",\"limit\":%u}", TW_STR_ARG(cursor), limit);
}

bool tw_service_tenant_set([[maybe_unused]] struct tw_service *service,
                           [[maybe_unused]] const struct tw_caller *caller, uint64_t tenant,
                           const struct tw_json *settings, struct tw_buf *out,
                           [[maybe_unused]] struct tw_error *err) {
    return tw_buf_printf(out, "{\"id\":%" PRIu64 ",\"members\":%zu}", tenant, tw_json_count(settings));
}

// Keys named after what becomes of them.
