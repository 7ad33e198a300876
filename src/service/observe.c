// SPDX-License-Identifier: Apache-2.0
//
// The server at a glance, for whoever looks after it: what runs, what there is, who uses it.

#include "service/instances.h"
#include "telemetry/telemetry.h"

static void write_ready(struct tw_service *service, struct tw_json_writer *writer) {
    struct tw_error err = {};
    struct tw_buf ignored;
    tw_buf_init(&ignored, SERVICE_OBSERVE_TEXT_MAX);
    bool ok = tw_service_ready(service, &ignored, &err);
    tw_buf_done(&ignored);
    tw_json_write_key(writer, "ready");
    tw_json_write_bool(writer, ok);
    if (!ok)
        tw_json_write_text(writer, "not_ready_because", tw_str_from(err.message));
}

static void write_engine(struct tw_service *service, struct tw_json_writer *writer) {
    struct tw_engine_stats stats;
    tw_engine_stats(service->engine, &stats);
    tw_json_write_key(writer, "engine");
    tw_json_write_object(writer);
    tw_json_write_number(writer, "instances", stats.instances);
    tw_json_write_number(writer, "max_instances", stats.max_instances);
    tw_json_write_number(writer, "warm", stats.warm);
    tw_json_write_number(writer, "kept", stats.kept);
    tw_json_write_number(writer, "running", stats.running);
    tw_json_write_number(writer, "queued", stats.queued);
    tw_json_write_number(writer, "queue_wait_us", (uint64_t)stats.queue_wait_ns / TW_NS_PER_US);
    tw_json_write_text(writer, "memory_backend", tw_str_from(stats.memory_backend));
    tw_json_write_text(writer, "reset", tw_str_from(stats.reset_method));
    tw_json_write_end(writer, '}');
}

// A whole value that another function appends to a buffer.
static void write_part(struct tw_json_writer *writer, const char *key, bool ok, const struct tw_buf *text) {
    tw_json_write_key(writer, key);
    if (ok)
        tw_json_write_raw(writer, tw_buf_str(text));
    else
        tw_json_write_null(writer);
}

static void write_host(struct tw_service *service, struct tw_json_writer *writer) {
    struct tw_buf text;
    tw_buf_init(&text, SERVICE_OBSERVE_TEXT_MAX);
    write_part(writer, "version", tw_version_json(&text), &text);
    tw_buf_reset(&text);
    write_part(writer, "devices", tw_service_devices(service, &text), &text);
    tw_buf_done(&text);
}

static void write_function(struct tw_json_writer *writer, const struct service_function *function) {
    tw_json_write_object(writer);
    tw_json_write_id(writer, "tenant", function->tenant);
    tw_json_write_text(writer, "name", tw_str_from(function->name));
    tw_json_write_text(writer, "id", tw_str_from(function->id));
    tw_json_write_number(writer, "version", function->version);
    tw_json_write_number(writer, "wasm_bytes", function->wasm_bytes);
    tw_json_write_key(writer, "is_open");
    tw_json_write_bool(writer, tw_flag_is_raised(&function->is_open));
    tw_json_write_end(writer, '}');
}

static void write_functions(struct tw_service *service, struct tw_json_writer *writer) {
    size_t position = 0, shown = 0;
    struct tw_span key;
    void *function;
    TW_LOCK_SCOPE(&service->lock);
    tw_json_write_number(writer, "function_count", service->by_name.count);
    tw_json_write_key(writer, "functions");
    tw_json_write_array(writer);
    while (shown++ < SERVICE_OBSERVE_SHOWN && tw_map_next(&service->by_name, &position, &key, &function))
        write_function(writer, function);
    tw_json_write_end(writer, ']');
}

static void write_instance(struct tw_json_writer *writer, const struct service_instance *instance) {
    tw_json_write_object(writer);
    tw_json_write_id(writer, "tenant", instance->tenant);
    tw_json_write_key(writer, "instance");
    service_instance_write(writer, instance);
    tw_json_write_end(writer, '}');
}

static void write_instances(struct tw_service *service, struct tw_json_writer *writer) {
    size_t position = 0, shown = 0;
    struct tw_span key;
    void *instance;
    TW_LOCK_SCOPE(&service->instances_lock);
    tw_json_write_number(writer, "instance_count", service->instances.count);
    tw_json_write_key(writer, "instances");
    tw_json_write_array(writer);
    while (shown++ < SERVICE_OBSERVE_SHOWN && tw_map_next(&service->instances, &position, &key, &instance))
        write_instance(writer, instance);
    tw_json_write_end(writer, ']');
}

bool tw_service_observe(struct tw_service *service, const struct tw_caller *caller,
                        struct tw_json_writer *writer, struct tw_error *err) {
    if (!service_may_administer(caller, err))
        return false;
    write_host(service, writer);
    write_ready(service, writer);
    write_engine(service, writer);
    write_functions(service, writer);
    write_instances(service, writer);
    tw_json_write_key(writer, "tenants");
    tw_quotas_top(service->quotas, writer);
    tw_json_write_key(writer, "metrics");
    tw_metrics_digest(writer);
    return true;
}
