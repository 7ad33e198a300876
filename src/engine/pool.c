// SPDX-License-Identifier: Apache-2.0
//
// Warm instances, a short list a module, last in first out. A call takes one of its own tenant's, or has a
// new one made; given back, an instance is reset before anybody can see it, and kept if there is room. At the
// cap on instances a warm one of another function makes room, at a tenant's limits one of its own.

#include "engine/internal.h"

static struct engine_instance *take_warm(struct tw_module *module, const uint64_t *tenant) {
    TW_LOCK_SCOPE(&module->lock);
    for (struct engine_instance **link = &module->warm; *link; link = &(*link)->next) {
        struct engine_instance *instance = *link;
        if (tenant && instance->tenant != *tenant)
            continue;
        *link = instance->next;
        instance->next = NULL;
        module->warm_count--;
        tw_counter_add(&module->engine->warm, -1);
        return instance;
    }
    return NULL;
}

// Frees some function's warm instance, or one of that tenant's; false: there is none.
static bool make_room(struct tw_engine *engine, const uint64_t *tenant) {
    struct engine_instance *victim = NULL;
    {
        TW_LOCK_SCOPE(&engine->lock);
        for (struct tw_module *module = engine->newest; module && !victim; module = module->older)
            victim = take_warm(module, tenant);
    }
    engine_instance_free(victim);
    return victim != NULL;
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
        // At its own limit a tenant's own warm ones go; at the server's anybody's.
        bool is_full = refusal.code == TW_ERR_CAPACITY || refusal.code == TW_ERR_QUOTA;
        if (!is_full || !make_room(module->engine, refusal.code == TW_ERR_QUOTA ? &tenant : NULL)) {
            *err = refusal;
            return NULL;
        }
    }
}

struct engine_instance *engine_pool_take(struct tw_module *module, uint64_t tenant,
                                         struct tw_account *account, int64_t deadline_ns,
                                         struct tw_error *err) {
    struct engine_instance *instance = take_warm(module, &tenant);
    tw_series_add(instance ? module->engine->hits : module->engine->misses, 1);
    return instance ? instance : engine_pool_make(module, tenant, account, deadline_ns, err);
}

static bool keep(struct engine_instance *instance) {
    struct tw_module *module = instance->module;
    struct tw_engine *engine = module->engine;
    int64_t max_warm = engine->options.max_warm ? engine->options.max_warm : INT64_MAX;
    TW_LOCK_SCOPE(&module->lock);
    if (module->warm_count >= engine->options.warm_per_function ||
        !tw_counter_add_below(&engine->warm, 1, max_warm))
        return false;
    instance->next = module->warm;
    module->warm = instance;
    module->warm_count++;
    return true;
}

void engine_pool_give(struct engine_instance *instance) {
    bool clean = engine_instance_reset(instance);
    if (!clean && !instance->module->single_use)
        tw_metric_add(TW_METRIC_POOL_RESET_FAILED, tw_labels_tenant(instance->tenant), 1);
    if (!clean || !keep(instance))
        engine_instance_free(instance);
}

void engine_pool_refill(struct tw_module *module, uint64_t tenant, struct tw_account *account) {
    struct tw_engine *engine = module->engine;
    tw_lock_take(&module->lock);
    bool wanted = module->warm_count < engine->options.warm_per_function;
    tw_lock_give(&module->lock);
    if (!wanted)
        return;
    struct tw_error err;
    struct engine_instance *instance = engine_instance_new(module, tenant, account, TW_NO_DEADLINE, &err);
    if (instance && !keep(instance))
        engine_instance_free(instance);
}

void engine_pool_drain(struct tw_module *module) {
    struct engine_instance *instance;
    while ((instance = take_warm(module, NULL)))
        engine_instance_free(instance);
}

bool tw_module_prewarm(struct tw_engine *engine, struct tw_module *module, uint64_t tenant,
                       struct tw_account *account, uint32_t count, uint32_t *ret_warm, struct tw_error *err) {
    (void)engine;
    for (;;) {
        tw_lock_take(&module->lock);
        uint32_t warm = module->warm_count;
        tw_lock_give(&module->lock);
        if (warm >= count) {
            *ret_warm = warm;
            return true;
        }
        struct engine_instance *instance = engine_instance_new(module, tenant, account, TW_NO_DEADLINE, err);
        if (!instance)
            return false;
        if (!keep(instance)) {
            engine_instance_free(instance);
            *ret_warm = warm; // as many as may be kept
            return true;
        }
    }
}
