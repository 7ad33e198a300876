// SPDX-License-Identifier: Apache-2.0
//
// Threads together: barriers of the block, and shuffles, votes, matches and reductions of the warp.

#include "internal.h"

static bool u32_sources(struct ptx_parser *parser, const struct ptx_inst *inst, unsigned count,
                        struct tw_kir_operand *ret_sources) {
    for (unsigned i = 0; i < count; i++)
        if (!ptx_source(parser, &inst->src[i].items[0], TW_KIR_U32, &ret_sources[i]))
            return false;
    return true;
}

// Which barrier, and of how many threads. The hardware has 16 and counts whole warps: constants beyond are refused, as
// NVIDIA's assembler does. What is in a register is undefined there; here the number's low four bits count.
static bool barrier_sources(struct ptx_parser *parser, const struct ptx_inst *inst, unsigned count,
                            struct tw_kir_operand *ret_sources) {
    bool arrives = inst->values[PTX_G_BAR] == PTX_BAR_ARRIVE;
    if (!u32_sources(parser, inst, count, ret_sources))
        return false;
    if (ret_sources[0].is_imm && ret_sources[0].bits >= PTX_BARRIERS)
        return ptx_fail(parser, &inst->src[0].items[0].token,
                        "'%.*s': there is no barrier %" PRIu32 ": their numbers go from 0 to %d",
                        TW_STR_ARG(inst->name), (uint32_t)ret_sources[0].bits, PTX_BARRIERS - 1);
    if (count < 2 || !ret_sources[1].is_imm)
        return true;
    uint32_t threads = (uint32_t)ret_sources[1].bits;
    if (threads % PTX_WARP_THREADS || (arrives && threads == 0))
        return ptx_fail(parser, &inst->src[1].items[0].token,
                        "'%.*s': a barrier of %" PRIu32
                        " threads is not possible: whole warps come to it, so it "
                        "takes a multiple of %d%s",
                        TW_STR_ARG(inst->name), threads, PTX_WARP_THREADS, arrives ? " above 0" : "");
    return true;
}

// bar.warp.sync mask
static bool warp_sync(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct tw_kir_operand members;
    if (!ptx_operands(parser, inst, 1, 1) || !u32_sources(parser, inst, 1, &members))
        return false;
    struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_WARPSYNC, TW_KIR_U32, 0, 1);
    if (!to)
        return false;
    to->src[0] = members;
    return true;
}

// bar.red.OP d, id [, count], [!]p
static bool reduction(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct tw_kir_operand sources[3];
    uint32_t target;
    uint8_t mode = inst->values[PTX_G_REDUCE];
    bool counts = mode == TW_KIR_RED_POPC;
    if (!ptx_has(inst, PTX_G_REDUCE) || (!counts && mode != TW_KIR_RED_AND && mode != TW_KIR_RED_OR))
        return ptx_fail(parser, &inst->token, "'%.*s': a barrier reduces with .popc, .and or .or",
                        TW_STR_ARG(inst->name));
    if (!ptx_results(parser, inst, 1) || !ptx_operands(parser, inst, 2, 3))
        return false;
    unsigned count = inst->src_count;
    if (!ptx_source(parser, &inst->src[count - 1].items[0], TW_KIR_PRED, &sources[0]) ||
        !barrier_sources(parser, inst, count - 1, &sources[1]) ||
        !ptx_target(parser, &inst->dst[0].items[0], counts ? TW_KIR_U32 : TW_KIR_PRED, &target))
        return false;
    struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_BARRED, counts ? TW_KIR_U32 : TW_KIR_PRED, 1, count);
    if (!to)
        return false;
    to->mode = mode;
    to->dst[0] = target;
    memcpy(to->src, sources, count * sizeof *sources);
    return true;
}

bool ptx_lower_bar(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct tw_kir_operand sources[2];
    uint8_t kind = inst->values[PTX_G_BAR];
    if (ptx_has(inst, PTX_G_WARP))
        return kind == PTX_BAR_SYNC ? warp_sync(parser, inst)
                                    : ptx_fail(parser, &inst->token, "'bar.warp' takes '.sync' only");
    if (kind == PTX_BAR_RED)
        return reduction(parser, inst);
    bool arrives = kind == PTX_BAR_ARRIVE;
    if (ptx_has(inst, PTX_G_REDUCE) || !ptx_operands(parser, inst, arrives ? 2 : 1, 2))
        return ptx_has(inst, PTX_G_REDUCE) && ptx_fail(parser, &inst->token, "reductions need '.red'");
    if (!barrier_sources(parser, inst, inst->src_count, sources))
        return false;
    struct tw_kir_inst *to =
        ptx_emit(parser, arrives ? TW_KIR_BARARRIVE : TW_KIR_BAR, TW_KIR_U32, 0, inst->src_count);
    if (!to)
        return false;
    if (inst->row->name[3] == 0 || ptx_has(inst, PTX_G_ALIGNED)) // bar is barrier.aligned
        to->mods |= TW_KIR_ALIGNED;
    memcpy(to->src, sources, inst->src_count * sizeof *sources);
    return true;
}

// The mask of lanes that take part: the last operand of .sync forms, else all.
static bool members(struct ptx_parser *parser, const struct ptx_inst *inst, unsigned index,
                    struct tw_kir_operand *ret_members) {
    if (!ptx_has(inst, PTX_G_SYNC)) {
        *ret_members = tw_kir_imm_operand(UINT32_MAX);
        return true;
    }
    return ptx_source(parser, &inst->src[index].items[0], TW_KIR_U32, ret_members);
}

bool ptx_lower_shfl(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct tw_kir_operand sources[4];
    uint32_t targets[2];
    unsigned count = ptx_has(inst, PTX_G_SYNC) ? 4 : 3;
    if (!ptx_results(parser, inst, 2) || !ptx_operands(parser, inst, count, count) ||
        !u32_sources(parser, inst, 3, sources) || !members(parser, inst, 3, &sources[3]) ||
        !ptx_target(parser, &inst->dst[0].items[0], TW_KIR_B32, &targets[0]) ||
        (inst->dst_count == 2 && !ptx_target(parser, &inst->dst[1].items[0], TW_KIR_PRED, &targets[1])))
        return false;
    struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_SHFL, TW_KIR_B32, inst->dst_count, 4);
    if (!to)
        return false;
    to->mode = inst->values[PTX_G_SHFL];
    memcpy(to->dst, targets, inst->dst_count * sizeof *targets);
    memcpy(to->src, sources, sizeof sources);
    return true;
}

bool ptx_lower_vote(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct tw_kir_operand sources[2];
    uint32_t target;
    unsigned count = ptx_has(inst, PTX_G_SYNC) ? 2 : 1;
    bool ballot = inst->values[PTX_G_VOTE] == TW_KIR_VOTE_BALLOT;
    if (ballot != (inst->type == TW_KIR_B32))
        return ptx_fail(parser, &inst->token, "'%.*s': ballots are .b32, other votes .pred",
                        TW_STR_ARG(inst->name));
    if (!ptx_results(parser, inst, 1) || !ptx_operands(parser, inst, count, count) ||
        !ptx_source(parser, &inst->src[0].items[0], TW_KIR_PRED, &sources[0]) ||
        !members(parser, inst, 1, &sources[1]) ||
        !ptx_target(parser, &inst->dst[0].items[0], inst->type, &target))
        return false;
    struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_VOTE, inst->type, 1, 2);
    if (!to)
        return false;
    to->mode = inst->values[PTX_G_VOTE];
    to->dst[0] = target;
    memcpy(to->src, sources, sizeof sources);
    return true;
}

bool ptx_lower_match(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct tw_kir_operand sources[2];
    uint32_t targets[2];
    bool all = inst->values[PTX_G_MATCH] != 0;
    if (!ptx_results(parser, inst, all ? 2 : 1) || !ptx_operands(parser, inst, 2, 2) ||
        !ptx_source(parser, &inst->src[0].items[0], inst->type, &sources[0]) ||
        !ptx_source(parser, &inst->src[1].items[0], TW_KIR_U32, &sources[1]) ||
        !ptx_target(parser, &inst->dst[0].items[0], TW_KIR_B32, &targets[0]) ||
        (inst->dst_count == 2 && !ptx_target(parser, &inst->dst[1].items[0], TW_KIR_PRED, &targets[1])))
        return false;
    struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_MATCH, inst->type, inst->dst_count, 2);
    if (!to)
        return false;
    to->mode = all;
    memcpy(to->dst, targets, inst->dst_count * sizeof *targets);
    memcpy(to->src, sources, sizeof sources);
    return true;
}

bool ptx_lower_redux(struct ptx_parser *parser, struct ptx_inst *inst) {
    uint8_t mode = inst->values[PTX_G_REDUCE];
    bool logic = mode >= TW_KIR_RED_AND && mode <= TW_KIR_RED_XOR;
    if (mode == TW_KIR_RED_POPC || logic != (inst->type == TW_KIR_B32))
        return ptx_fail(parser, &inst->token,
                        "'%.*s': .and .or .xor are .b32, .add .min .max are .u32 or .s32",
                        TW_STR_ARG(inst->name));
    if (!ptx_lower_plain(parser, inst))
        return false;
    struct tw_kir_block *block = &ptx_current(parser)->blocks[parser->block];
    block->insts[block->count - 1].mode = mode;
    return true;
}

bool ptx_lower_activemask(struct ptx_parser *parser, struct ptx_inst *inst) {
    uint32_t target;
    if (!ptx_operand(parser, &inst->dst[0]) ||
        !ptx_target(parser, &inst->dst[0].items[0], TW_KIR_B32, &target))
        return false;
    struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_ACTIVEMASK, TW_KIR_B32, 1, 0);
    if (!to)
        return false;
    to->dst[0] = target;
    return true;
}

bool ptx_lower_elect(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct tw_kir_operand source;
    uint32_t targets[2];
    if (!ptx_results(parser, inst, 2) || !ptx_operands(parser, inst, 1, 1))
        return false;
    if (inst->dst_count != 2)
        return ptx_fail(parser, &inst->token, "'elect' has two results, d|p");
    if (!u32_sources(parser, inst, 1, &source) ||
        !ptx_target(parser, &inst->dst[0].items[0], TW_KIR_B32, &targets[0]) ||
        !ptx_target(parser, &inst->dst[1].items[0], TW_KIR_PRED, &targets[1]))
        return false;
    struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_ELECT, TW_KIR_B32, 2, 1);
    if (!to)
        return false;
    memcpy(to->dst, targets, sizeof targets);
    to->src[0] = source;
    return true;
}
