// SPDX-License-Identifier: Apache-2.0
//
// Instances that keep their state: making, listing, ending. An instance runs the version of its function that it
// was made from, also when that is replaced or deleted. One that has ended is shown for a while, so that its users
// can see why.

#include "service/instances.h"

// ---- one ----

static void instance_free(struct service_instance *instance) {
    tw_instance_unref(instance->kept);
    service_function_unref(instance->function);
    free(instance);
}

void service_instance_unref(struct service_instance *instance) {
    if (instance && tw_ref_down(&instance->ref))
        instance_free(instance);
}

// Ids sort by the time they were made.
static void make_id(struct service_instance *instance) {
    uint8_t bytes[12];
    uint64_t time = (uint64_t)instance->created_wall_ns;
    for (size_t i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(time >> (56 - 8 * i));
    tw_random(bytes + 8, sizeof bytes - 8);
    memcpy(instance->id, "in-", 3);
    tw_hex(tw_span_of(bytes, sizeof bytes), instance->id + 3);
}

// Opens the function and makes an instance of it. Blocks. Takes the function's reference.
static struct service_instance *make(struct tw_service *service,
                                     const struct service_instance_request *request,
                                     struct tw_account *account, struct tw_error *err) {
    struct service_function *function = request->function;
    struct service_instance *instance = tw_alloc_zero(1, sizeof *instance);
    if (!instance) {
        service_function_unref(function);
        tw_fail(err, TW_ERR_CAPACITY, "out of memory");
        return NULL;
    }
    tw_ref_init(&instance->ref);
    instance->function = function;
    instance->tenant = function->tenant;
    instance->created_wall_ns = tw_clock_wall_ns();
    if (!service_copy_text(instance->id, sizeof instance->id, request->id))
        make_id(instance);
    uint32_t idle_ms = service->options.instance_idle_ms;
    if (request->idle_ms && request->idle_ms < idle_ms)
        idle_ms = request->idle_ms;
    struct tw_module *module = service_function_open(service, function, err);
    if (module)
        instance->kept = tw_instance_new(module, instance->tenant, account, idle_ms * TW_NS_PER_MS, err);
    if (instance->kept)
        return instance;
    service_instance_unref(instance);
    return NULL;
}

static void write_text(struct tw_json_writer *writer, const char *key, const char *text) {
    tw_json_write_key(writer, key);
    tw_json_write_str(writer, tw_str_from(text));
}

static void write_time(struct tw_json_writer *writer, const char *key, int64_t wall_ns) {
    char text[TW_TIME_TEXT_SIZE];
    tw_clock_text(wall_ns, text);
    write_text(writer, key, text);
}

void service_instance_write(struct tw_json_writer *writer, const struct service_instance *instance) {
    struct tw_instance_state state;
    tw_instance_look(instance->kept, &state);
    tw_json_write_object(writer);
    write_text(writer, "id", instance->id);
    write_text(writer, "function_id", instance->function->id);
    write_text(writer, "function", instance->function->name);
    tw_json_write_key(writer, "version");
    tw_json_write_u64(writer, instance->function->version);
    write_text(writer, "state", state.has_ended ? "ended" : state.is_running ? "running" : "idle");
    if (state.has_ended)
        write_text(writer, "reason", state.reason);
    tw_json_write_key(writer, "calls");
    tw_json_write_u64(writer, state.calls);
    tw_json_write_key(writer, "waiting");
    tw_json_write_u64(writer, state.waiting);
    tw_json_write_key(writer, "memory_bytes");
    tw_json_write_u64(writer, state.memory_bytes);
    write_time(writer, "created_at", instance->created_wall_ns);
    write_time(writer, "used_at", tw_clock_wall_ns() - (tw_clock_ns() - state.used_ns));
    tw_json_write_end(writer, '}');
}

static bool instance_json(const struct service_instance *instance, struct tw_buf *out, struct tw_error *err) {
    struct tw_json_writer writer;
    tw_json_write_init(&writer, out);
    service_instance_write(&writer, instance);
    return tw_json_write_done(&writer) || tw_fail(err, TW_ERR_INTERNAL, "the answer does not fit its buffer");
}

// ---- the table ----

// Ids are a tenant's own: "TENANT/ID".
enum { KEY_SIZE = TW_U64_DIGITS + 1 + TW_FUNCTION_ID_MAX + 1 };
static struct tw_span key_of(char text[KEY_SIZE], uint64_t tenant, struct tw_str id) {
    int len = snprintf(text, KEY_SIZE, "%" PRIu64 "/%.*s", tenant, TW_STR_ARG(id));
    return tw_span_of(text, len < KEY_SIZE ? (size_t)len : KEY_SIZE - 1);
}

static struct service_instance *find_locked(const struct tw_service *service, uint64_t tenant,
                                            struct tw_str id) {
    char text[KEY_SIZE];
    return id.len <= TW_FUNCTION_ID_MAX ? tw_map_find(&service->instances, key_of(text, tenant, id)) : NULL;
}

static struct service_instance *remove_locked(struct tw_service *service, uint64_t tenant, struct tw_str id) {
    char text[KEY_SIZE];
    return id.len <= TW_FUNCTION_ID_MAX ? tw_map_remove(&service->instances, key_of(text, tenant, id)) : NULL;
}

struct service_instance *service_instance_get(struct tw_service *service, uint64_t tenant, struct tw_str id,
                                              struct tw_error *err) {
    {
        TW_LOCK_SCOPE(&service->instances_lock);
        struct service_instance *instance = find_locked(service, tenant, id);
        if (instance) {
            tw_ref_up(&instance->ref);
            return instance;
        }
    }
    tw_fail(err, TW_ERR_NOT_FOUND,
            "there is no instance '%.*s' of tenant %" PRIu64 "; ended ones are shown for %d s",
            (int)(id.len < 64 ? id.len : 64), id.data, tenant, SERVICE_INSTANCE_SHOWN_S);
    return NULL;
}

// Takes one out that is no longer to be shown: it ended long ago, or is the oldest ended one of a tenant that has
// too many. NULL: there is none.
static struct service_instance *take_forgotten(struct tw_service *service, uint64_t tenant) {
    struct service_instance *found = NULL, *oldest = NULL;
    int64_t shown_since_ns = tw_clock_ns() - SERVICE_INSTANCE_SHOWN_S * TW_NS_PER_S;
    uint32_t ended = 0;
    size_t position = 0;
    struct tw_span key;
    void *value;
    TW_LOCK_SCOPE(&service->instances_lock);
    while (!found && tw_map_next(&service->instances, &position, &key, &value)) {
        struct service_instance *instance = value;
        struct tw_instance_state state;
        tw_instance_look(instance->kept, &state);
        if (!state.has_ended)
            continue;
        if (state.used_ns < shown_since_ns)
            found = instance;
        if (instance->tenant != tenant)
            continue;
        ended++;
        if (!oldest || strcmp(instance->id, oldest->id) < 0)
            oldest = instance;
    }
    if (!found && ended > SERVICE_INSTANCES_ENDED_MAX)
        found = oldest;
    return found ? remove_locked(service, found->tenant, tw_str_from(found->id)) : NULL;
}

static void forget_old(struct tw_service *service, uint64_t tenant) {
    struct service_instance *forgotten;
    while ((forgotten = take_forgotten(service, tenant)))
        service_instance_unref(forgotten);
}

// An ended one of the same id makes room; it comes back in `ret_ended`.
static bool put_locked(struct tw_service *service, struct service_instance *instance,
                       struct service_instance **ret_ended, struct tw_error *err) {
    struct tw_str id = tw_str_from(instance->id);
    struct service_instance *there = find_locked(service, instance->tenant, id);
    struct tw_instance_state state = {.has_ended = true};
    char text[KEY_SIZE];
    if (there)
        tw_instance_look(there->kept, &state);
    if (!state.has_ended)
        return tw_fail(err, TW_ERR_CONFLICT, "instance '%s' exists; end it first, or choose another id",
                       instance->id);
    if (there)
        *ret_ended = remove_locked(service, instance->tenant, id);
    return tw_map_put(&service->instances, key_of(text, instance->tenant, id), instance) ||
           tw_fail(err, TW_ERR_CAPACITY, "this server shows %d instances already; delete some",
                   SERVICE_INSTANCES_MAX);
}

static bool put(struct tw_service *service, struct service_instance *instance, struct tw_error *err) {
    struct service_instance *ended = NULL;
    bool ok;
    {
        TW_LOCK_SCOPE(&service->instances_lock);
        ok = put_locked(service, instance, &ended, err);
    }
    service_instance_unref(ended);
    return ok;
}

// ---- the use cases ----

static bool check_id(struct tw_str id, struct tw_error *err) {
    if (tw_str_equal(id, TW_STR("restore")))
        return tw_fail(err, TW_ERR_INVALID_NAME,
                       "'restore' is no instance's id: /instances/restore makes one");
    return id.len == 0 || service_is_word(id, TW_FUNCTION_ID_MAX) ||
           tw_fail(err, TW_ERR_INVALID_NAME,
                   "an instance's id has 1 to %d characters of A-Z a-z 0-9 . _ - and begins with a letter or "
                   "digit",
                   TW_FUNCTION_ID_MAX);
}

bool service_instance_add(struct tw_service *service, const struct tw_caller *caller,
                          const struct service_instance_request *request, struct tw_buf *out,
                          struct tw_error *err) {
    struct tw_lease lease;
    forget_old(service, caller->tenant);
    if (!check_id(request->id, err) || !tw_quota_admit(service->quotas, caller->tenant, &lease, err)) {
        service_function_unref(request->function);
        return false;
    }
    struct service_instance *instance = make(service, request, lease.account, err);
    tw_quota_give(&lease);
    if (instance && instance_json(instance, out, err) && put(service, instance, err))
        return true; // the reference is the table's now
    service_instance_unref(instance);
    return false;
}

bool tw_service_instance_new(struct tw_service *service, const struct tw_caller *caller,
                             const struct tw_instance_request *request, struct tw_buf *out,
                             struct tw_error *err) {
    if (!service_enter(service, err))
        return false;
    struct service_function *function = service_registry_get(service, caller->tenant, request->function, err);
    struct service_instance_request wanted = {.function = function, .idle_ms = request->idle_ms};
    bool ok = function && service_instance_add(service, caller, &wanted, out, err);
    service_leave(service);
    return ok;
}

bool tw_service_instance_get(struct tw_service *service, const struct tw_caller *caller, struct tw_str id,
                             struct tw_buf *out, struct tw_error *err) {
    struct service_instance *instance = service_instance_get(service, caller->tenant, id, err);
    bool ok = instance && instance_json(instance, out, err);
    service_instance_unref(instance);
    return ok;
}

bool tw_service_instance_delete(struct tw_service *service, const struct tw_caller *caller, struct tw_str id,
                                struct tw_error *err) {
    struct service_instance *instance = service_instance_get(service, caller->tenant, id, err), *removed;
    if (!instance)
        return false;
    {
        TW_LOCK_SCOPE(&service->instances_lock);
        removed = remove_locked(service, caller->tenant, id);
    }
    tw_instance_end(instance->kept, "it was deleted");
    service_instance_unref(removed);
    service_instance_unref(instance);
    return true;
}

static void collect(struct tw_service *service, uint64_t tenant, struct tw_str cursor,
                    struct service_page *page) {
    char after[TW_FUNCTION_ID_MAX + 1];
    snprintf(after, sizeof after, "%.*s", TW_STR_ARG(cursor));
    size_t position = 0;
    struct tw_span key;
    void *value;
    TW_LOCK_SCOPE(&service->instances_lock);
    while (tw_map_next(&service->instances, &position, &key, &value)) {
        struct service_instance *instance = value;
        if (instance->tenant == tenant && strcmp(instance->id, after) > 0)
            service_page_insert(page, instance->id, instance);
    }
    for (uint32_t i = 0; i < page->count; i++)
        tw_ref_up(&((struct service_instance *)page->items[i])->ref);
}

bool tw_service_instances(struct tw_service *service, const struct tw_caller *caller, struct tw_str cursor,
                          uint32_t limit, struct tw_buf *out, struct tw_error *err) {
    struct service_page page;
    if (!service_page_init(&page, limit, cursor, TW_FUNCTION_ID_MAX, err))
        return false;
    forget_old(service, caller->tenant);
    collect(service, caller->tenant, cursor, &page);
    struct tw_json_writer writer;
    tw_json_write_init(&writer, out);
    tw_json_write_object(&writer);
    tw_json_write_key(&writer, "instances");
    tw_json_write_array(&writer);
    for (uint32_t i = 0; i < page.count; i++) {
        if (i < service_page_shown(&page))
            service_instance_write(&writer, page.items[i]);
    }
    tw_json_write_end(&writer, ']');
    service_page_write_next(&page, &writer);
    tw_json_write_end(&writer, '}');
    for (uint32_t i = 0; i < page.count; i++)
        service_instance_unref(page.items[i]);
    return tw_json_write_done(&writer) ||
           tw_buf_fail(out, err, TW_ERR_INVALID_REQUEST,
                       "the page is larger than %zu bytes; ask for fewer instances with limit=", out->max);
}

// ---- start and end of the server ----

void service_instances_init(struct tw_service *service) {
    tw_lock_init(&service->instances_lock);
    tw_map_init(&service->instances, SERVICE_INSTANCES_MAX);
}

void service_instances_done(struct tw_service *service) {
    size_t position = 0;
    struct tw_span key;
    void *value;
    while (tw_map_next(&service->instances, &position, &key, &value))
        service_instance_unref(value);
    tw_map_done(&service->instances);
    tw_lock_done(&service->instances_lock);
}
