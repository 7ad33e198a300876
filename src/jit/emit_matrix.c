// SPDX-License-Identifier: Apache-2.0
//
// Matrix products of a warp: mma, mma.sp, ldmatrix, movmatrix. Element i of c lies in the same place of every lane's
// fragment, so it is one vector over the lanes, and so are the elements of a and b that it needs for one k,
// once they are moved to the lanes that want them: a product is k × (moves of a, moves of b, fused
// multiply-adds) of whole vectors. Every kind of product is a function of its own that the kernel calls, since
// big kernels hold hundreds of them. Where a is sparse, each of its elements has two or four elements of b to choose
// from, all of which are moved; bits of its indices choose, lane by lane.
//
// Halves are added up in floats, one k after the other, and rounded once at the end; PTX leaves the order and
// the rounding of the sum open.

#include "emit.h"

enum { WARP = 32, SOURCES_MAX = 13, ELEMENTS_MAX = 32 };

// Confined: one kind of product being emitted.
struct product {
    const struct tw_kir_inst *inst;
    struct tw_kir_matrix shape;
    LLVMTypeRef sum; // vector of lanes
};

static LLVMTypeRef element_type(struct jit_emit *e, uint8_t type) {
    return type == TW_KIR_S32   ? jit_int(e, 32)
           : type == TW_KIR_F64 ? LLVMDoubleTypeInContext(e->context)
                                : LLVMFloatTypeInContext(e->context);
}

// `bits` bits of each lane's word, from bit `at` on, as integers of 32 bits.
static LLVMValueRef cut_integer(struct jit_emit *e, LLVMValueRef words, unsigned at, unsigned bits,
                                bool is_signed) {
    LLVMTypeRef type = LLVMTypeOf(words);
    LLVMValueRef top = LLVMBuildShl(e->b, words, jit_const(type, 32 - bits - at), "");
    LLVMValueRef down = jit_const(type, 32 - bits);
    return is_signed ? LLVMBuildAShr(e->b, top, down, "") : LLVMBuildLShr(e->b, top, down, "");
}

// Element `index` of a fragment's registers as sums want it.
static LLVMValueRef element(struct jit_emit *e, const struct product *p, LLVMValueRef words, unsigned index,
                            bool is_signed) {
    LLVMTypeRef type = LLVMTypeOf(words);
    switch ((int)p->inst->type2) {
    case TW_KIR_F16: {
        LLVMTypeRef half = jit_vec(e, LLVMHalfTypeInContext(e->context));
        LLVMValueRef down = LLVMBuildLShr(e->b, words, jit_const(type, 16u * index), "");
        LLVMValueRef bits = LLVMBuildTrunc(e->b, down, jit_vec(e, jit_int(e, 16)), "");
        return LLVMBuildFPExt(e->b, LLVMBuildBitCast(e->b, bits, half, ""), p->sum, "");
    }
    case TW_KIR_BF16:
        words = index ? LLVMBuildAnd(e->b, words, jit_const(type, 0xffff0000), "")
                      : LLVMBuildShl(e->b, words, jit_const(type, 16), "");
        break;
    case TW_KIR_TF32: // the low bits are not looked at
        words = LLVMBuildAnd(e->b, words, jit_const(type, 0xffffe000), "");
        break;
    case TW_KIR_F64:
    case TW_KIR_B1:
        break;
    default: {
        unsigned bits = tw_kir_type_bits(p->inst->type2);
        return cut_integer(e, words, index * bits, bits, is_signed);
    }
    }
    return LLVMBuildBitCast(e->b, words, p->sum, "");
}

// The lanes' values moved: lane i gets that of lane from[i].
static LLVMValueRef moved(struct jit_emit *e, LLVMValueRef values,
                          unsigned (*from)(unsigned lane, unsigned step), unsigned step) {
    unsigned lanes[WARP];
    for (unsigned i = 0; i < WARP; i++)
        lanes[i] = from(i, step);
    return jit_shuffle(e, values, NULL, lanes, WARP);
}

// Rows of a stay in their group of four lanes; `step` is the lane of the group.
static unsigned lane_of_a(unsigned lane, unsigned step) {
    return (lane & ~3u) | step;
}
// Column 2 × (lane % 4), or the one after it, of b.
static unsigned lane_of_even_b(unsigned lane, unsigned step) {
    return (lane & 3) * 8 + step;
}
static unsigned lane_of_odd_b(unsigned lane, unsigned step) {
    return (lane & 3) * 8 + 4 + step;
}

static LLVMValueRef multiply_add(struct jit_emit *e, const struct product *p, LLVMValueRef a, LLVMValueRef b,
                                 LLVMValueRef sum) {
    if (p->inst->type2 == TW_KIR_B1) {
        bool exclusive = (p->inst->mods & TW_KIR_XORSIGN) != 0;
        LLVMValueRef both = exclusive ? LLVMBuildXor(e->b, a, b, "") : LLVMBuildAnd(e->b, a, b, "");
        return LLVMBuildAdd(e->b, sum, jit_unary(e, "llvm.ctpop", both), "");
    }
    if (p->inst->type == TW_KIR_S32)
        return LLVMBuildAdd(e->b, sum, LLVMBuildMul(e->b, a, b, ""), "");
    LLVMTypeRef type = p->sum;
    LLVMValueRef src[3] = {a, b, sum};
    struct tw_kir_inst rounded = {
        .op = TW_KIR_FMA, .type = p->inst->type, .round = p->inst->round, .src_count = 3};
    if (p->inst->type == TW_KIR_F64 && rounded.round >= TW_KIR_RZ && rounded.round <= TW_KIR_RP)
        return jit_emit_rounded(e, &rounded, src);
    return jit_intrinsic(e, "llvm.fma", &type, 1, src, 3);
}

// Adds up everything that register group `group` of a and b contributes. sums[2 × r + c]: rows 8r …, columns
// c, c + 2, …
static void add_group(struct jit_emit *e, const struct product *p, const LLVMValueRef *in, unsigned group,
                      LLVMValueRef *sums) {
    const struct tw_kir_matrix *m = &p->shape;
    unsigned rows = m->m / 8u, elements = p->inst->type2 == TW_KIR_B1 ? 1u : m->elements;
    bool a_signed = tw_kir_type_is_signed(p->inst->type2),
         b_signed = a_signed != ((p->inst->mods & TW_KIR_MIXED) != 0);
    for (unsigned j = 0; j < elements; j++) {
        LLVMValueRef a[2] = {}, b = element(e, p, in[m->a + group], j, b_signed);
        for (unsigned r = 0; r < rows; r++)
            a[r] = element(e, p, in[group * rows + r], j, a_signed);
        for (unsigned step = 0; step < 4; step++) {
            LLVMValueRef columns[2] = {moved(e, b, lane_of_even_b, step), moved(e, b, lane_of_odd_b, step)};
            for (unsigned r = 0; r < rows; r++) {
                LLVMValueRef row = moved(e, a[r], lane_of_a, step);
                for (unsigned c = 0; c < 2; c++)
                    sums[2 * r + c] = multiply_add(e, p, row, columns[c], sums[2 * r + c]);
            }
        }
    }
}

// ---- sparse ----

// A sparse product being emitted: the elements of a and b as sums want them, register by register. Confined.
struct sparse {
    struct jit_emit *e;
    const struct product *p;
    LLVMValueRef a[ELEMENTS_MAX],
        b[ELEMENTS_MAX]; // a: of register i of rows g and g + 8 at i, as in the fragment
    LLVMValueRef indices;
    unsigned kept;  // columns of a chunk that are there
    unsigned width; // of them that one number places
};

// b's element of row `k` and of column 2 × (lane % 4) + c.
static LLVMValueRef sparse_b(const struct sparse *s, unsigned k, unsigned c) {
    unsigned each = s->p->shape.elements, step = k % (4 * each) / each;
    LLVMValueRef b = s->b[k / (4 * each) * each + k % each];
    return moved(s->e, b, c ? lane_of_odd_b : lane_of_even_b, step);
}

// a's element in kept column `k` of row lane / 4 + 8r.
static LLVMValueRef sparse_a(const struct sparse *s, unsigned k, unsigned r) {
    unsigned each = s->p->shape.elements, reg = k / (4 * each) * 2 + r;
    return moved(s->e, s->a[reg * each + k % each], lane_of_a, k % (4 * each) / each);
}

// The four bits of `chunk` of row lane / 4 + 8r, lowest in each lane's word; above them are others.
static LLVMValueRef sparse_bits(const struct sparse *s, unsigned chunk, unsigned r) {
    const struct tw_kir_matrix *m = &s->p->shape;
    bool integers = s->p->inst->type == TW_KIR_S32;
    unsigned lane = integers ? chunk / 8 * 2 + r : chunk / 4,
             at = integers ? chunk % 8 * 4 : chunk % 4 * 4 + 16 * r;
    lane += (unsigned)s->p->inst->offset * m->index_lanes;
    LLVMValueRef words = moved(s->e, s->indices, lane_of_a, lane);
    return LLVMBuildLShr(s->e->b, words, jit_const(LLVMTypeOf(words), at), "");
}

static LLVMValueRef bit_of(const struct sparse *s, LLVMValueRef words, unsigned at) {
    LLVMTypeRef type = LLVMTypeOf(words);
    LLVMValueRef bit = LLVMBuildAnd(s->e->b, words, jit_const(type, 1ull << at), "");
    return LLVMBuildICmp(s->e->b, LLVMIntNE, bit, LLVMConstNull(type), "");
}

// The element of b that belongs to kept column `place` of a chunk, of four or two that it may be.
static LLVMValueRef chosen_b(const struct sparse *s, LLVMValueRef bits, unsigned place,
                             const LLVMValueRef *b) {
    LLVMBuilderRef builder = s->e->b;
    const LLVMValueRef *from = &b[place % s->width];
    if (s->p->shape.chunk == 2)
        return LLVMBuildSelect(builder, bit_of(s, bits, 1), from[1], from[0], "");
    unsigned at = place / s->width * 2;
    LLVMValueRef low = bit_of(s, bits, at), high = bit_of(s, bits, at + 1);
    LLVMValueRef upper = LLVMBuildSelect(builder, low, from[3 * s->width], from[2 * s->width], "");
    LLVMValueRef lower = LLVMBuildSelect(builder, low, from[s->width], from[0], "");
    return LLVMBuildSelect(builder, high, upper, lower, "");
}

static void add_chunk(const struct sparse *s, unsigned chunk, LLVMValueRef *sums) {
    LLVMValueRef b[2][8], bits[2];
    unsigned columns = s->p->shape.chunk;
    for (unsigned c = 0; c < 2; c++)
        for (unsigned i = 0; i < columns; i++)
            b[c][i] = sparse_b(s, chunk * columns + i, c);
    for (unsigned r = 0; r < 2; r++) {
        bits[r] = sparse_bits(s, chunk, r);
        for (unsigned place = 0; place < s->kept; place++) {
            LLVMValueRef a = sparse_a(s, chunk * s->kept + place, r);
            for (unsigned c = 0; c < 2; c++)
                sums[2 * r + c] =
                    multiply_add(s->e, s->p, a, chosen_b(s, bits[r], place, b[c]), sums[2 * r + c]);
        }
    }
}

static void add_sparse(struct jit_emit *e, const struct product *p, const LLVMValueRef *in,
                       LLVMValueRef *sums) {
    const struct tw_kir_matrix *m = &p->shape;
    bool a_signed = tw_kir_type_is_signed(p->inst->type2),
         b_signed = a_signed != ((p->inst->mods & TW_KIR_MIXED) != 0);
    struct sparse s = {.e = e, .p = p, .indices = in[m->a + m->b + m->c], .kept = m->chunk / 2};
    s.width = m->chunk == 8 ? 2 : 1;
    for (unsigned i = 0; i < m->a * m->elements; i++)
        s.a[i] = element(e, p, in[i / m->elements], i % m->elements, a_signed);
    for (unsigned i = 0; i < m->b * m->elements; i++)
        s.b[i] = element(e, p, in[m->a + i / m->elements], i % m->elements, b_signed);
    for (unsigned chunk = 0; chunk < m->k / m->chunk; chunk++)
        add_chunk(&s, chunk, sums);
}

// ---- whole products ----

// c as sums begin with it; integers that saturate begin with zero and take c at the end.
static void begin_sums(struct jit_emit *e, const struct product *p, const LLVMValueRef *c,
                       LLVMValueRef *sums) {
    unsigned count = p->shape.m / 4u;
    for (unsigned i = 0; i < count; i++) {
        if (p->inst->type == TW_KIR_S32)
            sums[i] = LLVMConstNull(p->sum);
        else if (p->inst->type != TW_KIR_F16)
            sums[i] = LLVMBuildBitCast(e->b, c[i], p->sum, "");
        else {
            struct tw_kir_inst halves = {.type2 = TW_KIR_F16};
            struct product as_halves = {.inst = &halves, .sum = p->sum};
            sums[i] = element(e, &as_halves, c[i / 2], i % 2, false);
        }
    }
}

static LLVMValueRef end_sum(struct jit_emit *e, const struct product *p, const LLVMValueRef *c,
                            const LLVMValueRef *sums, unsigned index) {
    LLVMTypeRef words = jit_vec(e, jit_int(e, p->shape.c_bits));
    if (p->inst->type == TW_KIR_S32)
        return p->inst->mods & TW_KIR_SAT ? jit_binary(e, "llvm.sadd.sat", sums[index], c[index])
                                          : LLVMBuildAdd(e->b, sums[index], c[index], "");
    if (p->inst->type != TW_KIR_F16)
        return LLVMBuildBitCast(e->b, sums[index], words, "");
    LLVMTypeRef half = jit_vec(e, LLVMHalfTypeInContext(e->context)), bits = jit_vec(e, jit_int(e, 16));
    LLVMValueRef parts[2];
    for (unsigned i = 0; i < 2; i++) {
        LLVMValueRef near = LLVMBuildFPTrunc(e->b, sums[2 * index + i], half, "");
        parts[i] = LLVMBuildZExt(e->b, LLVMBuildBitCast(e->b, near, bits, ""), words, "");
    }
    return LLVMBuildOr(e->b, parts[0], LLVMBuildShl(e->b, parts[1], jit_const(words, 16), ""), "");
}

static void emit_product(struct jit_emit *e, const struct product *p, LLVMValueRef function) {
    const struct tw_kir_matrix *m = &p->shape;
    LLVMValueRef in[SOURCES_MAX], sums[4], out[4];
    LLVMGetParams(function, in);
    const LLVMValueRef *c = &in[m->a + m->b];
    begin_sums(e, p, c, sums);
    if (m->e)
        add_sparse(e, p, in, sums);
    for (unsigned group = 0; !m->e && group < m->b; group++)
        add_group(e, p, in, group, sums);
    for (unsigned i = 0; i < m->c; i++)
        out[i] = end_sum(e, p, c, sums, i);
    LLVMBuildAggregateRet(e->b, out, m->c);
}

static LLVMTypeRef function_type(struct jit_emit *e, const struct tw_kir_matrix *m) {
    LLVMTypeRef in = jit_vec(e, jit_int(e, m->in_bits)), sum = jit_vec(e, jit_int(e, m->c_bits));
    LLVMTypeRef params[SOURCES_MAX], results[4];
    unsigned inputs = m->a + m->b, count = inputs + m->c + m->e;
    for (unsigned i = 0; i < count; i++)
        params[i] = i < inputs ? in : sum;
    for (unsigned i = 0; i < m->c; i++)
        results[i] = sum;
    return LLVMFunctionType(LLVMStructTypeInContext(e->context, results, m->c, false), params, count, false);
}

// The function that computes this kind of product, made when it is first wanted.
static LLVMValueRef product_function(struct jit_emit *e, const struct tw_kir_inst *inst,
                                     const struct tw_kir_matrix *m) {
    char name[64];
    snprintf(name, sizeof name, "mma.%u.%s.%s.%u.%u.%u", inst->mode, tw_kir_type_name(inst->type),
             tw_kir_type_name(inst->type2), inst->mods, inst->round, (unsigned)inst->offset);
    LLVMValueRef found = LLVMGetNamedFunction(e->module, name);
    if (found)
        return found;
    found = LLVMAddFunction(e->module, name, function_type(e, m));
    LLVMSetLinkage(found, LLVMInternalLinkage);
    jit_function_attributes(e->context, found);
    unsigned kind = LLVMGetEnumAttributeKindForName("noinline", 8);
    LLVMAddAttributeAtIndex(found, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                            LLVMCreateEnumAttribute(e->context, kind, 0));
    LLVMBasicBlockRef here = LLVMGetInsertBlock(e->b);
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->context, found, "entry"));
    struct product p = {.inst = inst, .shape = *m, .sum = jit_vec(e, element_type(e, inst->type))};
    emit_product(e, &p, found);
    LLVMPositionBuilderAtEnd(e->b, here);
    return found;
}

static bool emit_mma(struct jit_emit *e, const struct tw_kir_inst *inst) {
    struct tw_kir_matrix m;
    LLVMValueRef in[SOURCES_MAX];
    if (!tw_kir_matrix_of(inst, &m))
        return jit_refuse(e->err, inst, "is a matrix product that does not exist");
    for (unsigned i = 0; i < inst->src_count; i++)
        in[i] = jit_read(e, &inst->src[i], i < m.a + m.b ? m.in_bits : m.c_bits, true);
    LLVMValueRef function = product_function(e, inst, &m);
    LLVMValueRef all = LLVMBuildCall2(e->b, function_type(e, &m), function, in, inst->src_count, "");
    for (unsigned i = 0; i < m.c; i++)
        jit_write(e, inst, i, LLVMBuildExtractValue(e->b, all, i, ""),
                  (struct jit_shape){.kind = JIT_VARYING});
    return true;
}

// The lane that holds the address of the row that a lane takes part of.
static unsigned row_lane(unsigned lane, unsigned first) {
    return first + lane / 4;
}
static unsigned even_row_lane(unsigned lane, unsigned first) {
    return first + 2 * (lane % 4);
}
static unsigned odd_row_lane(unsigned lane, unsigned first) {
    return first + 2 * (lane % 4) + 1;
}

// Places of `bytes` times lane % 4, or times lane / 4, behind the rows' addresses.
static LLVMValueRef behind(struct jit_emit *e, LLVMValueRef rows, unsigned bytes, bool transposed) {
    LLVMValueRef parts[WARP];
    for (unsigned i = 0; i < WARP; i++)
        parts[i] = jit_i64(e, (uint64_t)bytes * (transposed ? i / 4 : i % 4));
    return jit_pointer(e, LLVMBuildAdd(e->b, rows, LLVMConstVector(parts, WARP), ""));
}

// Lanes 8i … 8i + 7 hold the addresses of the rows of matrix i.
static bool emit_load(struct jit_emit *e, const struct tw_kir_inst *inst) {
    LLVMValueRef rows = jit_read(e, &inst->src[0], 64, true);
    LLVMTypeRef word = jit_vec(e, jit_int(e, 32)), half = jit_vec(e, jit_int(e, 16));
    rows = LLVMBuildAdd(e->b, rows, jit_const(LLVMTypeOf(rows), (uint64_t)inst->offset), "");
    for (unsigned i = 0; i < inst->dst_count; i++) {
        LLVMValueRef value;
        if (inst->mods & TW_KIR_TRANS) {
            LLVMValueRef even = behind(e, moved(e, rows, even_row_lane, 8 * i), 2, true),
                         odd = behind(e, moved(e, rows, odd_row_lane, 8 * i), 2, true);
            LLVMValueRef low = LLVMBuildZExt(e->b, jit_gather(e, half, even), word, ""),
                         high = LLVMBuildZExt(e->b, jit_gather(e, half, odd), word, "");
            value = LLVMBuildOr(e->b, low, LLVMBuildShl(e->b, high, jit_const(word, 16), ""), "");
        } else
            value = jit_gather(e, word, behind(e, moved(e, rows, row_lane, 8 * i), 4, false));
        jit_write(e, inst, i, value, (struct jit_shape){.kind = JIT_VARYING});
    }
    return true;
}

// Element (row, column) of an 8 × 8 matrix of halves lies in lane 4 × row + column / 2.
static unsigned transposed_even(unsigned lane, unsigned step) {
    return 8 * (lane % 4) + step + lane / 8;
}

static bool emit_transpose(struct jit_emit *e, const struct tw_kir_inst *inst) {
    LLVMValueRef words = jit_read(e, &inst->src[0], 32, true), halves[2];
    LLVMTypeRef type = LLVMTypeOf(words);
    LLVMValueRef upper[WARP];
    for (unsigned i = 0; i < WARP; i++)
        upper[i] = jit_i32(e, i / 4 % 2 ? 16 : 0);
    for (unsigned i = 0; i < 2; i++) {
        LLVMValueRef from = moved(e, words, transposed_even, 4 * i);
        from = LLVMBuildLShr(e->b, from, LLVMConstVector(upper, WARP), "");
        halves[i] = LLVMBuildAnd(e->b, from, jit_const(type, 0xffff), "");
    }
    jit_write(e, inst, 0,
              LLVMBuildOr(e->b, halves[0], LLVMBuildShl(e->b, halves[1], jit_const(type, 16), ""), ""),
              (struct jit_shape){.kind = JIT_VARYING});
    return true;
}

bool jit_emit_matrix(struct jit_emit *e, const struct tw_kir_inst *inst) {
    if (inst->op == TW_KIR_MMA)
        return emit_mma(e, inst);
    return inst->op == TW_KIR_LDMATRIX ? emit_load(e, inst) : emit_transpose(e, inst);
}
