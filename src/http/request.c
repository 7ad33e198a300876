// SPDX-License-Identifier: Apache-2.0
//
// Questions handlers ask of a request: headers, query parameters, media type.

#include "http/exchange.h"
#include "http/internal.h"

static const struct http_field *find(const struct http_exchange *x, struct tw_str name) {
    const char *head = (const char *)x->head.data;
    for (unsigned i = 0; i < x->field_count; i++) {
        const struct http_field *field = &x->fields[i];
        if (field->name_len == name.len && memcmp(head + field->name_at, name.data, name.len) == 0)
            return field;
    }
    return NULL;
}

// Each says one thing: of two, whoever stands before us may have believed the other one.
bool http_headers_are_single(const struct http_exchange *x, struct tw_error *err) {
    static const struct tw_str names[] = {
        {"authorization", 13},   {"x-tensorwasm-tenant", 19}, {"x-tensorwasm-deadline-ms", 24},
        {"idempotency-key", 15}, {"content-type", 12},
    };
    const char *head = (const char *)x->head.data;
    unsigned seen = 0;
    for (unsigned i = 0; i < x->field_count; i++) {
        struct tw_str name = tw_str_of(head + x->fields[i].name_at, x->fields[i].name_len);
        for (unsigned k = 0; k < TW_COUNT(names); k++) {
            if (!tw_str_equal(name, names[k]))
                continue;
            if (seen & 1U << k)
                return tw_fail(err, TW_ERR_INVALID_REQUEST, "the header %s is there twice; send it once",
                               names[k].data);
            seen |= 1U << k;
        }
    }
    return true;
}

struct tw_str http_header_find(const struct http_exchange *x, struct tw_str name) {
    const struct http_field *field = find(x, name);
    return field ? tw_str_of((const char *)x->head.data + field->value_at, field->value_len) : TW_STR("");
}

bool http_header_has(const struct http_exchange *x, struct tw_str name) {
    return find(x, name);
}

// As it stands in the query; `data` NULL: it is not there. Of two, whoever stands before us may have believed the
// other one.
static bool pick(const struct http_exchange *x, struct tw_str name, struct tw_str *ret_text,
                 struct tw_error *err) {
    struct tw_str rest = x->query;
    *ret_text = (struct tw_str){};
    while (rest.len) {
        struct tw_str value = tw_str_cut(&rest, '&');
        struct tw_str key = tw_str_cut(&value, '=');
        if (!tw_str_equal(key, name))
            continue;
        if (ret_text->data)
            return tw_fail(err, TW_ERR_INVALID_REQUEST, "the parameter %.*s is there twice; send it once",
                           TW_STR_ARG(name));
        *ret_text = value;
    }
    return true;
}

bool http_query_find(struct http_exchange *x, struct tw_str name, struct tw_str *ret_value,
                     struct tw_error *err) {
    struct tw_str text;
    return pick(x, name, &text, err) &&
           http_percent_decode(&x->arena, text.data ? text : TW_STR(""), true, ret_value, err);
}

bool http_query_u32(struct http_exchange *x, struct tw_str name, uint32_t *ret_value, struct tw_error *err) {
    struct tw_str text;
    uint64_t value = 0;
    if (!pick(x, name, &text, err) || (text.data && !http_percent_decode(&x->arena, text, true, &text, err)))
        return false;
    if (text.data && (!tw_str_u64(text, &value) || value > UINT32_MAX))
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "the parameter %.*s takes a whole number, not '%.*s'",
                       TW_STR_ARG(name), (int)(text.len < 40 ? text.len : 40), text.data);
    *ret_value = (uint32_t)value;
    return true;
}

bool http_content_type_is(const struct http_exchange *x, struct tw_str type) {
    struct tw_str rest = http_header_find(x, TW_STR("content-type"));
    return tw_str_equal_nocase(tw_str_trim(tw_str_cut(&rest, ';')), type);
}
