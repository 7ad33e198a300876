// SPDX-License-Identifier: Apache-2.0
//
// Blobs that nothing names any more: what deleted functions, replaced versions, deleted kernels and snapshots, and servers that
// were killed between a blob and its record leave. A thread removes those that are older than the grace.
//
// What is in use is what the records in the store say, so that servers which share a folder agree, and what live
// instances run. Whoever writes a record makes the blobs it names young first; so what is written while this looks
// is never taken for unused. When one record cannot be read, nothing is removed.

#include "service/instances.h"
#include "service/kernels.h"
#include "service/snapshots.h"
#include "telemetry/telemetry.h"

// The digests in use: a set.
struct used {
    struct tw_map digests;
    bool (*read)(struct used *used, struct tw_span record, struct tw_error *err);
    struct tw_error *err;
    bool failed;
};

static bool add(struct used *used, const struct tw_digest *digest) {
    return tw_map_put(&used->digests, tw_span_of(digest->bytes, sizeof digest->bytes), used) ||
           tw_fail(used->err, TW_ERR_CAPACITY, "no memory for the list of blobs in use");
}

static bool add_function(struct used *used, struct tw_span record, struct tw_error *err) {
    struct service_function *function = service_function_decode(record, err);
    bool ok = function && add(used, &function->wasm) && add(used, &function->image);
    service_function_unref(function);
    return ok;
}

static bool add_kernel(struct used *used, struct tw_span record, struct tw_error *err) {
    struct service_kernel *kernel = service_kernel_decode(record, err);
    bool ok = kernel && add(used, &kernel->digest);
    service_kernel_unref(kernel);
    return ok;
}

static bool add_snapshot(struct used *used, struct tw_span record, struct tw_error *err) {
    struct service_snapshot *snapshot = service_snapshot_decode(record, err);
    bool ok = snapshot && add(used, &snapshot->digest) && add(used, &snapshot->module);
    service_snapshot_unref(snapshot);
    return ok;
}

static bool visit(void *context, const char *key, struct tw_span record, uint64_t version) {
    struct used *used = context;
    (void)version;
    used->failed = !used->read(used, record, used->err);
    if (used->failed)
        tw_wrap(used->err, "reading '%s'", key);
    return !used->failed;
}

static bool add_records(struct tw_service *service, struct used *used) {
    static const struct {
        const char *kind;
        bool (*read)(struct used *used, struct tw_span record, struct tw_error *err);
    } kinds[] = {{"function", add_function}, {"kernel", add_kernel}, {"snapshot", add_snapshot}};
    for (size_t i = 0; i < TW_COUNT(kinds); i++) {
        used->read = kinds[i].read;
        // Those ahead first: one that is kept meanwhile is seen as a record.
        if (!tw_store_each_ahead(service->store, kinds[i].kind, visit, used, used->err) || used->failed ||
            !tw_store_each_record(service->store, kinds[i].kind, visit, used, used->err) || used->failed)
            return false;
    }
    return true;
}

// A snapshot of one wants its module, whether that is still deployed or not.
static bool add_instances(struct tw_service *service, struct used *used) {
    size_t position = 0;
    struct tw_span key;
    void *value;
    bool ok = true;
    TW_LOCK_SCOPE(&service->instances_lock);
    while (ok && tw_map_next(&service->instances, &position, &key, &value))
        ok = add(used, &((const struct service_instance *)value)->function->wasm);
    return ok;
}

static bool is_used(void *context, const struct tw_digest *digest) {
    struct used *used = context;
    return tw_map_find(&used->digests, tw_span_of(digest->bytes, sizeof digest->bytes));
}

static void sweep(struct tw_service *service) {
    struct tw_error err = {};
    struct used used = {.err = &err};
    uint64_t removed = 0;
    tw_map_init(&used.digests, SIZE_MAX / 2);
    bool ok = add_records(service, &used) && add_instances(service, &used) &&
              tw_store_collect(service->store, service->options.blob_grace_s, is_used, &used, &removed, &err);
    tw_map_done(&used.digests);
    if (removed) {
        tw_metric_add(TW_METRIC_BLOBS_REMOVED, tw_labels(), (int64_t)removed);
        char count[TW_U64_DIGITS + 1];
        snprintf(count, sizeof count, "%" PRIu64, removed);
        tw_log(TW_LOG_INFO, "service", "blobs that nothing names any more were removed", "count", count,
               NULL);
    }
    if (!ok)
        tw_log(TW_LOG_WARN, "service", "blobs that nothing names stay for now", "error", err.message, NULL);
}

static void run(void *context) {
    struct tw_service *service = context;
    struct service_sweeper *sweeper = &service->sweeper;
    tw_lock_take(&sweeper->lock);
    while (!sweeper->is_stopping) {
        int64_t next_ns = tw_clock_ns() + service->options.blob_grace_s * TW_NS_PER_S;
        while (!sweeper->is_stopping && tw_cond_wait(&sweeper->changed, &sweeper->lock, next_ns)) {
        }
        bool is_stopping = sweeper->is_stopping;
        tw_lock_give(&sweeper->lock);
        if (!is_stopping)
            sweep(service);
        tw_lock_take(&sweeper->lock);
    }
    tw_lock_give(&sweeper->lock);
}

bool service_sweeper_init(struct tw_service *service, struct tw_error *err) {
    struct service_sweeper *sweeper = &service->sweeper;
    if (service->options.blob_grace_s == 0)
        return true;
    tw_lock_init(&sweeper->lock);
    tw_cond_init(&sweeper->changed);
    sweeper->is_started = tw_thread_start(&sweeper->thread, "tw-sweep", run, service, err);
    if (sweeper->is_started)
        return true;
    tw_cond_done(&sweeper->changed);
    tw_lock_done(&sweeper->lock);
    return false;
}

void service_sweeper_done(struct tw_service *service) {
    struct service_sweeper *sweeper = &service->sweeper;
    if (!sweeper->is_started)
        return;
    {
        TW_LOCK_SCOPE(&sweeper->lock);
        sweeper->is_stopping = true;
        tw_cond_wake_all(&sweeper->changed);
    }
    tw_thread_join(sweeper->thread);
    tw_cond_done(&sweeper->changed);
    tw_lock_done(&sweeper->lock);
}
