// SPDX-License-Identifier: Apache-2.0
//
// Loads and stores by what is known of the address: all lanes at one place (one scalar access), lanes side by
// side (one vector access, with a mask where not all take part), or anywhere (gather and scatter). Every
// address is masked into the arena; an access may run past its end by TW_KERNEL_OFFSET_MAX + W × 16 bytes, where the
// device keeps a guard.

#include "emit.h"

LLVMValueRef jit_confine(struct jit_emit *e, LLVMValueRef address) {
    if (e->code->variant.unconfined)
        return address;
    LLVMValueRef mask = jit_is_vector(address) ? jit_splat(e, e->arena_mask) : e->arena_mask;
    return LLVMBuildAnd(e->b, address, mask, "");
}

LLVMValueRef jit_pointer(struct jit_emit *e, LLVMValueRef address) {
    LLVMValueRef offset = jit_confine(e, address);
    return LLVMBuildGEP2(e->b, jit_int(e, 8), e->arena_base, &offset, 1, "");
}

// Confined: one access.
struct access {
    const struct tw_kir_inst *inst;
    unsigned count, bytes; // elements a lane, bytes an element
    LLVMTypeRef element;
    struct jit_shape shape;
};

static struct access describe(struct jit_emit *e, const struct tw_kir_inst *inst) {
    unsigned bits = tw_kir_type_bits(inst->type);
    return (struct access){.inst = inst,
                           .count = inst->vec ? inst->vec : 1,
                           .bytes = bits / 8,
                           .element = jit_int(e, bits),
                           .shape = jit_operand_shape(e->code, &inst->src[0], 64)};
}

LLVMValueRef jit_pointer_at(struct jit_emit *e, LLVMValueRef address, int64_t offset) {
    int64_t behind = tw_kernel_behind_mask(offset), before = offset - behind;
    if (before)
        address = LLVMBuildAdd(e->b, address, jit_const(LLVMTypeOf(address), (uint64_t)before), "");
    LLVMValueRef pointer = jit_pointer(e, address);
    return behind ? jit_offset_pointer(e, pointer, jit_i64(e, (uint64_t)behind)) : pointer;
}

static LLVMValueRef pointer_of(struct jit_emit *e, const struct tw_kir_inst *inst, bool vector) {
    return jit_pointer_at(e, jit_read(e, &inst->src[0], 64, vector), inst->offset);
}

static LLVMValueRef step(struct jit_emit *e, LLVMValueRef pointer, uint64_t bytes) {
    LLVMValueRef at = jit_i64(e, bytes);
    return bytes ? LLVMBuildGEP2(e->b, jit_int(e, 8), pointer, &at, 1, "") : pointer;
}

// Of the first lane's element, where lanes lie side by side.
static LLVMValueRef first_pointer(struct jit_emit *e, const struct access *a) {
    return step(e, pointer_of(e, a->inst, false), (uint64_t)jit_part_lane(e, 0) * a->count * a->bytes);
}

// Runs what follows only where some lane is active; returns where to go on, or NULL when it is known.
static LLVMBasicBlockRef begin_some(struct jit_emit *e) {
    if (e->active_some)
        return NULL;
    LLVMBasicBlockRef then = jit_block_new(e, "some"), on = jit_block_new(e, "on");
    LLVMBuildCondBr(e->b, jit_any(e, e->active), then, on);
    LLVMPositionBuilderAtEnd(e->b, then);
    return on;
}

static void end_some(struct jit_emit *e, LLVMBasicBlockRef on) {
    if (!on)
        return;
    LLVMBuildBr(e->b, on);
    LLVMPositionBuilderAtEnd(e->b, on);
}

// Sets ordering or volatility as the instruction asks. x86 orders plain loads and stores as acquire and
// release do.
static void set_order(const struct jit_emit *e, const struct access *a, LLVMValueRef access) {
    const struct tw_kir_inst *inst = a->inst;
    LLVMSetAlignment(access, 1);
    bool plain = inst->order == TW_KIR_WEAK && !(inst->mods & TW_KIR_VOLATILE);
    if (!plain)
        LLVMSetVolatile(access, true);
    (void)e;
}

static void load_uniform(struct jit_emit *e, const struct access *a) {
    LLVMBasicBlockRef on = begin_some(e);
    LLVMValueRef pointer = pointer_of(e, a->inst, false);
    for (unsigned i = 0; i < a->count && i < a->inst->dst_count; i++) {
        if (a->inst->dst[i] == TW_KIR_NO_REG)
            continue;
        LLVMValueRef value = LLVMBuildLoad2(e->b, a->element, step(e, pointer, (uint64_t)i * a->bytes), "");
        set_order(e, a, value);
        jit_write(e, a->inst, i, value, (struct jit_shape){.kind = JIT_AFFINE});
    }
    end_some(e, on);
}

// A mask for `count` elements a lane, side by side.
static LLVMValueRef repeat_mask(struct jit_emit *e, unsigned count) {
    unsigned indices[4 * JIT_MAX_LANES];
    for (unsigned i = 0; i < count * e->lanes; i++)
        indices[i] = i / count;
    return count == 1 ? e->active : jit_shuffle(e, e->active, NULL, indices, count * e->lanes);
}

static LLVMValueRef align_arg(struct jit_emit *e) {
    return jit_i32(e, 1);
}

// LLVM 19's masked intrinsics take the alignment as an operand, 22's as an attribute of the pointer: the
// declaration tells.
static LLVMValueRef masked_call(struct jit_emit *e, const char *name, LLVMTypeRef *overloads,
                                LLVMValueRef *args, unsigned count, unsigned pointer_index) {
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMValueRef callee = LLVMGetIntrinsicDeclaration(e->module, id, overloads, 2);
    LLVMTypeRef type = LLVMGlobalGetValueType(callee);
    LLVMValueRef all[5];
    unsigned n = 0;
    bool operand = LLVMCountParamTypes(type) > count;
    for (unsigned i = 0; i < count; i++) {
        all[n++] = args[i];
        if (operand && i == pointer_index)
            all[n++] = align_arg(e);
    }
    return LLVMBuildCall2(e->b, type, callee, all, n, "");
}

static LLVMValueRef load_masked(struct jit_emit *e, LLVMValueRef pointer, LLVMValueRef mask,
                                LLVMTypeRef type) {
    LLVMTypeRef overloads[2] = {type, LLVMTypeOf(pointer)};
    LLVMValueRef args[3] = {pointer, mask, LLVMConstNull(type)};
    return masked_call(e, "llvm.masked.load", overloads, args, 3, 0);
}

// Long vectors under a mask are loaded and stored in pieces as long as a mask in a register, and only those that have
// lanes: an access without a lane costs as much as others, and a hundred times as much where it meets a page that is not
// there.
enum { PIECE_LANES = 64 };

static LLVMValueRef piece(struct jit_emit *e, LLVMValueRef value, unsigned k, unsigned count) {
    unsigned indices[4 * PIECE_LANES];
    for (unsigned i = 0; i < count; i++)
        indices[i] = k * count + i;
    return jit_shuffle(e, value, NULL, indices, count);
}

// Runs what follows only where piece `k` has a lane; returns where to go on.
static LLVMBasicBlockRef begin_piece(struct jit_emit *e, unsigned k) {
    LLVMBasicBlockRef some = jit_block_new(e, "some"), on = jit_block_new(e, "on");
    LLVMValueRef lanes =
        LLVMBuildBitCast(e->b, piece(e, e->active, k, PIECE_LANES), jit_int(e, PIECE_LANES), "");
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntNE, lanes, jit_i64(e, 0), ""), some, on);
    LLVMPositionBuilderAtEnd(e->b, some);
    return on;
}

static LLVMValueRef load_pieces(struct jit_emit *e, const struct access *a, LLVMValueRef pointer) {
    unsigned pieces = e->lanes / PIECE_LANES, count = PIECE_LANES * a->count;
    LLVMTypeRef type = LLVMVectorType(a->element, count);
    LLVMValueRef parts[JIT_MAX_LANES / PIECE_LANES], mask = repeat_mask(e, a->count);
    for (unsigned k = 0; k < pieces; k++) {
        LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b), on = begin_piece(e, k),
                          some = LLVMGetInsertBlock(e->b);
        LLVMValueRef loaded =
            load_masked(e, step(e, pointer, (uint64_t)k * count * a->bytes), piece(e, mask, k, count), type);
        end_some(e, on);
        parts[k] = LLVMBuildPhi(e->b, type, "");
        LLVMAddIncoming(parts[k], (LLVMValueRef[]){LLVMConstNull(type), loaded},
                        (LLVMBasicBlockRef[]){before, some}, 2);
    }
    return jit_concatenate(e, parts, pieces, count);
}

// Several elements a lane, in code that goes straight through: a stream, which memory is quickest to bring in the order of
// addresses. LLVM would fetch and store the parts of long vectors in the order in which lanes are shuffled.
static bool in_order(const struct jit_emit *e, const struct access *a) {
    return e->active_full && a->count > 1 && a->inst->space == TW_KIR_GLOBAL &&
           e->code->variant.opt_level == TW_KERNEL_FULL && e->code->blocks[e->at_block].loop == JIT_NONE &&
           (uint64_t)e->lanes * a->bytes % jit_vector_bytes(e) == 0;
}

static LLVMTypeRef part_type(struct jit_emit *e, const struct access *a, unsigned *ret_parts) {
    unsigned elements = jit_vector_bytes(e) / a->bytes;
    *ret_parts = e->lanes * a->count / elements;
    return LLVMVectorType(a->element, elements);
}

static LLVMValueRef load_in_order(struct jit_emit *e, const struct access *a, LLVMValueRef pointer) {
    LLVMValueRef parts[JIT_MAX_LANES];
    unsigned count, elements = jit_vector_bytes(e) / a->bytes;
    LLVMTypeRef type = part_type(e, a, &count);
    for (unsigned k = 0; k < count; k++) {
        parts[k] = LLVMBuildLoad2(e->b, type, step(e, pointer, (uint64_t)k * jit_vector_bytes(e)), "");
        LLVMSetAlignment(parts[k], 1);
        LLVMSetVolatile(parts[k], true);
    }
    return jit_concatenate(e, parts, count, elements);
}

static void store_in_order(struct jit_emit *e, const struct access *a, LLVMValueRef value,
                           LLVMValueRef pointer) {
    unsigned count, indices[JIT_MAX_LANES], elements = jit_vector_bytes(e) / a->bytes;
    (void)part_type(e, a, &count);
    for (unsigned k = 0; k < count; k++) {
        for (unsigned i = 0; i < elements; i++)
            indices[i] = k * elements + i;
        LLVMValueRef part = jit_shuffle(e, value, NULL, indices, elements);
        LLVMValueRef store = LLVMBuildStore(e->b, part, step(e, pointer, (uint64_t)k * jit_vector_bytes(e)));
        LLVMSetAlignment(store, 1);
        LLVMSetVolatile(store, true);
    }
}

static LLVMValueRef load_vector(struct jit_emit *e, const struct access *a, LLVMValueRef pointer,
                                LLVMTypeRef type) {
    if (in_order(e, a))
        return load_in_order(e, a, pointer);
    if (!e->active_full)
        return e->lanes > PIECE_LANES ? load_pieces(e, a, pointer)
                                      : load_masked(e, pointer, repeat_mask(e, a->count), type);
    LLVMValueRef value = LLVMBuildLoad2(e->b, type, pointer, "");
    LLVMSetAlignment(value, 1);
    return value;
}

// Asks for the lines of `bytes` bytes, into the first or the second cache.
static void prefetch_lines(struct jit_emit *e, LLVMValueRef pointer, uint64_t bytes, bool first) {
    enum { LINE_BYTES = 64, FOR_READING = 0, INTO_L2 = 2, INTO_L1 = 3, DATA = 1 };
    LLVMTypeRef type = LLVMTypeOf(pointer);
    for (uint64_t at = 0; at < bytes; at += LINE_BYTES) {
        LLVMValueRef args[4] = {step(e, pointer, at), jit_i32(e, FOR_READING),
                                jit_i32(e, first ? INTO_L1 : INTO_L2), jit_i32(e, DATA)};
        (void)jit_intrinsic(e, "llvm.prefetch", &type, 1, args, 4);
    }
}

// Where the access will be in the next round of its loop.
static LLVMValueRef next_pointer(struct jit_emit *e, const struct access *a, struct jit_move moved) {
    struct tw_kir_operand by = {.reg = moved.reg};
    LLVMValueRef far = jit_read(e, &by, e->code->function->regs[by.reg].bits, false);
    far = LLVMBuildSExtOrBitCast(e->b, far, jit_int(e, 64), "");
    far = LLVMBuildMul(e->b, far, jit_i64(e, (uint64_t)moved.factor), "");
    far = LLVMBuildAdd(e->b, jit_read(e, &a->inst->src[0], 64, false), far, "");
    return jit_pointer_at(e, far, (int64_t)((uint64_t)a->inst->offset + (uint64_t)moved.bytes));
}

// Where a loop leaps over what lies next to this warp's. A whole block asks for what it will read in the next round: what
// lies between is other blocks', whose turn comes when it has long left the cache. Of a block of many warps one asks for
// what the warp after the next will read: by then it has come, and unlike the next round's it is known to be wanted.
static void prefetch_leaps(struct jit_emit *e, const struct access *a, LLVMValueRef pointer) {
    enum { WARPS_AHEAD = 2 };
    int64_t bytes = (int64_t)a->count * a->bytes * e->lanes;
    struct jit_move moved = jit_move(e->code, e->at_block, &a->inst->src[0]);
    if (moved.reg != JIT_NONE && e->lanes > TW_KERNEL_TURNS_MAX)
        prefetch_lines(e, next_pointer(e, a, moved), (uint64_t)bytes, true);
    else if (moved.reg != JIT_NONE || moved.bytes > bytes || moved.bytes < -bytes)
        prefetch_lines(e, step(e, pointer, WARPS_AHEAD * (uint64_t)bytes), (uint64_t)bytes, false);
}

// A load shortly before this one, by the same register and from next to it, has asked for the same lines.
static bool is_neighbour(const struct jit_emit *e, const struct access *a) {
    enum { LOOK_BACK = 64, NEAR = 64 };
    const struct jit_block *b = &e->code->blocks[e->at_block];
    for (uint32_t i = e->at_inst; i-- > 0 && e->at_inst - i <= LOOK_BACK;) {
        const struct tw_kir_inst *other = &b->insts[i];
        uint64_t apart = (uint64_t)other->offset - (uint64_t)a->inst->offset;
        if (other->op == TW_KIR_LD && !other->src[0].is_imm && other->src[0].reg == a->inst->src[0].reg &&
            apart + NEAR < 2 * (uint64_t)NEAR)
            return true;
    }
    return false;
}

// What this warp's followers will read. The processor does so too, but only within a page, and later where warps do a
// good deal besides.
static void prefetch_stream(struct jit_emit *e, const struct access *a, LLVMValueRef pointer) {
    enum { AHEAD_BYTES = 2'048 };
    bool global = a->inst->space == TW_KIR_GLOBAL || a->inst->space == TW_KIR_GENERIC;
    if (global && !is_neighbour(e, a))
        prefetch_lines(e, step(e, pointer, AHEAD_BYTES), (uint64_t)a->count * a->bytes * e->lanes, true);
}

static void prefetch(struct jit_emit *e, const struct access *a, LLVMValueRef pointer) {
    if (e->strips)
        prefetch_stream(e, a, pointer);
    else if (e->active_full && !e->part && e->code->variant.opt_level == TW_KERNEL_FULL)
        prefetch_leaps(e, a, pointer);
}

static void load_contiguous(struct jit_emit *e, const struct access *a) {
    LLVMTypeRef type = LLVMVectorType(a->element, a->count * e->lanes);
    LLVMValueRef pointer = first_pointer(e, a);
    prefetch(e, a, pointer);
    LLVMValueRef all = load_vector(e, a, pointer, type);
    for (unsigned i = 0; i < a->count && i < a->inst->dst_count; i++) {
        unsigned indices[JIT_MAX_LANES];
        for (unsigned lane = 0; lane < e->lanes; lane++)
            indices[lane] = lane * a->count + i;
        LLVMValueRef value = a->count == 1 ? all : jit_shuffle(e, all, NULL, indices, e->lanes);
        jit_write(e, a->inst, i, value, (struct jit_shape){.kind = JIT_VARYING});
    }
}

LLVMValueRef jit_gather(struct jit_emit *e, LLVMTypeRef type, LLVMValueRef pointers) {
    LLVMTypeRef overloads[2] = {type, LLVMTypeOf(pointers)};
    LLVMValueRef args[3] = {pointers, e->active, LLVMConstNull(type)};
    return masked_call(e, "llvm.masked.gather", overloads, args, 3, 0);
}

static struct jit_places places_of(struct jit_emit *e, const struct tw_kir_inst *inst) {
    struct jit_places places;
    return jit_indexed(e, inst, &places) ? places : (struct jit_places){.base = pointer_of(e, inst, true)};
}

static void load_gather(struct jit_emit *e, const struct access *a) {
    if (jit_load_groups(e, a->inst))
        return;
    struct jit_places places = places_of(e, a->inst);
    LLVMTypeRef type = jit_vec(e, a->element);
    for (unsigned i = 0; i < a->count && i < a->inst->dst_count; i++) {
        if (a->inst->dst[i] == TW_KIR_NO_REG)
            continue;
        LLVMValueRef value = jit_gather(e, type, jit_places_at(e, &places, (uint64_t)i * a->bytes));
        jit_write(e, a->inst, i, value, (struct jit_shape){.kind = JIT_VARYING});
    }
}

// All lanes store to one place: the last active one wins.
static void store_uniform(struct jit_emit *e, const struct access *a) {
    LLVMBasicBlockRef on = begin_some(e);
    LLVMValueRef pointer = pointer_of(e, a->inst, false), last = NULL;
    for (unsigned i = 0; i < a->count && i + 1 < a->inst->src_count; i++) {
        const struct tw_kir_operand *operand = &a->inst->src[i + 1];
        bool varies = jit_operand_varies(e, operand);
        LLVMValueRef value = jit_read(e, operand, a->bytes * 8, varies);
        if (varies && !last) {
            LLVMValueRef bits = jit_mask_bits(e, e->active);
            LLVMTypeRef type = LLVMTypeOf(bits);
            LLVMValueRef args[2] = {bits, LLVMConstNull(jit_int(e, 1))};
            LLVMValueRef zeros = jit_intrinsic(e, "llvm.ctlz", &type, 1, args, 2);
            last = LLVMBuildSub(e->b, jit_const(type, e->lanes - 1), zeros, "");
            last = LLVMBuildAnd(e->b, last, jit_const(type, e->lanes - 1), "");
        }
        if (varies)
            value = LLVMBuildExtractElement(e->b, value, last, "");
        set_order(e, a, LLVMBuildStore(e->b, value, step(e, pointer, (uint64_t)i * a->bytes)));
    }
    end_some(e, on);
}

// Elements of all lanes side by side: concatenated in pairs, then mixed.
static LLVMValueRef interleave(struct jit_emit *e, const struct access *a) {
    LLVMValueRef part[4];
    unsigned indices[4 * JIT_MAX_LANES], n = e->lanes;
    for (unsigned i = 0; i < a->count; i++)
        part[i] = jit_read(e, &a->inst->src[i + 1], a->bytes * 8, true);
    for (unsigned left = a->count; left > 1; left /= 2, n *= 2) {
        for (unsigned k = 0; k < 2 * n; k++)
            indices[k] = k;
        for (unsigned i = 0; i < left / 2; i++)
            part[i] = jit_shuffle(e, part[2 * i], part[2 * i + 1], indices, 2 * n);
    }
    for (unsigned k = 0; k < n; k++)
        indices[k] = (k % a->count) * e->lanes + k / a->count;
    return a->count == 1 ? part[0] : jit_shuffle(e, part[0], NULL, indices, n);
}

static void store_masked(struct jit_emit *e, LLVMValueRef value, LLVMValueRef pointer, LLVMValueRef mask) {
    LLVMTypeRef overloads[2] = {LLVMTypeOf(value), LLVMTypeOf(pointer)};
    LLVMValueRef args[3] = {value, pointer, mask};
    (void)masked_call(e, "llvm.masked.store", overloads, args, 3, 1);
}

static void store_pieces(struct jit_emit *e, const struct access *a, LLVMValueRef value,
                         LLVMValueRef pointer) {
    unsigned count = PIECE_LANES * a->count;
    LLVMValueRef mask = repeat_mask(e, a->count);
    for (unsigned k = 0; k < e->lanes / PIECE_LANES; k++) {
        LLVMBasicBlockRef on = begin_piece(e, k);
        store_masked(e, piece(e, value, k, count), step(e, pointer, (uint64_t)k * count * a->bytes),
                     piece(e, mask, k, count));
        end_some(e, on);
    }
}

static void store_contiguous(struct jit_emit *e, const struct access *a) {
    LLVMValueRef pointer = first_pointer(e, a), value = interleave(e, a);
    if (in_order(e, a))
        store_in_order(e, a, value, pointer);
    else if (e->active_full)
        LLVMSetAlignment(LLVMBuildStore(e->b, value, pointer), 1);
    else if (e->lanes > PIECE_LANES)
        store_pieces(e, a, value, pointer);
    else
        store_masked(e, value, pointer, repeat_mask(e, a->count));
}

static void store_scatter(struct jit_emit *e, const struct access *a) {
    if (jit_can_store_groups(e, a->inst)) {
        jit_store_groups(e, a->inst, interleave(e, a));
        return;
    }
    if (jit_store_runs(e, a->inst))
        return;
    struct jit_places places = places_of(e, a->inst);
    for (unsigned i = 0; i < a->count && i + 1 < a->inst->src_count; i++) {
        LLVMValueRef value = jit_read(e, &a->inst->src[i + 1], a->bytes * 8, true),
                     pointers = jit_places_at(e, &places, (uint64_t)i * a->bytes);
        LLVMTypeRef overloads[2] = {LLVMTypeOf(value), LLVMTypeOf(pointers)};
        LLVMValueRef args[3] = {value, pointers, e->active};
        (void)masked_call(e, "llvm.masked.scatter", overloads, args, 3, 1);
    }
}

// Four bytes of a lane that begin `at` bytes into its copy: those beyond its source size are zeros.
static LLVMValueRef cut(struct jit_emit *e, LLVMValueRef value, LLVMValueRef size, uint32_t at) {
    LLVMTypeRef type = LLVMTypeOf(value);
    LLVMValueRef left = LLVMBuildSub(e->b, size, jit_const(type, at), ""), three = jit_const(type, 3),
                 shift = LLVMBuildShl(e->b, LLVMBuildAnd(e->b, left, three, ""), three, ""),
                 some = LLVMBuildNot(e->b, LLVMBuildShl(e->b, LLVMConstAllOnes(type), shift, ""), ""),
                 whole = LLVMBuildICmp(e->b, LLVMIntUGT, left, three, "");
    return LLVMBuildAnd(e->b, value, LLVMBuildSelect(e->b, whole, LLVMConstAllOnes(type), some, ""), "");
}

// Four bytes after four, at once; those beyond the source size are zeros.
static bool copy_async(struct jit_emit *e, const struct tw_kir_inst *inst) {
    LLVMValueRef to = jit_pointer(e, jit_read(e, &inst->src[0], 64, true));
    LLVMValueRef from = jit_pointer(e, jit_read(e, &inst->src[1], 64, true));
    LLVMTypeRef type = jit_vec(e, jit_int(e, 32)), overloads[2] = {type, LLVMTypeOf(from)};
    LLVMValueRef size = inst->src_count > 2 ? jit_read(e, &inst->src[2], 32, true) : NULL;
    for (uint32_t at = 0; at < inst->vec; at += 4) {
        LLVMValueRef wanted = e->active;
        if (size)
            wanted = LLVMBuildAnd(e->b, wanted,
                                  LLVMBuildICmp(e->b, LLVMIntUGT, size, jit_const(type, at), ""), "");
        LLVMValueRef load[3] = {step(e, from, at), wanted, LLVMConstNull(type)};
        LLVMValueRef value = masked_call(e, "llvm.masked.gather", overloads, load, 3, 0);
        if (size)
            value = cut(e, value, size, at);
        LLVMValueRef store[3] = {value, step(e, to, at), e->active};
        (void)masked_call(e, "llvm.masked.scatter", overloads, store, 3, 1);
    }
    return true;
}

bool jit_emit_memory(struct jit_emit *e, const struct tw_kir_inst *inst) {
    if (inst->op == TW_KIR_CPASYNC)
        return copy_async(e, inst);
    if (inst->vec > 4)
        return jit_refuse(e->err, inst, "is not supported on the CPU device");
    struct access a = describe(e, inst);
    if ((inst->order != TW_KIR_WEAK || inst->mods & TW_KIR_VOLATILE) && !jit_is_uniform(a.shape))
        LLVMBuildFence(e->b, LLVMAtomicOrderingSequentiallyConsistent, true,
                       ""); // LLVM must not keep what was read before
    if (jit_store_few(e, inst))
        return true;
    bool load = inst->op == TW_KIR_LD;
    bool contiguous =
        a.shape.kind == JIT_AFFINE && a.shape.stride == (int64_t)(a.count * a.bytes) && a.bytes <= 8;
    if (jit_is_uniform(a.shape))
        (load ? load_uniform : store_uniform)(e, &a);
    else if (contiguous)
        (load ? load_contiguous : store_contiguous)(e, &a);
    else
        (load ? load_gather : store_scatter)(e, &a);
    return true;
}
