// SPDX-License-Identifier: Apache-2.0
//
// /functions: deploy, list, read, replace, delete, prewarm. All of them may touch the store or the compiler,
// so they run on the service's pool. A deploy is JSON {name, wasm_b64, config?} or the bare module with
// ?name=.

#include "http/handlers.h"
#include "http/internal.h"

enum { ANSWER_MAX = 16 << 20 };

// ---- deploy ----

// The JSON form: the module is decoded into `wasm`; name and config stay in `root`.
static bool read_deploy_json(struct http_exchange *x, struct tw_json *root, struct tw_buf *wasm,
                             struct tw_deploy *deploy, struct tw_error *err) {
    const struct tw_json *encoded = tw_json_get(root, "wasm_b64");
    const struct tw_json *name = tw_json_get(root, "name");
    deploy->config = tw_json_get(root, "config");
    if (tw_json_type(root) != TW_JSON_OBJECT)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "the body has to be an object with name and wasm_b64");
    if (!encoded || tw_json_type(encoded) != TW_JSON_STRING)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "wasm_b64 is missing: the module as base64 text");
    if (name && tw_json_type(name) != TW_JSON_STRING)
        return tw_fail(err, TW_ERR_INVALID_NAME, "name has to be a text");
    if (deploy->config && tw_json_type(deploy->config) == TW_JSON_NULL)
        deploy->config = NULL;
    if (name)
        deploy->name = tw_json_str(name);
    tw_buf_init(wasm, x->body.max);
    if (!tw_base64_parse(tw_json_str(encoded), wasm, err))
        return tw_wrap(err, "wasm_b64");
    deploy->wasm = tw_buf_span(wasm);
    return true;
}

// A PUT's name is in its path, and a name in the body must not contradict it.
static bool check_name(struct tw_str wanted, const struct tw_deploy *deploy, struct tw_error *err) {
    bool differs = deploy->replace && deploy->name.len && !tw_str_equal(deploy->name, wanted);
    return !differs || tw_fail(err, TW_ERR_INVALID_NAME, "the name in the body is not the one in the path");
}

static void deploy_now(struct http_exchange *x, struct tw_deploy *deploy) {
    struct tw_error err = {};
    struct tw_buf out, wasm = {};
    struct tw_json *root = NULL;
    struct tw_str path_name = deploy->name;
    bool ok = true;
    tw_buf_init(&out, ANSWER_MAX);
    if (http_content_type_is(x, TW_STR("application/wasm"))) {
        deploy->wasm = http_body(x);
        if (!deploy->replace)
            ok = http_query_find(x, TW_STR("name"), &deploy->name, &err);
    } else if (http_content_type_is(x, TW_STR("application/json"))) {
        root = tw_json_parse(http_body(x), &err);
        ok = root && read_deploy_json(x, root, &wasm, deploy, &err) && check_name(path_name, deploy, &err);
        if (deploy->replace)
            deploy->name = path_name;
    } else {
        ok = tw_fail(&err, TW_ERR_INVALID_REQUEST, "send a deploy as application/json or application/wasm");
    }
    http_audit_object(x, deploy->name);
    ok = ok && tw_service_deploy(http_service(x), &x->caller, deploy, &out, &err);
    tw_json_free(root);
    tw_buf_done(&wasm);
    http_respond_result(x, ok, deploy->replace ? 200 : 201, &out, &err);
    tw_deploy_done(deploy);
}

static void deploy_new(struct http_exchange *x) {
    deploy_now(x, &(struct tw_deploy){});
}

static void deploy_version(struct http_exchange *x) {
    deploy_now(x, &(struct tw_deploy){.name = x->params[0], .replace = true});
}

void http_function_deploy(struct http_exchange *x) {
    http_run_blocking(x, deploy_new);
}

void http_function_replace(struct http_exchange *x) {
    http_run_blocking(x, deploy_version);
}

// ---- read, delete ----

static void list(struct http_exchange *x) {
    http_answer_page(x, ANSWER_MAX, tw_service_functions);
}

void http_function_list(struct http_exchange *x) {
    http_run_blocking(x, list);
}

static void get(struct http_exchange *x) {
    http_answer_object(x, ANSWER_MAX, tw_service_function_get);
}

void http_function_get(struct http_exchange *x) {
    http_run_blocking(x, get);
}

static void delete(struct http_exchange *x) {
    struct tw_error err = {};
    bool ok = tw_service_function_delete(http_service(x), &x->caller, x->params[0], &err);
    http_answer_gone(x, ok, &err);
}

void http_function_delete(struct http_exchange *x) {
    http_run_blocking(x, delete);
}

// ---- prewarm ----

static bool read_count(struct http_exchange *x, uint32_t *ret_count, struct tw_error *err) {
    struct tw_json *root = tw_json_parse(http_body(x), err);
    if (!root)
        return false;
    const struct tw_json *count = tw_json_get(root, "count");
    int64_t value = count && tw_json_type(count) == TW_JSON_INT ? tw_json_int(count) : -1;
    tw_json_free(root);
    if (value < 0 || value > UINT32_MAX)
        return tw_fail(err, TW_ERR_INVALID_REQUEST,
                       "the body has to be {\"count\": N} with N a whole number");
    *ret_count = (uint32_t)value;
    return true;
}

static void prewarm(struct http_exchange *x) {
    struct tw_error err = {};
    struct tw_buf out;
    uint32_t count = 0;
    tw_buf_init(&out, ANSWER_MAX);
    bool ok = read_count(x, &count, &err) &&
              tw_service_prewarm(http_service(x), &x->caller, x->params[0], count, &out, &err);
    http_respond_result(x, ok, 200, &out, &err);
}

void http_function_prewarm(struct http_exchange *x) {
    http_run_blocking(x, prewarm);
}
