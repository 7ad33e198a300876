// SPDX-License-Identifier: Apache-2.0
//
// Products that are added become one fused operation, where PTX allows it: `mul.f32` and `add.f32` without a rounding,
// in one block, the product wanted nowhere else.
//
//     t = mul a, b;  d = add t, c    →  d = fma a, b, c
//     t = mul a, b;  d = sub t, c    →  t = neg c;  d = fma a, b, t
//     t = mul a, b;  d = sub c, t    →  t = neg a;  d = fma t, b, c
//
// It is decided here and not left to LLVM, which decides by what its passes and its level made of the code around:
// a kernel computes the same bits however it is compiled.

#include "internal.h"

// Where a register was last written, as seen from the instruction at hand.
struct place {
    uint32_t block, at;
};

// Confined: one pass over a function.
struct contract {
    struct tw_kir_module *module;
    struct tw_kir_function *function;
    uint32_t *writes, *reads; // by register: how often it is mentioned
    struct place *written;    // by register
};

static void count_mentions(struct contract *c) {
    for (uint32_t i = 0; i < c->function->result_count; i++)
        if (c->function->results[i].reg != TW_KIR_NO_REG)
            c->reads[c->function->results[i].reg]++;
    for (uint32_t b = 0; b < c->function->block_count; b++)
        for (uint32_t i = 0; i < c->function->blocks[b].count; i++) {
            const struct tw_kir_inst *inst = &c->function->blocks[b].insts[i];
            for (unsigned d = 0; d < inst->dst_count; d++)
                if (inst->dst[d] != TW_KIR_NO_REG)
                    c->writes[inst->dst[d]]++;
            for (unsigned s = 0; s < inst->src_count; s++)
                if (!inst->src[s].is_imm)
                    c->reads[inst->src[s].reg]++;
            if (inst->guard != TW_KIR_NO_REG)
                c->reads[inst->guard]++;
        }
}

static bool may_fuse(const struct tw_kir_inst *inst) {
    return inst->round == TW_KIR_ROUND_DEFAULT && (inst->type == TW_KIR_F32 || inst->type == TW_KIR_F64);
}

// Whether the operand has the value now that it had at instruction `at` of this block.
static bool is_unchanged(const struct contract *c, const struct tw_kir_operand *operand, uint32_t block,
                         uint32_t at) {
    if (operand->is_imm)
        return true;
    struct place written = c->written[operand->reg];
    return written.block != block || written.at < at;
}

// The product that `sum` adds as its source `side`; NULL: that is none, or it is wanted elsewhere too.
static struct tw_kir_inst *product_of(const struct contract *c, const struct tw_kir_inst *sum, unsigned side,
                                      uint32_t block) {
    const struct tw_kir_operand *operand = &sum->src[side], *other = &sum->src[1 - side];
    if (operand->is_imm || c->writes[operand->reg] != 1 || c->reads[operand->reg] != 1 ||
        c->written[operand->reg].block != block)
        return NULL;
    uint32_t at = c->written[operand->reg].at;
    struct tw_kir_inst *product = &c->function->blocks[block].insts[at];
    if (product->op != TW_KIR_MUL || !may_fuse(product) || product->type != sum->type ||
        product->guard != TW_KIR_NO_REG || (product->mods & ~(uint32_t)TW_KIR_FTZ) ||
        product->mods != (sum->mods & TW_KIR_FTZ))
        return NULL;
    if (!is_unchanged(c, &product->src[0], block, at) || !is_unchanged(c, &product->src[1], block, at))
        return NULL;
    // What is negated is negated where the product was.
    bool early = sum->op == TW_KIR_SUB && side == 0;
    return !early || is_unchanged(c, other, block, at) ? product : NULL;
}

// The product's place becomes a negation of `operand`, into its register.
static struct tw_kir_operand negate(struct tw_kir_inst *product, struct tw_kir_operand operand) {
    product->op = TW_KIR_NEG;
    product->mods = 0;
    product->src[0] = operand;
    product->src_count = 1;
    return tw_kir_reg_operand(product->dst[0]);
}

static bool fuse(const struct contract *c, struct tw_kir_inst *sum, unsigned side,
                 struct tw_kir_inst *product) {
    struct tw_kir_operand *src = TW_ARENA_ARRAY(c->module->arena, struct tw_kir_operand, 3);
    if (!src)
        return false;
    src[0] = product->src[0];
    src[1] = product->src[1];
    src[2] = sum->src[1 - side];
    if (sum->op == TW_KIR_SUB) {
        unsigned which = side == 0 ? 2 : 0;
        src[which] = negate(product, src[which]);
    }
    sum->op = TW_KIR_FMA;
    sum->round = TW_KIR_RN;
    sum->src = src;
    sum->src_count = 3;
    return true;
}

static bool visit(struct contract *c, uint32_t block, uint32_t at) {
    struct tw_kir_inst *inst = &c->function->blocks[block].insts[at];
    bool sums = (inst->op == TW_KIR_ADD || inst->op == TW_KIR_SUB) && may_fuse(inst) &&
                !(inst->mods & ~(uint32_t)(TW_KIR_FTZ | TW_KIR_SAT));
    for (unsigned side = 0; sums && side < 2; side++) {
        struct tw_kir_inst *product = product_of(c, inst, side, block);
        if (!product)
            continue;
        if (!fuse(c, inst, side, product))
            return false;
        break;
    }
    for (unsigned d = 0; d < inst->dst_count; d++)
        if (inst->dst[d] != TW_KIR_NO_REG)
            c->written[inst->dst[d]] = (struct place){.block = block, .at = at};
    return true;
}

bool kernel_contract(struct tw_kir_module *module, struct tw_kir_function *function, struct tw_error *err) {
    struct contract c = {.module = module, .function = function};
    size_t regs = (size_t)function->reg_count + 1;
    c.writes = tw_alloc_zero(regs, sizeof *c.writes);
    c.reads = tw_alloc_zero(regs, sizeof *c.reads);
    c.written = tw_alloc_zero(regs, sizeof *c.written);
    bool good = c.writes && c.reads && c.written;
    if (good) {
        memset(c.written, 0xff, regs * sizeof *c.written); // in no block
        count_mentions(&c);
    }
    for (uint32_t b = 0; good && b < function->block_count; b++)
        for (uint32_t i = 0; good && i < function->blocks[b].count; i++)
            good = visit(&c, b, i);
    free(c.writes);
    free(c.reads);
    free(c.written);
    return good || kernel_fail_memory(err);
}
