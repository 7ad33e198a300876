// SPDX-License-Identifier: Apache-2.0
//
// Deploys that a crash found under way: records that lie ahead of their place in the store (store/store.h).
//
// Which were acknowledged? When the server was killed, none: a deploy's record takes its place before its answer, and a
// file system forgets nothing while its machine goes on. When the machine failed, any of them may have been. So a record
// names the run of the machine in which it was written: one of this run is discarded, at once, and a module that kills
// the server is not tried again; one of another run holds if its module does, which is compiled for that. There are no
// more of those than deploys at the same time: the next deploy's wait for the disk is also for the names before it.

#include "service/internal.h"
#include "telemetry/telemetry.h"

static void read_boot(char ret_boot[SERVICE_BOOT_SIZE]) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf text;
    tw_buf_init(&text, SERVICE_BOOT_SIZE - 1);
    struct tw_error ignored = {}; // nothing is written ahead then
    if (!tw_file_read("/proc/sys/kernel/random/boot_id", &text, &ignored))
        return;
    snprintf(ret_boot, SERVICE_BOOT_SIZE, "%.*s", (int)strcspn((const char *)text.data, "\n"), text.data);
}

static bool is_of_this_boot(const struct tw_service *service, struct tw_span record) {
    struct tw_error ignored = {};
    struct tw_json *root = tw_json_parse(record, &ignored);
    bool is_same =
        tw_str_equal(tw_json_str(tw_json_get(root, SERVICE_BOOT_MEMBER)), tw_str_from(service->boot));
    tw_json_free(root);
    return is_same;
}

static bool build(struct tw_service *service, struct tw_span record, struct tw_error *err) {
    struct service_function *function = service_function_decode(record, err);
    struct tw_mapping wasm;
    if (!function || !tw_store_map_blob(service->store, &function->wasm, &wasm, err)) {
        service_function_unref(function);
        return tw_fail(err, TW_ERR_NOT_FOUND, "its module is not whole");
    }
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf image;
    tw_buf_init(&image, SIZE_MAX / 2); // bounded by the module's memory limit
    struct tw_module_limits limits = service_function_limits(service, function);
    struct tw_module *module =
        tw_module_build(service->engine, tw_span_of(wasm.data, wasm.len), &limits, NULL, NULL, &image, err);
    tw_file_unmap(&wasm);
    service_function_unref(function);
    tw_module_unref(module);
    return module;
}

// The module's own fault, and not that of the moment: it was refused, or would have been.
static bool is_final(enum tw_code code) {
    return code == TW_ERR_INVALID_WASM || code == TW_ERR_MODULE_TOO_LARGE || code == TW_ERR_START_FAILED ||
           code == TW_ERR_NOT_FOUND;
}

static bool holds(void *context, const char *key, struct tw_span record) {
    struct tw_service *service = context;
    struct tw_error err = {};
    bool is_broken_off = is_of_this_boot(service, record);
    bool is_kept = !is_broken_off && (build(service, record, &err) || !is_final(err.code));
    tw_log(TW_LOG_WARN, "service",
           is_kept ? "a deploy that a crash found under way was carried out"
                   : "a deploy that a crash found under way was discarded",
           "function", key, "reason",
           is_broken_off ? "its server was killed before it could answer" : err.message, NULL);
    return is_kept;
}

bool service_recover(struct tw_service *service, struct tw_error *err) {
    read_boot(service->boot);
    return tw_store_recover(service->store, "function", holds, service, err) ||
           tw_wrap(err, "looking for deploys that a crash found under way");
}
