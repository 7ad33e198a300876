// SPDX-License-Identifier: Apache-2.0
//
// Habits: what a tenant's calls of a module were like of late. A call is found to be long only when it has computed for a
// tick or two, as fast as it can; when many are begun at once that is many ticks, in which short calls of others wait. So
// calls that are likely to be long begin as what they will be: with a turn of their tenant's. And event loops leave calls
// that may be long to workers.
//
//     SHORT ── a long one ──▶ MIXED ── most are, by an average over the last few ──▶ LONG
//       ▲                     │   ▲                                                   │
//       └── 16 short ones ────┘   └───────────────── three short ones ────────────────┘
//
// A module's tenants each have their own; only those that are not SHORT are remembered.

#include "engine/internal.h"

enum {
    ALL = 256,    // the average when all of them were long
    MOSTLY = 128, // so many of them
    SAMPLES = 4,  // that the average looks back on
};

struct engine_habit_of_tenant {
    int share; // how many of the last ones were long, of ALL
    int left;  // short ones until it is forgotten
};

static struct tw_span key_of(const uint64_t *tenant) {
    return tw_span_of(tenant, sizeof(*tenant));
}

enum engine_habit engine_habit_of(struct tw_module *module, uint64_t tenant) {
    if (tw_counter_get(&module->long_tenants) == 0)
        return ENGINE_HABIT_SHORT; // the usual case
    TW_LOCK_SCOPE(&module->lock);
    const struct engine_habit_of_tenant *habit = tw_map_find(&module->habits, key_of(&tenant));
    if (!habit)
        return ENGINE_HABIT_SHORT;
    return habit->share >= MOSTLY ? ENGINE_HABIT_LONG : ENGINE_HABIT_MIXED;
}

// NULL without memory: then its next calls begin as if they were short.
static struct engine_habit_of_tenant *get_locked(struct tw_module *module, uint64_t tenant) {
    struct engine_habit_of_tenant *habit = tw_map_find(&module->habits, key_of(&tenant));
    if (habit)
        return habit;
    habit = tw_alloc_zero(1, sizeof(*habit));
    if (habit && tw_map_put(&module->habits, key_of(&tenant), habit)) {
        tw_counter_add(&module->long_tenants, 1);
        return habit;
    }
    free(habit);
    return NULL;
}

static void forget_locked(struct tw_module *module, uint64_t tenant) {
    free(tw_map_remove(&module->habits, key_of(&tenant)));
    tw_counter_add(&module->long_tenants, -1);
}

static void note_long(struct tw_module *module, uint64_t tenant) {
    TW_LOCK_SCOPE(&module->lock);
    struct engine_habit_of_tenant *habit = get_locked(module, tenant);
    if (!habit)
        return;
    habit->share += (ALL - habit->share) / SAMPLES;
    habit->left = ENGINE_LONG_CALLS;
}

static void note_short(struct tw_module *module, uint64_t tenant) {
    TW_LOCK_SCOPE(&module->lock);
    struct engine_habit_of_tenant *habit = tw_map_find(&module->habits, key_of(&tenant));
    if (!habit)
        return;
    habit->share -= habit->share / SAMPLES;
    if (--habit->left == 0)
        forget_locked(module, tenant);
}

void engine_habit_note(struct tw_module *module, uint64_t tenant, bool was_long) {
    if (was_long)
        note_long(module, tenant);
    else if (tw_counter_get(&module->long_tenants) > 0)
        note_short(module, tenant);
}

// It waits for the first time, or has ended: what waits is not known to be short only when it ends, or hundreds that sleep
// would each begin on a thread of their own. One that was stopped in its first turns may have become either.
void engine_habit_note_begun(const struct engine_call *call, bool was_long) {
    if (was_long || !tw_flag_is_raised(&call->stopping))
        engine_habit_note(call->invoke->module, call->invoke->tenant, was_long);
}

// The watch has noted those that it found to be long.
void engine_habit_note_end(const struct engine_call *call) {
    const struct tw_invoke *invoke = call->invoke;
    const struct engine_runner *runner = engine_runner_own();
    if (invoke->times.running_ns && !call->begins_long && runner && !runner->was_managed)
        engine_habit_note(invoke->module, invoke->tenant, false);
}

void engine_habits_done(struct tw_module *module) {
    size_t position = 0;
    struct tw_span key;
    void *habit;
    while (tw_map_next(&module->habits, &position, &key, &habit))
        free(habit);
    tw_map_done(&module->habits);
}
