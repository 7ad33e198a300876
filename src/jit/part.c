// SPDX-License-Identifier: Apache-2.0
//
// Some lanes of a long vector: while `e->part` says which, what is read and written is theirs alone, and the emitter's `lanes` is
// how many they are. Operations lane by lane are then emitted for them as they are for all.

#include "emit.h"

unsigned jit_part_lane(const struct jit_emit *e, unsigned k) {
    return e->part ? e->part->lanes->at[k] : k;
}

// The place of a lane among those that are kept; of one that is not, and that nobody wants, any: where it is wanted, so that what
// stays in its place needs no shuffle.
static unsigned place_of(const struct jit_lanes *kept, unsigned lane, unsigned wanted_at) {
    for (unsigned k = 0; kept && k < kept->count; k++)
        if (kept->at[k] == lane)
            return k;
    return !kept ? lane : wanted_at < kept->count ? wanted_at : 0;
}

LLVMValueRef jit_part_pick(struct jit_emit *e, uint32_t reg, const struct jit_lanes *lanes) {
    const struct jit_lanes *kept = e->few[reg];
    LLVMValueRef value = jit_reg_get(e, reg);
    unsigned indices[JIT_MAX_LANES];
    bool same = LLVMGetVectorSize(LLVMTypeOf(value)) == lanes->count;
    for (unsigned k = 0; k < lanes->count; k++) {
        indices[k] = place_of(kept, lanes->at[k], k);
        same &= indices[k] == k;
    }
    return same ? value : jit_shuffle(e, value, NULL, indices, lanes->count);
}

// The part's own slot. NULL: it has none for this register.
static LLVMValueRef own_slot(const struct jit_emit *e, uint32_t reg) {
    return e->part && e->part->slots ? e->part->slots[reg] : NULL;
}

LLVMValueRef jit_part_load(struct jit_emit *e, uint32_t reg) {
    LLVMValueRef slot = own_slot(e, reg);
    if (slot)
        return LLVMBuildLoad2(e->b, LLVMGetAllocatedType(slot), slot, "");
    if ((!e->part && !e->few[reg]) || jit_form_of(e->code, e->code->shapes[reg]) != JIT_LANES)
        return jit_reg_get(e, reg);
    struct jit_lanes lanes = {.count = e->lanes};
    for (unsigned k = 0; k < e->lanes; k++)
        lanes.at[k] = (uint16_t)jit_part_lane(e, k);
    return jit_part_pick(e, reg, &lanes);
}

void jit_part_store(struct jit_emit *e, uint32_t reg, LLVMValueRef value) {
    LLVMValueRef slot = own_slot(e, reg);
    if (slot)
        LLVMBuildStore(e->b, value, slot);
    else
        jit_reg_set(e, reg, value);
}
