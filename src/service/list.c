// SPDX-License-Identifier: Apache-2.0
//
// Reading functions: one, or a page of a tenant's, in the order of their names. The cursor is the last name
// of the page before.

#include "service/internal.h"

// The page's functions, sorted by name, each with a reference.
struct page {
    struct service_function *items[SERVICE_PAGE_MAX + 1];
    uint32_t count, limit; // limit: one more than is shown, to know whether there is a next page
};

// Keeps the `limit` smallest names seen so far. Returns the one that fell out, if any.
static void insert(struct page *page, struct service_function *function) {
    uint32_t at = page->count;
    while (at > 0 && strcmp(page->items[at - 1]->name, function->name) > 0)
        at--;
    if (at == page->limit)
        return;
    uint32_t last = page->count < page->limit ? page->count++ : page->limit - 1;
    memmove(&page->items[at + 1], &page->items[at], (last - at) * sizeof *page->items);
    page->items[at] = function;
}

static void collect(struct tw_service *service, uint64_t tenant, struct tw_str cursor, struct page *page) {
    char after[TW_FUNCTION_NAME_MAX + 1] = "";
    snprintf(after, sizeof after, "%.*s", TW_STR_ARG(cursor));
    TW_LOCK_SCOPE(&service->lock);
    size_t position = 0;
    void *value;
    struct tw_span key;
    while (tw_map_next(&service->by_name, &position, &key, &value)) {
        struct service_function *function = value;
        if (function->tenant == tenant && strcmp(function->name, after) > 0)
            insert(page, function);
    }
    for (uint32_t i = 0; i < page->count; i++)
        service_function_ref(page->items[i]);
}

bool tw_service_functions(struct tw_service *service, const struct tw_caller *caller, struct tw_str cursor,
                          uint32_t limit, struct tw_buf *out, struct tw_error *err) {
    if (limit > SERVICE_PAGE_MAX)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "limit is %" PRIu32 "; 1 to %d are allowed", limit,
                       SERVICE_PAGE_MAX);
    if (cursor.len > TW_FUNCTION_NAME_MAX)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "the cursor is not one this server gave");
    struct page page = {.limit = (limit ? limit : SERVICE_PAGE_DEFAULT) + 1};
    collect(service, caller->tenant, cursor, &page);
    uint32_t shown = page.count < page.limit ? page.count : page.limit - 1;
    struct tw_json_writer writer;
    tw_json_write_init(&writer, out);
    tw_json_write_object(&writer);
    tw_json_write_key(&writer, "functions");
    tw_json_write_array(&writer);
    bool ok = true;
    for (uint32_t i = 0; i < page.count; i++) {
        [[gnu::cleanup(tw_buf_done)]] struct tw_buf text;
        tw_buf_init(&text, SERVICE_RECORD_MAX);
        if (i < shown && ok && (ok = service_function_json(page.items[i], &text, err)))
            tw_json_write_raw(&writer, tw_buf_str(&text));
    }
    tw_json_write_end(&writer, ']');
    tw_json_write_key(&writer, "next");
    if (page.count > shown)
        tw_json_write_str(&writer, tw_str_from(page.items[shown - 1]->name));
    else
        tw_json_write_null(&writer);
    tw_json_write_end(&writer, '}');
    for (uint32_t i = 0; i < page.count; i++)
        service_function_unref(page.items[i]);
    if (!ok)
        return false;
    return tw_json_write_done(&writer) ||
           tw_buf_fail(out, err, TW_ERR_INVALID_REQUEST,
                       "the page is larger than %zu bytes; ask for fewer functions with limit=", out->max);
}

bool tw_service_function_get(struct tw_service *service, const struct tw_caller *caller,
                             struct tw_str id_or_name, struct tw_buf *out, struct tw_error *err) {
    struct service_function *function = service_registry_get(service, caller->tenant, id_or_name, err);
    if (!function)
        return false;
    bool ok = service_function_json(function, out, err);
    service_function_unref(function);
    return ok;
}
