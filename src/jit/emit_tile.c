// SPDX-License-Identifier: Apache-2.0
//
// Does the chains of a tile (tile.c) so that their sums stay in the processor's registers. The lanes are cut into
// pieces, each a vector of the processor:
//
//     for some chains at a time { for each piece { load their sums; all their steps; store their sums } }
//
// The sums' slots are thereby read at places that LLVM cannot know, so it keeps them in memory between the loops. A fence
// for this thread alone keeps it from fetching factors before the loop that wants them: there are too many.

#include "emit.h"

enum { CHAINS_MAX = 32 };

unsigned jit_vector_bytes(const struct jit_emit *e) {
    return e->avx512 ? 64 : 32;
}

unsigned jit_vector_count(const struct jit_emit *e) {
    return e->avx512 ? 32 : 16;
}

bool jit_pieces_of(const struct jit_emit *e, const struct tw_kir_inst *load, struct jit_pieces *ret) {
    struct jit_shape shape = jit_operand_shape(e->code, &load->src[0], 64);
    unsigned bytes = tw_kir_type_bits(load->type) / 8;
    if (jit_form_of(e->code, shape) != JIT_ONE || bytes < 4 || e->lanes * bytes < 2 * jit_vector_bytes(e))
        return false;
    unsigned lanes = jit_vector_bytes(e) / bytes, most = 0;
    struct jit_pieces p = {.lanes = lanes, .least = jit_above(e, shape, 0), .count = 1};
    p.apart = jit_above(e, shape, lanes) - p.least;
    for (unsigned lane = 0; lane < e->lanes; lane++) {
        uint64_t at = jit_above(e, shape, lane);
        if (at > TW_KERNEL_OFFSET_MAX || at != jit_above(e, shape, lane % lanes) + lane / lanes * p.apart)
            return false;
        p.least = lane < lanes && at < p.least ? at : p.least;
    }
    for (unsigned lane = 0; lane < lanes; lane++) {
        uint64_t at = jit_above(e, shape, lane) - p.least;
        if (at % bytes || at >= jit_vector_bytes(e))
            return false;
        p.from[lane] = (unsigned)at / bytes;
        most = p.from[lane] > most ? p.from[lane] : most;
    }
    p.count = most + 1;
    *ret = p;
    return true;
}

// Confined: some chains, one piece.
struct part {
    struct jit_emit *e;
    const struct jit_block *block;
    const struct jit_tile *tile;
    uint32_t first, count; // chains
    LLVMTypeRef type;      // a piece of a sum
    LLVMValueRef index;    // of the piece, i64
    LLVMValueRef *factors; // by load and place in it
    LLVMValueRef sums[CHAINS_MAX];
    uint32_t at[CHAINS_MAX]; // the next step of each chain
};

static LLVMValueRef sum_pointer(const struct part *p, uint32_t chain) {
    struct jit_emit *e = p->e;
    LLVMValueRef at = p->index;
    return LLVMBuildGEP2(e->b, p->type, jit_reg_slot(e, p->tile->chains[chain].reg), &at, 1, "");
}

static LLVMValueRef factor(struct part *p, uint32_t load_at, unsigned place) {
    struct jit_emit *e = p->e;
    LLVMValueRef *known = &p->factors[4 * load_at + place];
    if (*known)
        return *known;
    const struct tw_kir_inst *load = &p->block->insts[load_at];
    struct jit_pieces pieces = {};
    (void)jit_pieces_of(e, load, &pieces);
    unsigned bytes = tw_kir_type_bits(load->type) / 8;
    LLVMValueRef base = jit_firsts(e, &load->src[0], 64, (struct jit_shape){.kind = JIT_AFFINE});
    LLVMValueRef pointer = jit_pointer_at(e, base, load->offset);
    LLVMValueRef far = LLVMBuildMul(e->b, p->index, jit_i64(e, pieces.apart), "");
    LLVMValueRef near = jit_i64(e, pieces.least + (uint64_t)place * bytes);
    pointer = jit_offset_pointer(e, jit_offset_pointer(e, pointer, far), near);
    LLVMTypeRef element = LLVMGetElementType(p->type);
    LLVMTypeRef type = pieces.count > 1 ? LLVMVectorType(element, pieces.count) : element;
    LLVMValueRef value = LLVMBuildLoad2(e->b, type, pointer, "");
    LLVMSetAlignment(value, 1);
    *known = pieces.count > 1 ? jit_shuffle(e, value, NULL, pieces.from, pieces.lanes)
                              : jit_splat_n(e, value, pieces.lanes);
    return *known;
}

// The next step of each chain that has one; whether there was any.
static bool go_on(struct part *p) {
    bool any = false;
    for (uint32_t c = 0; c < p->count; c++) {
        if (p->at[c] == JIT_NONE)
            continue;
        const struct jit_step *step = &p->tile->steps[p->at[c]];
        LLVMValueRef src[3] = {factor(p, step->load[0], step->place[0]),
                               factor(p, step->load[1], step->place[1]), p->sums[c]};
        p->sums[c] = jit_intrinsic(p->e, "llvm.fma", &p->type, 1, src, 3);
        p->at[c] = step->next;
        any = true;
    }
    return any;
}

static void emit_piece(struct part *p) {
    struct jit_emit *e = p->e;
    for (uint32_t c = 0; c < p->count; c++) {
        p->at[c] = p->tile->chains[p->first + c].first;
        p->sums[c] = LLVMBuildLoad2(e->b, p->type, sum_pointer(p, p->first + c), "");
    }
    while (go_on(p)) {
    }
    for (uint32_t c = 0; c < p->count; c++)
        LLVMBuildStore(e->b, p->sums[c], sum_pointer(p, p->first + c));
    LLVMBuildFence(e->b, LLVMAtomicOrderingSequentiallyConsistent, true, "");
}

static void emit_part(struct part *p) {
    struct jit_emit *e = p->e;
    LLVMTypeRef i64 = jit_int(e, 64);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b), loop = jit_block_new(e, "piece"),
                      done = jit_block_new(e, "pieces_done");
    LLVMBuildBr(e->b, loop);
    LLVMPositionBuilderAtEnd(e->b, loop);
    p->index = LLVMBuildPhi(e->b, i64, "piece");
    emit_piece(p);
    LLVMValueRef next = LLVMBuildAdd(e->b, p->index, jit_i64(e, 1), "");
    LLVMValueRef pieces = jit_i64(e, e->lanes / LLVMGetVectorSize(p->type));
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntULT, next, pieces, ""), loop, done);
    LLVMValueRef values[2] = {jit_i64(e, 0), next};
    LLVMBasicBlockRef from[2] = {before, loop};
    LLVMAddIncoming(p->index, values, from, 2);
    LLVMPositionBuilderAtEnd(e->b, done);
}

bool jit_emit_tile(struct jit_emit *e, uint32_t block) {
    const struct jit_tile *tile = e->tiles[block];
    const struct jit_block *b = &e->code->blocks[block];
    uint32_t most = jit_vector_count(e) / 2;
    for (uint32_t first = 0, count; first < tile->count; first += count) {
        enum tw_kir_type type = (enum tw_kir_type)b->insts[tile->chains[first].first].type;
        for (count = 0; count < most && first + count < tile->count; count++)
            if (b->insts[tile->chains[first + count].first].type != type)
                break;
        struct part p = {.e = e, .block = b, .tile = tile, .first = first, .count = count};
        p.type = LLVMVectorType(jit_type(e, type, false), jit_vector_bytes(e) * 8 / tw_kir_type_bits(type));
        p.factors = TW_ARENA_ARRAY(e->arena, LLVMValueRef, 4 * (size_t)b->count);
        if (!p.factors)
            return jit_no_memory(e->err);
        emit_part(&p);
    }
    return true;
}
