// SPDX-License-Identifier: Apache-2.0
//
// The order in which a warp's lanes are taken up: its nodes are the blocks in order, and behind the last block of every
// loop its end, where lanes wait that begin another iteration. Compiled code (flow.c) and programs (lower.c) keep the same.

#include "internal.h"

bool jit_nodes_number(const struct jit_code *code, struct jit_nodes *ret_nodes, struct tw_error *err) {
    uint32_t most = code->count + code->loop_count, n = 0;
    struct jit_nodes nodes = {.block = TW_ARENA_ARRAY(code->arena, uint32_t, most),
                              .of_block = TW_ARENA_ARRAY(code->arena, uint32_t, code->count),
                              .of_end = TW_ARENA_ARRAY(code->arena, uint32_t, code->loop_count + 1)};
    if (!nodes.block || !nodes.of_block || !nodes.of_end)
        return jit_no_memory(err);
    for (uint32_t b = 0; b < code->count; b++) {
        nodes.of_block[b] = n;
        nodes.block[n++] = b;
        for (uint32_t l = code->blocks[b].loop; l != JIT_NONE && code->loops[l].last == b;
             l = code->loops[l].parent) {
            nodes.of_end[l] = n;
            nodes.block[n++] = code->loops[l].header;
        }
    }
    nodes.count = n;
    *ret_nodes = nodes;
    return true;
}

uint32_t jit_node_towards(const struct jit_code *code, const struct jit_nodes *nodes, uint32_t from,
                          uint32_t to) {
    if (to > from)
        return nodes->of_block[to];
    return nodes->of_end[code->blocks[to].loop]; // a header: its loop is the one it begins
}
