// SPDX-License-Identifier: Apache-2.0
//
// /tenants: limits and use of tenants. Setting writes a record, so it runs on the service's pool; the others
// stay with it.

#include "http/handlers.h"
#include "http/internal.h"

enum { ANSWER_MAX = 4 << 20 };

static bool read_id(const struct http_exchange *x, uint64_t *ret_tenant, struct tw_error *err) {
    return tw_str_u64(x->params[0], ret_tenant) ||
           tw_fail(err, TW_ERR_INVALID_TENANT, "a tenant is a decimal number from 0 to %" PRIu64, UINT64_MAX);
}

static void list(struct http_exchange *x) {
    http_answer_page(x, ANSWER_MAX, tw_service_tenants);
}

void http_tenant_list(struct http_exchange *x) {
    http_run_blocking(x, list);
}

static void get(struct http_exchange *x) {
    struct tw_error err = {};
    struct tw_buf out;
    uint64_t tenant;
    tw_buf_init(&out, ANSWER_MAX);
    bool ok =
        read_id(x, &tenant, &err) && tw_service_tenant_get(http_service(x), &x->caller, tenant, &out, &err);
    http_respond_result(x, ok, 200, &out, &err);
}

void http_tenant_get(struct http_exchange *x) {
    http_run_blocking(x, get);
}

static void set(struct http_exchange *x) {
    struct tw_error err = {};
    struct tw_buf out;
    struct tw_json *root = NULL;
    uint64_t tenant;
    tw_buf_init(&out, ANSWER_MAX);
    bool ok = read_id(x, &tenant, &err);
    if (ok) {
        root = tw_json_parse(http_body(x), &err);
        ok = root && tw_service_tenant_set(http_service(x), &x->caller, tenant, root, &out, &err);
    }
    tw_json_free(root);
    http_respond_result(x, ok, 200, &out, &err);
}

void http_tenant_set(struct http_exchange *x) {
    http_run_blocking(x, set);
}
