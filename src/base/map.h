// SPDX-License-Identifier: Apache-2.0
//
// A hash map from bytes to pointers, with a maximum. Keys are copied; values are borrowed (the map never
// frees them). Hashing is keyed per process (SipHash-like strength is the implementation's duty), so that
// tenants cannot choose collisions.
#pragma once

#include "base/str.h"

struct tw_map_slot;

// Confined, or guarded by whoever owns it. `{}` with `max` set is a valid empty map.
struct tw_map {
    struct tw_map_slot *slots;
    size_t count;
    size_t capacity;
    size_t max; // entries
};

void tw_map_init(struct tw_map *map, size_t max);
void tw_map_done(struct tw_map *map);
void *tw_map_find(const struct tw_map *map, struct tw_span key); // NULL: not there
// Adds or replaces; `value` is not NULL. False when full or out of memory.
[[nodiscard]] bool tw_map_put(struct tw_map *map, struct tw_span key, void *value);
void *tw_map_remove(struct tw_map *map, struct tw_span key); // the value it had, or NULL
// Walks in no order: start with *position = 0; false at the end. Do not change the map meanwhile.
bool tw_map_next(const struct tw_map *map, size_t *position, struct tw_span *ret_key, void **ret_value);

static inline struct tw_span tw_key_str(struct tw_str s) {
    return tw_span_of(s.data, s.len);
}
