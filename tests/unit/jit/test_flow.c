// SPDX-License-Identifier: Apache-2.0
//
// Random control flow: kernels whose blocks jump anywhere, on conditions that are sometimes the same for all
// threads and sometimes not, with guarded writes, private memory and early ends, against an interpreter that
// runs one thread after the other. What masks, merges and shapes get wrong shows here.

#include "harness/test.h"
#include "kernel_run.h"

enum { REGS = 8, MAX_BLOCKS = 14, THREADS = 96, SLOTS = 4, FUEL = 60, PROGRAMS = 120 };

// Confined: one random program under construction.
struct maker {
    struct tw_kir_module *m;
    struct tw_kir_function *f;
    struct tw_error err;
    uint64_t state;
    bool narrow; // some blocks only lead ahead, or to one of four
    uint32_t r[REGS], p[3], fuel, spent, address, wide;
};

static uint32_t pick(struct maker *k, uint32_t n) {
    k->state = k->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(k->state >> 33) % n;
}

static struct tw_kir_inst *add(struct maker *k, uint32_t block, enum tw_kir_op op, enum tw_kir_type type,
                               unsigned dsts, unsigned srcs, unsigned targets) {
    struct tw_kir_inst *i =
        tw_kir_inst_add(k->m, &k->f->blocks[block], op, type, dsts, srcs, targets, &k->err);
    tw_assert_ok(i, &k->err);
    return i;
}

static struct tw_kir_operand some_operand(struct maker *k) {
    return pick(k, 4) ? tw_kir_reg_operand(k->r[pick(k, REGS)]) : tw_kir_imm_operand(pick(k, 9));
}

static struct tw_kir_inst *three(struct maker *k, uint32_t block, enum tw_kir_op op, enum tw_kir_type type,
                                 uint32_t dst, struct tw_kir_operand a, struct tw_kir_operand b) {
    struct tw_kir_inst *i = add(k, block, op, type, 1, 2, 0);
    i->dst[0] = dst;
    i->src[0] = a;
    i->src[1] = b;
    return i;
}

static struct tw_kir_inst *compare(struct maker *k, uint32_t block, uint32_t p, struct tw_kir_operand a,
                                   struct tw_kir_operand b) {
    struct tw_kir_inst *i = three(k, block, TW_KIR_SETP, TW_KIR_U32, p, a, b);
    i->cmp = (uint8_t)(TW_KIR_EQ + pick(k, 6));
    return i;
}

// address = out + 4 × (slot × THREADS + thread); the thread's own place, side by side with its neighbours'.
static void make_address(struct maker *k, uint32_t block, uint32_t slot) {
    struct tw_kir_inst *i = add(k, block, TW_KIR_SREG, TW_KIR_U32, 1, 0, 0);
    i->dst[0] = k->spent;
    i->index = TW_KIR_TID_X;
    three(k, block, TW_KIR_ADD, TW_KIR_U32, k->spent, tw_kir_reg_operand(k->spent),
          tw_kir_imm_operand(slot * THREADS));
    three(k, block, TW_KIR_MULWIDE, TW_KIR_U32, k->wide, tw_kir_reg_operand(k->spent), tw_kir_imm_operand(4));
    i = add(k, block, TW_KIR_LDPARAM, TW_KIR_B64, 1, 0, 0);
    i->dst[0] = k->address;
    three(k, block, TW_KIR_ADD, TW_KIR_U64, k->address, tw_kir_reg_operand(k->address),
          tw_kir_reg_operand(k->wide));
}

static void make_memory(struct maker *k, uint32_t block) {
    make_address(k, block, pick(k, SLOTS));
    bool store = pick(k, 2);
    struct tw_kir_inst *i =
        add(k, block, store ? TW_KIR_ST : TW_KIR_LD, TW_KIR_B32, store ? 0 : 1, store ? 2 : 1, 0);
    i->space = TW_KIR_GLOBAL;
    i->src[0] = tw_kir_reg_operand(k->address);
    if (store)
        i->src[1] = some_operand(k);
    else
        i->dst[0] = k->r[pick(k, REGS)];
    if (pick(k, 3) == 0)
        i->guard = k->p[pick(k, 3)];
}

// A difference widened to 64 bits and its upper half taken: all ones where it wrapped below zero, in some
// lanes and not in others.
static void make_widening(struct maker *k, uint32_t block) {
    bool sign = pick(k, 2);
    three(k, block, TW_KIR_SUB, TW_KIR_U32, k->spent, tw_kir_reg_operand(k->r[pick(k, 3)]),
          tw_kir_imm_operand(pick(k, 40)));
    struct tw_kir_inst *i = add(k, block, TW_KIR_CVT, sign ? TW_KIR_S64 : TW_KIR_U64, 1, 1, 0);
    i->type2 = sign ? TW_KIR_S32 : TW_KIR_U32;
    i->dst[0] = k->wide;
    i->src[0] = tw_kir_reg_operand(k->spent);
    three(k, block, TW_KIR_ADD, TW_KIR_U64, k->wide, tw_kir_reg_operand(k->wide),
          tw_kir_imm_operand(UINT64_C(1) << 32));
    three(k, block, TW_KIR_SHR, TW_KIR_U64, k->wide, tw_kir_reg_operand(k->wide),
          tw_kir_imm_operand(pick(k, 2) ? 32 : 31));
    i = add(k, block, TW_KIR_CVT, TW_KIR_U32, 1, 1, 0);
    i->type2 = TW_KIR_U64;
    i->dst[0] = k->r[pick(k, REGS)];
    i->src[0] = tw_kir_reg_operand(k->wide);
}

static void make_work(struct maker *k, uint32_t block) {
    static const uint8_t ops[] = {TW_KIR_ADD, TW_KIR_SUB, TW_KIR_XOR, TW_KIR_AND,
                                  TW_KIR_MUL, TW_KIR_SHL, TW_KIR_SHR};
    if (pick(k, 5) == 0) {
        make_memory(k, block);
        return;
    }
    if (pick(k, 6) == 0) {
        make_widening(k, block);
        return;
    }
    if (pick(k, 4) == 0) {
        compare(k, block, k->p[pick(k, 3)], some_operand(k), some_operand(k));
        return;
    }
    struct tw_kir_inst *i = three(k, block, ops[pick(k, TW_COUNT(ops))], TW_KIR_U32, k->r[pick(k, REGS)],
                                  some_operand(k), some_operand(k));
    if (pick(k, 3) == 0) {
        i->guard = k->p[pick(k, 3)];
        i->guard_not = pick(k, 2);
    }
}

// Registers begin as thread numbers, constants and parameters.
static void make_entry(struct maker *k) {
    for (unsigned r = 0; r < REGS; r++) {
        struct tw_kir_inst *i = add(k, 0, r < 3 ? TW_KIR_SREG : TW_KIR_MOV, TW_KIR_U32, 1, r < 3 ? 0 : 1, 0);
        i->dst[0] = k->r[r];
        if (r < 3)
            i->index = r == 2 ? TW_KIR_CTAID_X : TW_KIR_TID_X;
        else
            i->src[0] = tw_kir_imm_operand(pick(k, 50));
    }
    three(k, 0, TW_KIR_SHR, TW_KIR_U32, k->r[1], tw_kir_reg_operand(k->r[1]), tw_kir_imm_operand(pick(k, 7)));
    struct tw_kir_inst *i = add(k, 0, TW_KIR_MOV, TW_KIR_U32, 1, 1, 0);
    i->dst[0] = k->fuel;
    i->src[0] = tw_kir_imm_operand(0);
    for (unsigned p = 0; p < 3; p++)
        compare(k, 0, k->p[p], some_operand(k), some_operand(k));
    add(k, 0, TW_KIR_BR, TW_KIR_B32, 0, 0, 1)->targets[0] = 1;
}

// Ahead only, to one of two or four: without a way out of every block, lanes meet again inside loops.
static void make_ahead(struct maker *k, uint32_t block, uint32_t tail, uint32_t blocks, uint32_t last) {
    bool many = pick(k, 2);
    add(k, block, TW_KIR_BR, TW_KIR_B32, 0, 0, 1)->targets[0] = tail;
    if (many)
        three(k, tail, TW_KIR_AND, TW_KIR_U32, k->spent, some_operand(k), tw_kir_imm_operand(3));
    else
        compare(k, tail, k->p[1], some_operand(k), some_operand(k));
    struct tw_kir_inst *i = add(k, tail, many ? TW_KIR_BRX : TW_KIR_BRC, TW_KIR_PRED, 0, 1, many ? 4 : 2);
    i->src[0] = tw_kir_reg_operand(many ? k->spent : k->p[1]);
    for (unsigned t = 0; t < i->target_count; t++) {
        uint32_t to = block + 2 * (1 + pick(k, 3));
        i->targets[t] = to > 2 * blocks ? last : to;
    }
}

// A block of work costs fuel, so that every thread ends; it leads to two pieces: out of fuel or on, then one
// of two blocks.
static void make_block(struct maker *k, uint32_t block, uint32_t tail, uint32_t blocks, uint32_t last) {
    for (uint32_t n = pick(k, 5); n > 0; n--)
        make_work(k, block);
    if (k->narrow && pick(k, 3)) {
        make_ahead(k, block, tail, blocks, last);
        return;
    }
    three(k, block, TW_KIR_ADD, TW_KIR_U32, k->fuel, tw_kir_reg_operand(k->fuel), tw_kir_imm_operand(1));
    struct tw_kir_inst *i = compare(k, block, k->p[0], tw_kir_reg_operand(k->fuel), tw_kir_imm_operand(FUEL));
    i->cmp = TW_KIR_GT;
    i = add(k, block, TW_KIR_BRC, TW_KIR_PRED, 0, 1, 2);
    i->src[0] = tw_kir_reg_operand(k->p[0]);
    i->targets[0] = last;
    i->targets[1] = tail;
    compare(k, tail, k->p[1], some_operand(k), some_operand(k));
    i = add(k, tail, TW_KIR_BRC, TW_KIR_PRED, 0, 1, 2);
    i->src[0] = tw_kir_reg_operand(k->p[1]);
    for (unsigned t = 0; t < 2; t++) { // mostly a little ahead; sometimes back, or to the end
        uint32_t to = pick(k, 4) ? block + 2 * (1 + pick(k, 3)) : 1 + 2 * pick(k, blocks);
        i->targets[t] = to > 2 * blocks ? last : to;
    }
}

static void make_last(struct maker *k, uint32_t last) {
    for (unsigned r = 0; r < REGS; r++) {
        make_address(k, last, SLOTS + r);
        struct tw_kir_inst *i = add(k, last, TW_KIR_ST, TW_KIR_B32, 0, 2, 0);
        i->space = TW_KIR_GLOBAL;
        i->src[0] = tw_kir_reg_operand(k->address);
        i->src[1] = tw_kir_reg_operand(k->r[r]);
    }
    add(k, last, TW_KIR_EXIT, TW_KIR_B32, 0, 0, 0);
}

static uint32_t reg(struct maker *k, const char *name, unsigned bits) {
    uint32_t r = tw_kir_reg_add(k->m, k->f, name, bits, &k->err);
    ck_assert_uint_ne(r, TW_KIR_NO_REG);
    return r;
}

static void make_program(struct maker *k, struct tw_arena *arena) {
    tw_assert_ok(k->m = tw_kir_module_new(arena, &k->err), &k->err);
    tw_assert_ok(k->f = tw_kir_function_add(k->m, "k", &k->err), &k->err);
    k->f->is_entry = true;
    static struct tw_kir_param param = {
        .name = "out", .type = TW_KIR_U64, .size = 8, .align = 8, .reg = TW_KIR_NO_REG};
    k->f->params = &param;
    k->f->param_count = 1;
    k->f->param_bytes = 8;
    for (unsigned i = 0; i < REGS; i++)
        k->r[i] = reg(k, NULL, 32);
    for (unsigned i = 0; i < 3; i++)
        k->p[i] = reg(k, NULL, 1);
    k->fuel = reg(k, "fuel", 32);
    k->spent = reg(k, "spent", 32);
    k->address = reg(k, "address", 64);
    k->wide = reg(k, "wide", 64);
    uint32_t blocks = 1 + pick(k, MAX_BLOCKS), last = 2 * blocks + 1;
    for (uint32_t i = 0; i <= last; i++)
        ck_assert_uint_eq(tw_kir_block_add(k->m, k->f, tw_arena_printf(arena, "b%u", i), &k->err), i);
    make_entry(k);
    for (uint32_t i = 0; i < blocks; i++)
        make_block(k, 1 + 2 * i, 2 + 2 * i, blocks, last);
    make_last(k, last);
    tw_assert_ok(tw_kir_verify(k->m, &k->err), &k->err);
}

// ---- the interpreter ----
struct thread {
    uint64_t reg[32];
    uint32_t tid, block_index;
    uint8_t *memory; // what parameter 0 points at is its beginning
};

static uint64_t value(const struct thread *t, const struct tw_kir_operand *o) {
    return o->is_imm ? o->bits : t->reg[o->reg];
}

static bool holds(uint8_t cmp, uint32_t a, uint32_t b) {
    switch (cmp) {
    case TW_KIR_EQ:
        return a == b;
    case TW_KIR_NE:
        return a != b;
    case TW_KIR_LT:
        return a < b;
    case TW_KIR_LE:
        return a <= b;
    case TW_KIR_GT:
        return a > b;
    default:
        return a >= b;
    }
}

static uint64_t compute(const struct thread *t, const struct tw_kir_inst *i) {
    uint32_t a = i->src_count ? (uint32_t)value(t, &i->src[0]) : 0,
             b = i->src_count > 1 ? (uint32_t)value(t, &i->src[1]) : 0, word;
    switch (i->op) {
    case TW_KIR_MOV:
        return a;
    case TW_KIR_SREG:
        return i->index == TW_KIR_TID_X ? t->tid : t->block_index;
    case TW_KIR_LDPARAM:
        return 0;
    case TW_KIR_ADD:
        return i->type == TW_KIR_U64 ? value(t, &i->src[0]) + value(t, &i->src[1]) : a + b;
    case TW_KIR_SUB:
        return a - b;
    case TW_KIR_XOR:
        return a ^ b;
    case TW_KIR_AND:
        return a & b;
    case TW_KIR_MUL:
        return a * b;
    case TW_KIR_MULWIDE:
        return (uint64_t)a * b;
    case TW_KIR_SHL:
        return b > 31 ? 0 : a << b;
    case TW_KIR_CVT:
        return i->type2 == TW_KIR_S32 ? (uint64_t)(int64_t)(int32_t)a : a;
    case TW_KIR_SHR:
        if (i->type == TW_KIR_U64)
            return value(t, &i->src[0]) >> b;
        return b > 31 ? 0 : a >> b;
    case TW_KIR_SETP:
        return holds(i->cmp, a, b);
    case TW_KIR_LD:
        memcpy(&word, t->memory + value(t, &i->src[0]), 4);
        return word;
    default:
        ck_abort_msg("the interpreter knows no %s", tw_kir_op_name(i->op));
    }
    return 0;
}

static void interpret(const struct tw_kir_function *f, struct thread *t) {
    for (uint32_t b = 0;;) {
        const struct tw_kir_block *block = &f->blocks[b];
        for (uint32_t n = 0; n < block->count; n++) {
            const struct tw_kir_inst *i = &block->insts[n];
            if (i->op == TW_KIR_EXIT)
                return;
            if (i->op == TW_KIR_BRX) {
                b = i->targets[value(t, &i->src[0])];
                break;
            }
            if (i->op == TW_KIR_BR || i->op == TW_KIR_BRC) {
                b = i->op == TW_KIR_BRC && !value(t, &i->src[0]) ? i->targets[1] : i->targets[0];
                break;
            }
            if (i->guard != TW_KIR_NO_REG && !t->reg[i->guard] != i->guard_not)
                continue;
            if (i->op == TW_KIR_ST) {
                uint32_t word = (uint32_t)value(t, &i->src[1]);
                memcpy(t->memory + value(t, &i->src[0]), &word, 4);
            } else {
                t->reg[i->dst[0]] = compute(t, i);
            }
        }
    }
}

enum { OUT_BYTES = 4 * THREADS * (SLOTS + REGS) };

static void compare_words(const uint32_t *got, const uint8_t *want, uint64_t seed,
                          const struct tw_kernel_variant *v) {
    for (uint32_t i = 0; i < OUT_BYTES / 4; i++) {
        uint32_t w;
        memcpy(&w, want + 4 * i, 4);
        ck_assert_msg(got[i] == w,
                      "seed %" PRIu64 ", %u lanes, x %u, level %d: slot %u of thread %u is %u, not %u", seed,
                      v->lanes, v->x_multiple, v->opt_level, i / THREADS, i % THREADS, got[i], w);
    }
}

static void check_program(uint64_t seed, bool narrow, unsigned lanes, unsigned x_multiple, int level) {
    static uint8_t want[OUT_BYTES];
    struct tw_arena arena;
    struct maker k = {.state = seed, .narrow = narrow};
    struct kernel kernel;
    struct rig rig;
    tw_arena_init(&arena, 64 << 20);
    make_program(&k, &arena);
    memset(want, 0, sizeof want);
    for (uint32_t tid = 0; tid < THREADS; tid++) {
        struct thread t = {.tid = tid, .memory = want};
        interpret(k.f, &t);
    }
    struct tw_kernel_variant variant = {
        .lanes = (uint16_t)lanes, .x_multiple = (uint16_t)x_multiple, .opt_level = (uint16_t)level};
    rig_init(&rig);
    rig.opt_level = level;
    kernel_from_module(&rig, &kernel, k.m, "k", lanes, x_multiple);
    uint64_t out = rig_alloc(&rig, OUT_BYTES);
    ck_assert_uint_eq(
        rig_launch(&rig, &kernel, (uint32_t[3]){1, 1, 1}, (uint32_t[3]){THREADS, 1, 1}, 0, &out, sizeof out),
        TW_KERNEL_OK);
    compare_words(rig_at(&rig, out), want, seed, &variant);
    kernel_done(&kernel);
    rig_done(&rig);
    tw_arena_done(&arena);
}

TW_TEST("random control flow gives every thread what it would get alone") {
    for (uint64_t seed = 1; seed <= PROGRAMS; seed++) {
        static const unsigned variants[][2] = {{32, 32}, {16, 16}, {8, 1}, {32, 1}};
        const unsigned *v = variants[seed % TW_COUNT(variants)];
        check_program(seed, seed / 4 % 2, v[0], v[1], seed % 8 == 7);
    }
    // A lane waits for the next iteration of the block that it left its first version in.
    check_program(70537, false, 16, 16, 0);
    // Lanes meet again only in another iteration.
    check_program(76, true, 32, 32, 0);
}
