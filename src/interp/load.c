// SPDX-License-Identifier: Apache-2.0
//
// From a program's bytes to steps. Whoever hands them over has them from a compiler process that may have been taken
// over: nothing in them is believed.

#include "internal.h"

// Confined: a program being read.
struct reader {
    struct tw_interp_header header;
    const struct tw_interp_inst *insts;
    const struct tw_interp_constant *constants;
    const struct tw_interp_zero *zeros;
    const uint32_t *operands, *blocks;
    const struct tw_kernel_info *info;
    const char *why;
};

static bool wrong(struct reader *r, const char *why) {
    if (!r->why)
        r->why = why;
    return false;
}

static bool read_parts(struct reader *r, struct tw_span bytes) {
    struct tw_interp_header *h = &r->header;
    if (bytes.len < sizeof *h || (uintptr_t)bytes.data % 8 != 0)
        return wrong(r, "too short or not aligned");
    memcpy(h, bytes.data, sizeof *h);
    if (h->magic != TW_INTERP_MAGIC || h->flags > TW_INTERP_BARRIERS)
        return wrong(r, "other magic or flags");
    if (h->inst_count == 0 || h->inst_count > TW_INTERP_INSTS_MAX || h->block_count == 0 ||
        h->block_count > TW_INTERP_BLOCKS_MAX || h->reg_bytes > TW_INTERP_REG_BYTES_MAX ||
        h->reg_bytes > r->info->spill_bytes || h->reg_bytes % TW_INTERP_ROW_ALIGN != 0)
        return wrong(r, "a number is out of range");
    if (r->info->variant.lanes != TW_INTERP_LANES) // frame->spill is as large as so many warps need
        return wrong(r, "a warp has 32 lanes");
    uint64_t at = sizeof *h, sizes[] = {(uint64_t)h->inst_count * sizeof *r->insts,
                                        (uint64_t)h->constant_count * sizeof *r->constants,
                                        (uint64_t)h->zero_count * sizeof *r->zeros,
                                        (uint64_t)h->operand_count * sizeof *r->operands,
                                        (uint64_t)h->block_count * sizeof *r->blocks};
    const void *parts[TW_COUNT(sizes)];
    for (unsigned i = 0; i < TW_COUNT(sizes); at += sizes[i++])
        parts[i] = bytes.data + (at < bytes.len ? at : 0);
    if (at != bytes.len)
        return wrong(r, "its parts have another size");
    r->insts = parts[0];
    r->constants = parts[1];
    r->zeros = parts[2];
    r->operands = parts[3];
    r->blocks = parts[4];
    return true;
}

static bool check_row(struct reader *r, uint32_t row, uint64_t bytes) {
    return (row % TW_INTERP_ROW_ALIGN == 0 && row + bytes <= r->header.reg_bytes) ||
           wrong(r, "a row lies outside");
}

static bool check_operand(struct reader *r, char letter, uint32_t operand) {
    static const struct {
        char letter;
        uint32_t bytes;
    } rows[] = {{'p', 1}, {'b', 1}, {'h', 2}, {'w', 4}, {'q', 8}, {'o', 16}};
    for (unsigned i = 0; i < TW_COUNT(rows); i++)
        if (rows[i].letter == letter)
            return check_row(r, operand, (uint64_t)rows[i].bytes * TW_INTERP_LANES);
    return letter == '#' || operand < r->header.block_count || wrong(r, "there is no such block");
}

// As many operands as the letters say. Behind a '*' stands how often the rest of the letters follows.
static bool check_operands(struct reader *r, const struct tw_interp_inst *inst, const char *letters) {
    uint32_t left = inst->operand_count;
    if ((uint64_t)inst->operands + left > r->header.operand_count)
        return wrong(r, "operands lie outside");
    const uint32_t *operand = r->operands + inst->operands;
    for (; *letters && *letters != '*'; letters++, operand++, left--)
        if (left == 0 || !check_operand(r, *letters, *operand))
            return wrong(r, "an instruction has too few operands");
    if (*letters == 0)
        return left == 0 || wrong(r, "an instruction has too many operands");
    uint32_t length = (uint32_t)strlen(++letters);
    if (left == 0 || *operand == 0 || left - 1 != (uint64_t)length * *operand)
        return wrong(r, "a list has another length");
    for (uint32_t i = 0; i < left - 1; i++)
        if (!check_operand(r, letters[i % length], operand[1 + i]))
            return false;
    return true;
}

static bool is_terminator(uint16_t op) {
    enum { TERM = 1 };
    static const uint8_t flags_of[] = {
#define INTERP_OP(op, name, sizes, flags) flags,
#include "interp/ops.def"
#undef INTERP_OP
    };
    return op < TW_INTERP_ALU && flags_of[op] & TERM;
}

static bool check_param(struct reader *r, uint64_t at, uint32_t bytes) {
    uint32_t all = r->info->param_bytes;
    return (bytes <= all && at <= all - bytes) || wrong(r, "a parameter lies outside");
}

// A dense product of that number, with all its operands.
static bool check_product(struct reader *r, const struct tw_interp_inst *inst) {
    struct tw_kir_inst kind = interp_product(inst->imm);
    struct tw_kir_matrix m;
    return (tw_kir_matrix_of(&kind, &m) && !m.e && (m.c_bits == 64) == (inst->op == TW_INTERP_MMA_64) &&
            inst->operand_count == 1 + 2 * m.c + m.a + m.b) ||
           wrong(r, "a product of matrices that does not exist");
}

// What the handler uses `imm` for. `left`: instructions behind it in its block.
static bool check_imm(struct reader *r, const struct tw_interp_inst *inst, uint32_t left) {
    switch (inst->op) {
    case TW_INTERP_GUARD:
        return inst->imm >> 1 < left || wrong(r, "a guard skips more than its block has");
    case TW_INTERP_LDPARAM_8:
    case TW_INTERP_LDPARAM_16:
    case TW_INTERP_LDPARAM_32:
    case TW_INTERP_LDPARAM_64:
    case TW_INTERP_LDPARAM_128:
        return check_param(r, inst->imm, 1U << (inst->op - TW_INTERP_LDPARAM_8));
    case TW_INTERP_LD_8:
    case TW_INTERP_LD_16:
    case TW_INTERP_LD_32:
    case TW_INTERP_LD_64:
    case TW_INTERP_LD_128:
    case TW_INTERP_ST_8:
    case TW_INTERP_ST_16:
    case TW_INTERP_ST_32:
    case TW_INTERP_ST_64:
    case TW_INTERP_ST_128:
        return inst->operand_count <= 2 + TW_INTERP_ELEMENTS_MAX ||
               wrong(r, "an access has more elements than the guard behind an arena allows");
    case TW_INTERP_BARRIER:
    case TW_INTERP_BARRED_AND:
    case TW_INTERP_BARRED_OR:
    case TW_INTERP_BARRED_POPC: // without the flag warps share their rows
        return r->header.flags & TW_INTERP_BARRIERS || wrong(r, "a barrier in a program without any");
    case TW_INTERP_CPASYNC:
        return inst->imm == 4 || inst->imm == 8 || inst->imm == 16 ||
               wrong(r, "a copy has neither 4, 8 nor 16 bytes");
    case TW_INTERP_MMA_32:
    case TW_INTERP_MMA_64:
        return check_product(r, inst);
    case TW_INTERP_PRINTF:
        return r->info->prints || wrong(r, "it prints, and its kernel does not");
    default:
        return true;
    }
}

static bool check_block(struct reader *r, uint32_t begin, uint32_t end) {
    if (begin >= end || end > r->header.inst_count)
        return wrong(r, "a block is empty or lies outside");
    for (uint32_t i = begin; i < end; i++) {
        const struct tw_interp_inst *inst = &r->insts[i];
        const char *letters = tw_interp_operands(inst->op);
        if (!letters)
            return wrong(r, "there is no such operation");
        if (is_terminator(inst->op) != (i + 1 == end))
            return wrong(r, "a terminator is missing or stands in the middle of a block");
        if (!check_operands(r, inst, letters) || !check_imm(r, inst, end - 1 - i))
            return false;
    }
    return true;
}

static bool check(struct reader *r) {
    const struct tw_interp_header *h = &r->header;
    if (r->blocks[0] != 0)
        return wrong(r, "the first block is not at the beginning");
    for (uint32_t i = 0; i < h->block_count; i++)
        if (!check_block(r, r->blocks[i], i + 1 < h->block_count ? r->blocks[i + 1] : h->inst_count))
            return false;
    for (uint32_t i = 0; i < h->constant_count; i++) {
        uint32_t size = r->constants[i].element_bytes;
        if ((size != 1 && size != 2 && size != 4 && size != 8 && size != 16) ||
            !check_row(r, r->constants[i].row, (uint64_t)size * TW_INTERP_LANES))
            return wrong(r, "a constant has no such size");
    }
    for (uint32_t i = 0; i < h->zero_count; i++)
        if (!check_row(r, r->zeros[i].row, r->zeros[i].bytes))
            return false;
    return true;
}

static const struct interp_level *level(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                   __builtin_cpu_supports("avx512cd")
               ? &interp_level_v4
               : &interp_level_v3;
}

static interp_handler *handler_of(const struct interp_level *handlers, uint16_t op) {
    if (op < TW_INTERP_ALU)
        return handlers->special[op];
    uint32_t at = op - TW_INTERP_ALU;
    unsigned t = 0;
    for (; at >= interp_alu_tables[t].count; at -= interp_alu_tables[t++].count)
        ;
    return handlers->alu[t][at];
}

static void *copy(const void *from, size_t count, size_t size, bool *ok) {
    void *to = tw_alloc_zero(count ? count : 1, size);
    *ok = *ok && to;
    if (to && count)
        memcpy(to, from, count * size);
    return to;
}

static bool fill(const struct reader *r, struct tw_interp_program *p) {
    const struct tw_interp_header *h = &r->header;
    const struct interp_level *handlers = level();
    bool ok = true;
    p->operands = copy(r->operands, h->operand_count, sizeof *r->operands, &ok);
    p->blocks = copy(r->blocks, h->block_count, sizeof *r->blocks, &ok);
    p->constants = copy(r->constants, h->constant_count, sizeof *r->constants, &ok);
    p->zeros = copy(r->zeros, h->zero_count, sizeof *r->zeros, &ok);
    p->steps = tw_alloc_zero(h->inst_count, sizeof *p->steps);
    p->constant_count = h->constant_count;
    p->zero_count = h->zero_count;
    p->reg_bytes = h->reg_bytes;
    p->local_bytes = r->info->local_bytes;
    p->barriers = h->flags & TW_INTERP_BARRIERS;
    for (uint32_t i = 0; p->steps && p->operands && i < h->inst_count; i++)
        p->steps[i] = (struct interp_step){.run = handler_of(handlers, r->insts[i].op),
                                           .operands = p->operands + r->insts[i].operands,
                                           .imm = r->insts[i].imm};
    return ok && p->steps;
}

bool tw_interp_load(struct tw_span bytes, const struct tw_kernel_info *info,
                    struct tw_interp_program **ret_program, struct tw_error *err) {
    struct reader reader = {.info = info};
    if (!read_parts(&reader, bytes) || !check(&reader))
        return tw_fail(err, TW_ERR_INTERNAL, "the bytes are no program of a kernel: %s; compile again",
                       reader.why);
    struct tw_interp_program *program = tw_alloc_zero(1, sizeof *program);
    if (!program || !fill(&reader, program)) {
        tw_interp_program_done(program);
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for a kernel");
    }
    *ret_program = program;
    return true;
}

void tw_interp_program_done(struct tw_interp_program *program) {
    if (!program)
        return;
    free(program->steps);
    free(program->operands);
    free(program->blocks);
    free(program->constants);
    free(program->zeros);
    free(program);
}
