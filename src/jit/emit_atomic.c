// SPDX-License-Identifier: Apache-2.0
//
// Atomics. Blocks of one launch run on several threads, so those on global memory are the machine's atomics, unless
// the frame says that nothing else touches the arena meanwhile; a block's shared memory belongs to one thread and plain
// accesses do. Lanes go one by one, but where all add to one place and nobody looks at the old value their sum goes at
// once, and where they lie side by side plain accesses take all at once. Addresses are aligned down to the
// operand's size: a locked access over two cache lines would stop the whole machine.

#include "emit.h"

enum { STRAIGHT_LANES = 32 }; // code for so many at most: a warp

// Confined: one atomic instruction.
struct atomic {
    const struct tw_kir_inst *inst;
    unsigned bits;
    bool plain;        // no other thread can see the memory
    LLVMTypeRef value; // integers of `bits`
};

static LLVMValueRef combine_floats(struct jit_emit *e, const struct atomic *a, LLVMValueRef old,
                                   LLVMValueRef v) {
    LLVMTypeRef type = jit_type(e, a->inst->type, false);
    LLVMValueRef x = jit_to_f32(e, LLVMBuildBitCast(e->b, old, type, "")),
                 y = jit_to_f32(e, LLVMBuildBitCast(e->b, v, type, ""));
    LLVMValueRef sum = jit_from_f32(e, LLVMBuildFAdd(e->b, x, y, ""), type);
    return LLVMBuildBitCast(e->b, sum, a->value, "");
}

// The new value, from the old one and the operand. NULL: no such combination.
static LLVMValueRef combine(struct jit_emit *e, const struct atomic *a, LLVMValueRef old, LLVMValueRef v) {
    bool sign = tw_kir_type_is_signed(a->inst->type), real = tw_kir_type_is_float(a->inst->type);
    LLVMValueRef one = jit_const(a->value, 1), zero = jit_const(a->value, 0);
    if (real && a->inst->atom != TW_KIR_ATOM_EXCH)
        return a->inst->atom == TW_KIR_ATOM_ADD ? combine_floats(e, a, old, v) : NULL;
    switch ((enum tw_kir_atom)a->inst->atom) {
    case TW_KIR_ATOM_ADD:
        return LLVMBuildAdd(e->b, old, v, "");
    case TW_KIR_ATOM_MIN:
        return jit_binary(e, sign ? "llvm.smin" : "llvm.umin", old, v);
    case TW_KIR_ATOM_MAX:
        return jit_binary(e, sign ? "llvm.smax" : "llvm.umax", old, v);
    case TW_KIR_ATOM_AND:
        return LLVMBuildAnd(e->b, old, v, "");
    case TW_KIR_ATOM_OR:
        return LLVMBuildOr(e->b, old, v, "");
    case TW_KIR_ATOM_XOR:
        return LLVMBuildXor(e->b, old, v, "");
    case TW_KIR_ATOM_EXCH:
        return v;
    case TW_KIR_ATOM_INC: {
        LLVMValueRef wraps = LLVMBuildICmp(e->b, LLVMIntUGE, old, v, "");
        return LLVMBuildSelect(e->b, wraps, zero, LLVMBuildAdd(e->b, old, one, ""), "");
    }
    case TW_KIR_ATOM_DEC: {
        LLVMValueRef wraps = LLVMBuildOr(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, old, zero, ""),
                                         LLVMBuildICmp(e->b, LLVMIntUGT, old, v, ""), "");
        return LLVMBuildSelect(e->b, wraps, v, LLVMBuildSub(e->b, old, one, ""), "");
    }
    case TW_KIR_ATOM_CAS:
        break;
    }
    return NULL;
}

// Whether one machine instruction does it, and which.
static bool direct(const struct atomic *a, LLVMAtomicRMWBinOp *ret_op) {
    static const LLVMAtomicRMWBinOp plain[] = {
        LLVMAtomicRMWBinOpAdd, LLVMAtomicRMWBinOpUMin, LLVMAtomicRMWBinOpUMax, LLVMAtomicRMWBinOpAnd,
        LLVMAtomicRMWBinOpOr,  LLVMAtomicRMWBinOpXor,  LLVMAtomicRMWBinOpXchg};
    if (a->inst->atom > TW_KIR_ATOM_EXCH)
        return false;
    if (tw_kir_type_is_float(a->inst->type) && a->inst->atom != TW_KIR_ATOM_EXCH)
        return false;
    *ret_op = plain[a->inst->atom];
    if (tw_kir_type_is_signed(a->inst->type) && *ret_op == LLVMAtomicRMWBinOpUMin)
        *ret_op = LLVMAtomicRMWBinOpMin;
    if (tw_kir_type_is_signed(a->inst->type) && *ret_op == LLVMAtomicRMWBinOpUMax)
        *ret_op = LLVMAtomicRMWBinOpMax;
    return true;
}

static LLVMValueRef compare_and_swap(struct jit_emit *e, LLVMValueRef pointer, LLVMValueRef expected,
                                     LLVMValueRef v, LLVMValueRef *ret_ok) {
    LLVMValueRef pair =
        LLVMBuildAtomicCmpXchg(e->b, pointer, expected, v, LLVMAtomicOrderingSequentiallyConsistent,
                               LLVMAtomicOrderingSequentiallyConsistent, false);
    *ret_ok = LLVMBuildExtractValue(e->b, pair, 1, "");
    return LLVMBuildExtractValue(e->b, pair, 0, "");
}

// Computes and tries until nobody came in between.
static LLVMValueRef swap_loop(struct jit_emit *e, const struct atomic *a, LLVMValueRef pointer,
                              LLVMValueRef v) {
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b), loop = jit_block_new(e, "swap"),
                      done = jit_block_new(e, "swapped");
    LLVMValueRef first = LLVMBuildLoad2(e->b, a->value, pointer, "");
    LLVMSetVolatile(first, true);
    LLVMBuildBr(e->b, loop);
    LLVMPositionBuilderAtEnd(e->b, loop);
    LLVMValueRef old = LLVMBuildPhi(e->b, a->value, "old"), ok;
    LLVMValueRef wanted = combine(e, a, old, v);
    LLVMValueRef found = compare_and_swap(e, pointer, old, wanted, &ok);
    LLVMValueRef values[2] = {first, found};
    LLVMBasicBlockRef from[2] = {before, LLVMGetInsertBlock(e->b)};
    LLVMBuildCondBr(e->b, ok, done, loop);
    LLVMAddIncoming(old, values, from, 2);
    LLVMPositionBuilderAtEnd(e->b, done);
    return old;
}

// One lane's operation; returns the old value.
static LLVMValueRef one(struct jit_emit *e, const struct atomic *a, LLVMValueRef pointer, LLVMValueRef v,
                        LLVMValueRef v2) {
    LLVMAtomicRMWBinOp op;
    LLVMValueRef ok;
    if (a->inst->op == TW_KIR_MBARRIER) {
        LLVMValueRef old = LLVMBuildLoad2(e->b, a->value, pointer, "");
        LLVMBuildStore(e->b, jit_mbarrier_next(e, a->inst->mode, old, v), pointer);
        return old;
    }
    bool cas = a->inst->atom == TW_KIR_ATOM_CAS;
    if (a->plain) {
        LLVMValueRef old = LLVMBuildLoad2(e->b, a->value, pointer, "");
        LLVMValueRef next =
            cas ? LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, old, v, ""), v2, old, "")
                : combine(e, a, old, v);
        LLVMBuildStore(e->b, next, pointer);
        return old;
    }
    if (cas)
        return compare_and_swap(e, pointer, v, v2, &ok);
    if (direct(a, &op))
        return LLVMBuildAtomicRMW(e->b, op, pointer, v, LLVMAtomicOrderingSequentiallyConsistent, false);
    return swap_loop(e, a, pointer, v);
}

static LLVMValueRef aligned_pointer(struct jit_emit *e, const struct atomic *a, LLVMValueRef address) {
    LLVMValueRef at = LLVMBuildAdd(e->b, address, jit_i64(e, (uint64_t)a->inst->offset), "");
    return jit_pointer(e, LLVMBuildAnd(e->b, at, jit_i64(e, ~(uint64_t)(a->bits / 8 - 1)), ""));
}

static LLVMValueRef spread(struct jit_emit *e, LLVMValueRef vector, const char *name) {
    LLVMValueRef slot = jit_slot(e, LLVMTypeOf(vector), name);
    LLVMBuildStore(e->b, vector, slot);
    return slot;
}

static LLVMValueRef element(struct jit_emit *e, LLVMTypeRef type, LLVMValueRef slot, LLVMValueRef index) {
    return LLVMBuildGEP2(e->b, type, slot, &index, 1, "");
}

// Lane `lane` of what spread() stored. Volatile, or LLVM would take the vector apart in registers, which is slower.
static LLVMValueRef lane_of(struct jit_emit *e, LLVMTypeRef type, LLVMValueRef slot, LLVMValueRef lane) {
    LLVMValueRef value = LLVMBuildLoad2(e->b, type, element(e, type, slot, lane), "");
    LLVMSetVolatile(value, true);
    return value;
}

// Somebody looks at the old values.
static bool wants_old(const struct tw_kir_inst *inst) {
    return inst->dst_count && inst->dst[0] != TW_KIR_NO_REG;
}

// All W lanes side by side, by plain accesses: none meets another. False: it is not so.
static bool side_by_side(struct jit_emit *e, const struct atomic *a) {
    const struct tw_kir_inst *inst = a->inst;
    struct jit_shape shape = jit_operand_shape(e->code, &inst->src[0], 64);
    bool simple = inst->atom != TW_KIR_ATOM_CAS && inst->atom != TW_KIR_ATOM_INC &&
                  inst->atom != TW_KIR_ATOM_DEC && !tw_kir_type_is_float(inst->type);
    if (!a->plain || !e->active_full || !simple || shape.kind != JIT_AFFINE ||
        shape.stride != (int64_t)(a->bits / 8))
        return false;
    LLVMValueRef pointer = aligned_pointer(e, a, jit_read(e, &inst->src[0], 64, false));
    LLVMValueRef old = LLVMBuildLoad2(e->b, jit_vec(e, a->value), pointer, "");
    LLVMSetAlignment(old, a->bits / 8);
    LLVMValueRef value = combine(e, a, old, jit_read(e, &inst->src[1], a->bits, true));
    LLVMSetAlignment(LLVMBuildStore(e->b, value, pointer), a->bits / 8);
    if (inst->dst_count)
        jit_write_any(e, inst, 0, old);
    return true;
}

// The next lanes from `first`, with an operand each or `operand` for all.
static void straight_lanes(struct jit_emit *e, const struct atomic *a, LLVMValueRef offsets,
                           LLVMValueRef operands, LLVMValueRef operand, LLVMValueRef first) {
    for (unsigned lane = 0; lane < e->lanes && lane < STRAIGHT_LANES; lane++) {
        LLVMValueRef at = LLVMBuildAdd(e->b, first, jit_i64(e, lane), "");
        LLVMValueRef offset = lane_of(e, jit_int(e, 64), offsets, at);
        LLVMValueRef pointer = LLVMBuildGEP2(e->b, jit_int(e, 8), e->arena_base, &offset, 1, "");
        (void)one(e, a, pointer, operands ? lane_of(e, a->value, operands, at) : operand, NULL);
    }
}

// All W lanes on memory that is nobody else's, nobody looks at the old values: one after the other, as many as a warp has
// without a loop. False: it is not so.
static bool all_lanes(struct jit_emit *e, const struct atomic *a) {
    const struct tw_kir_inst *inst = a->inst;
    bool varies = jit_operand_varies(e, &inst->src[1]);
    if (!a->plain || !e->active_full || wants_old(inst) || inst->atom == TW_KIR_ATOM_CAS)
        return false;
    LLVMValueRef at = jit_read(e, &inst->src[0], 64, true);
    at = LLVMBuildAdd(e->b, at, jit_const(LLVMTypeOf(at), (uint64_t)inst->offset), "");
    at = LLVMBuildAnd(e->b, at, jit_const(LLVMTypeOf(at), ~(uint64_t)(a->bits / 8 - 1)), "");
    LLVMValueRef offsets = spread(e, jit_confine(e, at), "offsets"),
                 operand = jit_read(e, &inst->src[1], a->bits, varies);
    LLVMValueRef operands = varies ? spread(e, operand, "operands") : NULL;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b), loop = jit_block_new(e, "lanes"),
                      done = jit_block_new(e, "lanes_done");
    LLVMBuildBr(e->b, loop);
    LLVMPositionBuilderAtEnd(e->b, loop);
    LLVMValueRef first = LLVMBuildPhi(e->b, jit_int(e, 64), "first");
    straight_lanes(e, a, offsets, operands, operand, first);
    LLVMValueRef next = LLVMBuildAdd(e->b, first, jit_i64(e, STRAIGHT_LANES), "");
    LLVMBasicBlockRef from[2] = {before, LLVMGetInsertBlock(e->b)};
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntULT, next, jit_i64(e, e->lanes), ""), loop, done);
    LLVMAddIncoming(first, (LLVMValueRef[]){jit_i64(e, 0), next}, from, 2);
    LLVMPositionBuilderAtEnd(e->b, done);
    return true;
}

// What the lanes' operations need, lane by lane in memory.
struct lane_slots {
    LLVMValueRef addresses, operands[2], olds;
};

static LLVMValueRef lane_slot(struct jit_emit *e, LLVMTypeRef type, LLVMValueRef slot, LLVMValueRef lane) {
    return LLVMBuildLoad2(e->b, type, element(e, type, slot, lane), "");
}

// The lanes whose bits are in `all`, the lowest first; bit 0 stands for lane `first`.
static void word_loop(struct jit_emit *e, const struct atomic *a, const struct lane_slots *s,
                      LLVMValueRef all, unsigned first) {
    LLVMTypeRef i64 = jit_int(e, 64), word = LLVMTypeOf(all);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b), loop = jit_block_new(e, "lanes"),
                      done = jit_block_new(e, "lanes_done");
    LLVMValueRef zero = LLVMConstNull(word), v[2] = {};
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntNE, all, zero, ""), loop, done);
    LLVMPositionBuilderAtEnd(e->b, loop);
    LLVMValueRef left = LLVMBuildPhi(e->b, word, "left");
    LLVMValueRef args[2] = {left, LLVMConstNull(jit_int(e, 1))};
    LLVMValueRef lane =
        LLVMBuildZExtOrBitCast(e->b, jit_intrinsic(e, "llvm.cttz", &word, 1, args, 2), i64, "");
    lane = LLVMBuildAnd(e->b, lane, jit_i64(e, LLVMGetIntTypeWidth(word) - 1), "");
    lane = LLVMBuildAdd(e->b, lane, jit_i64(e, first), "");
    for (unsigned i = 0; i < 2 && s->operands[i]; i++)
        v[i] = lane_slot(e, a->value, s->operands[i], lane);
    LLVMValueRef address = lane_slot(e, i64, s->addresses, lane);
    LLVMValueRef old = one(e, a, aligned_pointer(e, a, address), v[0], v[1]);
    LLVMBuildStore(e->b, old, element(e, a->value, s->olds, lane));
    LLVMValueRef rest =
        LLVMBuildAnd(e->b, left, LLVMBuildSub(e->b, left, LLVMConstInt(word, 1, false), ""), "");
    LLVMBasicBlockRef from[2] = {before, LLVMGetInsertBlock(e->b)};
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntNE, rest, zero, ""), loop, done);
    LLVMAddIncoming(left, (LLVMValueRef[]){all, rest}, from, 2);
    LLVMPositionBuilderAtEnd(e->b, done);
}

// All active lanes, the lowest first, with operand_values[1] NULL unless they compare and swap; what each found.
static LLVMValueRef lane_loop(struct jit_emit *e, const struct atomic *a, LLVMValueRef operand_values[2]) {
    LLVMValueRef words[JIT_MASK_WORDS_MAX];
    struct lane_slots s = {.addresses = spread(e, jit_read(e, &a->inst->src[0], 64, true), "addresses"),
                           .olds = spread(e, LLVMConstNull(jit_vec(e, a->value)), "olds")};
    for (unsigned i = 0; i < 2 && operand_values[i]; i++)
        s.operands[i] = spread(e, operand_values[i], "operands");
    unsigned count = jit_mask_words(e, e->active, words);
    for (unsigned k = 0; k < count; k++)
        word_loop(e, a, &s, words[k], k * JIT_MASK_WORD);
    return LLVMBuildLoad2(e->b, jit_vec(e, a->value), s.olds, "");
}

// i64: how many lanes are active.
static LLVMValueRef count_active(struct jit_emit *e) {
    LLVMValueRef words[JIT_MASK_WORDS_MAX], sum = jit_i64(e, 0);
    unsigned count = jit_mask_words(e, e->active, words);
    for (unsigned k = 0; k < count; k++) {
        LLVMValueRef ones = jit_unary(e, "llvm.ctpop", words[k]);
        sum = LLVMBuildAdd(e->b, sum, LLVMBuildZExtOrBitCast(e->b, ones, jit_int(e, 64), ""), "");
    }
    return sum;
}

// All active lanes do the same to one place, nobody looks at the old values: as often as there are lanes. False: it is
// not so.
static bool repeated(struct jit_emit *e, const struct atomic *a) {
    const struct tw_kir_inst *inst = a->inst;
    if (wants_old(inst) || inst->atom == TW_KIR_ATOM_CAS || jit_operand_varies(e, &inst->src[0]) ||
        jit_operand_varies(e, &inst->src[1]))
        return false;
    LLVMValueRef pointer = aligned_pointer(e, a, jit_read(e, &inst->src[0], 64, false)),
                 v = jit_read(e, &inst->src[1], a->bits, false), zero = jit_i64(e, 0);
    LLVMValueRef count = count_active(e);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b), again = jit_block_new(e, "again"),
                      done = jit_block_new(e, "repeated");
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntNE, count, zero, ""), again, done);
    LLVMPositionBuilderAtEnd(e->b, again);
    LLVMValueRef left = LLVMBuildPhi(e->b, jit_int(e, 64), "left");
    (void)one(e, a, pointer, v, NULL);
    LLVMValueRef rest = LLVMBuildSub(e->b, left, jit_i64(e, 1), "");
    LLVMBasicBlockRef from[2] = {before, LLVMGetInsertBlock(e->b)};
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntNE, rest, zero, ""), again, done);
    LLVMAddIncoming(left, (LLVMValueRef[]){count, rest}, from, 2);
    LLVMPositionBuilderAtEnd(e->b, done);
    return true;
}

static void each_lane(struct jit_emit *e, const struct atomic *a) {
    const struct tw_kir_inst *inst = a->inst;
    LLVMValueRef values[2] = {};
    if (repeated(e, a))
        return;
    for (unsigned i = 0; i + 1 < inst->src_count && i < 2; i++)
        values[i] = jit_read(e, &inst->src[i + 1], a->bits, true);
    LLVMValueRef olds = lane_loop(e, a, values);
    if (inst->dst_count)
        jit_write(e, inst, 0, olds, (struct jit_shape){.kind = JIT_VARYING});
}

LLVMValueRef jit_mbarrier_lanes(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef v) {
    struct atomic a = {.inst = inst, .bits = 64, .plain = true, .value = jit_int(e, 64)};
    return lane_loop(e, &a, (LLVMValueRef[2]){v, NULL});
}

static const char *reduction(const struct atomic *a, uint64_t *ret_neutral) {
    bool sign = tw_kir_type_is_signed(a->inst->type);
    *ret_neutral = 0;
    if (tw_kir_type_is_float(a->inst->type))
        return NULL;
    switch ((enum tw_kir_atom)a->inst->atom) {
    case TW_KIR_ATOM_ADD:
        return "llvm.vector.reduce.add";
    case TW_KIR_ATOM_AND:
        *ret_neutral = UINT64_MAX;
        return "llvm.vector.reduce.and";
    case TW_KIR_ATOM_OR:
        return "llvm.vector.reduce.or";
    case TW_KIR_ATOM_XOR:
        return "llvm.vector.reduce.xor";
    case TW_KIR_ATOM_MIN:
        *ret_neutral = sign ? (UINT64_C(1) << (a->bits - 1)) - 1 : UINT64_MAX;
        return sign ? "llvm.vector.reduce.smin" : "llvm.vector.reduce.umin";
    case TW_KIR_ATOM_MAX:
        *ret_neutral = sign ? UINT64_C(1) << (a->bits - 1) : 0;
        return sign ? "llvm.vector.reduce.smax" : "llvm.vector.reduce.umax";
    case TW_KIR_ATOM_EXCH:
    case TW_KIR_ATOM_CAS:
    case TW_KIR_ATOM_INC:
    case TW_KIR_ATOM_DEC:
        break;
    }
    return NULL;
}

// One place, no results: reduce first.
static bool reduced(struct jit_emit *e, const struct atomic *a) {
    uint64_t neutral;
    const char *name = reduction(a, &neutral);
    if (!name || wants_old(a->inst) || jit_operand_varies(e, &a->inst->src[0]))
        return false;
    LLVMValueRef v = jit_read(e, &a->inst->src[1], a->bits, true);
    v = LLVMBuildSelect(e->b, e->active, v, jit_const(LLVMTypeOf(v), neutral), "");
    v = jit_unary(e, name, v);
    LLVMBasicBlockRef some = jit_block_new(e, "some"), on = jit_block_new(e, "on");
    LLVMBuildCondBr(e->b, e->active_some ? LLVMConstAllOnes(jit_int(e, 1)) : jit_any(e, e->active), some, on);
    LLVMPositionBuilderAtEnd(e->b, some);
    LLVMValueRef pointer = aligned_pointer(e, a, jit_read(e, &a->inst->src[0], 64, false));
    (void)one(e, a, pointer, v, NULL);
    LLVMBuildBr(e->b, on);
    LLVMPositionBuilderAtEnd(e->b, on);
    return true;
}

static bool supported(const struct tw_kir_inst *inst) {
    unsigned bits = tw_kir_type_bits(inst->type);
    if (tw_kir_type_is_float(inst->type))
        return bits <= 64 && (inst->atom == TW_KIR_ATOM_ADD || inst->atom == TW_KIR_ATOM_EXCH);
    return (bits == 16 && inst->atom == TW_KIR_ATOM_CAS) || bits == 32 || bits == 64;
}

static void one_by_one(struct jit_emit *e, const struct atomic *a) {
    if (!reduced(e, a) && !side_by_side(e, a) && !all_lanes(e, a))
        each_lane(e, a);
}

// i1: what the frame says, read in the entry block.
static LLVMValueRef is_alone(struct jit_emit *e) {
    if (e->alone)
        return e->alone;
    LLVMBasicBlockRef here = LLVMGetInsertBlock(e->b);
    LLVMPositionBuilderBefore(e->b, LLVMGetBasicBlockTerminator(LLVMGetEntryBasicBlock(e->function)));
    LLVMValueRef word = jit_frame_field(e, offsetof(struct tw_kernel_frame, alone), jit_int(e, 32), "alone");
    e->alone = LLVMBuildICmp(e->b, LLVMIntNE, word, jit_i32(e, 0), "");
    LLVMPositionBuilderAtEnd(e->b, here);
    return e->alone;
}

static void plain_if_alone(struct jit_emit *e, const struct atomic *a) {
    struct atomic plain = *a;
    plain.plain = true;
    LLVMBasicBlockRef alone = jit_block_new(e, "alone"), others = jit_block_new(e, "others"),
                      on = jit_block_new(e, "on");
    LLVMBuildCondBr(e->b, is_alone(e), alone, others);
    LLVMPositionBuilderAtEnd(e->b, alone);
    one_by_one(e, &plain);
    LLVMBuildBr(e->b, on);
    LLVMPositionBuilderAtEnd(e->b, others);
    each_lane(e, a);
    LLVMBuildBr(e->b, on);
    LLVMPositionBuilderAtEnd(e->b, on);
}

bool jit_emit_atomic(struct jit_emit *e, const struct tw_kir_inst *inst) {
    if (inst->op == TW_KIR_FENCE) {
        LLVMBuildFence(e->b, LLVMAtomicOrderingSequentiallyConsistent, inst->scope == TW_KIR_CTA, "");
        return true;
    }
    if (!supported(inst))
        return jit_refuse(e->err, inst, "is not supported on the CPU device");
    unsigned bits = tw_kir_type_bits(inst->type);
    struct atomic a = {
        .inst = inst, .bits = bits, .plain = inst->space == TW_KIR_SHARED, .value = jit_int(e, bits)};
    if (a.plain)
        one_by_one(e, &a);
    else if (!reduced(e, &a))
        plain_if_alone(e, &a);
    return true;
}
