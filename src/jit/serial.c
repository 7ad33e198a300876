// SPDX-License-Identifier: Apache-2.0
//
// Loops that do little but look values up, each lane its own and each as often as it likes (a row of a sparse matrix, a
// list that is followed): one lane after the other, as scalar code. A gather takes as long as a load for each of its
// lanes or longer, and goes round for as long as the longest lane needs; lane by lane every load counts, its neighbours
// are read in order, and the processor runs the next lane's first loads beside this one's last.
//
//     for each lane of the mask: registers from the lanes' vectors → scalar slots, the loop, back → vectors
//
// Only loops of one block without effects: nobody can tell in which order lanes ran.

#include "emit.h"

// Fewer gathers in a loop than that, or more other work for each, and vectors win.
enum { GATHERS_MIN = 2, INSTS_A_GATHER = 8 };

static bool is_pure(const struct tw_kir_inst *inst) {
    if (inst->op == TW_KIR_LD)
        return inst->order == TW_KIR_WEAK && !(inst->mods & TW_KIR_VOLATILE) && inst->vec <= 4;
    return (tw_kir_op_flags(inst->op) & TW_KIR_PURE) && inst->op != TW_KIR_SREG && inst->op != TW_KIR_ADDR &&
           inst->op != TW_KIR_ISSPACE;
}

static bool gathers(const struct jit_code *code, const struct tw_kir_inst *inst) {
    if (inst->op != TW_KIR_LD)
        return false;
    struct jit_shape shape = jit_operand_shape(code, &inst->src[0], 64);
    return shape.kind == JIT_VARYING && jit_group_of(code, shape) == 0;
}

static bool reads(const struct jit_block *b, uint32_t reg) {
    bool found = !b->cond.is_imm && b->cond.reg == reg;
    for (uint32_t i = 0; i < b->count; i++) {
        found |= b->insts[i].guard == reg;
        for (unsigned k = 0; k < b->insts[i].src_count; k++)
            found |= !b->insts[i].src[k].is_imm && b->insts[i].src[k].reg == reg;
    }
    return found;
}

static bool writes(const struct jit_block *b, uint32_t reg) {
    for (uint32_t i = 0; i < b->count; i++)
        for (unsigned d = 0; d < b->insts[i].dst_count; d++)
            if (b->insts[i].dst[d] == reg)
                return true;
    return false;
}

static uint32_t exit_of(const struct jit_code *code, uint32_t block) {
    const struct jit_block *b = &code->blocks[block];
    return b->succs[b->succs[0] == block];
}

// Registers that come into the loop with a value it reads, and those that leave it with another.
static bool comes_in(const struct jit_code *code, uint32_t block, uint32_t reg) {
    return jit_bit(code->blocks[block].live_in, reg) && reads(&code->blocks[block], reg);
}

static bool goes_out(const struct jit_code *code, uint32_t block, uint32_t reg) {
    uint32_t to = exit_of(code, block);
    return to < code->count && jit_bit(code->blocks[to].live_in, reg) && writes(&code->blocks[block], reg);
}

static bool registers_fit(const struct jit_code *code, uint32_t block) {
    for (uint32_t r = 0; r < code->function->reg_count; r++) {
        bool in = comes_in(code, block, r), out = goes_out(code, block, r),
             varies = code->shapes[r].kind == JIT_VARYING;
        unsigned bits = code->function->regs[r].bits;
        // What only some lanes work out cannot be kept by groups of them.
        if ((out && jit_form_of(code, code->shapes[r]) != JIT_LANES) ||
            ((in || out) && varies && (bits < 8 || bits > 64)))
            return false;
    }
    return true;
}

bool jit_is_serial(const struct jit_code *code, uint32_t block) {
    const struct jit_block *b = &code->blocks[block];
    bool loops = b->succ_count == 2 && (b->succs[0] == block) != (b->succs[1] == block);
    if (code->exact || !loops || b->term != JIT_COND || !b->divergent || !b->branched)
        return false;
    uint32_t found = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        if (!is_pure(&b->insts[i]) || jit_inst_speculates(code, &b->insts[i]))
            return false;
        found += gathers(code, &b->insts[i]);
    }
    return found >= GATHERS_MIN && b->count <= INSTS_A_GATHER * found && registers_fit(code, block);
}

// The same code as one thread sees it: every register is a scalar.
static struct jit_code *one_lane(struct jit_emit *e) {
    struct jit_code *code = tw_arena_alloc(e->arena, sizeof *code, _Alignof(struct jit_code));
    if (!code)
        return NULL;
    *code = *e->code;
    code->shapes = TW_ARENA_ARRAY(e->arena, struct jit_shape, code->function->reg_count + 1);
    for (uint32_t r = 0; code->shapes && r < code->function->reg_count; r++)
        code->shapes[r] = (struct jit_shape){.kind = JIT_AFFINE};
    return code->shapes ? code : NULL;
}

// Confined: one loop.
struct serial {
    struct jit_emit *e, lane_emit; // of all lanes, of one
    uint32_t block;
    LLVMValueRef *spread; // by register: slots of W elements
    LLVMValueRef lane;    // i64
};

static LLVMValueRef element(struct serial *s, uint32_t reg) {
    LLVMTypeRef type = jit_int(s->e, s->e->code->function->regs[reg].bits);
    return LLVMBuildGEP2(s->e->b, type, s->spread[reg], &s->lane, 1, "");
}

static void spread_registers(struct serial *s) {
    struct jit_emit *e = s->e;
    for (uint32_t r = 0; r < e->code->function->reg_count; r++) {
        bool wanted = comes_in(e->code, s->block, r) || goes_out(e->code, s->block, r);
        if (!wanted || e->code->shapes[r].kind != JIT_VARYING)
            continue;
        LLVMValueRef slot = jit_reg_slot(e, r);
        LLVMValueRef value = LLVMBuildLoad2(e->b, LLVMGetAllocatedType(slot), slot, "");
        s->spread[r] = jit_slot(e, jit_vec(e, jit_int(e, e->code->function->regs[r].bits)), "spread");
        LLVMBuildStore(e->b, jit_spread(e, value, e->code->shapes[r]), s->spread[r]);
    }
}

static void enter_lane(struct serial *s) {
    struct jit_emit *e = s->e;
    for (uint32_t r = 0; r < e->code->function->reg_count; r++) {
        if (!comes_in(e->code, s->block, r))
            continue;
        LLVMTypeRef type = jit_int(e, e->code->function->regs[r].bits);
        struct jit_shape shape = e->code->shapes[r];
        LLVMValueRef value =
            LLVMBuildLoad2(e->b, type, s->spread[r] ? element(s, r) : jit_reg_slot(e, r), "");
        if (!s->spread[r] && shape.stride != 0) {
            LLVMValueRef lane = LLVMBuildZExtOrBitCast(e->b, s->lane, jit_int(e, 64), "");
            LLVMValueRef far = LLVMBuildMul(e->b, lane, jit_i64(e, (uint64_t)shape.stride), "");
            value = LLVMBuildAdd(e->b, value, LLVMBuildTruncOrBitCast(e->b, far, type, ""), "");
        }
        LLVMBuildStore(e->b, value, jit_reg_slot(&s->lane_emit, r));
    }
}

static void leave_lane(struct serial *s) {
    for (uint32_t r = 0; r < s->e->code->function->reg_count; r++)
        if (goes_out(s->e->code, s->block, r)) {
            LLVMValueRef slot = jit_reg_slot(&s->lane_emit, r);
            LLVMBuildStore(s->e->b, LLVMBuildLoad2(s->e->b, LLVMGetAllocatedType(slot), slot, ""),
                           element(s, r));
        }
}

static void gather_registers(struct serial *s) {
    struct jit_emit *e = s->e;
    for (uint32_t r = 0; r < e->code->function->reg_count; r++)
        if (goes_out(e->code, s->block, r)) {
            LLVMTypeRef type = LLVMGetAllocatedType(s->spread[r]);
            LLVMBuildStore(e->b, LLVMBuildLoad2(e->b, type, s->spread[r], ""), jit_reg_slot(e, r));
        }
}

// The loop for the lane in s->lane.
static bool emit_lane(struct serial *s) {
    struct jit_emit *one = &s->lane_emit;
    const struct jit_block *b = &one->code->blocks[s->block];
    LLVMBasicBlockRef round = jit_block_new(one, "lane_round"), done = jit_block_new(one, "lane_done");
    enter_lane(s);
    LLVMBuildBr(one->b, round);
    LLVMPositionBuilderAtEnd(one->b, round);
    for (uint32_t i = 0; i < b->count; i++) {
        one->at_inst = i;
        if (!jit_emit_inst(one, &b->insts[i]))
            return false;
    }
    LLVMValueRef cond = jit_read(one, &b->cond, 1, false);
    bool stays = (b->succs[0] == s->block) != b->cond_not; // when the condition is true
    LLVMBuildCondBr(one->b, cond, stays ? round : done, stays ? done : round);
    LLVMPositionBuilderAtEnd(one->b, done);
    leave_lane(s);
    return true;
}

static bool emit_lanes(struct serial *s) {
    struct jit_emit *e = s->e;
    LLVMTypeRef word = jit_int(e, e->lanes);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b), each = jit_block_new(e, "each_lane"),
                      all_done = jit_block_new(e, "lanes_done");
    LLVMValueRef all = jit_mask_bits(e, e->mask), zero = LLVMConstNull(word);
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntNE, all, zero, ""), each, all_done);
    LLVMPositionBuilderAtEnd(e->b, each);
    LLVMValueRef left = LLVMBuildPhi(e->b, word, "left"), args[2] = {left, LLVMConstNull(jit_int(e, 1))};
    LLVMValueRef first = jit_intrinsic(e, "llvm.cttz", &word, 1, args, 2);
    s->lane = LLVMBuildAnd(e->b, LLVMBuildIntCast2(e->b, first, jit_int(e, 64), false, ""),
                           jit_i64(e, e->lanes - 1), "lane");
    if (!emit_lane(s))
        return false;
    LLVMValueRef less = LLVMBuildSub(e->b, left, LLVMConstInt(word, 1, false), "");
    LLVMValueRef rest = LLVMBuildAnd(e->b, left, less, "");
    LLVMBasicBlockRef last = LLVMGetInsertBlock(e->b);
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntNE, rest, zero, ""), each, all_done);
    LLVMAddIncoming(left, (LLVMValueRef[]){all, rest}, (LLVMBasicBlockRef[]){before, last}, 2);
    LLVMPositionBuilderAtEnd(e->b, all_done);
    return true;
}

bool jit_emit_serial(struct jit_emit *e, uint32_t block) {
    struct serial s = {.e = e, .lane_emit = *e, .block = block};
    s.lane_emit.code = one_lane(e);
    s.lane_emit.regs = TW_ARENA_ARRAY(e->arena, LLVMValueRef, e->code->function->reg_count + 1);
    s.lane_emit.mask = jit_full_mask(e);
    s.lane_emit.mask_full = true;
    s.spread = TW_ARENA_ARRAY(e->arena, LLVMValueRef, e->code->function->reg_count + 1);
    if (!s.lane_emit.code || !s.lane_emit.regs || !s.spread)
        return jit_no_memory(e->err);
    spread_registers(&s);
    if (!emit_lanes(&s))
        return false;
    gather_registers(&s);
    jit_jump_out(e, block, exit_of(e->code, block));
    return true;
}
