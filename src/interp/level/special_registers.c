// SPDX-License-Identifier: Apache-2.0
//
// What a thread knows without its registers: special registers, parameters, addresses of windows.

#include "level.h"

static void fill(uint64_t *d, uint64_t value) {
    EACH_LANE(i)
    d[i] = value;
}

// The threads of a block are numbered x fastest.
static void thread_index(const struct interp_warp *warp, unsigned axis, uint64_t *d) {
    const uint32_t *block = warp->frame->block;
    uint32_t at[3] = {warp->linear};
    if (warp->linear >= block[0]) { // there are rows
        at[0] = warp->linear % block[0];
        at[1] = warp->linear / block[0] % block[1];
        at[2] = warp->linear / block[0] / block[1];
    }
    if (block[0] - at[0] >= TW_INTERP_LANES) { // all in one row
        EACH_LANE(i)
        d[i] = at[axis] + (axis == 0 ? i : 0);
        return;
    }
    for (unsigned i = 0; i < TW_INTERP_LANES; i++) {
        d[i] = at[axis];
        if (++at[0] < block[0])
            continue;
        at[0] = 0;
        if (++at[1] < block[1])
            continue;
        at[1] = 0;
        at[2]++;
    }
}

static void lane_mask(uint64_t sreg, uint64_t *d) {
    EACH_LANE(i) {
        uint32_t eq = UINT32_C(1) << i, lt = eq - 1;
        d[i] = sreg == TW_KIR_LANEMASK_EQ   ? eq
               : sreg == TW_KIR_LANEMASK_LT ? lt
               : sreg == TW_KIR_LANEMASK_LE ? (lt | eq)
               : sreg == TW_KIR_LANEMASK_GE ? ~lt
                                            : ~(lt | eq);
    }
}

static uint64_t nanoseconds(const struct tw_kernel_frame *frame) {
    __extension__ typedef unsigned __int128 wide;
    wide passed = (wide)(__builtin_ia32_rdtsc() - frame->time_ticks) * frame->time_scale;
    return frame->time_ns + (uint64_t)(passed >> 32);
}

static uint64_t clock_part(const struct tw_kernel_frame *frame, uint64_t sreg) {
    uint64_t now = sreg >= TW_KIR_GLOBALTIMER ? nanoseconds(frame) : __builtin_ia32_rdtsc();
    if (sreg == TW_KIR_CLOCK64 || sreg == TW_KIR_GLOBALTIMER)
        return now;
    return sreg == TW_KIR_CLOCK_HI || sreg == TW_KIR_GLOBALTIMER_HI ? now >> 32 : (uint32_t)now;
}

// Of those that are the same in all lanes.
static uint64_t common_value(const struct interp_warp *warp, uint64_t sreg) {
    const struct tw_kernel_frame *frame = warp->frame;
    if (sreg <= TW_KIR_NTID_Z)
        return frame->block[sreg - TW_KIR_NTID_X];
    if (sreg <= TW_KIR_CTAID_Z)
        return warp->ctaid[sreg - TW_KIR_CTAID_X];
    if (sreg <= TW_KIR_NCTAID_Z)
        return frame->grid[sreg - TW_KIR_NCTAID_X];
    if (sreg >= TW_KIR_CLOCK && sreg <= TW_KIR_GLOBALTIMER_HI)
        return clock_part(frame, sreg);
    switch (sreg) {
    case TW_KIR_WARPID:
        return warp->index;
    case TW_KIR_NWARPID:
        return warp->count;
    case TW_KIR_SMID:
        return frame->worker;
    case TW_KIR_NSMID:
        return frame->worker_count;
    case TW_KIR_GRIDID:
        return frame->grid_id;
    case TW_KIR_DYNAMIC_SMEM_SIZE:
        return frame->dynamic_shared;
    case TW_KIR_TOTAL_SMEM_SIZE:
        return (uint32_t)frame->shared_limit;
    default: // a number that programs do not have
        return 0;
    }
}

// Not the same in all lanes.
static bool is_of_lanes(uint64_t sreg) {
    return sreg <= TW_KIR_TID_Z || sreg == TW_KIR_LANEID ||
           (sreg >= TW_KIR_LANEMASK_EQ && sreg <= TW_KIR_LANEMASK_GE);
}

static void read_special(const struct interp_warp *warp, uint64_t sreg, uint64_t *d) {
    if (sreg <= TW_KIR_TID_Z) {
        thread_index(warp, (unsigned)sreg, d);
    } else if (sreg == TW_KIR_LANEID) {
        EACH_LANE(i)
        d[i] = i;
    } else {
        lane_mask(sreg, d);
    }
}

#define SREG(bits, type)                                                                                     \
    INTERP_HANDLER(SREG_##bits) {                                                                            \
        uint64_t values[TW_INTERP_LANES];                                                                    \
        type *d = interp_row(warp, step, 0);                                                                 \
        if (!is_of_lanes(step->imm)) {                                                                       \
            const type value = (type)common_value(warp, step->imm);                                          \
            EACH_LANE(i)                                                                                     \
            d[i] = value;                                                                                    \
            return step + 1;                                                                                 \
        }                                                                                                    \
        read_special(warp, step->imm, values);                                                               \
        EACH_LANE(i)                                                                                         \
        d[i] = (type)values[i];                                                                              \
        return step + 1;                                                                                     \
    }

SREG(16, uint16_t)
SREG(32, uint32_t)
SREG(64, uint64_t)

#define LDPARAM(bits, type)                                                                                  \
    INTERP_HANDLER(LDPARAM_##bits) {                                                                         \
        type *d = interp_row(warp, step, 0), value;                                                          \
        memcpy(&value, warp->frame->params + step->imm, sizeof value);                                       \
        EACH_LANE(i)                                                                                         \
        d[i] = value;                                                                                        \
        return step + 1;                                                                                     \
    }

LDPARAM(8, uint8_t)
LDPARAM(16, uint16_t)
LDPARAM(32, uint32_t)
LDPARAM(64, uint64_t)
__extension__ typedef unsigned __int128 uint128;
LDPARAM(128, uint128)

INTERP_HANDLER(ADDR_GLOBAL) {
    fill(interp_row(warp, step, 0), warp->frame->global_base + step->imm);
    return step + 1;
}

INTERP_HANDLER(ADDR_SHARED) {
    fill(interp_row(warp, step, 0), warp->frame->shared_base + step->imm);
    return step + 1;
}

INTERP_HANDLER(ADDR_PARAM) {
    fill(interp_row(warp, step, 0), warp->frame->param_base + step->imm);
    return step + 1;
}

INTERP_HANDLER(ADDR_LOCAL) {
    uint64_t *d = interp_row(warp, step, 0), bytes = warp->program->local_bytes,
             first = warp->frame->local_base + step->imm + warp->linear * bytes;
    EACH_LANE(i)
    d[i] = first + i * bytes;
    return step + 1;
}

INTERP_HANDLER(ISSPACE) {
    const struct tw_kernel_frame *frame = warp->frame;
    const uint64_t *a = interp_row(warp, step, 1);
    uint64_t constants = frame->global_base + step->operands[2], space = step->imm;
    uint8_t *d = interp_row(warp, step, 0);
    EACH_LANE(i) {
        bool shared = a[i] - frame->shared_base < frame->shared_limit,
             local = a[i] - frame->local_base < warp->local_limit,
             constant = a[i] - constants < step->operands[3];
        bool found = space == TW_KIR_SHARED  ? shared
                     : space == TW_KIR_LOCAL ? local
                     : space == TW_KIR_CONST ? constant
                                             : space == TW_KIR_GLOBAL && !(shared | local | constant);
        d[i] = found ? 0xff : 0;
    }
    return step + 1;
}
