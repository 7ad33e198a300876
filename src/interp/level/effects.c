// SPDX-License-Identifier: Apache-2.0
//
// Copies to shared memory, and what kernels print.

#include "memory.h"

// Of four bytes that begin `at` bytes into a copy, those that its source has.
static uint32_t kept(uint32_t size, uint32_t at) {
    if (size <= at)
        return 0;
    return size - at >= 4 ? UINT32_MAX : (UINT32_C(1) << (size - at) * 8) - 1;
}

// Four bytes after four, at once: first all lanes read, then they write in their order.
INTERP_RACES INTERP_HANDLER(CPASYNC) {
    struct places to, from;
    const uint32_t *sizes = interp_row(warp, step, 2);
    uint32_t values[TW_INTERP_LANES];
    if (!warp->active)
        return step + 1;
    places_find(warp, interp_row(warp, step, 0), 0, &to);
    places_find(warp, interp_row(warp, step, 1), 0, &from);
    places_note_stored(warp, &to, step->imm);
    for (uint32_t at = 0; at < step->imm; at += 4) {
        for (uint32_t left = warp->active; left; left &= left - 1) {
            unsigned i = (unsigned)__builtin_ctz(left);
            uint32_t wanted = kept(sizes[i], at);
            values[i] = wanted ? *(const loose_32 *)(from.base + from.at[i] + at) & wanted : 0;
        }
        for (uint32_t left = warp->active; left; left &= left - 1) {
            unsigned i = (unsigned)__builtin_ctz(left);
            *(loose_32 *)(to.base + to.at[i] + at) = values[i];
        }
    }
    return step + 1;
}

// One lane's record, or one more that is lost. The count goes up last: the kernel may be stopped in between.
static INTERP_RACES void print_one(struct tw_kernel_frame *frame, uint64_t format, uint64_t arguments) {
    struct tw_kernel_prints *prints = frame->prints;
    if (prints->count >= TW_KERNEL_PRINTS_MAX) {
        prints->lost++;
        return;
    }
    struct tw_kernel_print *print = &prints->items[prints->count];
    const loose_64 *from = (const loose_64 *)(frame->arena_base + (arguments & frame->arena_mask));
    print->format = format;
    for (unsigned i = 0; arguments && i < TW_KERNEL_PRINT_ARGS / 8; i++)
        ((loose_64 *)print->args)[i] = from[i];
    __atomic_signal_fence(__ATOMIC_RELEASE);
    prints->count++;
}

INTERP_RACES INTERP_HANDLER(PRINTF) {
    uint32_t *results = interp_row(warp, step, 0);
    const uint64_t *formats = interp_row(warp, step, 1), *arguments = interp_row(warp, step, 2);
    for (uint32_t left = warp->active; left; left &= left - 1) {
        unsigned i = (unsigned)__builtin_ctz(left);
        warp->stored = true;
        print_one(warp->frame, formats[i], arguments[i]);
    }
    EACH_LANE(i)
    results[i] = 0;
    return step + 1;
}
