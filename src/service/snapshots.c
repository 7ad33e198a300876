// SPDX-License-Identifier: Apache-2.0
//
// Taking a snapshot of a kept instance (or of a function as it begins), and going on from one: here, or from a file that
// another server wrote. A restored instance runs the module that lies in the file, whether that is still deployed or not.
//
// The file is written before the record that names it, so a crash between leaves an unnamed blob.

#include "service/snapshots.h"
#include "service/instances.h"
#include "telemetry/telemetry.h"

// ---- what a file says of itself ----

static bool describe(const struct service_function *function, struct tw_str instance, struct tw_buf *out,
                     struct tw_error *err) {
    struct tw_json_writer writer;
    tw_json_write_init(&writer, out);
    tw_json_write_object(&writer);
    tw_json_write_text(&writer, "instance_id", instance);
    tw_json_write_key(&writer, "function");
    tw_json_write_object(&writer);
    tw_json_write_text(&writer, "id", tw_str_from(function->id));
    tw_json_write_text(&writer, "name", tw_str_from(function->name));
    tw_json_write_number(&writer, "version", function->version);
    tw_json_write_key(&writer, "config");
    tw_json_write_raw(&writer, tw_str_from(function->config.text));
    tw_json_write_end(&writer, '}');
    tw_json_write_end(&writer, '}');
    return tw_json_write_done(&writer) ||
           tw_buf_fail(out, err, TW_ERR_INTERNAL, "the description is larger than %zu bytes", out->max);
}

// The description may be anybody's: it is checked as a deploy's settings are.
static bool read_function(struct tw_service *service, struct service_function *function,
                          const struct tw_json *root, struct tw_error *err) {
    struct tw_str id = tw_json_str(tw_json_get(root, "id")), name = tw_json_str(tw_json_get(root, "name"));
    int64_t version = tw_json_int(tw_json_get(root, "version"));
    if (!service_is_word(id, TW_FUNCTION_ID_MAX) || version < 1 ||
        !service_copy_text(function->id, sizeof function->id, id))
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "the snapshot's description names no function");
    if (!service_name_check(name, err) || !service_copy_text(function->name, sizeof function->name, name) ||
        !service_config_parse(service, name, tw_json_get(root, "config"), &function->config, err))
        return tw_wrap(err, "the snapshot's description");
    function->version = (uint64_t)version;
    return true;
}

// ---- files ----

static bool check_signature(const struct tw_service *service, struct tw_span file,
                            const struct tw_snapshot *snapshot, struct tw_error *err) {
    bool matters = snapshot->is_signed || service->options.require_snapshot_signature;
    return !service->snapshot_key.is_set || !matters || tw_snapshot_verify(file, &service->snapshot_key, err);
}

static struct service_snapshot *snapshot_of(uint64_t tenant, const struct service_function *function,
                                            struct tw_str instance, const struct tw_snapshot *parts,
                                            struct tw_error *err) {
    struct service_snapshot *snapshot = service_snapshot_new(err);
    if (!snapshot)
        return NULL;
    snapshot->tenant = tenant;
    snapshot->module = parts->module;
    snapshot->captured_ns = parts->captured_ns;
    snapshot->is_signed = parts->is_signed;
    snapshot->function_version = function->version;
    memcpy(snapshot->function_id, function->id, sizeof snapshot->function_id);
    memcpy(snapshot->function_name, function->name, sizeof snapshot->function_name);
    (void)service_copy_text(snapshot->instance, sizeof snapshot->instance, instance);
    return snapshot;
}

static bool keep_record(struct tw_service *service, struct service_snapshot *snapshot, struct tw_lease *lease,
                        struct tw_error *err) {
    char key[SNAPSHOT_KEY_SIZE];
    (void)service_snapshot_key(key, snapshot->tenant, &snapshot->digest);
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf record;
    tw_buf_init(&record, SERVICE_RECORD_MAX);
    return service_snapshot_encode(snapshot, &record, err) &&
           tw_store_put_record(service->store, "snapshot", key, tw_buf_span(&record), TW_STORE_ANY, NULL,
                               err) &&
           service_snapshots_put(service, service_snapshot_ref(snapshot), lease, err);
}

// Takes the room in the tenant's limits and writes the file. The lease is given back by whoever keeps the record.
static bool keep_file(struct tw_service *service, struct service_snapshot *snapshot,
                      const struct tw_span *parts, size_t count, struct tw_lease *ret_lease,
                      struct tw_error *err) {
    *ret_lease = (struct tw_lease){};
    snapshot->bytes = 0;
    for (size_t i = 0; i < count; i++)
        snapshot->bytes += parts[i].len;
    return tw_quota_take(service->quotas, snapshot->tenant, TW_RESOURCE_STORED, snapshot->bytes, ret_lease,
                         err) &&
           tw_store_put_blob_parts(service->store, parts, count, &snapshot->digest, err);
}

// ---- taking one ----

static bool save(struct tw_service *service, const struct service_function *function, struct tw_str instance,
                 struct tw_span image, struct tw_buf *out, struct tw_error *err) {
    struct tw_mapping wasm;
    if (!tw_store_map_blob(service->store, &function->wasm, &wasm, err))
        return false;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf description, head;
    tw_buf_init(&description, TW_SNAPSHOT_DESCRIPTION_MAX);
    tw_buf_init(&head, 2 * TW_SNAPSHOT_DESCRIPTION_MAX);
    struct service_snapshot *snapshot = NULL;
    bool ok = describe(function, instance, &description, err);
    struct tw_snapshot parts = {.description = tw_buf_str(&description),
                                .image = image,
                                .wasm = tw_span_of(wasm.data, wasm.len),
                                .module = function->wasm,
                                .captured_ns = tw_clock_wall_ns(),
                                .is_signed = service->snapshot_key.is_set};
    ok = ok && tw_snapshot_head(&parts, &service->snapshot_key, &head, err);
    if (ok)
        snapshot = snapshot_of(function->tenant, function, instance, &parts, err);
    struct tw_span pieces[] = {tw_buf_span(&head), image, parts.wasm};
    struct tw_lease lease = {};
    ok = snapshot && keep_file(service, snapshot, pieces, TW_COUNT(pieces), &lease, err) &&
         keep_record(service, snapshot, &lease, err) && service_snapshot_json(snapshot, out, err);
    tw_quota_give(&lease);
    service_snapshot_unref(snapshot);
    tw_file_unmap(&wasm);
    return ok;
}

static bool save_instance(struct tw_service *service, const struct tw_caller *caller,
                          const struct tw_snapshot_request *request, struct tw_buf *out,
                          struct tw_error *err) {
    struct service_instance *instance = service_instance_get(service, caller->tenant, request->instance, err);
    if (!instance)
        return false;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf image;
    tw_buf_init(&image, SIZE_MAX / 2); // bounded by the function's memory limit
    int64_t deadline_ns = tw_clock_ns() + service->options.invoke_timeout_ms * TW_NS_PER_MS;
    bool ok = tw_instance_capture(instance->kept, deadline_ns, &image, err) &&
              save(service, instance->function, tw_str_from(instance->id), tw_buf_span(&image), out, err);
    service_instance_unref(instance);
    return ok;
}

static bool save_function(struct tw_service *service, const struct tw_caller *caller,
                          const struct tw_snapshot_request *request, struct tw_buf *out,
                          struct tw_error *err) {
    struct service_function *function = service_registry_get(service, caller->tenant, request->function, err);
    struct tw_mapping image;
    bool ok = function && service_function_open(service, function, err) && // its image is there then
              tw_store_map_blob(service->store, &function->image, &image, err);
    if (ok) {
        ok = save(service, function, (struct tw_str){}, tw_span_of(image.data, image.len), out, err);
        tw_file_unmap(&image);
    }
    service_function_unref(function);
    return ok;
}

// How long it took, as a metric and as a span of what asked for it.
static void record(enum tw_metric metric, struct tw_trace *trace, int64_t began_ns,
                   const struct tw_error *err, bool ok) {
    int64_t ended_ns = tw_clock_ns();
    if (ok)
        tw_metric_observe(metric, tw_labels(), (double)(ended_ns - began_ns) * 1e-9);
    tw_trace_span(trace, TW_SPAN_SNAPSHOT, began_ns, ended_ns, ok ? TW_OK : err->code, 0);
}

bool tw_service_snapshot_save(struct tw_service *service, const struct tw_caller *caller,
                              const struct tw_snapshot_request *request, struct tw_buf *out,
                              struct tw_error *err) {
    if (!service_enter(service, err))
        return false;
    int64_t began_ns = tw_clock_ns();
    bool ok = request->instance.len ? save_instance(service, caller, request, out, err)
                                    : save_function(service, caller, request, out, err);
    record(TW_METRIC_SNAPSHOT_CAPTURE, request->trace, began_ns, err, ok);
    service_leave(service);
    return ok;
}

// ---- the file of one that is kept ----

// Its checksums and its name let whoever reads it check the bytes: a digest of all of them here would be in vain.
static bool map_file(const struct tw_service *service, const struct service_snapshot *snapshot,
                     struct tw_mapping *ret_file, struct tw_error *err) {
    char path[TW_STORE_PATH_MAX];
    tw_store_blob_path(service->store, &snapshot->digest, path);
    if (!tw_file_map(path, ret_file, err))
        return false;
    if (ret_file->len == snapshot->bytes)
        return true;
    tw_file_unmap(ret_file);
    return tw_fail(err, TW_ERR_STORE, "the snapshot's file is not as long as it was written");
}

// ---- going on from one ----

// What a file holds, once it was checked but for its image. The function is in no index.
struct reading {
    struct tw_snapshot parts;
    struct tw_json *description;
    struct service_function *function;
};

static void reading_done(struct reading *reading) {
    service_function_unref(reading->function);
    tw_json_free(reading->description);
}

static bool read_file(struct tw_service *service, uint64_t tenant, struct tw_span file,
                      struct reading *ret_reading, struct tw_error *err) {
    *ret_reading = (struct reading){};
    if (!tw_snapshot_read(file, &ret_reading->parts, err) ||
        !check_signature(service, file, &ret_reading->parts, err))
        return false;
    struct tw_str text = ret_reading->parts.description;
    ret_reading->description = tw_json_parse(tw_span_of(text.data, text.len), err);
    if (!ret_reading->description)
        return tw_wrap(err, "the snapshot's description");
    struct service_function *function = ret_reading->function = service_function_new(err);
    if (!function ||
        !read_function(service, function, tw_json_get(ret_reading->description, "function"), err))
        return false;
    function->tenant = tenant;
    function->wasm_bytes = ret_reading->parts.wasm.len;
    return true;
}

// Opens the module on the image in the file, which lies in the store under `digest`; once.
static bool open_module(struct tw_service *service, struct reading *reading, const struct tw_digest *digest,
                        struct tw_error *err) {
    struct service_function *function = reading->function;
    const struct tw_snapshot *parts = &reading->parts;
    if (function->module)
        return true;
    char path[TW_STORE_PATH_MAX];
    tw_store_blob_path(service->store, digest, path);
    struct tw_image_file image = {.path = path, .at = parts->image_at, .len = parts->image.len};
    struct tw_module_limits limits = service_function_limits(service, function);
    // A snapshot of the restored instance wants the module again.
    if (!tw_store_put_blob(service->store, parts->wasm, &function->wasm, err))
        return false;
    function->module = tw_module_open(service->engine, parts->wasm, &image, &limits, err);
    if (function->module)
        tw_flag_raise(&function->is_open);
    return function->module;
}

// Makes an instance of the module in the file, which lies in the store under `digest`. Takes the function.
static bool go_on(struct tw_service *service, const struct tw_caller *caller,
                  const struct tw_restore_request *request, struct reading *reading,
                  const struct tw_digest *digest, struct tw_buf *out, struct tw_error *err) {
    struct service_instance_request wanted = {
        .function = reading->function, .id = request->instance, .idle_ms = request->idle_ms};
    if (!open_module(service, reading, digest, err))
        return false;
    reading->function = NULL;
    return service_instance_add(service, caller, &wanted, out, err);
}

static bool restore_kept(struct tw_service *service, const struct tw_caller *caller,
                         const struct tw_restore_request *request, struct tw_buf *out, struct tw_error *err) {
    struct service_snapshot *snapshot = service_snapshot_get(service, caller, request->digest, err);
    struct reading reading = {};
    struct tw_mapping file;
    bool ok = snapshot && map_file(service, snapshot, &file, err);
    if (ok) {
        ok = read_file(service, caller->tenant, tw_span_of(file.data, file.len), &reading, err) &&
             go_on(service, caller, request, &reading, &snapshot->digest, out, err);
        reading_done(&reading);
        tw_file_unmap(&file);
    }
    service_snapshot_unref(snapshot);
    return ok;
}

// The file is kept only once its module could be opened: what is damaged leaves an unnamed blob.
static bool keep_and_go_on(struct tw_service *service, const struct tw_caller *caller,
                           const struct tw_restore_request *request, struct reading *reading,
                           struct tw_buf *out, struct tw_error *err) {
    struct tw_str instance = tw_json_str(tw_json_get(reading->description, "instance_id"));
    struct service_snapshot *snapshot =
        snapshot_of(caller->tenant, reading->function, instance, &reading->parts, err);
    struct tw_lease lease = {};
    bool ok = snapshot && keep_file(service, snapshot, &request->file, 1, &lease, err);
    if (ok && !open_module(service, reading, &snapshot->digest, err)) {
        if (err->code == TW_ERR_STORE) // it is the client's image that is damaged
            err->code = TW_ERR_INVALID_REQUEST;
        ok = false;
    }
    ok = ok && keep_record(service, snapshot, &lease, err) &&
         go_on(service, caller, request, reading, &snapshot->digest, out, err);
    tw_quota_give(&lease);
    service_snapshot_unref(snapshot);
    return ok;
}

static bool restore_file(struct tw_service *service, const struct tw_caller *caller,
                         const struct tw_restore_request *request, struct tw_buf *out, struct tw_error *err) {
    struct reading reading = {};
    bool ok = tw_caller_may(caller, TW_ROLE_DEPLOY, err) &&
              read_file(service, caller->tenant, request->file, &reading, err) &&
              keep_and_go_on(service, caller, request, &reading, out, err);
    reading_done(&reading);
    return ok;
}

bool tw_service_snapshot_restore(struct tw_service *service, const struct tw_caller *caller,
                                 const struct tw_restore_request *request, struct tw_buf *out,
                                 struct tw_error *err) {
    if (!service_enter(service, err))
        return false;
    int64_t began_ns = tw_clock_ns();
    bool ok = request->digest.len ? restore_kept(service, caller, request, out, err)
                                  : restore_file(service, caller, request, out, err);
    record(TW_METRIC_SNAPSHOT_RESTORE, request->trace, began_ns, err, ok);
    service_leave(service);
    return ok;
}

// ---- reading, deleting ----

bool tw_service_snapshot_map(struct tw_service *service, const struct tw_caller *caller, struct tw_str digest,
                             struct tw_mapping *ret_file, struct tw_error *err) {
    if (!tw_caller_may(caller, TW_ROLE_DEPLOY, err))
        return false;
    struct service_snapshot *snapshot = service_snapshot_get(service, caller, digest, err);
    bool ok = snapshot && map_file(service, snapshot, ret_file, err);
    service_snapshot_unref(snapshot);
    return ok;
}

bool tw_service_snapshot_delete(struct tw_service *service, const struct tw_caller *caller,
                                struct tw_str digest, struct tw_error *err) {
    if (!tw_caller_may(caller, TW_ROLE_DEPLOY, err) || !service_enter(service, err))
        return false;
    struct service_snapshot *snapshot = service_snapshot_get(service, caller, digest, err);
    bool ok = snapshot;
    if (ok) {
        char key[SNAPSHOT_KEY_SIZE];
        (void)service_snapshot_key(key, snapshot->tenant, &snapshot->digest);
        ok = tw_store_delete_record(service->store, "snapshot", key, err);
        if (ok)
            service_snapshots_remove(service, snapshot);
    }
    service_snapshot_unref(snapshot);
    service_leave(service);
    return ok;
}
