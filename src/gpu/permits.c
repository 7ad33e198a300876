// SPDX-License-Identifier: Apache-2.0
//
// Permits: at most so many launches are in flight in the process. What is free is given at once; else jobs
// wait in their tenant's queue, and permits that come back go to the tenants that wait, each as often as its weight says:
//
//     ring of tenants that wait:   7 → 3 → 12        each with its own first-in-first-out queue of jobs
//
// The next permit is for the tenant that has had the fewest turns, divided by its weight; among equals for the one that
// was not served for longest. Who begins to wait has had as many as who was served last: nobody saves up.
//
// One tenant never holds more than three quarters of them, nor more than its account allows, so another's
// first launch finds one. Invariant: while a permit is free, every tenant in the ring holds all it may (a limit
// that was raised counts from the tenant's next return on). Tenants live here while contexts belong to them.

#include "gpu/internal.h"

// Guarded by `lock`.
struct gpu_permits {
    struct tw_lock lock;
    uint32_t max, tenant_max; // frozen
    uint32_t used, waiting;
    uint64_t turns;                            // of who was served last, before it was
    struct tw_map tenants;                     // id → struct gpu_tenant
    struct gpu_tenant *ring_first, *ring_last; // those with a queue
    uint32_t ring_count;
};

struct gpu_permits *gpu_permits_new(unsigned count, struct tw_error *err) {
    struct gpu_permits *permits = tw_alloc_zero(1, sizeof(*permits));
    if (!permits) {
        tw_fail(err, TW_ERR_CAPACITY, "no memory for the launch permits");
        return NULL;
    }
    tw_lock_init(&permits->lock);
    permits->max = count ? count : GPU_PERMITS_DEFAULT;
    permits->tenant_max = permits->max - permits->max / 4;
    tw_map_init(&permits->tenants, GPU_TENANTS_MAX);
    return permits;
}

void gpu_permits_free(struct gpu_permits *permits) {
    if (!permits)
        return;
    TW_ASSERT(permits->used == 0 && permits->tenants.count == 0);
    tw_map_done(&permits->tenants);
    tw_lock_done(&permits->lock);
    free(permits);
}

static struct gpu_tenant *tenant_new(uint64_t id) {
    struct gpu_tenant *tenant = tw_alloc_zero(1, sizeof(*tenant));
    if (!tenant)
        return NULL;
    tenant->id = id;
    struct tw_labels labels = tw_labels_tenant(id);
    tenant->dispatches = tw_series_get(TW_METRIC_KERNEL_DISPATCHES, labels);
    tenant->latency = tw_series_get(TW_METRIC_KERNEL_LATENCY, labels);
    tenant->failures = tw_series_get(TW_METRIC_KERNEL_FAILURES, labels);
    tenant->memory = tw_series_get(TW_METRIC_GPU_MEMORY_TENANT, labels);
    return tenant;
}

struct gpu_tenant *gpu_tenant_take(struct gpu_permits *permits, uint64_t id, struct tw_account *account,
                                   struct tw_error *err) {
    TW_LOCK_SCOPE(&permits->lock);
    struct tw_span key = tw_span_of(&id, sizeof(id));
    struct gpu_tenant *tenant = tw_map_find(&permits->tenants, key);
    if (!tenant) {
        tenant = tenant_new(id);
        if (!tenant || !tw_map_put(&permits->tenants, key, tenant)) {
            free(tenant);
            tw_fail(err, TW_ERR_CAPACITY,
                    "no memory for another tenant's launch queue, or more than %d tenants at once",
                    GPU_TENANTS_MAX);
            return NULL;
        }
    }
    if (!tenant->account)
        tenant->account = tw_account_ref(account);
    tenant->users++;
    return tenant;
}

void gpu_tenant_give(struct gpu_permits *permits, struct gpu_tenant *tenant) {
    if (!tenant)
        return;
    TW_LOCK_SCOPE(&permits->lock);
    if (--tenant->users > 0)
        return;
    TW_ASSERT(tenant->in_flight == 0 && !tenant->first);
    tw_map_remove(&permits->tenants, tw_span_of(&tenant->id, sizeof(tenant->id)));
    tw_account_unref(tenant->account);
    free(tenant);
}

static void ring_push_locked(struct gpu_permits *permits, struct gpu_tenant *tenant) {
    tenant->ring_next = NULL;
    permits->ring_count++;
    if (permits->ring_last)
        permits->ring_last->ring_next = tenant;
    else
        permits->ring_first = tenant;
    permits->ring_last = tenant;
}

static struct gpu_tenant *ring_pop_locked(struct gpu_permits *permits) {
    struct gpu_tenant *tenant = permits->ring_first;
    permits->ring_first = tenant->ring_next;
    if (!permits->ring_first)
        permits->ring_last = NULL;
    permits->ring_count--;
    return tenant;
}

static void ring_remove_locked(struct gpu_permits *permits, struct gpu_tenant *tenant) {
    struct gpu_tenant **link = &permits->ring_first, *before = NULL;
    for (; *link != tenant; link = &before->ring_next)
        before = *link;
    *link = tenant->ring_next;
    if (permits->ring_last == tenant)
        permits->ring_last = before;
    permits->ring_count--;
}

static bool may_hold(const struct gpu_permits *permits, const struct gpu_tenant *tenant) {
    if (tenant->in_flight >= permits->tenant_max)
        return false;
    struct tw_account_use use = {.limit = TW_UNLIMITED};
    if (tenant->account)
        use = tw_account_use(tenant->account, TW_RESOURCE_LAUNCHES);
    return use.now < use.limit;
}

// False when the tenant has all it may.
static bool grant_locked(struct gpu_permits *permits, struct gpu_tenant *tenant, struct gpu_job *job) {
    if (tenant->in_flight >= permits->tenant_max || !tw_account_try(tenant->account, TW_RESOURCE_LAUNCHES, 1))
        return false;
    permits->used++;
    tenant->in_flight++;
    job->has_permit = true;
    return true;
}

enum gpu_permit gpu_permit_ask(struct gpu_permits *permits, struct gpu_job *job) {
    struct gpu_tenant *tenant = job->context->tenant;
    TW_LOCK_SCOPE(&permits->lock);
    // By the invariant nobody is passed over: whoever waits while a permit is free may not have it.
    if (!tenant->first && permits->used < permits->max && grant_locked(permits, tenant, job))
        return GPU_PERMIT_GRANTED;
    // Who may have none would wait for ever.
    bool may_none = tenant->account && tw_account_use(tenant->account, TW_RESOURCE_LAUNCHES).limit == 0;
    if (may_none || permits->waiting >= GPU_PERMIT_QUEUE_MAX)
        return GPU_PERMIT_REFUSED;
    permits->waiting++;
    job->next_in_queue = NULL;
    if (tenant->first) {
        tenant->last->next_in_queue = job;
    } else {
        tenant->first = job;
        if (tenant->turns < permits->turns)
            tenant->turns = permits->turns;
        ring_push_locked(permits, tenant);
    }
    tenant->last = job;
    return GPU_PERMIT_QUEUED;
}

static struct gpu_job *queue_pop_locked(struct gpu_permits *permits, struct gpu_tenant *tenant) {
    struct gpu_job *job = tenant->first;
    tenant->first = job->next_in_queue;
    job->next_in_queue = NULL;
    permits->waiting--;
    return job;
}

// Whose turn it is among those that may hold another one; NULL: nobody's.
static struct gpu_tenant *next_locked(const struct gpu_permits *permits) {
    struct gpu_tenant *best = NULL;
    for (struct gpu_tenant *tenant = permits->ring_first; tenant; tenant = tenant->ring_next) {
        if ((!best || tenant->turns < best->turns) && may_hold(permits, tenant))
            best = tenant;
    }
    return best;
}

// Its first job, with a permit; the tenant goes to the ring's end, or leaves it. NULL: its account is full.
static struct gpu_job *serve_locked(struct gpu_permits *permits, struct gpu_tenant *tenant) {
    struct gpu_job *job = tenant->first;
    if (!grant_locked(permits, tenant, job))
        return NULL;
    permits->turns = tenant->turns;
    tenant->turns += GPU_TURN / tw_account_weight(tenant->account);
    (void)queue_pop_locked(permits, tenant);
    ring_remove_locked(permits, tenant);
    if (tenant->first)
        ring_push_locked(permits, tenant);
    return job;
}

struct gpu_job *gpu_permit_return(struct gpu_permits *permits, struct gpu_tenant *tenant) {
    TW_LOCK_SCOPE(&permits->lock);
    permits->used--;
    tenant->in_flight--;
    tw_account_give(tenant->account, TW_RESOURCE_LAUNCHES, 1);
    struct gpu_tenant *next = next_locked(permits);
    return next ? serve_locked(permits, next) : NULL;
}

static bool is_expired(const struct gpu_job *job, int64_t now_ns) {
    return job->deadline_ns <= now_ns || tw_state_get(&job->stop) != GPU_STOP_NONE;
}

static struct gpu_job *take_expired_locked(struct gpu_permits *permits, struct gpu_tenant *tenant,
                                           int64_t now_ns) {
    struct gpu_job **link = &tenant->first;
    struct gpu_job *before = NULL;
    for (; *link; before = *link, link = &before->next_in_queue) {
        struct gpu_job *job = *link;
        if (!is_expired(job, now_ns))
            continue;
        *link = job->next_in_queue;
        if (tenant->last == job)
            tenant->last = before;
        job->next_in_queue = NULL;
        permits->waiting--;
        return job;
    }
    return NULL;
}

struct gpu_job *gpu_permit_expired(struct gpu_permits *permits, int64_t now_ns) {
    TW_LOCK_SCOPE(&permits->lock);
    struct gpu_job *job = NULL;
    // Once round, so that everybody keeps the place it had; whose queue is empty leaves the ring.
    for (uint32_t turns = permits->ring_count; turns > 0; turns--) {
        struct gpu_tenant *tenant = ring_pop_locked(permits);
        if (!job)
            job = take_expired_locked(permits, tenant, now_ns);
        if (tenant->first)
            ring_push_locked(permits, tenant);
    }
    return job;
}

void gpu_permits_state(struct gpu_permits *permits, uint32_t *ret_used, uint32_t *ret_max,
                       uint32_t *ret_waiting) {
    TW_LOCK_SCOPE(&permits->lock);
    *ret_used = permits->used;
    *ret_max = permits->max;
    *ret_waiting = permits->waiting;
}
