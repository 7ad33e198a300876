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
//
// What is kept of a tenant has a limit, in number and in bytes. A new answer that finds no room takes that of the
// oldest ones: who sends a request again does so within minutes, and the tenant's next requests are not refused for
// those it sent in the morning.

#include "service/internal.h"
#include "telemetry/telemetry.h"

// Guarded by the index's lock.
struct once_entry {
    struct tw_digest name, request;
    uint64_t tenant;
    int64_t expires_ns; // wall
    uint64_t bytes;     // of its record, which count as the tenant's
    bool is_running;
    struct once_entry *older, *newer; // of the tenant's kept ones
    struct once_entry *next_gone;     // of those that were taken out together
};

// Guarded by the index's lock; there while the tenant has entries.
struct once_tenant {
    uint64_t id;
    uint32_t count;                     // running ones included
    struct once_entry *oldest, *newest; // kept ones
};

struct service_once {
    struct tw_lock lock;
    struct tw_map entries; // name → struct once_entry
    struct tw_map tenants; // id → struct once_tenant
    int64_t swept_ns;      // wall
};

static struct tw_span name_key(const struct tw_digest *name) {
    return tw_span_of(name->bytes, sizeof name->bytes);
}

static struct tw_digest name_of(uint64_t tenant, struct tw_str key) {
    const struct tw_span parts[] = {tw_span_of(&tenant, sizeof tenant), tw_key_str(key)};
    return tw_sha256_parts(parts, TW_COUNT(parts));
}

// ---- the index ----

static struct once_tenant *find_tenant_locked(const struct service_once *once, uint64_t id) {
    return tw_map_find(&once->tenants, tw_span_of(&id, sizeof id));
}

static struct once_tenant *get_tenant_locked(struct service_once *once, uint64_t id) {
    struct once_tenant *tenant = find_tenant_locked(once, id);
    if (tenant)
        return tenant;
    tenant = tw_alloc_zero(1, sizeof *tenant);
    if (!tenant || !tw_map_put(&once->tenants, tw_span_of(&id, sizeof id), tenant)) {
        free(tenant);
        return NULL;
    }
    tenant->id = id;
    return tenant;
}

static void forget_tenant_locked(struct service_once *once, struct once_tenant *tenant) {
    if (tenant->count > 0)
        return;
    tw_map_remove(&once->tenants, tw_span_of(&tenant->id, sizeof tenant->id));
    free(tenant);
}

static bool add_locked(struct service_once *once, struct once_entry *entry, struct tw_error *err) {
    struct once_tenant *tenant = get_tenant_locked(once, entry->tenant);
    if (!tenant)
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for an idempotency key");
    if (tenant->count >= SERVICE_ONCE_TENANT_MAX)
        return tw_fail(err, TW_ERR_QUOTA,
                       "tenant %" PRIu64 " has %d requests with idempotency keys under way; wait for some",
                       entry->tenant, SERVICE_ONCE_TENANT_MAX);
    if (!tw_map_put(&once->entries, name_key(&entry->name), entry)) {
        forget_tenant_locked(once, tenant);
        return tw_fail(err, TW_ERR_CAPACITY, "this server keeps %d idempotency keys already",
                       SERVICE_ONCE_MAX);
    }
    tenant->count++;
    return true;
}

// It is kept from now on, as the tenant's newest.
static void link_locked(struct service_once *once, struct once_entry *entry) {
    struct once_tenant *tenant = find_tenant_locked(once, entry->tenant);
    entry->is_running = false;
    entry->older = tenant->newest;
    *(tenant->newest ? &tenant->newest->newer : &tenant->oldest) = entry;
    tenant->newest = entry;
}

static void remove_locked(struct service_once *once, struct once_entry *entry) {
    struct once_tenant *tenant = find_tenant_locked(once, entry->tenant);
    if (!entry->is_running) {
        *(entry->older ? &entry->older->newer : &tenant->oldest) = entry->newer;
        *(entry->newer ? &entry->newer->older : &tenant->newest) = entry->older;
    }
    tw_map_remove(&once->entries, name_key(&entry->name));
    tenant->count--;
    forget_tenant_locked(once, tenant);
}

static struct once_entry *take_oldest_locked(struct service_once *once, const struct once_tenant *tenant) {
    struct once_entry *oldest = tenant ? tenant->oldest : NULL;
    if (oldest)
        remove_locked(once, oldest);
    return oldest;
}

// The tenant's oldest answer, taken out; NULL: none is kept.
static struct once_entry *take_oldest(struct service_once *once, uint64_t id) {
    TW_LOCK_SCOPE(&once->lock);
    return take_oldest_locked(once, find_tenant_locked(once, id));
}

static const struct once_tenant *fullest_locked(const struct service_once *once) {
    const struct once_tenant *fullest = NULL;
    size_t position = 0;
    struct tw_span key;
    void *value;
    while (tw_map_next(&once->tenants, &position, &key, &value)) {
        const struct once_tenant *tenant = value;
        if (!fullest || tenant->count > fullest->count)
            fullest = tenant;
    }
    return fullest;
}

// One that has to go before this tenant can have one more, taken out: its own oldest or, where the server's room is
// used up, that of the tenant with the most. NULL: none has to, or none can.
static struct once_entry *take_surplus(struct service_once *once, uint64_t id) {
    TW_LOCK_SCOPE(&once->lock);
    const struct once_tenant *tenant = find_tenant_locked(once, id);
    if (tenant && tenant->count >= SERVICE_ONCE_TENANT_MAX)
        return take_oldest_locked(once, tenant);
    return once->entries.count >= SERVICE_ONCE_MAX ? take_oldest_locked(once, fullest_locked(once)) : NULL;
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
            entry->next_gone = expired;
            expired = entry;
        }
    }
    for (struct once_entry *entry = expired; entry; entry = entry->next_gone)
        remove_locked(once, entry);
    return expired;
}

// Lets go of one that was taken out, and of those behind it. Giving back is never refused; a record that stays is found
// again by the next start.
static void drop(struct tw_service *service, struct once_entry *entry) {
    while (entry) {
        struct once_entry *next = entry->next_gone;
        struct tw_error ignored = {};
        char key[TW_DIGEST_HEX_SIZE];
        tw_digest_hex(&entry->name, key);
        (void)tw_store_delete_record(service->store, "once", key, &ignored);
        (void)tw_quota_settle(service->quotas, entry->tenant, TW_RESOURCE_ANSWERS, -(int64_t)entry->bytes,
                              NULL, &ignored);
        free(entry);
        entry = next;
    }
}

// Room for one more of the tenant's keys, as far as expired and old ones can make it.
static void sweep(struct tw_service *service, uint64_t tenant) {
    tw_lock_take(&service->once->lock);
    struct once_entry *expired = take_expired_locked(service->once);
    tw_lock_give(&service->once->lock);
    drop(service, expired);
    for (struct once_entry *surplus; (surplus = take_surplus(service->once, tenant));)
        drop(service, surplus);
}

// Takes the bytes of one more answer from the tenant's account; its oldest answers go while there is no room.
static bool make_room(struct tw_service *service, uint64_t tenant, uint64_t bytes, struct tw_lease *ret_lease,
                      struct tw_error *err) {
    uint64_t limit = tw_quota_use(service->quotas, tenant, TW_LIMIT_ANSWERS).limit;
    struct tw_error refusal = {};
    while (!tw_quota_take(service->quotas, tenant, TW_RESOURCE_ANSWERS, bytes, ret_lease, &refusal)) {
        struct once_entry *oldest = bytes <= limit ? take_oldest(service->once, tenant) : NULL;
        if (!oldest)
            return tw_fail(err, refusal.code, "%s", refusal.message);
        drop(service, oldest);
    }
    return true;
}

// ---- records: {"format", "tenant", "request", "expires_ns", "status", "body"} ----

static bool encode(const struct once_entry *entry, int status, struct tw_str body, struct tw_buf *out,
                   struct tw_error *err) {
    struct tw_json_writer writer;
    char tenant[24], request[TW_DIGEST_HEX_SIZE];
    snprintf(tenant, sizeof tenant, "%" PRIu64, entry->tenant);
    tw_digest_hex(&entry->request, request);
    tw_json_write_init(&writer, out);
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
    return tw_json_write_done(&writer) ||
           tw_fail(err, TW_ERR_STORE, "the answer is larger than the %d bytes that are kept of one",
                   SERVICE_ONCE_RECORD_MAX);
}

static bool write_record(struct tw_service *service, struct once_entry *entry, int status, struct tw_str body,
                         struct tw_error *err) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf out;
    struct tw_lease lease = {};
    char name[TW_DIGEST_HEX_SIZE];
    tw_digest_hex(&entry->name, name);
    tw_buf_init(&out, SERVICE_ONCE_RECORD_MAX);
    bool ok =
        encode(entry, status, body, &out, err) && make_room(service, entry->tenant, out.len, &lease, err) &&
        tw_store_put_record(service->store, "once", name, tw_buf_span(&out), TW_STORE_ANY, NULL, err) &&
        tw_quota_settle(service->quotas, entry->tenant, TW_RESOURCE_ANSWERS, (int64_t)out.len, &lease, err);
    if (ok)
        entry->bytes = out.len;
    tw_quota_give(&lease);
    return ok;
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

// Its record is gone, though the index has it. The request is new when it is sent again.
static void forget_lost(struct tw_service *service, const struct tw_digest *name) {
    struct once_entry *lost;
    {
        TW_LOCK_SCOPE(&service->once->lock);
        lost = tw_map_find(&service->once->entries, name_key(name));
        if (lost && lost->is_running)
            lost = NULL;
        if (lost)
            remove_locked(service->once, lost);
    }
    drop(service, lost);
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
    sweep(service, caller->tenant);
    enum look result = look(service->once, entry, err);
    bool is_kept = result != LOOK_FAILED && read_kept(service, entry, ret_status, out, &missing);
    if (result == LOOK_KEPT && missing.code == TW_ERR_NOT_FOUND)
        forget_lost(service, &entry->name);
    if (is_kept)
        tw_metric_add(TW_METRIC_REPLAYS, tw_labels(), 1);
    if (result == LOOK_NEW && (is_kept || missing.code != TW_ERR_NOT_FOUND))
        forget(service->once, entry); // the store has it, or cannot say
    else if (result != LOOK_NEW)
        free(entry);
    if (result == LOOK_FAILED || is_kept)
        return result != LOOK_FAILED;
    if (missing.code != TW_ERR_NOT_FOUND)
        return tw_fail(err, missing.code, "%s", missing.message);
    return result == LOOK_NEW ||
           tw_fail(err, TW_ERR_STORE, "the answer to this idempotency key is lost; send the request again");
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
    link_locked(once, entry);
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
    if (ok) {
        entry->is_running = true; // until all are linked, by age
        if (tw_quota_settle(service->quotas, entry->tenant, TW_RESOURCE_ANSWERS, (int64_t)data.len, NULL,
                            &err))
            entry->bytes = data.len;
    } else {
        // One key less is no reason not to start.
        tw_log(TW_LOG_WARN, "service", "an idempotency key could not be loaded", "key", key, "error",
               err.message, NULL);
        free(entry);
    }
    return true;
}

static int compare_age(const void *left, const void *right) {
    const struct once_entry *a = *(struct once_entry *const *)left, *b = *(struct once_entry *const *)right;
    return (a->expires_ns > b->expires_ns) - (a->expires_ns < b->expires_ns);
}

// Records come in no order.
static bool link_by_age(struct service_once *once, struct tw_error *err) {
    size_t position = 0, count = 0;
    struct tw_span key;
    void *value;
    struct once_entry **all = tw_alloc_zero(once->entries.count + 1, sizeof(struct once_entry *));
    if (!all)
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for %zu idempotency keys", once->entries.count);
    while (tw_map_next(&once->entries, &position, &key, &value))
        all[count++] = value;
    qsort(all, count, sizeof(struct once_entry *), compare_age);
    for (size_t i = 0; i < count; i++)
        link_locked(once, all[i]);
    free(all);
    return true;
}

bool service_once_load(struct tw_service *service, struct tw_error *err) {
    service->once = tw_alloc_zero(1, sizeof *service->once);
    if (!service->once)
        return tw_fail(err, TW_ERR_CAPACITY, "out of memory");
    tw_lock_init(&service->once->lock);
    tw_map_init(&service->once->entries, SERVICE_ONCE_MAX);
    tw_map_init(&service->once->tenants, SERVICE_ONCE_MAX);
    // What could not be loaded is looked up in the store when it is asked for.
    struct tw_error damage = {};
    if (!tw_store_each_record(service->store, "once", load, service, &damage))
        tw_log(TW_LOG_WARN, "service", "not all idempotency keys were loaded", "error", damage.message, NULL);
    return link_by_age(service->once, err);
}

static void free_all(struct tw_map *map) {
    size_t position = 0;
    struct tw_span key;
    void *value;
    while (tw_map_next(map, &position, &key, &value))
        free(value);
    tw_map_done(map);
}

void service_once_done(struct tw_service *service) {
    if (!service->once)
        return;
    free_all(&service->once->entries);
    free_all(&service->once->tenants);
    tw_lock_done(&service->once->lock);
    free(service->once);
}
