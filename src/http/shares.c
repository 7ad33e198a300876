// SPDX-License-Identifier: Apache-2.0
//
// How much each tenant holds of what all bodies may take together, so that one cannot have the others' refused: a
// tenant gets more only while it holds no more than what is left. Alone it reaches half, beside one that does so a
// quarter; what is left never runs out by one tenant's doing. The same rule shares out the long calls.

#include "http/internal.h"

void http_shares_init(struct http_shares *shares, int64_t max) {
    tw_lock_init(&shares->lock);
    tw_map_init(&shares->held, HTTP_SHARES_MAX);
    shares->max = max;
}

void http_shares_done(struct http_shares *shares) {
    tw_map_done(&shares->held);
    tw_lock_done(&shares->lock);
}

// A sum is kept in the map as the pointer itself.
static int64_t held_locked(const struct http_shares *shares, struct tw_span key) {
    return (int64_t)(uintptr_t)tw_map_find(&shares->held, key);
}

bool http_shares_take(struct http_shares *shares, uint64_t tenant, int64_t bytes, struct tw_error *err) {
    struct tw_span key = tw_span_of(&tenant, sizeof tenant);
    TW_LOCK_SCOPE(&shares->lock);
    int64_t held = held_locked(shares, key) + bytes, left = shares->max - shares->total - bytes;
    if (left < 0)
        return tw_fail(err, TW_ERR_CAPACITY, "bodies of %" PRId64 " bytes are held already; try again later",
                       shares->total);
    if (held > left)
        return tw_fail(err, TW_ERR_QUOTA,
                       "the bodies of tenant %" PRIu64 " take %" PRId64 " bytes and would take more than "
                       "the %" PRId64 " that are left for all; have fewer at once",
                       tenant, held - bytes, left + bytes);
    if (bytes && !tw_map_put(&shares->held, key, (void *)(uintptr_t)held))
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for the request's body; try again later");
    shares->total += bytes;
    return true;
}

void http_shares_give(struct http_shares *shares, uint64_t tenant, int64_t bytes) {
    if (bytes == 0)
        return;
    struct tw_span key = tw_span_of(&tenant, sizeof tenant);
    TW_LOCK_SCOPE(&shares->lock);
    int64_t held = held_locked(shares, key) - bytes;
    shares->total -= bytes;
    // Replacing a value needs no memory.
    if (held <= 0 || !tw_map_put(&shares->held, key, (void *)(uintptr_t)held))
        tw_map_remove(&shares->held, key);
}
