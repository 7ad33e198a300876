// SPDX-License-Identifier: Apache-2.0
//
// Reference counts for what threads share: compiled module, loaded kernel, tenant record. Embed a `struct
// tw_ref`. Counting up needs no order (whoever counts up holds a reference already); counting down releases what this
// holder wrote, and the last one acquires what all the others wrote before it frees.
#pragma once

#include <stdatomic.h>

#include "base/port.h"

// Atomic; starts at 1.
struct tw_ref {
    _Atomic uint32_t count;
};

static inline void tw_ref_init(struct tw_ref *ref) {
    atomic_init(&ref->count, 1);
}

static inline void tw_ref_up(struct tw_ref *ref) {
    uint32_t before = atomic_fetch_add_explicit(&ref->count, 1, memory_order_relaxed);
    TW_ASSERT(before != 0 && before != UINT32_MAX);
}

// Has somebody beside the asker, a holder, one?
static inline bool tw_ref_is_shared(const struct tw_ref *ref) {
    return atomic_load_explicit(&ref->count, memory_order_acquire) > 1;
}

// True: this was the last one, free the object.
static inline bool tw_ref_down(struct tw_ref *ref) {
    // Both orders in one operation: ThreadSanitizer does not understand a fence in the last holder.
    uint32_t before = atomic_fetch_sub_explicit(&ref->count, 1, memory_order_acq_rel);
    TW_ASSERT(before != 0);
    return before == 1;
}
