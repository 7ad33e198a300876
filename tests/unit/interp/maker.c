// SPDX-License-Identifier: Apache-2.0
//
// See maker.h.

#include "maker.h"

#include "harness/test.h"

void maker_init(struct maker *m) {
    memset(m, 0, sizeof *m);
    m->info.variant = (struct tw_kernel_variant){
        .lanes = TW_INTERP_LANES, .x_multiple = 1, .opt_level = TW_KERNEL_INTERPRETED};
}

uint32_t maker_row(struct maker *m) {
    uint32_t row = m->reg_bytes;
    m->reg_bytes += MAKER_ROW;
    return row;
}

static void add_constant(struct maker *m, uint32_t row, uint64_t bits, unsigned element_bytes) {
    ck_assert_uint_lt(m->constant_count, MAKER_MAX);
    m->constants[m->constant_count++] =
        (struct tw_interp_constant){.bits = bits, .row = row, .element_bytes = element_bytes};
}

uint32_t maker_constant(struct maker *m, uint64_t bits, unsigned element_bytes) {
    uint32_t row = maker_row(m);
    add_constant(m, row, bits, element_bytes);
    return row;
}

// Eight lanes' predicates are the bytes of one element of eight.
uint32_t maker_bit(struct maker *m, unsigned bit) {
    static const uint64_t patterns[] = {0xff00ff00ff00ff00, 0xffff0000ffff0000, 0xffffffff00000000};
    return maker_constant(m, patterns[bit], 8);
}

// The lower half of the row as a constant of lane's width, the upper half as one of 2 bytes.
uint32_t maker_upper(struct maker *m) {
    uint32_t row = maker_constant(m, 0, 4);
    add_constant(m, row + 64, 0xffff, 2);
    return row;
}

uint32_t maker_block(struct maker *m) {
    ck_assert_uint_lt(m->block_count, MAKER_MAX);
    m->blocks[m->block_count] = m->inst_count;
    return m->block_count++;
}

void maker_inst(struct maker *m, uint16_t op, uint64_t imm, const uint32_t *operands, size_t count) {
    ck_assert_uint_lt(m->inst_count, MAKER_MAX);
    ck_assert_uint_le(m->operand_count + count, TW_COUNT(m->operands));
    m->insts[m->inst_count++] = (struct tw_interp_inst){
        .op = op, .operand_count = (uint16_t)(count - 1), .operands = m->operand_count, .imm = imm};
    for (size_t i = 1; i < count; i++)
        m->operands[m->operand_count++] = operands[i];
}

static uint16_t find(struct tw_interp_key key) {
    uint16_t op = tw_interp_find(&key);
    ck_assert_uint_ge(op, TW_INTERP_ALU);
    return op;
}

void maker_move(struct maker *m, uint32_t to, uint32_t from) {
    MAKE(m, find((struct tw_interp_key){.op = TW_KIR_MOV, .type = TW_KIR_U32}), 0, to, from);
}

void maker_add(struct maker *m, uint32_t to, uint32_t a, uint32_t b) {
    MAKE(m, find((struct tw_interp_key){.op = TW_KIR_ADD, .type = TW_KIR_U32}), 0, to, a, b);
}

void maker_select(struct maker *m, uint32_t to, uint32_t a, uint32_t b, uint32_t where) {
    MAKE(m, find((struct tw_interp_key){.op = TW_KIR_SELECT, .type = TW_KIR_U32}), 0, to, a, b, where);
}

void maker_less(struct maker *m, uint32_t to, uint32_t a, uint32_t b) {
    MAKE(m, find((struct tw_interp_key){.op = TW_KIR_SETP, .type = TW_KIR_S32, .cmp = TW_KIR_LT}), 0, to, a,
         b);
}

// Bits 0 to 2 and 4 are there as constants. Bit 3 is in no row of constants: two that lie over one another make it, one byte of
// eight lanes each.
uint32_t maker_lanes(struct maker *m) {
    uint32_t lane = maker_row(m), zero = maker_constant(m, 0, 4), bit = maker_row(m), is_upper = maker_row(m);
    uint32_t lower_eight = maker_constant(m, UINT64_MAX, 16); // bytes 0 … 7 and 16 … 23 are set
    maker_less(m, is_upper, maker_upper(m), zero);
    maker_move(m, lane, zero);
    for (unsigned b = 0; b < 5; b++) {
        uint32_t value = maker_constant(m, 1U << b, 4);
        if (b == 3)
            maker_select(m, bit, zero, value, lower_eight);
        else
            maker_select(m, bit, value, zero, b == 4 ? is_upper : maker_bit(m, b));
        maker_add(m, lane, lane, bit);
    }
    return lane;
}

struct tw_span maker_bytes(const struct maker *m) {
    struct tw_interp_header header = {.magic = TW_INTERP_MAGIC,
                                      .flags = m->flags,
                                      .inst_count = m->inst_count,
                                      .constant_count = m->constant_count,
                                      .zero_count = m->zero_count,
                                      .operand_count = m->operand_count,
                                      .block_count = m->block_count,
                                      .reg_bytes = m->reg_bytes};
    const struct tw_span parts[] = {
        tw_span_of(&header, sizeof header),
        tw_span_of(m->insts, m->inst_count * sizeof *m->insts),
        tw_span_of(m->constants, m->constant_count * sizeof *m->constants),
        tw_span_of(m->zeros, m->zero_count * sizeof *m->zeros),
        tw_span_of(m->operands, m->operand_count * sizeof *m->operands),
        tw_span_of(m->blocks, m->block_count * sizeof *m->blocks),
    };
    size_t len = 0, at = 0;
    for (unsigned i = 0; i < TW_COUNT(parts); i++)
        len += parts[i].len;
    uint8_t *bytes = malloc(len); // an exact one, so that a sanitizer sees what reads beyond
    ck_assert_ptr_nonnull(bytes);
    for (unsigned i = 0; i < TW_COUNT(parts); at += parts[i++].len)
        memcpy(bytes + at, parts[i].data, parts[i].len);
    return tw_span_of(bytes, len);
}

struct tw_interp_program *maker_load(struct maker *m) {
    struct tw_interp_program *program;
    struct tw_error err = {};
    struct tw_span bytes = maker_bytes(m);
    m->info.spill_bytes = m->reg_bytes;
    tw_assert_ok(tw_interp_load(bytes, &m->info, &program, &err), &err);
    free((void *)(uintptr_t)bytes.data);
    return program;
}
