// SPDX-License-Identifier: Apache-2.0
//
// Where lanes' accesses to the arena lie. Handlers of memory are not looked at for data races: kernels race by themselves.
#pragma once

#include "level.h"

#define INTERP_RACES __attribute__((no_sanitize("thread")))

// Elements anywhere in memory.
typedef uint8_t loose_8 __attribute__((may_alias));
typedef uint16_t loose_16 __attribute__((may_alias, aligned(1)));
typedef uint32_t loose_32 __attribute__((may_alias, aligned(1)));
typedef uint64_t loose_64 __attribute__((may_alias, aligned(1)));
__extension__ typedef unsigned __int128 uint128;
typedef uint128 loose_128 __attribute__((may_alias, aligned(1)));

// Lanes' places in the arena, from `base` on. Those that do not take part have the place of the first one that does, so
// that they may read too. Confined.
struct places {
    uint8_t *base;
    _Alignas(64) uint64_t at[TW_INTERP_LANES];
};

// `active` is not 0.
static inline INTERP_RACES void places_find(const struct interp_warp *warp, const uint64_t *addresses,
                                            int64_t offset, struct places *ret) {
    int64_t behind = tw_kernel_behind_mask(offset);
    uint64_t before = (uint64_t)(offset - behind), mask = warp->frame->arena_mask;
    uint32_t active = warp->active;
    uint64_t first = (addresses[__builtin_ctz(active)] + before) & mask;
    ret->base = warp->frame->arena_base + behind;
    if (active == UINT32_MAX) {
        EACH_LANE(i)
        ret->at[i] = (addresses[i] + before) & mask;
        return;
    }
    EACH_LANE(i)
    ret->at[i] = active >> i & 1 ? (addresses[i] + before) & mask : first;
}

// The lanes that take part have addresses `bytes` apart, and the arena does not end between them: lane i's place is `bytes` × i
// behind *ret_row, which is that of lane 0, whether it takes part or not. `active` is not 0.
static inline INTERP_RACES bool places_find_row(const struct interp_warp *warp, const uint64_t *addresses,
                                                int64_t offset, uint64_t bytes, uint8_t **ret_row) {
    int64_t behind = tw_kernel_behind_mask(offset);
    uint64_t before = (uint64_t)(offset - behind), mask = warp->frame->arena_mask, other = 0;
    uint32_t active = warp->active;
    unsigned first = (unsigned)__builtin_ctz(active), last = 31 - (unsigned)__builtin_clz(active);
    uint64_t start = addresses[first] - first * bytes;
    if (active == UINT32_MAX)
        for (unsigned i = 0; i < TW_INTERP_LANES; i++)
            other |= addresses[i] ^ (start + i * bytes);
    else
        for (unsigned i = 0; i < TW_INTERP_LANES; i++)
            other |= active >> i & 1 ? addresses[i] ^ (start + i * bytes) : 0;
    uint64_t at = (addresses[first] + before) & mask;
    if (other || at + (last - first) * bytes > mask)
        return false;
    *ret_row =
        (uint8_t *)((uintptr_t)warp->frame->arena_base + (uintptr_t)(uint64_t)behind + at - first * bytes);
    return true;
}

// Each lane's place is so many bytes behind the one before it.
static inline bool places_apart(const struct places *places, uint64_t bytes) {
    uint64_t other = 0;
    for (uint64_t i = 0; i < TW_INTERP_LANES; i++)
        other |= (places->at[i] - places->at[0]) ^ (i * bytes);
    return other == 0;
}

// All `bytes` bytes from `at` on lie in a window.
static inline uint64_t lies_within(uint64_t at, uint64_t bytes, uint64_t base, uint64_t limit) {
    return (uint64_t)(at - base < limit) & (uint64_t)(at + bytes - 1 - base < limit);
}

// Before the lanes write `bytes` bytes each: what lies in neither window outlives the block.
static inline void places_note_stored(struct interp_warp *warp, const struct places *places, uint64_t bytes) {
    const struct tw_kernel_frame *frame = warp->frame;
    uint64_t behind = (uint64_t)(places->base - frame->arena_base), outside = 0;
    if (warp->stored)
        return;
    for (unsigned i = 0; i < TW_INTERP_LANES; i++) {
        uint64_t at = places->at[i] + behind;
        outside |= 1 ^ (lies_within(at, bytes, frame->shared_base, frame->shared_limit) |
                        lies_within(at, bytes, frame->local_base, warp->local_limit));
    }
    warp->stored = outside != 0;
}

// The same of `bytes` bytes from a lane's place, or a row of lanes' places, on.
static inline void places_note_one_stored(struct interp_warp *warp, const uint8_t *place, uint64_t bytes) {
    const struct tw_kernel_frame *frame = warp->frame;
    if (warp->stored)
        return;
    uint64_t at = (uintptr_t)place - (uintptr_t)frame->arena_base;
    warp->stored = !(lies_within(at, bytes, frame->shared_base, frame->shared_limit) |
                     lies_within(at, bytes, frame->local_base, warp->local_limit));
}

// Of lanes side by side, `row` lane 0's place.
static inline void places_note_row_stored(struct interp_warp *warp, const uint8_t *row, uint64_t bytes) {
    unsigned first = (unsigned)__builtin_ctz(warp->active), last = 31 - (unsigned)__builtin_clz(warp->active);
    places_note_one_stored(warp, (const uint8_t *)((uintptr_t)row + first * bytes),
                           (last - first + 1) * bytes);
}

static inline uint8_t *places_find_one(const struct interp_warp *warp, uint64_t address, int64_t offset) {
    int64_t behind = tw_kernel_behind_mask(offset);
    uint64_t at = (address + (uint64_t)(offset - behind)) & warp->frame->arena_mask;
    return warp->frame->arena_base + behind + at;
}

static inline bool places_are_few(const struct interp_warp *warp) {
    return __builtin_popcount(warp->active) <= 4;
}
