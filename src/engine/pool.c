// SPDX-License-Identifier: Apache-2.0
//
// Warm instances: one list a module and tenant, so that taking one never looks at another tenant's. The newest is
// taken first; given back, an instance is reset before anybody can see it, and kept if there is room. How many are
// kept follows demand: as many as were in use at once in the last while; what nobody took for longer goes, the
// oldest first.
//
//     take: newest ◀─ … ─ oldest :the keeper, and whoever needs room
//
// The engine lists the pools that may have instances. At its cap on instances, or on warm ones, the pool that was
// listed longest ago gives its oldest one away, unless that was in use a moment ago: then it gets a second chance.
// At a tenant's limits one of the tenant's own goes.

#include "engine/internal.h"

// Guarded by the module's lock, but for the first group.
struct engine_pool {
    // ---- guarded by the engine's lock ----
    struct engine_pool *before, *after; // in the engine's list, `after` was listed later
    // ---- frozen ----
    struct tw_module *module;
    uint64_t tenant;
    // ---- guarded by the module's lock ----
    bool is_listed; // changed under both locks
    struct engine_instance *newest, *oldest;
    uint32_t count;
    // Of modules whose instances serve once: how many to have ahead. One more with every miss.
    uint32_t wanted;
    bool is_refilling;
    struct tw_task refill;
    struct tw_account *account; // referenced while it is refilling
};

// ---- a module's pools ----

static struct tw_span key_of(const uint64_t *tenant) {
    return tw_span_of(tenant, sizeof(*tenant));
}

// NULL: there is none. The caller holds the module's lock.
static struct engine_pool *find_locked(struct tw_module *module, uint64_t tenant) {
    if (!module->last_pool || module->last_pool->tenant != tenant)
        module->last_pool = tw_map_find(&module->pools, key_of(&tenant));
    return module->last_pool;
}

// NULL without memory. The caller holds the module's lock.
static struct engine_pool *get_locked(struct tw_module *module, uint64_t tenant) {
    struct engine_pool *pool = find_locked(module, tenant);
    if (pool)
        return pool;
    pool = tw_alloc_zero(1, sizeof(*pool));
    if (!pool)
        return NULL;
    pool->module = module;
    pool->tenant = tenant;
    if (tw_map_put(&module->pools, key_of(&tenant), pool))
        return module->last_pool = pool;
    free(pool);
    return NULL;
}

static void unlink_locked(struct engine_pool *pool, struct engine_instance *instance) {
    *(instance->newer ? &instance->newer->older : &pool->newest) = instance->older;
    *(instance->older ? &instance->older->newer : &pool->oldest) = instance->newer;
    instance->newer = instance->older = NULL;
    pool->count--;
    tw_counter_add(&pool->module->engine->warm, -1);
}

static void push_locked(struct engine_pool *pool, struct engine_instance *instance) {
    instance->idle_tick = tw_counter_get(&pool->module->engine->tick);
    instance->older = pool->newest;
    *(pool->newest ? &pool->newest->newer : &pool->oldest) = instance;
    pool->newest = instance;
    pool->count++;
}

// ---- the engine's list of pools ----

static void list_locked(struct tw_engine *engine, struct engine_pool *pool) {
    pool->before = engine->last_pool;
    pool->after = NULL;
    *(pool->before ? &pool->before->after : &engine->first_pool) = pool;
    engine->last_pool = pool;
    pool->is_listed = true;
}

static void unlist_locked(struct tw_engine *engine, struct engine_pool *pool) {
    *(pool->before ? &pool->before->after : &engine->first_pool) = pool->after;
    *(pool->after ? &pool->after->before : &engine->last_pool) = pool->before;
    pool->is_listed = false;
}

static void list(struct tw_module *module, uint64_t tenant) {
    TW_LOCK_SCOPE(&module->engine->lock);
    tw_lock_take(&module->lock);
    struct engine_pool *pool = find_locked(module, tenant);
    if (pool && !pool->is_listed)
        list_locked(module->engine, pool);
    tw_lock_give(&module->lock);
}

// The pool's oldest, if it lies idle since that tick or before. An empty pool leaves the engine's list. The caller
// holds the engine's lock.
static struct engine_instance *take_oldest(struct engine_pool *pool, int64_t idle_since) {
    TW_LOCK_SCOPE(&pool->module->lock);
    struct engine_instance *instance = pool->oldest;
    if (instance && instance->idle_tick <= idle_since) {
        unlink_locked(pool, instance);
        pool->wanted = pool->count; // nobody needed more
    } else {
        instance = NULL;
    }
    if (!pool->newest)
        unlist_locked(pool->module->engine, pool);
    return instance;
}

// Somebody's, idle since that tick or before; looks at a few pools only, each of which goes to the list's end.
static struct engine_instance *take_any(struct tw_engine *engine, int64_t idle_since, unsigned pools) {
    struct engine_instance *instance = NULL;
    TW_LOCK_SCOPE(&engine->lock);
    for (unsigned i = 0; i < pools && engine->first_pool && !instance; i++) {
        struct engine_pool *pool = engine->first_pool;
        instance = take_oldest(pool, idle_since);
        if (engine->first_pool != pool)
            continue;
        tw_lock_take(&pool->module->lock);
        unlist_locked(engine, pool);
        list_locked(engine, pool);
        tw_lock_give(&pool->module->lock);
    }
    return instance;
}

// Of any module `but` that one, which may be NULL.
static struct engine_instance *take_of_tenant(struct tw_engine *engine, uint64_t tenant,
                                              const struct tw_module *but) {
    struct engine_instance *instance = NULL;
    TW_LOCK_SCOPE(&engine->lock);
    for (struct engine_pool *pool = engine->first_pool; pool && !instance;) {
        struct engine_pool *after = pool->after;
        if (pool->tenant == tenant && pool->module != but)
            instance = take_oldest(pool, INT64_MAX);
        pool = after;
    }
    return instance;
}

// At its own limit a tenant's own go; at the server's anybody's, those of a moment ago last. False: there is none.
static bool make_room(struct tw_engine *engine, const uint64_t *tenant) {
    struct engine_instance *victim;
    if (tenant) {
        victim = take_of_tenant(engine, *tenant, NULL);
    } else {
        victim = take_any(engine, tw_counter_get(&engine->tick) - 1, ENGINE_POOL_CHANCES);
        if (!victim)
            victim = take_any(engine, INT64_MAX, UINT32_MAX);
    }
    engine_instance_free(victim);
    return victim != NULL;
}

// ---- taking ----

static struct engine_instance *take_warm(struct tw_module *module, uint64_t tenant) {
    TW_LOCK_SCOPE(&module->lock);
    struct engine_pool *pool = find_locked(module, tenant);
    struct engine_instance *instance = pool ? pool->newest : NULL;
    if (instance)
        unlink_locked(pool, instance);
    return instance;
}

struct engine_instance *engine_pool_make(struct tw_module *module, uint64_t tenant,
                                         struct tw_account *account, int64_t deadline_ns,
                                         struct tw_error *err) {
    for (;;) {
        struct tw_error refusal = {};
        struct engine_instance *instance =
            engine_instance_new(module, tenant, account, deadline_ns, &refusal);
        if (instance)
            return instance;
        bool is_full = refusal.code == TW_ERR_CAPACITY || refusal.code == TW_ERR_QUOTA;
        if (!is_full || !make_room(module->engine, refusal.code == TW_ERR_QUOTA ? &tenant : NULL)) {
            *err = refusal;
            return NULL;
        }
    }
}

struct engine_instance *engine_pool_take_warm(struct tw_module *module, uint64_t tenant) {
    struct engine_instance *instance = take_warm(module, tenant);
    if (instance)
        tw_series_add(module->engine->hits, 1);
    return instance;
}

static void want_more(struct tw_module *module, uint64_t tenant) {
    TW_LOCK_SCOPE(&module->lock);
    struct engine_pool *pool = get_locked(module, tenant);
    if (pool && pool->wanted < module->engine->options.warm_per_function)
        pool->wanted++;
}

struct engine_instance *engine_pool_take(struct tw_module *module, uint64_t tenant,
                                         struct tw_account *account, int64_t deadline_ns,
                                         struct tw_error *err) {
    struct engine_instance *instance = take_warm(module, tenant);
    tw_series_add(instance ? module->engine->hits : module->engine->misses, 1);
    if (instance)
        return instance;
    if (module->single_use)
        want_more(module, tenant);
    return engine_pool_make(module, tenant, account, deadline_ns, err);
}

// ---- giving back ----

enum kept { KEPT, KEPT_AND_UNLISTED, POOL_FULL, ALL_FULL };

static enum kept try_keep(struct engine_instance *instance) {
    struct tw_module *module = instance->module;
    const struct tw_engine_options *options = &module->engine->options;
    TW_LOCK_SCOPE(&module->lock);
    struct engine_pool *pool = get_locked(module, instance->tenant);
    if (!pool || pool->count >= options->warm_per_function)
        return POOL_FULL;
    if (!tw_counter_add_below(&module->engine->warm, 1, options->max_warm ? options->max_warm : INT64_MAX))
        return ALL_FULL;
    push_locked(pool, instance);
    return pool->is_listed ? KEPT : KEPT_AND_UNLISTED;
}

// False: there is no room; it is still the caller's.
static bool keep(struct engine_instance *instance) {
    struct tw_engine *engine = instance->engine;
    struct tw_module *module = instance->module;
    uint64_t tenant = instance->tenant;
    enum kept kept = try_keep(instance);
    if (kept == ALL_FULL) {
        // What lies idle makes room for what is in use, but two that are in use do not push one another out.
        struct engine_instance *idle =
            take_any(engine, tw_counter_get(&engine->tick) - ENGINE_POOL_IDLE_TICKS, ENGINE_POOL_CHANCES);
        if (idle) {
            engine_instance_free(idle);
            kept = try_keep(instance);
        }
    }
    if (kept == KEPT_AND_UNLISTED)
        list(module, tenant); // the module is the caller's; the instance may be somebody's already
    return kept == KEPT || kept == KEPT_AND_UNLISTED;
}

void engine_pool_keep(struct engine_instance *instance) {
    struct tw_module *module = instance->module;
    uint64_t tenant = instance->tenant;
    enum kept kept = try_keep(instance);
    if (kept == KEPT_AND_UNLISTED)
        list(module, tenant);
    else if (kept != KEPT)
        engine_instance_free(instance);
}

void engine_pool_give(struct engine_instance *instance) {
    bool clean = engine_instance_reset(instance);
    if (!clean && !instance->module->single_use)
        tw_metric_add(TW_METRIC_POOL_RESET_FAILED, tw_labels_tenant(instance->tenant), 1);
    if (!clean || !keep(instance))
        engine_instance_free(instance);
}

// ---- ahead of demand ----

static uint32_t missing(struct engine_pool *pool) {
    TW_LOCK_SCOPE(&pool->module->lock);
    return pool->count < pool->wanted ? pool->wanted - pool->count : 0;
}

// On the engine's pool for what nobody waits for.
static void refill(struct tw_task *task) {
    struct engine_pool *pool = (struct engine_pool *)((char *)task - offsetof(struct engine_pool, refill));
    struct tw_module *module = pool->module;
    tw_lock_take(&module->lock);
    struct tw_account *account = pool->account;
    tw_lock_give(&module->lock);
    while (missing(pool)) {
        struct tw_error ignored; // the call that needs one will say it
        struct engine_instance *instance =
            engine_instance_new(module, pool->tenant, account, TW_NO_DEADLINE, &ignored);
        if (!instance)
            break;
        if (!keep(instance)) {
            engine_instance_free(instance);
            break;
        }
    }
    tw_lock_take(&module->lock);
    pool->account = NULL;
    pool->is_refilling = false;
    tw_lock_give(&module->lock);
    tw_account_unref(account);
    tw_module_unref(module);
}

void engine_pool_refill(struct tw_module *module, uint64_t tenant, struct tw_account *account) {
    struct tw_error ignored;
    TW_LOCK_SCOPE(&module->lock);
    struct engine_pool *pool = find_locked(module, tenant);
    if (!pool || pool->is_refilling || pool->count >= pool->wanted)
        return;
    pool->refill.run = refill;
    if (!tw_pool_submit(module->engine->refilling, &pool->refill, &ignored))
        return;
    // It may run already, but it begins with taking the lock.
    pool->is_refilling = true;
    pool->account = tw_account_ref(account);
    tw_module_ref(module);
}

// At the tenant's limits its other modules' warm ones make room. NULL: there is none.
static struct engine_instance *make_beside(struct tw_module *module, uint64_t tenant,
                                           struct tw_account *account, struct tw_error *err) {
    for (;;) {
        struct tw_error refusal = {};
        struct engine_instance *instance =
            engine_instance_new(module, tenant, account, TW_NO_DEADLINE, &refusal);
        struct engine_instance *victim =
            !instance && refusal.code == TW_ERR_QUOTA ? take_of_tenant(module->engine, tenant, module) : NULL;
        if (!instance && !victim)
            *err = refusal;
        if (!victim)
            return instance;
        engine_instance_free(victim);
    }
}

bool tw_module_prewarm(struct tw_engine *engine, struct tw_module *module, uint64_t tenant,
                       struct tw_account *account, uint32_t count, uint32_t *ret_warm, struct tw_error *err) {
    (void)engine;
    for (bool is_full = false;;) {
        tw_lock_take(&module->lock);
        const struct engine_pool *pool = find_locked(module, tenant);
        uint32_t warm = pool ? pool->count : 0;
        tw_lock_give(&module->lock);
        if (warm >= count || is_full) {
            *ret_warm = warm; // as many as may be kept
            return true;
        }
        struct engine_instance *instance = make_beside(module, tenant, account, err);
        if (!instance)
            return false;
        is_full = !keep(instance);
        if (is_full)
            engine_instance_free(instance);
    }
}

// ---- letting go ----

void engine_pools_shrink(struct tw_engine *engine, int64_t idle_since) {
    struct engine_instance *victims = NULL;
    {
        TW_LOCK_SCOPE(&engine->lock);
        for (struct engine_pool *pool = engine->first_pool, *after; pool; pool = after) {
            after = pool->after;
            struct engine_instance *victim;
            while (pool->is_listed && (victim = take_oldest(pool, idle_since))) {
                victim->older = victims;
                victims = victim;
            }
        }
    }
    while (victims) {
        struct engine_instance *victim = victims;
        victims = victim->older;
        engine_instance_free(victim);
    }
}

void engine_pools_done(struct tw_module *module) {
    size_t position = 0;
    struct tw_span key;
    void *value;
    while (tw_map_next(&module->pools, &position, &key, &value)) {
        struct engine_pool *pool = value;
        tw_lock_take(&module->engine->lock);
        if (pool->is_listed)
            unlist_locked(module->engine, pool);
        tw_lock_give(&module->engine->lock);
        while (pool->newest) {
            struct engine_instance *instance = pool->newest;
            unlink_locked(pool, instance);
            engine_instance_free(instance);
        }
        free(pool);
    }
    tw_map_done(&module->pools);
}
