// SPDX-License-Identifier: Apache-2.0
//
// Idempotency-Key on requests that create: before the handler the service is asked whether the key was used, and
// before the answer goes out it is kept. Both read or write the store, so both happen on the service's pool; the
// handlers of such routes hand their work to the pool anyway and may be called there.

#include "http/internal.h"

enum { KEY_MAX = 255, ANSWER_MAX = 16 << 20 };

static struct tw_str key_of(const struct http_exchange *x) {
    return http_header_find(x, TW_STR("idempotency-key"));
}

bool http_once_wanted(const struct http_exchange *x) {
    return x->route->creates && http_header_has(x, TW_STR("idempotency-key"));
}

static bool check_key(struct tw_str key, struct tw_error *err) {
    bool ok = key.len > 0 && key.len <= KEY_MAX;
    for (size_t i = 0; i < key.len && ok; i++)
        ok = key.data[i] > 0x20 && key.data[i] < 0x7F;
    return ok || tw_fail(err, TW_ERR_INVALID_REQUEST,
                         "Idempotency-Key takes 1 to %d printable ASCII characters without spaces", KEY_MAX);
}

// What makes two requests the same. Lengths stand between the parts, so that none runs into the next.
static struct tw_digest digest_of(const struct http_exchange *x) {
    struct tw_str type = http_header_find(x, TW_STR("content-type"));
    const size_t lens[] = {x->path.len, x->query.len, type.len};
    const struct tw_span parts[] = {tw_span_of(lens, sizeof lens), tw_key_str(x->path), tw_key_str(x->query),
                                    tw_key_str(type), http_body(x)};
    return tw_sha256_parts(parts, TW_COUNT(parts));
}

static void begin(struct http_exchange *x) {
    struct tw_error err = {};
    struct tw_buf out;
    int status = 0;
    tw_buf_init(&out, ANSWER_MAX);
    struct tw_digest digest = digest_of(x);
    if (!tw_service_once_begin(http_service(x), &x->caller, key_of(x), &digest, &status, &out, &err)) {
        http_fail(x, &err);
    } else if (status) {
        http_reply_header(&x->reply, "Idempotent-Replayed", TW_STR("true"));
        http_respond_json(x, status, &out);
    } else {
        x->is_once = true;
        x->route->handler(x);
    }
    tw_buf_done(&out);
}

void http_once_run(struct http_exchange *x) {
    struct tw_error err = {};
    if (check_key(key_of(x), &err))
        http_run_blocking(x, begin);
    else
        http_fail(x, &err);
}

void http_once_end(struct http_exchange *x) {
    x->is_once = false;
    struct tw_span body = http_reply_body(x);
    tw_service_once_end(http_service(x), &x->caller, key_of(x), x->reply.status,
                        tw_str_of((const char *)body.data, body.len));
}
