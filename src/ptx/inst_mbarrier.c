// SPDX-License-Identifier: Apache-2.0
//
// Barriers that are objects in shared memory: mbarrier, and the arrival of finished copies at one.

#include "internal.h"

static bool barrier_address(struct ptx_parser *parser, const struct ptx_inst *inst,
                            struct tw_kir_operand *ret_base, int64_t *ret_offset) {
    struct ptx_address address;
    if (ptx_has(inst, PTX_G_SPACE) && inst->values[PTX_G_SPACE] != TW_KIR_SHARED)
        return ptx_fail(parser, &inst->token, "'%.*s': these barriers lie in .shared memory",
                        TW_STR_ARG(inst->name));
    return ptx_address(parser, &address) && ptx_address_source(parser, &address, ret_base, ret_offset);
}

static struct tw_kir_inst *emit(struct ptx_parser *parser, const struct ptx_inst *inst, uint8_t mode,
                                unsigned results, unsigned sources) {
    struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_MBARRIER, TW_KIR_B64, results, sources);
    if (to) {
        to->mode = mode;
        to->space = ptx_has(inst, PTX_G_SPACE) ? TW_KIR_SHARED : TW_KIR_GENERIC;
    }
    return to;
}

// mbarrier.init [a], count; mbarrier.inval [a]
static bool set_up(struct ptx_parser *parser, const struct ptx_inst *inst, bool makes) {
    struct tw_kir_operand sources[2];
    struct ptx_operand count;
    int64_t offset;
    if (!barrier_address(parser, inst, &sources[0], &offset))
        return false;
    if (makes && (!ptx_expect(parser, ',') || !ptx_operand(parser, &count) ||
                  !ptx_source(parser, &count.items[0], TW_KIR_U32, &sources[1])))
        return false;
    struct tw_kir_inst *to =
        emit(parser, inst, makes ? TW_KIR_MBARRIER_INIT : TW_KIR_MBARRIER_INVAL, 0, makes ? 2 : 1);
    if (!to)
        return false;
    to->offset = offset;
    memcpy(to->src, sources, to->src_count * sizeof *sources);
    return true;
}

// mbarrier.arrive[_drop][.noComplete] state, [a] [, count]
static bool arrive(struct ptx_parser *parser, struct ptx_inst *inst, bool drops) {
    struct tw_kir_operand sources[2] = {{}, tw_kir_imm_operand(1)};
    struct ptx_operand count;
    uint32_t target;
    int64_t offset;
    bool counts, stays = ptx_has(inst, PTX_G_NOCOMPLETE);
    if (!ptx_results(parser, inst, 1) || !ptx_target(parser, &inst->dst[0].items[0], TW_KIR_B64, &target) ||
        !barrier_address(parser, inst, &sources[0], &offset) || !ptx_accept(parser, ',', &counts))
        return false;
    if (counts &&
        (!ptx_operand(parser, &count) || !ptx_source(parser, &count.items[0], TW_KIR_U32, &sources[1])))
        return false;
    if (stays && !counts)
        return ptx_fail(parser, &inst->token, "'%.*s' needs a count", TW_STR_ARG(inst->name));
    uint8_t mode = drops ? TW_KIR_MBARRIER_DROP : TW_KIR_MBARRIER_ARRIVE;
    struct tw_kir_inst *to = emit(parser, inst, (uint8_t)(mode + stays), 1, 2);
    if (!to)
        return false;
    to->offset = offset;
    to->dst[0] = target;
    memcpy(to->src, sources, sizeof sources);
    return true;
}

// mbarrier.test_wait p, [a], state; .parity p, [a], parity; try_wait may name a time to wait at most, which is as long
// as a test takes here.
static bool test(struct ptx_parser *parser, struct ptx_inst *inst, bool hinted) {
    bool parity = ptx_has(inst, PTX_G_PARITY), more = false;
    struct tw_kir_operand sources[2];
    struct ptx_operand hint;
    uint32_t target;
    int64_t offset;
    if (!ptx_results(parser, inst, 1) || !ptx_target(parser, &inst->dst[0].items[0], TW_KIR_PRED, &target) ||
        !barrier_address(parser, inst, &sources[0], &offset) || !ptx_expect(parser, ',') ||
        !ptx_operands(parser, inst, 1, 1) ||
        !ptx_source(parser, &inst->src[0].items[0], parity ? TW_KIR_U32 : TW_KIR_B64, &sources[1]) ||
        (hinted && !ptx_accept(parser, ',', &more)) || (more && !ptx_operand(parser, &hint)))
        return false;
    struct tw_kir_inst *to =
        emit(parser, inst, parity ? TW_KIR_MBARRIER_TEST_PARITY : TW_KIR_MBARRIER_TEST, 1, 2);
    if (!to)
        return false;
    to->offset = offset;
    to->dst[0] = target;
    memcpy(to->src, sources, sizeof sources);
    return true;
}

// mbarrier.pending_count n, state
static bool pending(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct tw_kir_operand state;
    uint32_t target;
    if (!ptx_results(parser, inst, 1) || !ptx_target(parser, &inst->dst[0].items[0], TW_KIR_U32, &target) ||
        !ptx_operands(parser, inst, 1, 1) || !ptx_source(parser, &inst->src[0].items[0], TW_KIR_B64, &state))
        return false;
    struct tw_kir_inst *to = emit(parser, inst, TW_KIR_MBARRIER_PENDING, 1, 1);
    if (!to)
        return false;
    to->dst[0] = target;
    to->src[0] = state;
    return true;
}

bool ptx_lower_mbarrier(struct ptx_parser *parser, struct ptx_inst *inst) {
    uint8_t kind = inst->values[PTX_G_KIND];
    bool arrives = kind == PTX_MBARRIER_ARRIVE || kind == PTX_MBARRIER_DROP,
         tests = kind == PTX_MBARRIER_TEST || kind == PTX_MBARRIER_TRY;
    if ((ptx_has(inst, PTX_G_NOCOMPLETE) && (!arrives || inst->values[PTX_G_NOCOMPLETE])) ||
        (ptx_has(inst, PTX_G_PARITY) && !tests))
        return ptx_fail(parser, &inst->token, "'%.*s' has modifiers that do not go together",
                        TW_STR_ARG(inst->name));
    if (arrives)
        return arrive(parser, inst, kind == PTX_MBARRIER_DROP);
    if (tests)
        return test(parser, inst, kind == PTX_MBARRIER_TRY);
    return kind == PTX_MBARRIER_PENDING ? pending(parser, inst)
                                        : set_up(parser, inst, kind == PTX_MBARRIER_INIT);
}

// cp.async.mbarrier.arrive[.noinc] [a]: copies are done at once, so it is an arrival; without .noinc the count of
// those that are missing goes up by one first, and nothing changes.
bool ptx_copies_arrive(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct tw_kir_operand base;
    int64_t offset;
    if (!ptx_has(inst, PTX_G_KIND) || inst->values[PTX_G_KIND] != PTX_MBARRIER_ARRIVE ||
        inst->type != TW_KIR_B64)
        return ptx_refuse(parser, &inst->token, "'%.*s' is not supported: cp.async.mbarrier.arrive.b64 is",
                          TW_STR_ARG(inst->name));
    if (ptx_has(inst, PTX_G_CPDST))
        inst->has |= PTX_BIT(SPACE);
    inst->values[PTX_G_SPACE] = TW_KIR_SHARED;
    if (!barrier_address(parser, inst, &base, &offset))
        return false;
    if (!ptx_has(inst, PTX_G_NOCOMPLETE))
        return true;
    struct tw_kir_inst *to = emit(parser, inst, TW_KIR_MBARRIER_ARRIVE, 1, 2);
    if (!to)
        return false;
    to->offset = offset;
    to->dst[0] = TW_KIR_NO_REG;
    to->src[0] = base;
    to->src[1] = tw_kir_imm_operand(1);
    return true;
}
