// SPDX-License-Identifier: Apache-2.0
//
// Special registers.

#include "emit.h"

static LLVMValueRef load_slot(struct jit_emit *e, LLVMValueRef slot) {
    return LLVMBuildLoad2(e->b, jit_int(e, 32), slot, "");
}

static LLVMValueRef lane_mask(struct jit_emit *e, uint32_t sreg) {
    LLVMValueRef parts[JIT_MAX_LANES];
    for (unsigned lane = 0; lane < e->lanes; lane++) {
        uint32_t eq = UINT32_C(1) << lane, lt = eq - 1;
        uint32_t mask = sreg == TW_KIR_LANEMASK_EQ   ? eq
                        : sreg == TW_KIR_LANEMASK_LT ? lt
                        : sreg == TW_KIR_LANEMASK_LE ? (lt | eq)
                        : sreg == TW_KIR_LANEMASK_GE ? ~lt
                                                     : ~(lt | eq);
        parts[lane] = jit_i32(e, mask);
    }
    return LLVMConstVector(parts, e->lanes);
}

static LLVMValueRef cycles(struct jit_emit *e) {
    return jit_intrinsic(e, "llvm.readcyclecounter", NULL, 0, NULL, 0);
}

// The wall clock in nanoseconds, from the cycle counter and what the frame says of it.
static LLVMValueRef nanoseconds(struct jit_emit *e) {
    LLVMTypeRef word = jit_int(e, 64), wide = jit_int(e, 128);
    LLVMValueRef since = jit_frame_field(e, offsetof(struct tw_kernel_frame, time_ticks), word, ""),
                 start = jit_frame_field(e, offsetof(struct tw_kernel_frame, time_ns), word, ""),
                 scale = jit_frame_field(e, offsetof(struct tw_kernel_frame, time_scale), word, "");
    LLVMValueRef ticks = LLVMBuildZExt(e->b, LLVMBuildSub(e->b, cycles(e), since, ""), wide, "");
    LLVMValueRef product = LLVMBuildMul(e->b, ticks, LLVMBuildZExt(e->b, scale, wide, ""), "");
    LLVMValueRef passed = LLVMBuildLShr(e->b, product, LLVMConstInt(wide, 32, false), "");
    return LLVMBuildAdd(e->b, start, LLVMBuildTrunc(e->b, passed, word, ""), "");
}

static LLVMValueRef clock_part(struct jit_emit *e, uint32_t sreg) {
    LLVMValueRef now = sreg >= TW_KIR_GLOBALTIMER ? nanoseconds(e) : cycles(e);
    if (sreg == TW_KIR_CLOCK64 || sreg == TW_KIR_GLOBALTIMER)
        return now;
    if (sreg == TW_KIR_CLOCK_HI || sreg == TW_KIR_GLOBALTIMER_HI)
        now = LLVMBuildLShr(e->b, now, jit_i64(e, 32), "");
    return LLVMBuildTrunc(e->b, now, jit_int(e, 32), "");
}

static LLVMValueRef frame_u32(struct jit_emit *e, size_t offset) {
    return jit_frame_field(e, offset, jit_int(e, 32), "");
}

// Triples: tid, ntid, ctaid, nctaid.
static LLVMValueRef place_in_grid(struct jit_emit *e, uint32_t sreg) {
    uint32_t axis = (sreg - TW_KIR_TID_X) % 3;
    if (sreg <= TW_KIR_TID_Z)
        return e->tid[axis];
    if (sreg <= TW_KIR_NTID_Z)
        return e->block[axis];
    return sreg <= TW_KIR_CTAID_Z ? load_slot(e, e->ctaid[axis]) : e->grid[axis];
}

static LLVMValueRef place_in_machine(struct jit_emit *e, uint32_t sreg) {
    switch (sreg) {
    case TW_KIR_LANEID:
        return jit_i32(e, 0); // lane 0's
    case TW_KIR_WARPID:
        return load_slot(e, e->warp);
    case TW_KIR_NWARPID:
        return e->warp_count;
    case TW_KIR_SMID:
        return frame_u32(e, offsetof(struct tw_kernel_frame, worker));
    case TW_KIR_NSMID:
        return frame_u32(e, offsetof(struct tw_kernel_frame, worker_count));
    case TW_KIR_GRIDID:
        return jit_frame_field(e, offsetof(struct tw_kernel_frame, grid_id), jit_int(e, 64), "");
    default:
        return NULL;
    }
}

static LLVMValueRef value_of(struct jit_emit *e, uint32_t sreg) {
    if (sreg <= TW_KIR_NCTAID_Z)
        return place_in_grid(e, sreg);
    if (sreg <= TW_KIR_GRIDID)
        return place_in_machine(e, sreg);
    if (sreg <= TW_KIR_LANEMASK_GE)
        return lane_mask(e, sreg);
    if (sreg <= TW_KIR_GLOBALTIMER_HI)
        return clock_part(e, sreg);
    if (sreg == TW_KIR_DYNAMIC_SMEM_SIZE)
        return frame_u32(e, offsetof(struct tw_kernel_frame, dynamic_shared));
    if (sreg != TW_KIR_TOTAL_SMEM_SIZE)
        return NULL;
    LLVMValueRef bytes =
        jit_frame_field(e, offsetof(struct tw_kernel_frame, shared_limit), jit_int(e, 64), "");
    return LLVMBuildTrunc(e->b, bytes, jit_int(e, 32), "");
}

bool jit_emit_sreg(struct jit_emit *e, const struct tw_kir_inst *inst) {
    LLVMValueRef value = value_of(e, inst->index);
    if (!value)
        return jit_refuse(e->err, inst, "reads a special register that does not exist");
    unsigned bits = tw_kir_type_bits(inst->type), have = jit_element_bits(LLVMTypeOf(value));
    LLVMTypeRef type = jit_resize(e, LLVMTypeOf(value), bits);
    if (bits != have)
        value = bits < have ? LLVMBuildTrunc(e->b, value, type, "") : LLVMBuildZExt(e->b, value, type, "");
    jit_write(e, inst, 0, value, jit_inst_shape(e->code, inst, 0));
    return true;
}
