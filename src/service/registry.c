// SPDX-License-Identifier: Apache-2.0
//
// The index of functions, in memory: by tenant and name, and by id. Loaded from the store at start; records
// are small, so this costs microseconds a function, and no module is opened before its first call.

#include "service/internal.h"
#include "telemetry/telemetry.h"

// "TENANT/NAME", as records are keyed in the store too; `text` ends as a string does.
static struct tw_span name_key(char text[SERVICE_FUNCTION_KEY_SIZE], uint64_t tenant, struct tw_str name) {
    char digits[TW_U64_DIGITS];
    struct tw_str number = tw_str_of_u64(tenant, digits);
    size_t name_len = name.len < TW_FUNCTION_NAME_MAX ? name.len : TW_FUNCTION_NAME_MAX;
    memcpy(text, number.data, number.len);
    text[number.len] = '/';
    memcpy(text + number.len + 1, name.data, name_len);
    text[number.len + 1 + name_len] = 0;
    return tw_span_of(text, number.len + 1 + name_len);
}

struct load_state {
    struct tw_service *service;
    struct tw_error *err;
    bool failed;
};

static bool load_record(void *context, const char *key, struct tw_span data, uint64_t version) {
    struct load_state *state = context;
    struct service_function *function = service_function_decode(data, state->err);
    if (function)
        function->record_version = version;
    state->failed = !function || !service_registry_put(state->service, function, NULL, state->err);
    if (state->failed)
        tw_wrap(state->err, "loading function '%s'", key);
    return !state->failed;
}

bool service_registry_load(struct tw_service *service, struct tw_error *err) {
    struct load_state state = {.service = service, .err = err};
    return tw_store_each_record(service->store, "function", load_record, &state, err) && !state.failed;
}

void service_registry_done(struct tw_service *service) {
    size_t position = 0;
    void *value;
    struct tw_span key;
    while (tw_map_next(&service->by_name, &position, &key, &value))
        service_function_unref(value);
    tw_map_done(&service->by_name);
    tw_map_done(&service->by_id);
}

struct service_function *service_registry_get(struct tw_service *service, uint64_t tenant,
                                              struct tw_str id_or_name, struct tw_error *err) {
    char text[SERVICE_FUNCTION_KEY_SIZE];
    if (id_or_name.len > TW_FUNCTION_NAME_MAX || id_or_name.len == 0) {
        tw_fail(err, TW_ERR_NOT_FOUND, "there is no function of that name or id");
        return NULL;
    }
    TW_LOCK_SCOPE(&service->lock);
    // Names do not begin as ids do.
    bool is_id = tw_str_starts(id_or_name, TW_STR("fn-"));
    struct service_function *function =
        is_id ? tw_map_find(&service->by_id, tw_key_str(id_or_name))
              : tw_map_find(&service->by_name, name_key(text, tenant, id_or_name));
    if (function && function->tenant != tenant)
        function = NULL; // another tenant's is as good as none
    if (function)
        return service_function_ref(function);
    tw_fail(err, TW_ERR_NOT_FOUND, "there is no function '%.*s' of tenant %" PRIu64, TW_STR_ARG(id_or_name),
            tenant);
    return NULL;
}

// Changes the tenant's use by the step from `old` to `new` (either may be NULL).
static bool account(struct tw_service *service, const struct service_function *old,
                    const struct service_function *new, struct service_deploy_leases *leases,
                    struct tw_error *err) {
    uint64_t tenant = new ? new->tenant : old->tenant;
    int64_t count = (new ? 1 : 0) - (old ? 1 : 0);
    int64_t bytes = (int64_t)(new ? new->wasm_bytes : 0) - (int64_t)(old ? old->wasm_bytes : 0);
    // The second cannot fail: the first has put the tenant into the table.
    return tw_quota_settle(service->quotas, tenant, TW_RESOURCE_FUNCTIONS, count,
                           leases ? &leases->functions : NULL, err) &&
           tw_quota_settle(service->quotas, tenant, TW_RESOURCE_STORED, bytes, leases ? &leases->bytes : NULL,
                           err);
}

// Both indexes or neither. The caller holds the lock.
static bool put_locked(struct tw_service *service, struct tw_span name, struct service_function *old,
                       struct service_function *new, struct tw_error *err) {
    if (tw_map_put(&service->by_name, name, new)) {
        if (tw_map_put(&service->by_id, tw_key_str(tw_str_from(new->id)), new))
            return true;
        if (old)
            (void)tw_map_put(&service->by_name, name, old); // its slot is there: this cannot fail
        else
            tw_map_remove(&service->by_name, name);
    }
    return tw_fail(err, TW_ERR_CAPACITY, "this server holds %d functions already; delete some",
                   SERVICE_FUNCTIONS_MAX);
}

bool service_registry_put(struct tw_service *service, struct service_function *function,
                          struct service_deploy_leases *leases, struct tw_error *err) {
    char text[SERVICE_FUNCTION_KEY_SIZE];
    struct tw_span name = name_key(text, function->tenant, tw_str_from(function->name));
    struct service_function *old = NULL;
    bool ok, is_late; // late: a newer version got here first
    {
        TW_LOCK_SCOPE(&service->lock);
        old = tw_map_find(&service->by_name, name);
        is_late = old && strcmp(old->id, function->id) == 0 && old->record_version > function->record_version;
        ok = is_late || account(service, old, function, leases, err);
        if (ok && !is_late && !put_locked(service, name, old, function, err)) {
            struct tw_error ignored = {};
            (void)account(service, function, old, NULL, &ignored); // its tenant is there: this cannot fail
            ok = false;
        }
        // Deleted and made anew by another server over the same store: the old id is nobody's.
        if (ok && old && strcmp(old->id, function->id) != 0)
            tw_map_remove(&service->by_id, tw_key_str(tw_str_from(old->id)));
        tw_metric_set(TW_METRIC_FUNCTIONS, tw_labels(), (int64_t)service->by_name.count);
    }
    if (!ok) {
        service_function_unref(function);
        return false;
    }
    service_function_unref(is_late ? function : old);
    return true;
}

void service_registry_remove(struct tw_service *service, const struct service_function *function) {
    char text[SERVICE_FUNCTION_KEY_SIZE];
    struct tw_span name = name_key(text, function->tenant, tw_str_from(function->name));
    struct service_function *removed = NULL;
    {
        TW_LOCK_SCOPE(&service->lock);
        // A new version may have come in its place meanwhile; the id goes with the name.
        removed = tw_map_remove(&service->by_name, name);
        if (removed) {
            struct tw_error ignored = {}; // its use keeps the tenant in the table
            (void)account(service, removed, NULL, NULL, &ignored);
            tw_map_remove(&service->by_id, tw_key_str(tw_str_from(removed->id)));
        }
        tw_metric_set(TW_METRIC_FUNCTIONS, tw_labels(), (int64_t)service->by_name.count);
    }
    service_function_unref(removed);
}

void service_registry_refresh(struct tw_service *service, uint64_t tenant, struct tw_str name) {
    char text[SERVICE_FUNCTION_KEY_SIZE];
    struct tw_error err = {};
    uint64_t version;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf record;
    tw_buf_init(&record, SERVICE_RECORD_MAX);
    struct service_function *function = NULL;
    name_key(text, tenant, name);
    if (tw_store_get_record(service->store, "function", text, &record, &version, &err)) {
        function = service_function_decode(tw_buf_span(&record), &err);
        if (function) {
            function->record_version = version;
            (void)service_registry_put(service, function, NULL, &err);
        }
    } else if (err.code == TW_ERR_NOT_FOUND) {
        function = service_registry_get(service, tenant, name, &err);
        if (function && tw_str_equal(tw_str_from(function->name), name))
            service_registry_remove(service, function);
        service_function_unref(function);
    }
}
