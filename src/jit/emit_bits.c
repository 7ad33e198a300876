// SPDX-License-Identifier: Apache-2.0
//
// Logic and bit fields.

#include "emit.h"

static LLVMValueRef band(struct jit_emit *e, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildAnd(e->b, a, b, "");
}

static LLVMValueRef bor(struct jit_emit *e, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildOr(e->b, a, b, "");
}

static unsigned width(LLVMValueRef v) {
    return jit_element_bits(LLVMTypeOf(v));
}

static LLVMValueRef k(LLVMValueRef like, uint64_t value) {
    return jit_const(LLVMTypeOf(like), value);
}

// A u32 value in the type of `like`.
static LLVMValueRef to_like(struct jit_emit *e, LLVMValueRef v, LLVMValueRef like) {
    LLVMTypeRef type = LLVMTypeOf(like);
    unsigned from = width(v), to = width(like);
    return from == to ? v : from > to ? LLVMBuildTrunc(e->b, v, type, "") : LLVMBuildZExt(e->b, v, type, "");
}

// 2^n - 1 for n in 0 … width; n is of v's type.
static LLVMValueRef low_ones(struct jit_emit *e, LLVMValueRef n) {
    unsigned bits = width(n);
    LLVMValueRef all = LLVMBuildICmp(e->b, LLVMIntUGE, n, k(n, bits), "");
    LLVMValueRef one = LLVMBuildShl(e->b, k(n, 1), band(e, n, k(n, bits - 1)), "");
    return LLVMBuildSelect(e->b, all, LLVMConstAllOnes(LLVMTypeOf(n)), LLVMBuildSub(e->b, one, k(n, 1), ""),
                           "");
}

static LLVMValueRef umin(struct jit_emit *e, LLVMValueRef a, uint64_t limit) {
    return jit_binary(e, "llvm.umin", a, k(a, limit));
}

// Bits pos … pos + len - 1 of a; beyond its end a signed field repeats the last bit. pos and len are bytes.
static LLVMValueRef extract_field(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef *src) {
    LLVMValueRef a = src[0];
    unsigned bits = width(a);
    LLVMValueRef pos = to_like(e, band(e, src[1], k(src[1], 255)), a);
    LLVMValueRef len = to_like(e, band(e, src[2], k(src[2], 255)), a), ones = low_ones(e, len);
    if (!tw_kir_type_is_signed(inst->type)) {
        LLVMValueRef far = LLVMBuildICmp(e->b, LLVMIntUGE, pos, k(a, bits), "");
        LLVMValueRef moved = LLVMBuildLShr(e->b, a, band(e, pos, k(a, bits - 1)), "");
        return LLVMBuildSelect(e->b, far, k(a, 0), band(e, moved, ones), "");
    }
    LLVMValueRef field = band(e, LLVMBuildAShr(e->b, a, umin(e, pos, bits - 1), ""), ones);
    LLVMValueRef top = LLVMBuildSub(e->b, LLVMBuildAdd(e->b, pos, len, ""), k(a, 1), "");
    LLVMValueRef sign = band(e, LLVMBuildLShr(e->b, a, umin(e, top, bits - 1), ""), k(a, 1));
    LLVMValueRef fill = band(e, LLVMBuildNeg(e->b, sign, ""), LLVMBuildNot(e->b, ones, ""));
    LLVMValueRef none = LLVMBuildICmp(e->b, LLVMIntEQ, len, k(a, 0), "");
    return LLVMBuildSelect(e->b, none, k(a, 0), bor(e, field, fill), "");
}

// b with bits pos … pos + len - 1 taken from the low bits of a.
static LLVMValueRef insert_field(struct jit_emit *e, LLVMValueRef *src) {
    LLVMValueRef a = src[0], b = src[1];
    unsigned bits = width(a);
    LLVMValueRef pos = to_like(e, band(e, src[2], k(src[2], 255)), a),
                 len = to_like(e, band(e, src[3], k(src[3], 255)), a);
    LLVMValueRef far = LLVMBuildICmp(e->b, LLVMIntUGE, pos, k(a, bits), ""),
                 by = band(e, pos, k(a, bits - 1));
    LLVMValueRef mask = LLVMBuildShl(e->b, low_ones(e, len), by, "");
    LLVMValueRef moved = band(e, LLVMBuildShl(e->b, a, by, ""), mask);
    LLVMValueRef merged = bor(e, band(e, b, LLVMBuildNot(e->b, mask, "")), moved);
    return LLVMBuildSelect(e->b, far, b, merged, "");
}

static LLVMValueRef find_leading(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef a) {
    unsigned bits = width(a);
    if (tw_kir_type_is_signed(inst->type)) // the first bit unlike the sign
        a = LLVMBuildXor(e->b, a, LLVMBuildAShr(e->b, a, k(a, bits - 1), ""), "");
    LLVMTypeRef type = LLVMTypeOf(a), out = jit_resize(e, type, 32);
    LLVMValueRef zeros =
        jit_intrinsic(e, "llvm.ctlz", &type, 1, (LLVMValueRef[]){a, LLVMConstNull(jit_int(e, 1))}, 2);
    LLVMValueRef none = LLVMBuildICmp(e->b, LLVMIntEQ, a, k(a, 0), "");
    LLVMValueRef found = inst->mods & TW_KIR_SHIFTAMT ? zeros : LLVMBuildSub(e->b, k(a, bits - 1), zeros, "");
    if (bits == 64)
        found = LLVMBuildTrunc(e->b, found, out, "");
    return LLVMBuildSelect(e->b, none, LLVMConstAllOnes(out), found, "");
}

static LLVMValueRef count_bits(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef a) {
    LLVMTypeRef type = LLVMTypeOf(a);
    LLVMValueRef n =
        inst->op == TW_KIR_POPC
            ? jit_unary(e, "llvm.ctpop", a)
            : jit_intrinsic(e, "llvm.ctlz", &type, 1, (LLVMValueRef[]){a, LLVMConstNull(jit_int(e, 1))}, 2);
    return width(a) == 64 ? LLVMBuildTrunc(e->b, n, jit_resize(e, type, 32), "") : n;
}

static LLVMValueRef funnel(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef *src) {
    bool left = inst->op == TW_KIR_SHFL_L;
    LLVMTypeRef type = LLVMTypeOf(src[0]);
    LLVMValueRef args[3] = {src[1], src[0], src[2]}; // high, low, amount
    LLVMValueRef wrapped = jit_intrinsic(e, left ? "llvm.fshl" : "llvm.fshr", &type, 1, args, 3);
    if (inst->mods & TW_KIR_WRAP)
        return wrapped;
    LLVMValueRef far = LLVMBuildICmp(e->b, LLVMIntUGE, src[2], k(src[2], 32), "");
    return LLVMBuildSelect(e->b, far, left ? src[0] : src[1], wrapped, "");
}

// Any function of three bits, as a sum of products.
static LLVMValueRef lookup3(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef *src) {
    unsigned table = (unsigned)inst->offset & 255;
    LLVMValueRef found = LLVMConstNull(LLVMTypeOf(src[0]));
    if (table == 0x96)
        return LLVMBuildXor(e->b, LLVMBuildXor(e->b, src[0], src[1], ""), src[2], "");
    for (unsigned i = 0; i < 8; i++) {
        if (!(table >> i & 1))
            continue;
        LLVMValueRef a = i & 4 ? src[0] : LLVMBuildNot(e->b, src[0], "");
        LLVMValueRef b = i & 2 ? src[1] : LLVMBuildNot(e->b, src[1], "");
        LLVMValueRef c = i & 1 ? src[2] : LLVMBuildNot(e->b, src[2], "");
        found = bor(e, found, band(e, band(e, a, b), c));
    }
    return found;
}

// Selector nibbles of the named modes, by the low two bits of c.
static const uint16_t prmt_tables[][4] = {
    [TW_KIR_PRMT_F4E] = {0x3210, 0x4321, 0x5432, 0x6543},
    [TW_KIR_PRMT_B4E] = {0x5670, 0x6701, 0x7012, 0x0123},
    [TW_KIR_PRMT_RC8] = {0x0000, 0x1111, 0x2222, 0x3333},
    [TW_KIR_PRMT_ECL] = {0x3210, 0x3211, 0x3222, 0x3333},
    [TW_KIR_PRMT_ECR] = {0x0000, 0x1110, 0x2210, 0x3210},
    [TW_KIR_PRMT_RC16] = {0x1010, 0x3232, 0x1010, 0x3232},
};

static LLVMValueRef named_selector(struct jit_emit *e, unsigned mode, LLVMValueRef c) {
    LLVMValueRef low = band(e, c, k(c, 3)), found = k(c, prmt_tables[mode][0]);
    for (unsigned i = 1; i < 4; i++) {
        LLVMValueRef hit = LLVMBuildICmp(e->b, LLVMIntEQ, low, k(c, i), "");
        found = LLVMBuildSelect(e->b, hit, k(c, prmt_tables[mode][i]), found, "");
    }
    return found;
}

// Each result byte is one of the eight bytes of {b, a}; bit 3 of its nibble spreads that byte's sign instead.
static LLVMValueRef permute(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef *src) {
    LLVMTypeRef wide = jit_resize(e, LLVMTypeOf(src[0]), 64), type = LLVMTypeOf(src[0]);
    LLVMValueRef both = LLVMBuildShl(e->b, LLVMBuildZExt(e->b, src[1], wide, ""), jit_const(wide, 32), "");
    both = bor(e, both, LLVMBuildZExt(e->b, src[0], wide, ""));
    LLVMValueRef selector =
        inst->mode == TW_KIR_PRMT_DEFAULT ? src[2] : named_selector(e, inst->mode, src[2]);
    LLVMValueRef found = LLVMConstNull(type);
    for (unsigned i = 0; i < 4; i++) {
        LLVMValueRef nibble = LLVMBuildLShr(e->b, selector, k(selector, 4 * i), "");
        LLVMValueRef by = LLVMBuildShl(e->b, band(e, nibble, k(nibble, 7)), k(nibble, 3), "");
        LLVMValueRef byte =
            LLVMBuildTrunc(e->b, LLVMBuildLShr(e->b, both, LLVMBuildZExt(e->b, by, wide, ""), ""), type, "");
        byte = band(e, byte, k(byte, 255));
        if (inst->mode == TW_KIR_PRMT_DEFAULT) {
            LLVMValueRef sign =
                band(e, LLVMBuildNeg(e->b, LLVMBuildLShr(e->b, byte, k(byte, 7), ""), ""), k(byte, 255));
            LLVMValueRef spread =
                LLVMBuildICmp(e->b, LLVMIntNE, band(e, nibble, k(nibble, 8)), k(nibble, 0), "");
            byte = LLVMBuildSelect(e->b, spread, sign, byte, "");
        }
        found = bor(e, found, LLVMBuildShl(e->b, byte, k(byte, 8 * i), ""));
    }
    return found;
}

// The low b bits of a, extended by its sign or zeros.
static LLVMValueRef extend_from(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef *src) {
    LLVMValueRef n = inst->mods & TW_KIR_WRAP ? band(e, src[1], k(src[1], 31)) : umin(e, src[1], 32);
    LLVMValueRef ones = low_ones(e, n), low = band(e, src[0], ones);
    if (!tw_kir_type_is_signed(inst->type))
        return low;
    LLVMValueRef top = LLVMBuildLShr(e->b, src[0], band(e, LLVMBuildSub(e->b, n, k(n, 1), ""), k(n, 31)), "");
    LLVMValueRef fill =
        band(e, LLVMBuildNeg(e->b, band(e, top, k(top, 1)), ""), LLVMBuildNot(e->b, ones, ""));
    LLVMValueRef none = LLVMBuildICmp(e->b, LLVMIntEQ, n, k(n, 0), "");
    return LLVMBuildSelect(e->b, none, k(n, 0), bor(e, low, fill), "");
}

static LLVMValueRef bit_mask(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef *src) {
    bool wraps = inst->mods & TW_KIR_WRAP;
    LLVMValueRef pos = wraps ? band(e, src[0], k(src[0], 31)) : umin(e, src[0], 32);
    LLVMValueRef len = wraps ? band(e, src[1], k(src[1], 31)) : umin(e, src[1], 32);
    LLVMValueRef far = LLVMBuildICmp(e->b, LLVMIntUGE, pos, k(pos, 32), "");
    LLVMValueRef moved = LLVMBuildShl(e->b, low_ones(e, len), band(e, pos, k(pos, 31)), "");
    return LLVMBuildSelect(e->b, far, k(pos, 0), moved, "");
}

LLVMValueRef jit_emit_bits(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef *src) {
    switch (inst->op) {
    case TW_KIR_NOT:
        return LLVMBuildNot(e->b, src[0], "");
    case TW_KIR_CNOT:
        return LLVMBuildZExt(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, src[0], k(src[0], 0), ""),
                             LLVMTypeOf(src[0]), "");
    case TW_KIR_AND:
        return band(e, src[0], src[1]);
    case TW_KIR_OR:
        return bor(e, src[0], src[1]);
    case TW_KIR_XOR:
        return LLVMBuildXor(e->b, src[0], src[1], "");
    case TW_KIR_SHFL_L:
    case TW_KIR_SHFL_R:
        return funnel(e, inst, src);
    case TW_KIR_BFE:
        return extract_field(e, inst, src);
    case TW_KIR_BFI:
        return insert_field(e, src);
    case TW_KIR_BFIND:
        return find_leading(e, inst, src[0]);
    case TW_KIR_BREV:
        return jit_unary(e, "llvm.bitreverse", src[0]);
    case TW_KIR_CLZ:
    case TW_KIR_POPC:
        return count_bits(e, inst, src[0]);
    case TW_KIR_PRMT:
        return permute(e, inst, src);
    case TW_KIR_LOP3:
        return lookup3(e, inst, src);
    case TW_KIR_SZEXT:
        return extend_from(e, inst, src);
    case TW_KIR_BMSK:
        return bit_mask(e, inst, src);
    default:
        return NULL;
    }
}
