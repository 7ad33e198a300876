// SPDX-License-Identifier: Apache-2.0
//
// Handle tables. A handle is (serial << 16 | slot): the slot makes looking up one load and one compare, and
// the serial, drawn from one counter for the whole process, makes every handle ever given out different. So a
// handle that was freed, guessed or carried over from another instance is found to be wrong.

#include "gpu/internal.h"

enum { SLOT_BITS = 16 };

static struct tw_counter next_serial;

static size_t slot_of(uint64_t handle) {
    return handle & ((1u << SLOT_BITS) - 1);
}

bool gpu_handle_add(struct gpu_handles *handles, void *object, uint32_t max, uint64_t *ret_handle) {
    if (handles->live >= max || handles->live >= GPU_HANDLES_MAX)
        return false;
    size_t slot = handles->count;
    if (handles->first_free) {
        slot = handles->first_free - 1;
        handles->first_free = handles->slots[slot].next_free;
    } else {
        if (!tw_vec_grow(&handles->slots, &handles->capacity, handles->count, sizeof(*handles->slots),
                         GPU_HANDLES_MAX))
            return false;
        handles->count++;
    }
    // 47 bits of serial: at a billion handles a second they last for more than a day and a half; the sign bit
    // stays clear.
    uint64_t serial = (uint64_t)tw_counter_add(&next_serial, 1) + 1;
    uint64_t handle = (serial << SLOT_BITS | slot) & INT64_MAX;
    handles->slots[slot] = (struct gpu_handle){.handle = handle, .object = object};
    handles->live++;
    *ret_handle = handle;
    return true;
}

void *gpu_handle_find(const struct gpu_handles *handles, uint64_t handle) {
    size_t slot = slot_of(handle);
    if (handle == 0 || slot >= handles->count || handles->slots[slot].handle != handle)
        return NULL;
    return handles->slots[slot].object;
}

void *gpu_handle_remove(struct gpu_handles *handles, uint64_t handle) {
    void *object = gpu_handle_find(handles, handle);
    if (!object)
        return NULL;
    size_t slot = slot_of(handle);
    handles->slots[slot] = (struct gpu_handle){.next_free = handles->first_free};
    handles->first_free = (uint32_t)slot + 1;
    handles->live--;
    return object;
}

void *gpu_handle_next(const struct gpu_handles *handles, size_t *position) {
    while (*position < handles->count) {
        const struct gpu_handle *slot = &handles->slots[(*position)++];
        if (slot->handle)
            return slot->object;
    }
    return NULL;
}

void gpu_handles_done(struct gpu_handles *handles) {
    free(handles->slots);
    *handles = (struct gpu_handles){};
}
