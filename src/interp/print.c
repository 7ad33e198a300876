// SPDX-License-Identifier: Apache-2.0
//
// A program as text, for people: what `kernel dump --stage program` shows.
//
//     program, 704 bytes of rows a warp, barriers
//     zero w128
//     $0:
//       guard p64, skip 2
//       add.u32 w256, w128, w384=0x1
//       brc p64, $1, 2, $3, 4
//
// A row is the letter of its elements' size (interp.h) and its offset, with its value where it is a constant; results come
// first. $0 is a block, a number behind one the place where lanes wait for it.

#include "internal.h"

#include <stdarg.h>

// Confined: a program being printed, which the loader has accepted.
struct printer {
    const struct tw_interp_header *header;
    const struct tw_interp_inst *insts;
    const struct tw_interp_constant *constants;
    const struct tw_interp_zero *zeros;
    const uint32_t *operands, *blocks;
    struct tw_buf *out;
    bool ok; // there was room
};

[[gnu::format(printf, 2, 3)]] static void put(struct printer *p, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char text[128];
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    p->ok = p->ok && tw_buf_append(p->out, text, len < (int)sizeof text ? (size_t)len : sizeof text - 1);
}

static void put_name(struct printer *p, uint16_t op) {
    static const char *const special[] = {
#define INTERP_OP(op, name, sizes, flags) name,
#include "interp/ops.def"
#undef INTERP_OP
    };
    uint32_t at = op - (uint32_t)TW_INTERP_ALU;
    unsigned t = 0;
    if (op < TW_INTERP_ALU) {
        put(p, "  %s", special[op]);
        return;
    }
    for (; at >= interp_alu_tables[t].count; at -= interp_alu_tables[t++].count)
        ;
    const struct tw_interp_key *key = &interp_alu_tables[t].rows[at].key;
    struct tw_kir_inst inst = {.op = key->op,
                               .type = key->type,
                               .type2 = key->type2,
                               .round = key->round,
                               .cmp = key->cmp,
                               .mode = key->mode,
                               .mods = key->mods,
                               .vec = 1};
    put(p, "  ");
    p->ok = p->ok && tw_kir_print_op(&inst, p->out);
}

static void put_constant(struct printer *p, uint32_t row) {
    for (uint32_t i = 0; i < p->header->constant_count; i++)
        if (p->constants[i].row == row)
            put(p, "=0x%" PRIx64, p->constants[i].bits);
}

static void put_operand(struct printer *p, char letter, uint32_t operand) {
    if (letter == 'B')
        put(p, "$%" PRIu32, operand);
    else if (letter == '#')
        put(p, "%" PRIu32, operand);
    else
        put(p, "%c%" PRIu32, letter, operand);
    if (letter != 'B' && letter != '#')
        put_constant(p, operand);
}

static void put_inst(struct printer *p, const struct tw_interp_inst *inst) {
    const char *letters = tw_interp_operands(inst->op), *list = strchr(letters, '*');
    uint32_t count = inst->operand_count, singles = list ? (uint32_t)(list - letters) : count;
    put_name(p, inst->op);
    for (uint32_t i = 0; i < count; i++) {
        put(p, i ? ", " : " ");
        if (i < singles)
            put_operand(p, letters[i], p->operands[inst->operands + i]);
        else
            put_operand(p, i == singles ? '#' : list[1 + (i - singles - 1) % strlen(list + 1)],
                        p->operands[inst->operands + i]);
    }
    if (inst->op == TW_INTERP_GUARD)
        put(p, ", skip %" PRIu64 "%s", inst->imm >> 1, inst->imm & 1 ? ", negated" : "");
    else if (inst->imm)
        put(p, " #0x%" PRIx64, inst->imm);
    put(p, "\n");
}

static void put_program(struct printer *p) {
    const struct tw_interp_header *h = p->header;
    uint32_t block = 0;
    put(p, "program, %" PRIu32 " bytes of rows a warp%s\n", h->reg_bytes,
        h->flags & TW_INTERP_BARRIERS ? ", barriers" : "");
    for (uint32_t i = 0; i < h->zero_count; i++)
        put(p, "zero %" PRIu32 ", %" PRIu32 " bytes\n", p->zeros[i].row, p->zeros[i].bytes);
    for (uint32_t i = 0; i < h->inst_count; i++) {
        if (block < h->block_count && p->blocks[block] == i)
            put(p, "$%" PRIu32 ":\n", block++);
        put_inst(p, &p->insts[i]);
    }
}

bool tw_interp_print(struct tw_span bytes, const struct tw_kernel_info *info, struct tw_buf *out,
                     struct tw_error *err) {
    struct tw_interp_program *program;
    if (!tw_interp_load(bytes, info, &program, err))
        return false;
    tw_interp_program_done(program);
    const struct tw_interp_header *h = (const void *)bytes.data;
    struct printer p = {.header = h, .insts = (const void *)(h + 1), .out = out, .ok = true};
    p.constants = (const void *)(p.insts + h->inst_count);
    p.zeros = (const void *)(p.constants + h->constant_count);
    p.operands = (const void *)(p.zeros + h->zero_count);
    p.blocks = p.operands + h->operand_count;
    put_program(&p);
    return p.ok || tw_fail(err, TW_ERR_CAPACITY, "the text is larger than %zu bytes", out->max);
}
