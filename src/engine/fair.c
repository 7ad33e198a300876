// SPDX-License-Identifier: Apache-2.0
//
// Queues by tenant, and whose turn it is: weighted fair queueing by virtual time (start-time fair queueing, P.
// Goyal et al., 1996). A tenant's virtual time is the computing time it received, divided by its weight; the
// least one is served next, found in a binary heap. One that comes back from doing nothing begins at the time
// of the one that was served last, so that nobody saves up turns; one that is ahead stays ahead until the
// others have caught up. Within a tenant the earliest deadline goes first.

#include "engine/internal.h"

// ---- the heap of shares that may run ----

static void put(struct engine_fair *fair, size_t slot, struct engine_share *share) {
    fair->heap[slot] = share;
    share->slot = (uint32_t)slot;
}

static void sift_up(struct engine_fair *fair, size_t slot, struct engine_share *share) {
    for (; slot > 1 && fair->heap[slot / 2]->virtual_ns > share->virtual_ns; slot /= 2)
        put(fair, slot, fair->heap[slot / 2]);
    put(fair, slot, share);
}

static void sift_down(struct engine_fair *fair, size_t slot, struct engine_share *share) {
    for (;;) {
        size_t child = slot * 2;
        if (child > fair->count)
            break;
        if (child < fair->count && fair->heap[child + 1]->virtual_ns < fair->heap[child]->virtual_ns)
            child++;
        if (fair->heap[child]->virtual_ns >= share->virtual_ns)
            break;
        put(fair, slot, fair->heap[child]);
        slot = child;
    }
    put(fair, slot, share);
}

static void enter(struct engine_fair *fair, struct engine_share *share) {
    if (!share->slot)
        sift_up(fair, ++fair->count, share);
}

static void leave(struct engine_fair *fair, struct engine_share *share) {
    size_t slot = share->slot;
    if (!slot)
        return;
    struct engine_share *last = fair->heap[fair->count--];
    share->slot = 0;
    if (last == share)
        return;
    put(fair, slot, last);
    sift_down(fair, slot, last);
    sift_up(fair, last->slot, last);
}

// ---- shares ----

// Room in the heap for all shares, one more, and the common one, so that becoming ready never fails.
static bool grow(struct engine_fair *fair) {
    return tw_vec_grow(&fair->heap, &fair->capacity, fair->shares.count + 2, sizeof(*fair->heap),
                       ENGINE_SHARES_MAX + 3);
}

static struct tw_span key_of(const uint64_t *tenant) {
    return tw_span_of(tenant, sizeof(*tenant));
}

bool engine_fair_init(struct engine_fair *fair, uint32_t places, struct tw_error *err) {
    *fair = (struct engine_fair){.common = {.weight = 1}, .places = places};
    tw_map_init(&fair->shares, ENGINE_SHARES_MAX);
    return grow(fair) || tw_fail(err, TW_ERR_CAPACITY, "no memory for a queue of calls");
}

void engine_fair_done(struct engine_fair *fair) {
    size_t position = 0;
    struct tw_span key;
    void *share;
    while (tw_map_next(&fair->shares, &position, &key, &share))
        free(share);
    tw_map_done(&fair->shares);
    free(fair->heap);
    fair->heap = NULL;
}

// Forgets shares that do nothing and are not ahead: they would begin at the queue's time anyway. `all`: also
// those that are ahead.
static void sweep(struct engine_fair *fair, bool all) {
    enum { BATCH = 64 };
    for (;;) {
        struct engine_share *idle[BATCH], *share;
        size_t count = 0, position = 0;
        struct tw_span key;
        void *value;
        while (count < BATCH && tw_map_next(&fair->shares, &position, &key, &value)) {
            share = value;
            if (!share->queued && !share->held && !share->crowd.load &&
                (all || share->virtual_ns <= fair->virtual_ns))
                idle[count++] = share;
        }
        for (size_t i = 0; i < count; i++) {
            tw_map_remove(&fair->shares, key_of(&idle[i]->tenant));
            free(idle[i]);
        }
        if (count < BATCH)
            return;
    }
}

static struct engine_share *make(struct engine_fair *fair, uint64_t tenant) {
    fair->latest = NULL;
    if (fair->shares.count >= ENGINE_SHARES_KEPT)
        sweep(fair, fair->shares.count >= ENGINE_SHARES_MAX);
    struct engine_share *share = tw_alloc_zero(1, sizeof(*share));
    if (share && grow(fair) && tw_map_put(&fair->shares, key_of(&tenant), share)) {
        *share = (struct engine_share){.tenant = tenant, .virtual_ns = fair->virtual_ns};
        return share;
    }
    free(share);
    return NULL;
}

struct engine_share *engine_fair_get(struct engine_fair *fair, uint64_t tenant, uint32_t weight) {
    struct engine_share *share = fair->latest;
    if (!share || share->tenant != tenant) {
        share = tw_map_find(&fair->shares, key_of(&tenant));
        if (!share)
            share = make(fair, tenant);
        if (!share)
            return &fair->common;
        fair->latest = share;
    }
    share->weight = weight;
    if (!share->queued && !share->held && share->virtual_ns < fair->virtual_ns)
        share->virtual_ns = fair->virtual_ns;
    return share;
}

void engine_fair_charge(struct engine_fair *fair, struct engine_share *share, int64_t ns) {
    if (ns <= 0)
        return;
    share->virtual_ns += (uint64_t)ns / share->weight;
    if (share->slot)
        sift_down(fair, share->slot, share);
}

// ---- calls ----

static void append(struct engine_call **first, struct engine_call **last, struct engine_call *call) {
    call->next = NULL;
    call->before = *last;
    *(*last ? &(*last)->next : first) = call;
    *last = call;
}

// Most calls have equal time limits: the place is at the end, or near it.
static void insert(struct engine_share *share, struct engine_call *call) {
    struct engine_call *before = share->last;
    while (before && before->invoke->deadline_ns > call->invoke->deadline_ns)
        before = before->before;
    call->before = before;
    call->next = before ? before->next : share->first;
    *(before ? &before->next : &share->first) = call;
    *(call->next ? &call->next->before : &share->last) = call;
}

static struct engine_call *take_first(struct engine_call **first, struct engine_call **last) {
    struct engine_call *call = *first;
    *first = call->next;
    *(call->next ? &call->next->before : last) = NULL;
    return call;
}

void engine_fair_push(struct engine_fair *fair, struct engine_share *share, struct engine_call *call,
                      enum engine_place place) {
    if (place == ENGINE_WOKEN_FIRST)
        append(&share->woken, &share->woken_last, call);
    else if (place == ENGINE_LAST)
        append(&share->first, &share->last, call);
    else
        insert(share, call);
    share->queued++;
    fair->queued++;
    if (!share->is_barred || place == ENGINE_WOKEN_FIRST)
        enter(fair, share);
}

static void bar(struct engine_fair *fair, struct engine_share *share) {
    share->is_barred = true;
    fair->barred++;
}

struct engine_call *engine_fair_pop(struct engine_fair *fair,
                                    bool (*may_begin)(void *context, const struct engine_share *share),
                                    void *context) {
    while (fair->count) {
        struct engine_share *share = fair->heap[1];
        struct engine_call *call = NULL;
        if (share->woken)
            call = take_first(&share->woken, &share->woken_last);
        else if (share->first && (!may_begin || may_begin(context, share)))
            call = take_first(&share->first, &share->last);
        else
            bar(fair, share);
        if (!call || (!share->woken && (!share->first || share->is_barred)))
            leave(fair, share);
        if (!call)
            continue;
        if (share->virtual_ns > fair->virtual_ns)
            fair->virtual_ns = share->virtual_ns;
        share->queued--;
        fair->queued--;
        return call;
    }
    return NULL;
}

void engine_fair_remove(struct engine_fair *fair, struct engine_share *share, struct engine_call *call) {
    *(call->before ? &call->before->next : &share->first) = call->next;
    *(call->next ? &call->next->before : &share->last) = call->before;
    share->queued--;
    fair->queued--;
    if (!share->woken && !share->first)
        leave(fair, share);
}

struct engine_share *engine_fair_next(struct engine_fair *fair, size_t *position) {
    struct tw_span key;
    void *value;
    while (tw_map_next(&fair->shares, position, &key, &value))
        if (((struct engine_share *)value)->queued)
            return value;
    return NULL;
}

static void unbar(struct engine_fair *fair, struct engine_share *share) {
    if (!share->is_barred)
        return;
    share->is_barred = false;
    fair->barred--;
    if (share->first)
        enter(fair, share);
}

void engine_fair_unbar(struct engine_fair *fair) {
    size_t position = 0;
    struct tw_span key;
    void *share;
    unbar(fair, &fair->common);
    while (fair->barred && tw_map_next(&fair->shares, &position, &key, &share))
        unbar(fair, share);
}
