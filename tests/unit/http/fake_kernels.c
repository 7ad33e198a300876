// SPDX-License-Identifier: Apache-2.0
//
// The fake service's registry of kernels: answers say what the gateway passed on.

#include "fake_service.h"

bool tw_service_kernel_publish([[maybe_unused]] struct tw_service *service, const struct tw_caller *caller,
                               const struct tw_publish *publish, struct tw_buf *out, struct tw_error *err) {
    if (tw_str_starts(publish->ptx, TW_STR("wrong")))
        return tw_fail(err, TW_ERR_CUDA_MALFORMED_PTX, "line 2, column 5: expected something else");
    return tw_buf_printf(out,
                         "{\"name\":\"%.*s\",\"version\":\"%.*s\",\"entry\":\"%.*s\",\"signature\":\"%.*s\","
                         "\"ptx\":\"%.*s\",\"tenant\":%" PRIu64 "}",
                         TW_STR_ARG(publish->name), TW_STR_ARG(publish->version), TW_STR_ARG(publish->entry),
                         TW_STR_ARG(publish->signature), TW_STR_ARG(publish->ptx), caller->tenant);
}

bool tw_service_kernels([[maybe_unused]] struct tw_service *service,
                        [[maybe_unused]] const struct tw_caller *caller, struct tw_str cursor, uint32_t limit,
                        struct tw_buf *out, [[maybe_unused]] struct tw_error *err) {
    return tw_buf_printf(out, "{\"cursor\":\"%.*s\",\"limit\":%u}", TW_STR_ARG(cursor), limit);
}

bool tw_service_kernel_get([[maybe_unused]] struct tw_service *service,
                           [[maybe_unused]] const struct tw_caller *caller, struct tw_str name,
                           struct tw_str version, bool with_ptx, struct tw_buf *out,
                           [[maybe_unused]] struct tw_error *err) {
    return tw_buf_printf(out, "{\"name\":\"%.*s\",\"version\":\"%.*s\",\"with_ptx\":%d}", TW_STR_ARG(name),
                         TW_STR_ARG(version), with_ptx);
}

bool tw_service_kernel_delete([[maybe_unused]] struct tw_service *service,
                              [[maybe_unused]] const struct tw_caller *caller, struct tw_str name,
                              [[maybe_unused]] struct tw_str version, struct tw_error *err) {
    return !tw_str_equal(name, TW_STR("nobody")) || tw_fail(err, TW_ERR_NOT_FOUND, "no such kernel");
}
