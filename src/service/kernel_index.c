// SPDX-License-Identifier: Apache-2.0
//
// The index of published kernels, in memory: by tenant, name and version; and the newest by tenant and name.
// Loaded from the store at start. What another server over the same store published is found when it is
// asked for by its version.

#include "service/kernels.h"
#include "telemetry/telemetry.h"

struct tw_span service_kernel_key(char text[KERNEL_RECORD_KEY_SIZE], uint64_t tenant, struct tw_str name,
                                  struct tw_str version) {
    int len = snprintf(text, KERNEL_RECORD_KEY_SIZE, "%" PRIu64 "/%.*s%s%.*s", tenant, TW_STR_ARG(name),
                       version.len ? "/" : "", TW_STR_ARG(version));
    return tw_span_of(text, len < KERNEL_RECORD_KEY_SIZE ? (size_t)len : KERNEL_RECORD_KEY_SIZE - 1);
}

struct load_state {
    struct tw_service *service;
    struct tw_error *err;
    bool failed;
};

static bool load_record(void *context, const char *key, struct tw_span data, uint64_t version) {
    (void)version; // records of kernels never change
    struct load_state *state = context;
    struct service_kernel *kernel = service_kernel_decode(data, state->err);
    state->failed = !kernel || !service_kernels_put(state->service, kernel, NULL, state->err);
    if (state->failed)
        tw_wrap(state->err, "loading kernel '%s'", key);
    return !state->failed;
}

bool service_kernels_load(struct tw_service *service, struct tw_error *err) {
    struct load_state state = {.service = service, .err = err};
    return tw_store_each_record(service->store, "kernel", load_record, &state, err) && !state.failed;
}

void service_kernels_done(struct tw_service *service) {
    size_t position = 0;
    void *value;
    struct tw_span key;
    while (tw_map_next(&service->kernels, &position, &key, &value))
        service_kernel_unref(value);
    tw_map_done(&service->kernels);
    tw_map_done(&service->newest_kernels);
}

struct service_kernel *service_kernels_find(struct tw_service *service, uint64_t tenant, struct tw_str name,
                                            struct tw_str version, struct tw_error *err) {
    char text[KERNEL_RECORD_KEY_SIZE];
    if (name.len && name.len <= TW_FUNCTION_NAME_MAX && version.len <= TW_KERNEL_VERSION_MAX) {
        struct tw_span key = service_kernel_key(text, tenant, name, version);
        TW_LOCK_SCOPE(&service->kernel_lock);
        struct service_kernel *kernel =
            tw_map_find(version.len ? &service->kernels : &service->newest_kernels, key);
        if (kernel)
            return service_kernel_ref(kernel);
    }
    // Names and versions of any length come here; a message holds the beginning.
    struct tw_str shown = tw_str_of(name.data, name.len < 64 ? name.len : 64);
    struct tw_str shown_version = tw_str_of(version.data, version.len < 64 ? version.len : 64);
    tw_fail(err, TW_ERR_NOT_FOUND,
            "tenant %" PRIu64 " has no kernel '%.*s'%s%.*s; 'kernel list' shows those there are", tenant,
            TW_STR_ARG(shown), version.len ? " of version " : "", TW_STR_ARG(shown_version));
    return NULL;
}

// Changes the tenant's use by one kernel, more or less.
static bool account(struct tw_service *service, const struct service_kernel *kernel, int64_t sign,
                    struct service_deploy_leases *leases, struct tw_error *err) {
    // The second cannot fail: the first has put the tenant into the table.
    return tw_quota_settle(service->quotas, kernel->tenant, TW_RESOURCE_KERNELS, sign,
                           leases ? &leases->kernels : NULL, err) &&
           tw_quota_settle(service->quotas, kernel->tenant, TW_RESOURCE_STORED,
                           sign * (int64_t)kernel->ptx_bytes, leases ? &leases->bytes : NULL, err);
}

static bool put_locked(struct tw_service *service, struct service_kernel *kernel, struct tw_error *err) {
    char text[KERNEL_RECORD_KEY_SIZE];
    struct tw_str name = tw_str_from(kernel->name);
    struct tw_span key = service_kernel_key(text, kernel->tenant, name, tw_str_from(kernel->version));
    char newest_text[KERNEL_RECORD_KEY_SIZE];
    struct tw_span newest_key = service_kernel_key(newest_text, kernel->tenant, name, (struct tw_str){});
    const struct service_kernel *newest = tw_map_find(&service->newest_kernels, newest_key);
    if (!tw_map_put(&service->kernels, key, kernel))
        return tw_fail(err, TW_ERR_CAPACITY, "this server holds %d kernels already; delete some",
                       SERVICE_KERNELS_MAX);
    if ((newest && newest->published_ns >= kernel->published_ns) ||
        tw_map_put(&service->newest_kernels, newest_key, kernel))
        return true;
    tw_map_remove(&service->kernels, key);
    return tw_fail(err, TW_ERR_CAPACITY, "out of memory");
}

bool service_kernels_put(struct tw_service *service, struct service_kernel *kernel,
                         struct service_deploy_leases *leases, struct tw_error *err) {
    char text[KERNEL_RECORD_KEY_SIZE];
    struct tw_span key =
        service_kernel_key(text, kernel->tenant, tw_str_from(kernel->name), tw_str_from(kernel->version));
    bool ok, is_there;
    {
        TW_LOCK_SCOPE(&service->kernel_lock);
        is_there = tw_map_find(&service->kernels, key) != NULL;
        ok = is_there || account(service, kernel, 1, leases, err);
        if (ok && !is_there && !put_locked(service, kernel, err)) {
            struct tw_error ignored = {};
            (void)account(service, kernel, -1, NULL, &ignored); // its tenant is there: this cannot fail
            ok = false;
        }
        tw_metric_set(TW_METRIC_KERNELS, tw_labels(), (int64_t)service->kernels.count);
    }
    if (!ok || is_there)
        service_kernel_unref(kernel);
    return ok;
}

// The newest of that name among those left, or NULL. A walk over all: deleting is rare.
static struct service_kernel *newest_locked(const struct tw_service *service, uint64_t tenant,
                                            const char *name) {
    struct service_kernel *newest = NULL;
    size_t position = 0;
    void *value;
    struct tw_span key;
    while (tw_map_next(&service->kernels, &position, &key, &value)) {
        struct service_kernel *kernel = value;
        if (kernel->tenant == tenant && strcmp(kernel->name, name) == 0 &&
            (!newest || kernel->published_ns > newest->published_ns))
            newest = kernel;
    }
    return newest;
}

void service_kernels_remove(struct tw_service *service, const struct service_kernel *kernel) {
    char text[KERNEL_RECORD_KEY_SIZE];
    struct tw_str name = tw_str_from(kernel->name);
    struct service_kernel *removed;
    {
        TW_LOCK_SCOPE(&service->kernel_lock);
        removed = tw_map_remove(&service->kernels,
                                service_kernel_key(text, kernel->tenant, name, tw_str_from(kernel->version)));
        struct tw_span newest_key = service_kernel_key(text, kernel->tenant, name, (struct tw_str){});
        if (removed && tw_map_find(&service->newest_kernels, newest_key) == removed) {
            struct service_kernel *newest = newest_locked(service, kernel->tenant, kernel->name);
            if (newest)
                (void)tw_map_put(&service->newest_kernels, newest_key, newest); // its slot is there
            else
                tw_map_remove(&service->newest_kernels, newest_key);
        }
        struct tw_error ignored = {}; // its use keeps the tenant in the table
        if (removed)
            (void)account(service, removed, -1, NULL, &ignored);
        tw_metric_set(TW_METRIC_KERNELS, tw_labels(), (int64_t)service->kernels.count);
    }
    service_kernel_unref(removed);
}

static bool is_same(const struct service_kernel *a, const struct service_kernel *b) {
    return tw_digest_equal(&a->digest, &b->digest) && strcmp(a->entry, b->entry) == 0 &&
           a->published_ns == b->published_ns;
}

void service_kernels_refresh(struct tw_service *service, uint64_t tenant, struct tw_str name,
                             struct tw_str version) {
    char text[KERNEL_RECORD_KEY_SIZE];
    struct tw_error err = {};
    uint64_t record_version;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf record;
    tw_buf_init(&record, SERVICE_RECORD_MAX);
    service_kernel_key(text, tenant, name, version);
    struct service_kernel *there = service_kernels_find(service, tenant, name, version, &err), *stored = NULL;
    err = (struct tw_error){};
    if (tw_store_get_record(service->store, "kernel", text, &record, &record_version, &err))
        stored = service_kernel_decode(tw_buf_span(&record), &err);
    // Deleted, or deleted and published anew, by another server over the same store.
    if (there && (stored ? !is_same(there, stored) : err.code == TW_ERR_NOT_FOUND))
        service_kernels_remove(service, there);
    if (stored)
        (void)service_kernels_put(service, stored, NULL, &err);
    service_kernel_unref(there);
}
