// SPDX-License-Identifier: Apache-2.0
//
// Pages of lists; reading functions: one, or a page of a tenant's, in the order of their names.

#include "service/internal.h"

bool service_page_init(struct service_page *page, uint32_t limit, struct tw_str cursor, size_t cursor_max,
                       struct tw_error *err) {
    if (limit > SERVICE_PAGE_MAX)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "limit is %" PRIu32 "; 1 to %d are allowed", limit,
                       SERVICE_PAGE_MAX);
    // What is no cursor must not look like one that finds nothing.
    bool is_cursor = cursor.len <= cursor_max;
    for (size_t i = 0; i < cursor.len && is_cursor; i++)
        is_cursor = cursor.data[i] > 0x20 && cursor.data[i] < 0x7F;
    if (!is_cursor)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "the cursor is not one this server gave");
    page->count = 0;
    page->limit = (limit ? limit : SERVICE_PAGE_DEFAULT) + 1;
    return true;
}

void service_page_insert(struct service_page *page, const char *key, void *item) {
    uint32_t at = page->count;
    while (at > 0 && strcmp(page->keys[at - 1], key) > 0)
        at--;
    if (at == page->limit)
        return;
    uint32_t last = page->count < page->limit ? page->count++ : page->limit - 1;
    memmove(&page->items[at + 1], &page->items[at], (last - at) * sizeof *page->items);
    memmove(&page->keys[at + 1], &page->keys[at], (last - at) * sizeof *page->keys);
    page->items[at] = item;
    page->keys[at] = key;
}

uint32_t service_page_shown(const struct service_page *page) {
    return page->count < page->limit ? page->count : page->limit - 1;
}

void service_page_write_next(const struct service_page *page, struct tw_json_writer *writer) {
    uint32_t shown = service_page_shown(page);
    tw_json_write_key(writer, "next");
    if (page->count > shown)
        tw_json_write_str(writer, tw_str_from(page->keys[shown - 1]));
    else
        tw_json_write_null(writer);
}

static void collect(struct tw_service *service, uint64_t tenant, struct tw_str cursor,
                    struct service_page *page) {
    char after[TW_FUNCTION_NAME_MAX + 1] = "";
    snprintf(after, sizeof after, "%.*s", TW_STR_ARG(cursor));
    TW_LOCK_SCOPE(&service->lock);
    size_t position = 0;
    void *value;
    struct tw_span key;
    while (tw_map_next(&service->by_name, &position, &key, &value)) {
        struct service_function *function = value;
        if (function->tenant == tenant && strcmp(function->name, after) > 0)
            service_page_insert(page, function->name, function);
    }
    for (uint32_t i = 0; i < page->count; i++)
        service_function_ref(page->items[i]);
}

bool tw_service_functions(struct tw_service *service, const struct tw_caller *caller, struct tw_str cursor,
                          uint32_t limit, struct tw_buf *out, struct tw_error *err) {
    struct service_page page;
    if (!service_page_init(&page, limit, cursor, TW_FUNCTION_NAME_MAX, err))
        return false;
    collect(service, caller->tenant, cursor, &page);
    uint32_t shown = service_page_shown(&page);
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
    service_page_write_next(&page, &writer);
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
