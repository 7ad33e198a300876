// SPDX-License-Identifier: Apache-2.0
//
// The index of snapshots, in memory: by tenant and digest. Loaded from the store at start.

#include "service/snapshots.h"

struct service_snapshot *service_snapshot_new(struct tw_error *err) {
    struct service_snapshot *snapshot = tw_alloc_zero(1, sizeof *snapshot);
    if (!snapshot) {
        tw_fail(err, TW_ERR_CAPACITY, "out of memory");
        return NULL;
    }
    tw_ref_init(&snapshot->ref);
    return snapshot;
}

struct service_snapshot *service_snapshot_ref(struct service_snapshot *snapshot) {
    tw_ref_up(&snapshot->ref);
    return snapshot;
}

void service_snapshot_unref(struct service_snapshot *snapshot) {
    if (snapshot && tw_ref_down(&snapshot->ref))
        free(snapshot);
}

// ---- as text ----

static void write_common(struct tw_json_writer *writer, const struct service_snapshot *snapshot) {
    service_write_digest(writer, "digest", &snapshot->digest);
    tw_json_write_number(writer, "size_bytes", snapshot->bytes);
    tw_json_write_text(writer, "function_id", tw_str_from(snapshot->function_id));
    tw_json_write_text(writer, "function", tw_str_from(snapshot->function_name));
    tw_json_write_number(writer, "version", snapshot->function_version);
    service_write_digest(writer, "module_digest", &snapshot->module);
    tw_json_write_key(writer, "instance_id");
    if (snapshot->instance[0])
        tw_json_write_str(writer, tw_str_from(snapshot->instance));
    else
        tw_json_write_null(writer);
    tw_json_write_key(writer, "signed");
    tw_json_write_bool(writer, snapshot->is_signed);
}

static bool finish(struct tw_json_writer *writer, struct tw_buf *out, struct tw_error *err) {
    tw_json_write_end(writer, '}');
    return tw_json_write_done(writer) ||
           tw_buf_fail(out, err, TW_ERR_INTERNAL, "the answer is larger than %zu bytes", out->max);
}

bool service_snapshot_json(const struct service_snapshot *snapshot, struct tw_buf *out,
                           struct tw_error *err) {
    struct tw_json_writer writer;
    tw_json_write_init(&writer, out);
    tw_json_write_object(&writer);
    write_common(&writer, snapshot);
    service_write_time(&writer, "captured_at", snapshot->captured_ns);
    return finish(&writer, out, err);
}

bool service_snapshot_encode(const struct service_snapshot *snapshot, struct tw_buf *out,
                             struct tw_error *err) {
    struct tw_json_writer writer;
    char tenant[TW_U64_DIGITS]; // a u64 does not fit JSON's exact integers
    tw_json_write_init(&writer, out);
    tw_json_write_object(&writer);
    tw_json_write_number(&writer, "format", 1);
    tw_json_write_text(&writer, "tenant", tw_str_of_u64(snapshot->tenant, tenant));
    write_common(&writer, snapshot);
    tw_json_write_key(&writer, "captured_ns");
    tw_json_write_int(&writer, snapshot->captured_ns);
    return finish(&writer, out, err);
}

static bool decode(struct service_snapshot *snapshot, const struct tw_json *root) {
    const struct tw_json *instance = tw_json_get(root, "instance_id");
    snapshot->bytes = (uint64_t)tw_json_int(tw_json_get(root, "size_bytes"));
    snapshot->function_version = (uint64_t)tw_json_int(tw_json_get(root, "version"));
    snapshot->captured_ns = tw_json_int(tw_json_get(root, "captured_ns"));
    snapshot->is_signed = tw_json_bool(tw_json_get(root, "signed"));
    return tw_json_int(tw_json_get(root, "format")) == 1 &&
           tw_str_u64(tw_json_str(tw_json_get(root, "tenant")), &snapshot->tenant) &&
           tw_digest_parse(tw_json_str(tw_json_get(root, "digest")), &snapshot->digest) &&
           tw_digest_parse(tw_json_str(tw_json_get(root, "module_digest")), &snapshot->module) &&
           service_copy_text(snapshot->function_id, sizeof snapshot->function_id,
                             tw_json_str(tw_json_get(root, "function_id"))) &&
           service_copy_text(snapshot->function_name, sizeof snapshot->function_name,
                             tw_json_str(tw_json_get(root, "function"))) &&
           (tw_json_type(instance) == TW_JSON_NULL ||
            service_copy_text(snapshot->instance, sizeof snapshot->instance, tw_json_str(instance)));
}

struct service_snapshot *service_snapshot_decode(struct tw_span record, struct tw_error *err) {
    struct tw_json *root = tw_json_parse(record, err);
    struct service_snapshot *snapshot = root ? service_snapshot_new(err) : NULL;
    if (snapshot && !decode(snapshot, root)) {
        tw_fail(err, TW_ERR_STORE, "the snapshot's record is not of this version's form");
        service_snapshot_unref(snapshot);
        snapshot = NULL;
    }
    tw_json_free(root);
    return snapshot;
}

// ---- the index ----

struct tw_span service_snapshot_key(char text[SNAPSHOT_KEY_SIZE], uint64_t tenant,
                                    const struct tw_digest *digest) {
    int len = snprintf(text, SNAPSHOT_KEY_SIZE, "%" PRIu64 "/", tenant);
    tw_digest_hex(digest, text + len);
    return tw_span_of(text, strlen(text));
}

struct service_snapshot *service_snapshot_get(struct tw_service *service, const struct tw_caller *caller,
                                              struct tw_str digest, struct tw_error *err) {
    char text[SNAPSHOT_KEY_SIZE];
    struct tw_digest wanted;
    if (tw_digest_parse(digest, &wanted)) {
        struct tw_span key = service_snapshot_key(text, caller->tenant, &wanted);
        TW_LOCK_SCOPE(&service->snapshot_lock);
        struct service_snapshot *snapshot = tw_map_find(&service->snapshots, key);
        if (snapshot)
            return service_snapshot_ref(snapshot);
    }
    tw_fail(err, TW_ERR_NOT_FOUND,
            "tenant %" PRIu64 " has no snapshot '%.*s'; its name is the 64 hex digits of its sha256",
            caller->tenant, (int)(digest.len < TW_DIGEST_HEX_SIZE ? digest.len : TW_DIGEST_HEX_SIZE),
            digest.data);
    return NULL;
}

static bool put_locked(struct tw_service *service, struct service_snapshot *snapshot, struct tw_span key,
                       struct tw_lease *lease, struct tw_error *err) {
    if (!tw_map_put(&service->snapshots, key, snapshot))
        return tw_fail(err, TW_ERR_CAPACITY, "this server holds %d snapshots already; delete some",
                       SERVICE_SNAPSHOTS_MAX);
    if (tw_quota_settle(service->quotas, snapshot->tenant, TW_RESOURCE_STORED, (int64_t)snapshot->bytes,
                        lease, err))
        return true;
    tw_map_remove(&service->snapshots, key);
    return false;
}

bool service_snapshots_put(struct tw_service *service, struct service_snapshot *snapshot,
                           struct tw_lease *lease, struct tw_error *err) {
    char text[SNAPSHOT_KEY_SIZE];
    struct tw_span key = service_snapshot_key(text, snapshot->tenant, &snapshot->digest);
    snprintf(snapshot->order, sizeof snapshot->order, "%016" PRIx64, (uint64_t)snapshot->captured_ns);
    tw_digest_hex(&snapshot->digest, snapshot->order + strlen(snapshot->order));
    bool is_there, ok;
    {
        TW_LOCK_SCOPE(&service->snapshot_lock);
        is_there = tw_map_find(&service->snapshots, key);
        ok = is_there || put_locked(service, snapshot, key, lease, err);
    }
    if (is_there || !ok)
        service_snapshot_unref(snapshot);
    return ok;
}

void service_snapshots_remove(struct tw_service *service, const struct service_snapshot *snapshot) {
    char text[SNAPSHOT_KEY_SIZE];
    struct tw_span key = service_snapshot_key(text, snapshot->tenant, &snapshot->digest);
    struct service_snapshot *removed;
    {
        TW_LOCK_SCOPE(&service->snapshot_lock);
        removed = tw_map_remove(&service->snapshots, key);
    }
    if (removed) // giving back is never refused
        (void)tw_quota_settle(service->quotas, snapshot->tenant, TW_RESOURCE_STORED,
                              -(int64_t)snapshot->bytes, NULL, NULL);
    service_snapshot_unref(removed);
}

// ---- a page of them ----

static void collect(struct tw_service *service, uint64_t tenant, struct tw_str cursor,
                    struct service_page *page) {
    char after[sizeof(((struct service_snapshot *)0)->order)];
    snprintf(after, sizeof after, "%.*s", TW_STR_ARG(cursor));
    size_t position = 0;
    struct tw_span key;
    void *value;
    TW_LOCK_SCOPE(&service->snapshot_lock);
    while (tw_map_next(&service->snapshots, &position, &key, &value)) {
        struct service_snapshot *snapshot = value;
        if (snapshot->tenant == tenant && strcmp(snapshot->order, after) > 0)
            service_page_insert(page, snapshot->order, snapshot);
    }
    for (uint32_t i = 0; i < page->count; i++)
        service_snapshot_ref(page->items[i]);
}

bool tw_service_snapshots(struct tw_service *service, const struct tw_caller *caller, struct tw_str cursor,
                          uint32_t limit, struct tw_buf *out, struct tw_error *err) {
    struct service_page page;
    if (!service_page_init(&page, limit, cursor, sizeof(((struct service_snapshot *)0)->order) - 1, err))
        return false;
    collect(service, caller->tenant, cursor, &page);
    struct tw_json_writer writer;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf text;
    tw_buf_init(&text, SERVICE_RECORD_MAX);
    tw_json_write_init(&writer, out);
    tw_json_write_object(&writer);
    tw_json_write_key(&writer, "snapshots");
    tw_json_write_array(&writer);
    bool ok = true;
    for (uint32_t i = 0; ok && i < service_page_shown(&page); i++) {
        tw_buf_reset(&text);
        ok = service_snapshot_json(page.items[i], &text, err);
        tw_json_write_raw(&writer, tw_buf_str(&text));
    }
    tw_json_write_end(&writer, ']');
    service_page_write_next(&page, &writer);
    for (uint32_t i = 0; i < page.count; i++)
        service_snapshot_unref(page.items[i]);
    return ok && finish(&writer, out, err);
}

// ---- start and end of the server ----

struct load_state {
    struct tw_service *service;
    struct tw_error *err;
    bool failed;
};

static bool load_record(void *context, const char *key, struct tw_span data, uint64_t version) {
    (void)version; // records of snapshots never change
    struct load_state *state = context;
    struct service_snapshot *snapshot = service_snapshot_decode(data, state->err);
    state->failed = !snapshot || !service_snapshots_put(state->service, snapshot, NULL, state->err);
    if (state->failed)
        tw_wrap(state->err, "loading snapshot '%s'", key);
    return !state->failed;
}

bool service_snapshots_load(struct tw_service *service, struct tw_error *err) {
    struct load_state state = {.service = service, .err = err};
    return tw_store_each_record(service->store, "snapshot", load_record, &state, err) && !state.failed;
}

void service_snapshots_init(struct tw_service *service) {
    tw_lock_init(&service->snapshot_lock);
    tw_map_init(&service->snapshots, SERVICE_SNAPSHOTS_MAX);
}

void service_snapshots_done(struct tw_service *service) {
    size_t position = 0;
    struct tw_span key;
    void *value;
    while (tw_map_next(&service->snapshots, &position, &key, &value))
        service_snapshot_unref(value);
    tw_map_done(&service->snapshots);
    tw_lock_done(&service->snapshot_lock);
}
