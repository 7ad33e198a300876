// SPDX-License-Identifier: Apache-2.0
//
// Loads and stores whose lanes lie side by side, or all at one place, within each group of lanes (a row of a
// narrow block; shape_group.c): one access a group in place of a gather. Only where all lanes take part: what
// is known of a group is not known of lanes that are not there.

#include "emit.h"

enum { GROUPS_MAX = 32, RUN_MIN = 4 };

// Confined: one access.
struct grouped {
    struct jit_emit *e;
    struct jit_shape shape;
    LLVMTypeRef element;
    unsigned count, bytes; // elements a lane, bytes an element
    unsigned lanes;        // a group
    unsigned groups;       // that differ: 1 when all are at one place
    LLVMValueRef addresses;
};

static bool describe(struct jit_emit *e, const struct tw_kir_inst *inst, struct grouped *ret) {
    struct jit_shape s = jit_operand_shape(e->code, &inst->src[0], 64);
    unsigned bits = tw_kir_type_bits(inst->type), count = inst->vec ? inst->vec : 1;
    bool plain = inst->order == TW_KIR_WEAK && !(inst->mods & TW_KIR_VOLATILE);
    if (!e->active_full || !plain || s.kind != JIT_VARYING || s.group == 0 || bits < 8 || bits > 64 ||
        (s.stride != 0 && s.stride != (int64_t)(count * bits / 8)) || e->lanes >> s.group > GROUPS_MAX)
        return false;
    bool one = s.known && s.across == 0;
    *ret = (struct grouped){.e = e,
                            .shape = s,
                            .element = jit_int(e, bits),
                            .count = count,
                            .bytes = bits / 8,
                            .lanes = 1U << s.group,
                            .groups = one ? 1 : e->lanes >> s.group};
    return true;
}

// The address of each group's first lane.
static LLVMValueRef addresses_of(struct jit_emit *e, const struct tw_kir_inst *inst, struct jit_shape shape) {
    shape.compact = true;
    shape.known = false;
    return jit_firsts(e, &inst->src[0], 64, shape);
}

// Groups at known distances need one address between them.
static LLVMValueRef pointer_of(const struct grouped *g, const struct tw_kir_inst *inst, unsigned group) {
    struct jit_emit *e = g->e;
    bool fixed =
        g->shape.known && g->shape.across >= 0 && g->shape.across <= TW_KERNEL_OFFSET_MAX / GROUPS_MAX;
    unsigned from = fixed ? 0 : group;
    LLVMValueRef address = jit_is_vector(g->addresses)
                               ? LLVMBuildExtractElement(e->b, g->addresses, jit_i32(e, from), "")
                               : g->addresses;
    LLVMValueRef pointer = jit_pointer_at(e, address, inst->offset);
    LLVMValueRef at = jit_i64(e, fixed ? group * (uint64_t)g->shape.across : 0);
    return fixed && group ? LLVMBuildGEP2(e->b, jit_int(e, 8), pointer, &at, 1, "") : pointer;
}

static LLVMValueRef load(const struct grouped *g, LLVMTypeRef type, LLVMValueRef pointer) {
    LLVMValueRef value = LLVMBuildLoad2(g->e->b, type, pointer, "");
    LLVMSetAlignment(value, 1);
    return value;
}

// Element `index` of every lane out of `all`, where lane's elements begin at `at[lane]`.
static LLVMValueRef pick(const struct grouped *g, LLVMValueRef all, const unsigned *at, unsigned index) {
    unsigned indices[JIT_MAX_LANES];
    for (unsigned lane = 0; lane < g->e->lanes; lane++)
        indices[lane] = at[lane] + index;
    return jit_shuffle(g->e, all, NULL, indices, g->e->lanes);
}

// Lanes side by side in each group, or groups side by side.
static void load_rows(const struct grouped *g, const struct tw_kir_inst *inst) {
    struct jit_emit *e = g->e;
    LLVMValueRef parts[GROUPS_MAX];
    unsigned at[JIT_MAX_LANES], steps = g->shape.stride == 0 ? g->groups : g->lanes;
    unsigned loads = g->shape.stride == 0 ? 1 : g->groups;
    LLVMTypeRef type = LLVMVectorType(g->element, steps * g->count);
    for (unsigned i = 0; i < loads; i++)
        parts[i] = load(g, type, pointer_of(g, inst, i));
    LLVMValueRef all = jit_concatenate(e, parts, loads, steps * g->count);
    for (unsigned lane = 0; lane < e->lanes; lane++) {
        unsigned group = lane / g->lanes % g->groups, in_group = lane % g->lanes;
        at[lane] = (g->shape.stride == 0 ? group : group * g->lanes + in_group) * g->count;
    }
    for (unsigned i = 0; i < inst->dst_count; i++)
        jit_write(e, inst, i, pick(g, all, at, i), (struct jit_shape){.kind = JIT_VARYING});
}

// One place a group, anywhere.
static void load_splats(const struct grouped *g, const struct tw_kir_inst *inst) {
    struct jit_emit *e = g->e;
    LLVMValueRef pointers[GROUPS_MAX], parts[GROUPS_MAX];
    for (unsigned k = 0; k < g->groups; k++)
        pointers[k] = pointer_of(g, inst, k);
    for (unsigned i = 0; i < inst->dst_count; i++) {
        LLVMValueRef at = jit_i64(e, (uint64_t)i * g->bytes);
        unsigned lanes = g->groups == 1 ? e->lanes : g->lanes;
        for (unsigned k = 0; k < g->groups; k++) {
            LLVMValueRef pointer = LLVMBuildGEP2(e->b, jit_int(e, 8), pointers[k], &at, 1, "");
            parts[k] = jit_splat_n(e, load(g, g->element, pointer), lanes);
        }
        jit_write(e, inst, i, jit_concatenate(e, parts, g->groups, lanes),
                  (struct jit_shape){.kind = JIT_VARYING});
    }
}

bool jit_load_groups(struct jit_emit *e, const struct tw_kir_inst *inst) {
    struct grouped g;
    if (!describe(e, inst, &g))
        return false;
    g.addresses = addresses_of(e, inst, g.shape);
    bool dense = g.shape.known && g.shape.across == (int64_t)(g.count * g.bytes);
    (g.shape.stride != 0 || dense ? load_rows : load_splats)(&g, inst);
    return true;
}

bool jit_can_store_groups(struct jit_emit *e, const struct tw_kir_inst *inst) {
    struct grouped g;
    return describe(e, inst, &g) && g.shape.stride != 0;
}

// Lanes at places that are known from each other's, in another order than theirs (a tile that is stored by columns):
// `ret_lanes` in the order of their places. The length of the shortest stretch that they fill; 0: two are at one
// place, or they are not known.
static unsigned sort_lanes(struct jit_emit *e, const struct tw_kir_inst *inst, uint64_t *ret_places,
                           unsigned *ret_lanes) {
    struct jit_shape s = jit_operand_shape(e->code, &inst->src[0], 64);
    unsigned bytes = tw_kir_type_bits(inst->type) / 8, least = e->lanes, run = 1;
    bool plain = inst->order == TW_KIR_WEAK && !(inst->mods & TW_KIR_VOLATILE);
    if (!e->active_full || !plain || inst->vec > 1 || jit_form_of(e->code, s) != JIT_ONE)
        return 0;
    for (unsigned lane = 0; lane < e->lanes; lane++) {
        unsigned k = lane;
        uint64_t place = jit_above(e, s, lane);
        for (; k > 0 && ret_places[k - 1] > place; k--) {
            ret_places[k] = ret_places[k - 1];
            ret_lanes[k] = ret_lanes[k - 1];
        }
        ret_places[k] = place;
        ret_lanes[k] = lane;
    }
    for (unsigned k = 1; k <= e->lanes; k++, run++) {
        if (k < e->lanes && ret_places[k] == ret_places[k - 1] + bytes)
            continue;
        if (k < e->lanes && ret_places[k] == ret_places[k - 1])
            return 0;
        least = run < least ? run : least;
        run = 0;
    }
    return ret_places[e->lanes - 1] <= TW_KERNEL_OFFSET_MAX ? least : 0;
}

bool jit_store_runs(struct jit_emit *e, const struct tw_kir_inst *inst) {
    uint64_t places[JIT_MAX_LANES];
    unsigned lanes[JIT_MAX_LANES], run = sort_lanes(e, inst, places, lanes),
                                   bits = tw_kir_type_bits(inst->type);
    while (run & (run - 1))
        run &= run - 1;
    if (run < RUN_MIN)
        return false;
    LLVMValueRef value = jit_shuffle(e, jit_read(e, &inst->src[1], bits, true), NULL, lanes, e->lanes);
    LLVMValueRef first = jit_firsts(e, &inst->src[0], 64, (struct jit_shape){.kind = JIT_AFFINE});
    LLVMValueRef pointer = jit_pointer_at(e, first, inst->offset);
    for (unsigned k = 0; k < e->lanes; k += run) {
        unsigned indices[JIT_MAX_LANES];
        for (unsigned i = 0; i < run; i++)
            indices[i] = k + i;
        LLVMValueRef part = jit_shuffle(e, value, NULL, indices, run);
        LLVMValueRef to = jit_offset_pointer(e, pointer, jit_i64(e, places[k]));
        LLVMSetAlignment(LLVMBuildStore(e->b, part, to), 1);
    }
    return true;
}

void jit_store_groups(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef value) {
    struct grouped g;
    unsigned indices[4 * JIT_MAX_LANES];
    if (!describe(e, inst, &g))
        return;
    g.addresses = addresses_of(e, inst, g.shape);
    unsigned width = g.lanes * g.count, groups = e->lanes / g.lanes; // where they meet the last one wins
    for (unsigned k = 0; k < groups; k++) {
        for (unsigned i = 0; i < width; i++)
            indices[i] = k * width + i;
        LLVMValueRef part = jit_shuffle(e, value, NULL, indices, width);
        LLVMSetAlignment(LLVMBuildStore(e->b, part, pointer_of(&g, inst, k)), 1);
    }
}
