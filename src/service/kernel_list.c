// SPDX-License-Identifier: Apache-2.0
//
// A page of a tenant's published kernels, in the order of their names and versions.

#include "service/kernels.h"

static void collect(struct tw_service *service, uint64_t tenant, struct tw_str cursor,
                    struct service_page *page) {
    char after[KERNEL_KEY_SIZE] = "";
    snprintf(after, sizeof after, "%.*s", TW_STR_ARG(cursor));
    TW_LOCK_SCOPE(&service->kernel_lock);
    size_t position = 0;
    void *value;
    struct tw_span key;
    while (tw_map_next(&service->kernels, &position, &key, &value)) {
        struct service_kernel *kernel = value;
        if (kernel->tenant == tenant && strcmp(kernel->key, after) > 0)
            service_page_insert(page, kernel->key, kernel);
    }
    for (uint32_t i = 0; i < page->count; i++)
        service_kernel_ref(page->items[i]);
}

static bool write_kernels(struct tw_service *service, const struct service_page *page,
                          struct tw_json_writer *writer, struct tw_error *err) {
    for (uint32_t i = 0; i < service_page_shown(page); i++) {
        struct tw_public_key key;
        [[gnu::cleanup(tw_buf_done)]] struct tw_buf text;
        tw_buf_init(&text, SERVICE_RECORD_MAX);
        bool is_verified = service_kernel_signer(service, page->items[i], &key);
        if (!service_kernel_json(page->items[i], is_verified ? &key : NULL, NULL, &text, err))
            return false;
        tw_json_write_raw(writer, tw_buf_str(&text));
    }
    return true;
}

bool tw_service_kernels(struct tw_service *service, const struct tw_caller *caller, struct tw_str cursor,
                        uint32_t limit, struct tw_buf *out, struct tw_error *err) {
    struct service_page page;
    if (!service_page_init(&page, limit, cursor, KERNEL_KEY_SIZE - 1, err))
        return false;
    collect(service, caller->tenant, cursor, &page);
    struct tw_json_writer writer;
    tw_json_write_init(&writer, out);
    tw_json_write_object(&writer);
    tw_json_write_key(&writer, "kernels");
    tw_json_write_array(&writer);
    bool ok = write_kernels(service, &page, &writer, err);
    tw_json_write_end(&writer, ']');
    service_page_write_next(&page, &writer);
    tw_json_write_end(&writer, '}');
    for (uint32_t i = 0; i < page.count; i++)
        service_kernel_unref(page.items[i]);
    if (!ok)
        return false;
    return tw_json_write_done(&writer) ||
           tw_buf_fail(out, err, TW_ERR_INVALID_REQUEST,
                       "the page is larger than %zu bytes; ask for fewer kernels with limit=", out->max);
}
