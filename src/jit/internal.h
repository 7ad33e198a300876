// SPDX-License-Identifier: Apache-2.0
//
// Private to jit/: the analysis of one kernel (struct jit_code), which knows nothing of LLVM. Blocks are
// renumbered so that a block's index is its position in a loop-contiguous reverse post-order; `count` stands
// for "the thread has ended". All of it lives in one arena.
#pragma once

#include "jit/jit.h"

enum {
    JIT_NONE = 0xffffffff,
    JIT_MAX_LANES = TW_KERNEL_LANES_MAX,
    JIT_MAX_BLOCKS = 8'192,  // the tables of waits are quadratic: 8 MiB at this many
    JIT_MAX_INSTS = 400'000, // LLVM needs about 5 KiB for each
    // Loops in loops: who waits where is found in time that grows with the fourth power. Compilers make less than 20.
    JIT_MAX_LOOP_DEPTH = 64,
    // Blocks times blocks at which lanes may wait for others: LLVM follows each mask through all blocks.
    JIT_MAX_WAITS = 2'000'000,
    JIT_ARENA_BYTES = 1 << 30
};

// ---- bitsets ----
static inline size_t jit_words(size_t bits) {
    return (bits + 63) / 64;
}
static inline bool jit_bit(const uint64_t *set, size_t i) {
    return set[i / 64] >> (i % 64) & 1;
}
static inline void jit_bit_set(uint64_t *set, size_t i) {
    set[i / 64] |= UINT64_C(1) << (i % 64);
}
static inline void jit_bit_clear(uint64_t *set, size_t i) {
    set[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

// ---- shapes ----
// What is known of a register's W values: nothing yet; value(lane) = base + lane × stride (stride 0: uniform)
// with base a multiple of 1 << align; or only that of every 1 << group lanes that follow one another (a row of
// the block, say): value(lane) = first(lane >> group) + (lane mod 1 << group) × stride, each first a multiple of
// 1 << align. `known`: the firsts are `across` apart. Group 0: anything. `compact`: the claim holds for lanes that
// do not take part too, as every write follows from other such registers; then only the firsts are kept (compact.c).
enum jit_shape_kind { JIT_BOTTOM, JIT_AFFINE, JIT_VARYING };
struct jit_shape {
    uint8_t kind;  // enum jit_shape_kind
    uint8_t align; // log2, at most 63
    uint8_t group; // VARYING: log2 of lanes, at most that of W
    uint8_t below; // all lanes' values are less than 1 << below, and nothing wrapped on the way; 0: not known
    bool known, compact;
    int64_t stride, across;
};

// ---- control flow ----
enum jit_term { JIT_GOTO, JIT_COND, JIT_SWITCH, JIT_BARRIER, JIT_EXIT };

struct jit_block {
    struct tw_kir_inst *insts; // borrowed from the function; without the terminator or barrier
    uint32_t count;
    enum jit_term term;
    const struct tw_kir_inst *last; // the terminator or barrier; NULL when it was made up
    struct tw_kir_operand cond;     // COND, SWITCH
    bool cond_not;
    bool divergent;  // some lanes of the warp may be elsewhere
    bool pending;    // lanes may wait here while other blocks run
    uint32_t *succs; // count is the end of the thread
    uint32_t succ_count;
    uint32_t *preds;
    uint32_t pred_count;
    uint32_t idom, ipdom; // JIT_NONE for the entry; `count` of the code for the end
    uint32_t loop;        // innermost, JIT_NONE outside
    uint32_t root;        // resume point number when a barrier leads here, else JIT_NONE
    uint64_t *live_in;    // registers
    uint64_t *waits;      // blocks where other lanes of the warp may wait while this one runs; NULL: none
    uint64_t *kept;       // registers that those lanes still want; NULL: none
    bool branched;        // its varying branch has been looked at
};

struct jit_loop {
    uint32_t header, parent, depth, last; // last: the greatest block index in it; depth 1: outermost
    uint64_t *blocks;
    bool waits; // a warp may be suspended in it (waiting.c)
};

// Where each variable lies: in the module's image, the shared window or a thread's local window.
struct jit_layout {
    uint64_t *offsets;                                // by variable
    uint64_t globals_bytes, globals_align, constants; // constants: where they begin, up to the end
    uint64_t static_shared, dynamic_offset, local_bytes;
    uint8_t *image; // NULL: all zero
    uint64_t *relocs;
    uint32_t reloc_count;
};

// Confined to one compilation.
struct jit_code {
    struct tw_arena *arena;
    const struct tw_kir_module *module;
    const struct tw_kir_function *function;
    struct tw_kernel_variant variant;
    bool exact; // nothing is speculated: the version that a warp falls back to
    struct jit_block *blocks;
    uint32_t count;
    struct jit_loop *loops;
    uint32_t loop_count;
    uint32_t *roots; // blocks that barriers lead to
    uint32_t root_count;
    struct jit_shape *shapes; // by register
    uint64_t *loud;           // registers that may hold a signalling NaN (quiet.c)
    struct jit_layout layout;
    bool turns; // warps of a block run in turn from barrier to barrier: there are several of them
    bool uses_warp_ops, uses_barriers, uses_atomics, needs_param_copy, named_barriers, prints, tells_time;
    bool reduces; // has bar.red
};

// Puts a nanosleep into loops that end when other warps have written something (waiting.c): there a warp may be
// suspended so that others run. Before the other passes.
[[nodiscard]] bool jit_find_waiting(struct jit_code *code, struct tw_kir_module *module,
                                    struct tw_error *err);
// Lets lanes that have left the waiting loop at block `header` of the function run to where they let others on (turns.c).
[[nodiscard]] bool jit_take_turns(const struct jit_code *code, struct tw_kir_module *module, uint32_t header,
                                  struct tw_error *err);
// Makes one loop of that at block `*header` and those in it that wait, if there are more than `within` (join.c): it then
// begins at another block. How many were joined.
[[nodiscard]] bool jit_join_loops(const struct jit_code *code, struct tw_kir_module *module, uint32_t *header,
                                  uint32_t within, uint32_t *ret_joined, struct tw_error *err);
uint32_t jit_loop_at(const struct jit_code *code, const struct tw_kir_block *header); // JIT_NONE: none
uint32_t jit_count_waiting(const struct jit_code *code,
                           uint32_t loop); // loops in it in which a warp may wait
// A block ends in a suspension that waits for nobody.
static inline bool jit_is_yield(const struct jit_block *b) {
    return b->term == JIT_BARRIER && b->last->op == TW_KIR_NANOSLEEP;
}
// Blocks, edges, order, dominators, loops. CUDA_MALFORMED_PTX for irreducible control flow; CUDA_QUOTA beyond
// the maxima.
[[nodiscard]] bool jit_cfg_build(struct jit_code *code, struct tw_error *err);
[[nodiscard]] bool jit_preds(struct jit_code *code, struct tw_error *err);
[[nodiscard]] bool jit_order(struct jit_code *code, struct tw_error *err); // part of it: renumbers
[[nodiscard]] bool jit_dominators(struct jit_code *code,
                                  struct tw_error *err); // idom (from any numbering with entry 0)
[[nodiscard]] bool jit_post_dominators(struct jit_code *code, struct tw_error *err);
[[nodiscard]] bool jit_loops(struct jit_code *code, struct tw_error *err);
bool jit_dominates(const struct jit_code *code, uint32_t a, uint32_t b);
bool jit_in_loop(const struct jit_code *code, uint32_t loop, uint32_t block); // JIT_NONE holds every block
[[nodiscard]] bool jit_liveness(struct jit_code *code, struct tw_error *err);
// Registers alive before instruction `at` of the block (at == count: before its terminator), into `ret_live`
// (reg_count bits).
void jit_live_at(const struct jit_code *code, uint32_t block, uint32_t at, uint64_t *ret_live);
// Shapes, divergence and waits together, to a fixpoint.
[[nodiscard]] bool jit_shapes(struct jit_code *code, struct tw_error *err);
[[nodiscard]] bool jit_divergence(struct jit_code *code, struct tw_error *err);
// The shape of result `index` of an instruction from the shapes of its sources.
struct jit_shape jit_inst_shape(const struct jit_code *code, const struct tw_kir_inst *inst, unsigned index);
struct jit_shape jit_operand_shape(const struct jit_code *code, const struct tw_kir_operand *operand,
                                   unsigned bits);
bool jit_is_integer(uint8_t type); // of at most 64 bits, no predicate
// `below` of an instruction's result (range.c).
uint8_t jit_below(const struct jit_code *code, const struct tw_kir_inst *inst);
// Widening this operand from `bits` bits cannot show that lanes wrapped.
bool jit_never_wraps(const struct jit_code *code, const struct tw_kir_operand *operand, unsigned bits,
                     bool sign);
// Integer operations with a varying source: what each group of lanes has in common (shape_group.c).
struct jit_shape jit_group_shape(const struct jit_code *code, const struct tw_kir_inst *inst, unsigned bits);
// The result is the sum of values of these shapes: an addition, or bits of the one put below those of the other.
bool jit_adds(const struct tw_kir_inst *inst, struct jit_shape a, struct jit_shape b);
// The same for operations of which only this is known: a result follows from the sources of its own lane.
struct jit_shape jit_same_shape(const struct jit_code *code, const struct tw_kir_inst *inst);
// An operation that may be done on the first lanes of groups in place of all lanes.
bool jit_may_compact(const struct tw_kir_inst *inst);
// As much as `group` lanes have in common in a register of shape `s`.
struct jit_shape jit_regroup(const struct jit_code *code, struct jit_shape s, unsigned group);
unsigned jit_group_of(const struct jit_code *code, struct jit_shape s); // log2 of lanes
// x & (2^bits - 1) and x >> amount of an affine register, where that is not affine.
struct jit_shape jit_low_bits_shape(const struct jit_code *code, struct jit_shape a, unsigned low);
struct jit_shape jit_high_bits_shape(const struct jit_code *code, struct jit_shape a, unsigned amount,
                                     bool carries);
// The affine result holds only if the lanes do not wrap: the code checks it (jit_inst_shape said affine all
// the same).
bool jit_inst_speculates(const struct jit_code *code, const struct tw_kir_inst *inst);
// Whether a write in this block must keep the values of lanes that do not take part.
bool jit_must_blend(const struct jit_code *code, uint32_t block, const struct tw_kir_inst *inst,
                    uint32_t reg);
static inline bool jit_is_uniform(struct jit_shape s) {
    return s.kind == JIT_BOTTOM || (s.kind == JIT_AFFINE && s.stride == 0);
}
bool jit_reg_uniform(const struct jit_code *code, uint32_t reg);

// How far an address moves in a round of the innermost loop around `block` (stride.c): bytes, and `factor` times what
// `reg`, uniform and the same in all rounds, holds. Nothing: not at all, or not known.
struct jit_move {
    int64_t bytes, factor;
    uint32_t reg; // JIT_NONE: none
};
struct jit_move jit_move(const struct jit_code *code, uint32_t block, const struct tw_kir_operand *address);

// Which registers and constants never are a signalling NaN, as floats of 32 bits (quiet.c).
[[nodiscard]] bool jit_find_quiet(struct jit_code *code, struct tw_error *err);
bool jit_is_quiet(const struct jit_code *code, const struct tw_kir_operand *operand);
// Blocks of up to so many threads run better as one vector each, at the full level; 0: none do (whole.c).
bool jit_whole_runs(const struct jit_code *code); // at all
unsigned jit_whole_lanes(const struct jit_code *code);

// Where lanes of a warp wait, in the order in which they are taken up (nodes.c).
struct jit_nodes {
    uint32_t *block;    // by node; of a loop's end its header
    uint32_t *of_block; // by block
    uint32_t *of_end;   // by loop
    uint32_t count;
};
[[nodiscard]] bool jit_nodes_number(const struct jit_code *code, struct jit_nodes *ret_nodes,
                                    struct tw_error *err);
// Where a lane waits that goes from one block to another.
uint32_t jit_node_towards(const struct jit_code *code, const struct jit_nodes *nodes, uint32_t from,
                          uint32_t to);

// By register the block that it lives in; JIT_HOME_SHARED: several; JIT_NONE: nobody mentions it. `pure`: only such
// operations may begin a register's life (home.c).
enum { JIT_HOME_SHARED = JIT_NONE - 1 };
[[nodiscard]] bool jit_homes_find(const struct jit_code *code, bool pure, uint32_t **ret_homes,
                                  struct tw_error *err);

[[nodiscard]] bool jit_layout_build(struct jit_code *code, struct tw_error *err);

// For tests: makes code for another CPU than this one ("x86-64-v3", "+avx2,+fma,…").
void jit_set_cpu(const char *cpu, const char *features);

// Out of arena memory.
bool jit_no_memory(struct tw_error *err);
// "line 12: 'mma' …" from the instruction.
[[gnu::format(printf, 3, 4)]] bool jit_refuse(struct tw_error *err, const struct tw_kir_inst *inst,
                                              const char *format, ...);
