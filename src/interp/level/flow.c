// SPDX-License-Identifier: Apache-2.0
//
// Branches, barriers, guards and the end of threads.

#include "base/atomic.h"
#include "level.h"

// Lanes wait at a place. Places lie in falling order, so that the lowest is the last; lanes that come to one where others
// wait join them, so that there are never more places than lanes.
static void wait_at(struct interp_warp *warp, uint32_t block, uint32_t place, uint32_t lanes) {
    uint32_t at = warp->waiting_count;
    if (!lanes)
        return;
    while (at > 0 && warp->waiting[at - 1].place < place)
        at--;
    if (at > 0 && warp->waiting[at - 1].place == place && warp->waiting[at - 1].block == block) {
        warp->waiting[at - 1].mask |= lanes;
        return;
    }
    for (uint32_t i = warp->waiting_count++; i > at; i--)
        warp->waiting[i] = warp->waiting[i - 1];
    warp->waiting[at] = (struct interp_waiting){place, block, lanes};
}

// Those at the lowest place go on. NULL: nobody is left.
static const struct interp_step *go_on(struct interp_warp *warp) {
    if (warp->waiting_count == 0) {
        warp->behind = INTERP_ENDED;
        return NULL;
    }
    const struct interp_waiting *next = &warp->waiting[--warp->waiting_count];
    warp->mask = warp->active = next->mask;
    return interp_block(warp, next->block);
}

// In a loop: better code is there, and nobody would notice if the block began anew.
static bool leaves(struct interp_warp *warp, const struct interp_step *step) {
    if (!(step->imm & 2) || warp->stored || !warp->frame->better || !tw_flag_is_raised(warp->frame->better))
        return false;
    warp->status = TW_KERNEL_AGAIN;
    return true;
}

INTERP_HANDLER(BR) {
    if (leaves(warp, step))
        return NULL;
    if (warp->waiting_count == 0)
        return interp_block(warp, step->operands[0]);
    wait_at(warp, step->operands[0], step->operands[1], warp->mask);
    return go_on(warp);
}

INTERP_HANDLER(BRC) {
    const uint32_t *to = step->operands + 1, *other = step->operands + 3;
    uint32_t holds = interp_lanes(interp_row(warp, step, 0));
    if (leaves(warp, step))
        return NULL;
    if (step->imm & 1)
        holds = ~holds;
    holds &= warp->mask;
    if (warp->waiting_count == 0) {
        if (holds == warp->mask)
            return interp_block(warp, to[0]);
        if (holds == 0)
            return interp_block(warp, other[0]);
    }
    wait_at(warp, to[0], to[1], holds);
    wait_at(warp, other[0], other[1], warp->mask & ~holds);
    return go_on(warp);
}

// operands: the index's row, how many targets, then a block and a place each.
INTERP_HANDLER(BRX) {
    const uint32_t *index = interp_row(warp, step, 0), *targets = step->operands + 2;
    uint32_t count = step->operands[1], left = warp->mask;
    while (left) {
        uint32_t lane = (uint32_t)__builtin_ctz(left), value = index[lane], same = 0;
        for (unsigned i = 0; i < TW_INTERP_LANES; i++)
            same |= (uint32_t)(index[i] == value) << i;
        uint32_t k = value < count ? value : count - 1;
        wait_at(warp, targets[2 * k], targets[2 * k + 1], left & same);
        left &= ~same;
    }
    return go_on(warp);
}

// A warp comes to a barrier as a whole.
static bool is_torn(struct interp_warp *warp, const struct interp_step *step) {
    if (warp->waiting_count == 0)
        return false;
    warp->frame->fault_site = step->imm;
    warp->status = TW_KERNEL_DEADLOCK;
    return true;
}

INTERP_HANDLER(BARRIER) {
    if (is_torn(warp, step))
        return NULL;
    if (warp->count == 1)
        return interp_block(warp, step->operands[0]);
    warp->behind = step->operands[0];
    return NULL;
}

// The result is written when all warps have come (run.c).
static const struct interp_step *reduce(struct interp_warp *warp, const struct interp_step *step,
                                        enum interp_reduce what) {
    if (is_torn(warp, step))
        return NULL;
    uint32_t holds = interp_lanes(interp_row(warp, step, 2)) & warp->mask;
    warp->true_count += (uint32_t)__builtin_popcount(holds);
    warp->reduced_count += (uint32_t)__builtin_popcount(warp->mask);
    warp->reduction = (struct interp_reduction){what, step->operands[1]};
    warp->behind = step->operands[0];
    return NULL;
}

INTERP_HANDLER(BARRED_AND) {
    return reduce(warp, step, INTERP_REDUCE_AND);
}

INTERP_HANDLER(BARRED_OR) {
    return reduce(warp, step, INTERP_REDUCE_OR);
}

INTERP_HANDLER(BARRED_POPC) {
    return reduce(warp, step, INTERP_REDUCE_POPC);
}

INTERP_HANDLER(END) {
    (void)step;
    return go_on(warp);
}

INTERP_HANDLER(GUARD) {
    uint32_t holds = interp_lanes(interp_row(warp, step, 0));
    warp->active = warp->mask & (step->imm & 1 ? ~holds : holds);
    return warp->active ? step + 1 : step + (step->imm >> 1) + 1;
}

INTERP_HANDLER(UNGUARD) {
    warp->active = warp->mask;
    return step + 1;
}

INTERP_HANDLER(TRAP) {
    if (!warp->active)
        return step + 1;
    warp->frame->fault_site = step->imm;
    warp->status = TW_KERNEL_TRAP;
    return NULL;
}

#define BLEND(op, type)                                                                                      \
    INTERP_HANDLER(op) {                                                                                     \
        type *d = interp_row(warp, step, 0);                                                                 \
        const type *a = interp_row(warp, step, 1);                                                           \
        uint32_t active = warp->active;                                                                      \
        EACH_LANE(i)                                                                                         \
        d[i] = active >> i & 1 ? a[i] : d[i];                                                                \
        return step + 1;                                                                                     \
    }

BLEND(BLEND_P, uint8_t)
BLEND(BLEND_8, uint8_t)
BLEND(BLEND_16, uint16_t)
BLEND(BLEND_32, uint32_t)
BLEND(BLEND_64, uint64_t)
__extension__ typedef unsigned __int128 u128;
BLEND(BLEND_128, u128)
