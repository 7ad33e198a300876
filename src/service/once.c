// SPDX-License-Identifier: Apache-2.0
//
// Idempotency keys: what a creating request was answered is kept for a day, and the same request with the same key
// is given that answer instead of doing the work again.
//
//     (none) ──begin──▶ running ──end, success──▶ kept ──(a day)──▶ (none)
//                          └──────end, failure──▶ (none): a failed request created nothing
//
// Here is the index; the answers lie in the store as records of the kind "once", written before the first answer is
// sent. So they survive a restart, and another server over the same store finds them. A server that dies between
// the work and the record has not answered yet: that request, sent again, is done again.

#include "service/internal.h"
#include "telemetry/telemetry.h"

// Guarded by the index's lock.
struct once_entry {
    struct tw_digest name, request;
    uint64_t tenant;
    int64_t expires_ns; // wall
    bool is_running;
    struct once_entry *next_expired;
};

struct service_once {
    struct tw_lock lock;
    struct tw_map entries;   // name → struct once_entry
    struct tw_map by_tenant; // tenant → how many, as the pointer itself
    int64_t swept_ns;        // wall
};

static struct tw_span name_key(const struct tw_digest *name) {
    return tw_span_of(name->bytes, sizeof name->bytes);
}

static struct tw_digest name_of(uint64_t tenant, struct tw_str key) {
    const struct tw_span parts[] = {tw_span_of(&tenant, sizeof tenant), tw_key_str(key)};
    return tw_sha256_parts(parts, TW_COUNT(parts));
}

// ---- the index ----

static uintptr_t count_locked(const struct service_once *once, uint64_t tenant) {
    return (uintptr_t)tw_map_find(&once->by_tenant, tw_span_of(&tenant, sizeof tenant));
}

static bool add_locked(struct service_once *once, struct once_entry *entry, struct tw_error *err) {
    struct tw_span tenant = tw_span_of(&entry->tenant, sizeof entry->tenant);
    uintptr_t count = count_locked(once, entry->tenant);
    if (count >= SERVICE_ONCE_TENANT_MAX)
        return tw_fail(err, TW_ERR_QUOTA,
                       "tenant %" PRIu64
                       " has used %d idempotency keys within a day; send requests without one",
                       entry->tenant, SERVICE_ONCE_TENANT_MAX);
    if (!tw_map_put(&once->entries, name_key(&entry->name), entry))
        return tw_fail(err, TW_ERR_CAPACITY, "this server keeps %d idempotency keys already",
                       SERVICE_ONCE_MAX);
    if (tw_map_put(&once->by_tenant, tenant, (void *)(count + 1)))
        return true;
    tw_map_remove(&once->entries, name_key(&entry->name));
    return tw_fail(err, TW_ERR_CAPACITY, "no memory for an idempotency key");
}

static void remove_locked(struct service_once *once, struct once_entry *entry) {
    struct tw_span tenant = tw_span_of(&entry->tenant, sizeof entry->tenant);
    uintptr_t count = count_locked(once, entry->tenant);
    tw_map_remove(&once->entries, name_key(&entry->name));
    // Replacing a value needs no memory.
    if (count <= 1 || !tw_map_put(&once->by_tenant, tenant, (void *)(count - 1)))
        tw_map_remove(&once->by_tenant, tenant);
}

static struct once_entry *take_expired_locked(struct service_once *once) {
    struct once_entry *expired = NULL;
    int64_t now_ns = tw_clock_wall_ns();
    // A clock that was set back must not stop the sweeping.
    if (now_ns >= once->swept_ns && now_ns - once->swept_ns < SERVICE_ONCE_SWEEP_S * TW_NS_PER_S)
        return NULL;
    once->swept_ns = now_ns;
    size_t position = 0;
    struct tw_span key;
    void *value;
    while (tw_map_next(&once->entries, &position, &key, &value)) {
        struct once_entry *entry = value;
        if (!entry->is_running && entry->expires_ns <= now_ns) {
            entry->next_expired = expired;
            expired = entry;
        }
    }
    for (struct once_entry *entry = expired; entry; entry = entry->next_expired)
        remove_locked(once, entry);
    return expired;
}

static void delete_record(struct tw_service *service, const struct tw_digest *name) {
    char key[TW_DIGEST_HEX_SIZE];
    struct tw_error ignored = {}; // one that stays is found expired by the next start
    tw_digest_hex(name, key);
    (void)tw_store_delete_record(service->store, "once", key, &ignored);
}

static void sweep(struct tw_service *service) {
    tw_lock_take(&service->once->lock);
    struct once_entry *entry = take_expired_locked(service->once);
    tw_lock_give(&service->once->lock);
    while (entry) {
        struct once_entry *next = entry->next_expired;
        delete_record(service, &entry->name);
        free(entry);
        entry = next;
    }
}

// ---- records: {"format", "tenant", "request", "expires_ns", "status", "body"} ----

static bool write_record(struct tw_service *service, const struct once_entry *entry, int status,
                         struct tw_str body, struct tw_error *err) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf out;
    struct tw_json_writer writer;
    char tenant[24], request[TW_DIGEST_HEX_SIZE], name[TW_DIGEST_HEX_SIZE];
    snprintf(tenant, sizeof tenant, "%" PRIu64, entry->tenant);
    tw_digest_hex(&entry->request, request);
    tw_digest_hex(&entry->name, name);
    tw_buf_init(&out, SERVICE_ONCE_RECORD_MAX);
    tw_json_write_init(&writer, &out);
    tw_json_write_object(&writer);
    tw_json_write_key(&writer, "format");
    tw_json_write_int(&writer, 1);
    tw_json_write_key(&writer, "tenant");
    tw_json_write_str(&writer, tw_str_from(tenant));
    tw_json_write_key(&writer, "request");
    tw_json_write_str(&writer, tw_str_from(request));
    tw_json_write_key(&writer, "expires_ns");
    tw_json_write_int(&writer, entry->expires_ns);
    tw_json_write_key(&writer, "status");
    tw_json_write_int(&writer, status);
    tw_json_write_key(&writer, "body");
    tw_json_write_str(&writer, body);
    tw_json_write_end(&writer, '}');
    return (tw_json_write_done(&writer) ||
            tw_fail(err, TW_ERR_STORE, "the answer is larger than the %d bytes that are kept of one",
                    SERVICE_ONCE_RECORD_MAX)) &&
           tw_store_put_record(service->store, "once", name, tw_buf_span(&out), TW_STORE_ANY, NULL, err);
}

static bool decode(const struct tw_json *root, struct once_entry *entry, struct tw_error *err) {
    entry->expires_ns = tw_json_int(tw_json_get(root, "expires_ns"));
    return (tw_json_int(tw_json_get(root, "format")) == 1 &&
            tw_str_u64(tw_json_str(tw_json_get(root, "tenant")), &entry->tenant) &&
            tw_digest_parse(tw_json_str(tw_json_get(root, "request")), &entry->request)) ||
           tw_fail(err, TW_ERR_STORE, "the record of an idempotency key is not of this version's form");
}

// The record of `name`: what it was for, and, unless NULL, its answer. NOT_FOUND.
static bool read_record(struct tw_service *service, const struct tw_digest *name, struct once_entry *entry,
                        int *ret_status, struct tw_buf *out, struct tw_error *err) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf data;
    char key[TW_DIGEST_HEX_SIZE];
    tw_digest_hex(name, key);
    tw_buf_init(&data, SERVICE_ONCE_RECORD_MAX);
    if (!tw_store_get_record(service->store, "once", key, &data, NULL, err))
        return false;
    struct tw_json *root = tw_json_parse(tw_buf_span(&data), err);
    bool ok = root && decode(root, entry, err);
    if (ok && out) {
        *ret_status = (int)tw_json_int(tw_json_get(root, "status"));
        ok = tw_buf_append_str(out, tw_json_str(tw_json_get(root, "body"))) ||
             tw_fail(err, TW_ERR_CAPACITY, "no memory for the stored answer");
    }
    tw_json_free(root);
    return ok;
}

// ---- begin and end ----

static bool check_same(const struct once_entry *entry, const struct tw_digest *request,
                       struct tw_error *err) {
    return tw_digest_equal(&entry->request, request) ||
           tw_fail(err, TW_ERR_KEY_REUSED,
                   "this idempotency key stands for another request; use a new key for each");
}

enum look { LOOK_FAILED, LOOK_NEW, LOOK_KEPT };

// Enters it as running when it is new.
static enum look look(struct service_once *once, struct once_entry *wanted, struct tw_error *err) {
    TW_LOCK_SCOPE(&once->lock);
    const struct once_entry *found = tw_map_find(&once->entries, name_key(&wanted->name));
    if (!found)
        return add_locked(once, wanted, err) ? LOOK_NEW : LOOK_FAILED;
    if (!check_same(found, &wanted->request, err))
        return LOOK_FAILED;
    if (!found->is_running)
        return LOOK_KEPT;
    tw_fail(err, TW_ERR_IN_PROGRESS, "the first request with this idempotency key is still worked on");
    return LOOK_FAILED;
}

static void forget(struct service_once *once, struct once_entry *entry) {
    tw_lock_take(&once->lock);
    remove_locked(once, entry);
    tw_lock_give(&once->lock);
    free(entry);
}

// The answer that another server over the same store may have kept. NOT_FOUND: none, or an expired one.
static bool read_kept(struct tw_service *service, const struct once_entry *wanted, int *ret_status,
                      struct tw_buf *out, struct tw_error *err) {
    struct once_entry kept = {};
    return read_record(service, &wanted->name, &kept, ret_status, out, err) &&
           (kept.expires_ns > tw_clock_wall_ns() || tw_fail(err, TW_ERR_NOT_FOUND, "expired")) &&
           check_same(&kept, &wanted->request, err);
}

bool tw_service_once_begin(struct tw_service *service, const struct tw_caller *caller, struct tw_str key,
                           const struct tw_digest *request, int *ret_status, struct tw_buf *out,
                           struct tw_error *err) {
    struct once_entry *entry = tw_alloc_zero(1, sizeof *entry);
    struct tw_error missing = {};
    if (!entry)
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for an idempotency key");
    *entry = (struct once_entry){.name = name_of(caller->tenant, key),
                                 .request = *request,
                                 .tenant = caller->tenant,
                                 .is_running = true};
    *ret_status = 0;
    sweep(service);
    enum look result = look(service->once, entry, err);
    bool is_kept = result != LOOK_FAILED && read_kept(service, entry, ret_status, out, &missing);
    if (is_kept)
        tw_metric_add(TW_METRIC_REPLAYS, tw_labels(), 1);
    if (result == LOOK_NEW && (is_kept || missing.code != TW_ERR_NOT_FOUND))
        forget(service->once, entry); // the store has it, or cannot say
    else if (result != LOOK_NEW)
        free(entry);
    if (result == LOOK_FAILED || is_kept)
        return result != LOOK_FAILED;
    // Of one that the index has the record cannot be missing; of a new one it should be.
    return (result == LOOK_NEW && missing.code == TW_ERR_NOT_FOUND) ||
           tw_fail(err, missing.code == TW_ERR_NOT_FOUND ? TW_ERR_STORE : missing.code, "%s",
                   missing.message);
}

void tw_service_once_end(struct tw_service *service, const struct tw_caller *caller, struct tw_str key,
                         int status, struct tw_str body) {
    struct service_once *once = service->once;
    struct tw_digest name = name_of(caller->tenant, key);
    struct tw_error err = {};
    tw_lock_take(&once->lock);
    struct once_entry *entry = tw_map_find(&once->entries, name_key(&name));
    tw_lock_give(&once->lock);
    if (!entry)
        return;
    // Running entries are touched by their request alone.
    entry->expires_ns = tw_clock_wall_ns() + SERVICE_ONCE_KEEP_S * TW_NS_PER_S;
    bool is_kept = status >= 200 && status < 300 && write_record(service, entry, status, body, &err);
    if (!is_kept) {
        forget(once, entry);
        if (err.code != TW_OK)
            tw_log(TW_LOG_WARN, "service", "the answer to an idempotency key was not kept", "error",
                   err.message, NULL);
        return;
    }
    TW_LOCK_SCOPE(&once->lock);
    entry->is_running = false;
}

// ---- start and end of the server ----

static bool load(void *context, const char *key, struct tw_span data, uint64_t version) {
    struct tw_service *service = context;
    struct tw_error err = {};
    struct once_entry *entry = tw_alloc_zero(1, sizeof *entry);
    struct tw_json *root = entry ? tw_json_parse(data, &err) : NULL;
    bool ok = root && tw_digest_parse(tw_str_from(key), &entry->name) && decode(root, entry, &err) &&
              add_locked(service->once, entry, &err);
    (void)version;
    tw_json_free(root);
    if (!ok) {
        // One key less is no reason not to start.
        tw_log(TW_LOG_WARN, "service", "an idempotency key could not be loaded", "key", key, "error",
               err.message, NULL);
        free(entry);
    }
    return true;
}

bool service_once_load(struct tw_service *service, struct tw_error *err) {
    service->once = tw_alloc_zero(1, sizeof *service->once);
    if (!service->once)
        return tw_fail(err, TW_ERR_CAPACITY, "out of memory");
    tw_lock_init(&service->once->lock);
    tw_map_init(&service->once->entries, SERVICE_ONCE_MAX);
    tw_map_init(&service->once->by_tenant, SERVICE_ONCE_MAX);
    // What could not be loaded is looked up in the store when it is asked for.
    struct tw_error damage = {};
    if (!tw_store_each_record(service->store, "once", load, service, &damage))
        tw_log(TW_LOG_WARN, "service", "not all idempotency keys were loaded", "error", damage.message, NULL);
    return true;
}

void service_once_done(struct tw_service *service) {
    if (!service->once)
        return;
    size_t position = 0;
    struct tw_span key;
    void *value;
    while (tw_map_next(&service->once->entries, &position, &key, &value))
        free(value);
    tw_map_done(&service->once->entries);
    tw_map_done(&service->once->by_tenant);
    tw_lock_done(&service->once->lock);
    free(service->once);
}
