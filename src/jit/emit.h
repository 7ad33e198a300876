// SPDX-License-Identifier: Apache-2.0
//
// Private to jit/: making LLVM IR from an analysed kernel. Registers are stack slots that LLVM's sroa turns
// into values: a scalar slot for uniform and affine registers (lane 0's value), a vector slot for varying
// ones. Element-wise operations are written once, for scalars and vectors alike: LLVM's builder takes both.
#pragma once

#include <llvm-c/Core.h>

#include "internal.h"

// Which guards a block needs, and where jumps go. A chain node is a block, or the end of a loop, in the order
// in which lanes are taken up.
struct jit_flow {
    LLVMBasicBlockRef *bodies; // by block
    LLVMBasicBlockRef *fulls;  // by block: the version for all lanes of the warp; NULL: none of its own
    LLVMBasicBlockRef *guards; // by chain node: tests whether lanes wait there; NULL when nobody jumps there
    uint64_t **later;          // by chain node: where lanes may wait when its guard fails
    struct jit_nodes nodes;    // of the chain
    LLVMValueRef *masks; // by block: slot of the lanes that go there; NULL when they are all of the warp
    LLVMBasicBlockRef
        *resumes; // by block: takes a warp up that was suspended at its end (yield.c); NULL: none
};

// What a warp's state says (exact.c).
enum {
    JIT_STATE_EXACT = 0x40000000,
    JIT_STATE_POINT = 0x20000000,
    JIT_STATE_FAILED = TW_KERNEL_EXACT_FAILED,
    JIT_STATE_ENDED = 0x7fffffff,
};

// Instructions of the main version whose guess may prove wrong.
struct jit_point {
    uint32_t block, inst;
    uint64_t *live; // registers wanted there, by this warp's lanes wherever they are
};
struct jit_points {
    struct jit_point *items;
    uint32_t count;
};

// What scalars know of all lanes of a register (agree.c): slots. NULL: nothing is kept.
struct jit_hint {
    LLVMValueRef low, high; // bounds; of a predicate: i1 true for all lanes, i1 false for all
    LLVMValueRef certain;   // i1: the bounds hold; NULL for predicates
    bool is_predicate, sign;
};

// Sums of one block that are done a few at a time (tile.c). A chain is a register and the multiplications that add to it;
// a step one of them, with the loads of its factors and which of their results they are. Indices are of instructions.
struct jit_chain {
    uint32_t reg, first, last, count;
};
struct jit_step {
    uint32_t chain, next; // JIT_NONE: no step of a chain; the last
    uint32_t load[2], place[2];
};
struct jit_tile {
    struct jit_chain *chains;
    struct jit_step *steps; // by instruction
    uint32_t count, at;     // chains; the last step of all
};

// Where a load's address puts the lanes of a piece, `lanes` of them: lane k at `least` + from[k] elements, of `count` that
// lie side by side; each piece is `apart` bytes behind the one before.
struct jit_pieces {
    unsigned lanes, count, from[16];
    uint64_t least, apart;
};

// Some lanes, rising.
struct jit_lanes {
    unsigned count;
    uint16_t at[JIT_MAX_LANES];
};

// The lanes that instructions are emitted for in place of all: as many as the emitter's `lanes` say. `slots`, by register: of these
// lanes' own, NULL where the register's slot has them among others; no table: nowhere.
struct jit_part {
    const struct jit_lanes *lanes;
    LLVMValueRef *slots;
};

// Rows that a kernel's loops go through, a lane an element: as many as register `bound` says, which is a parameter of the kernel.
// Of a short one, with `most` elements, no loop begins a second round at the end of a block of `ends`.
struct jit_row {
    uint32_t bound;
    uint64_t offset; // of the parameter
    unsigned most;
    uint64_t *ends;
};

// Confined: one function being emitted.
struct jit_emit {
    const struct jit_code *code;
    struct tw_arena *arena;
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMBuilderRef b;
    LLVMValueRef function;
    unsigned lanes;
    bool avx512;
    struct tw_error *err;
    struct tw_jit_times *times;

    // frame fields, loaded in the entry block
    LLVMValueRef frame, arena_base, arena_mask, params, param_base, shared_base, local_base, global_base,
        spill;
    LLVMValueRef alone; // i1: atomics may be plain; NULL until it is asked for
    LLVMValueRef grid[3], block[3];
    LLVMValueRef ctaid[3], warp; // slots
    LLVMValueRef tid_base[3];    // of lane 0, where x_multiple is not 1
    LLVMValueRef tid[3], linear,
        warp_count; // tid: scalars (lane 0) or vectors, as jit's shapes say; linear: scalar i32 of lane 0
    LLVMValueRef lane_ids;             // <W x i32> 0, 1, …
    LLVMValueRef start_mask;           // lanes of this warp that exist
    LLVMValueRef status;               // slot: enum tw_kernel_status
    LLVMValueRef next_state;           // slot: where the warp goes on; see region.c
    LLVMValueRef rounds;               // slot: how often the warp could have been suspended in this turn
    LLVMBasicBlockRef warp_end, leave; // the warp has nothing more to run now; the launch ends at once

    LLVMValueRef *regs;     // slots by register; of local ones that of the block's version being emitted
    uint64_t *local;        // registers that live within one block (local.c)
    uint64_t *once;         // those of them that are written once there: they have no slots, but
    LLVMValueRef *values;   // what the block's version being emitted wrote to them
    struct jit_hint *hints; // by register
    uint64_t *spill_at, spill_bytes; // by register: its place in a warp's part of the spill area
    uint64_t **changed; // by block: registers whose copies in the spill area may be old at its end
    uint64_t table_at;  // place of named barriers' counters in the spill area
    struct jit_flow flow;
    struct jit_tile **tiles; // by block, where it has one
    // few.c: by register, the lanes that are kept of it, NULL: all; by block, those that are there, NULL: not asked for
    const struct jit_lanes **few, **known;
    const struct jit_row *row; // rows.c: in the version for short ones, else NULL

    bool out_of_memory;

    // the exact version (exact.c)
    struct jit_emit
        *exact; // in the main version: the other one (its places only), NULL when nothing is guessed
    const struct jit_points *points;
    LLVMBasicBlockRef hand_over;     // in the main version: calls the exact one; NULL: nobody asks for it
    LLVMValueRef handed_at;          // slot: where that takes the warp up
    LLVMBasicBlockRef *point_blocks; // in the exact version: where warps come in
    LLVMValueRef current_mask;       // slot
    uint64_t mask_at; // place of the masks in a warp's part of the spill area, 8 bytes a block and one more:
                      // where lanes leave the main version, or are suspended

    bool strips; // blocks run side by side, row by row (emit_kernel.c): warp after warp reads on in memory

    // what is being emitted now
    uint32_t at_block, at_inst;
    LLVMValueRef mask;             // lanes that run this block
    bool mask_full;                // all W, known at compile time
    LLVMValueRef active;           // the same less those whose guard is false
    bool active_full, active_some; // all; at least one, known
    const struct jit_part *part;   // NULL: all lanes
    LLVMValueRef *stretch_slots;   // by register, stretch.c's
};

// ---- types and constants (value.c) ----
LLVMTypeRef jit_int(const struct jit_emit *e, unsigned bits);
LLVMTypeRef jit_vec(const struct jit_emit *e, LLVMTypeRef element); // <W x element>
// The LLVM type of a value of `type` (packed halves become vectors twice as long).
LLVMTypeRef jit_type(const struct jit_emit *e, enum tw_kir_type type, bool vector);
LLVMTypeRef jit_reg_type(const struct jit_emit *e, unsigned bits, bool vector);
LLVMValueRef jit_i64(const struct jit_emit *e, uint64_t value);
LLVMValueRef jit_i32(const struct jit_emit *e, uint32_t value);
LLVMValueRef jit_const(LLVMTypeRef like,
                       uint64_t value); // integer or vector of them; sign-extended from 64 bits
LLVMValueRef jit_fconst(LLVMTypeRef like, double value); // float or vector of them
LLVMValueRef jit_splat(struct jit_emit *e, LLVMValueRef scalar);
LLVMValueRef jit_splat_n(struct jit_emit *e, LLVMValueRef scalar, unsigned n);
bool jit_is_vector(LLVMValueRef value);
LLVMTypeRef jit_like_int(const struct jit_emit *e, LLVMTypeRef like); // the integer type(s) of the same width
LLVMTypeRef jit_resize(const struct jit_emit *e, LLVMTypeRef like,
                       unsigned bits); // integers of `bits`, as many as `like` has
unsigned jit_element_bits(LLVMTypeRef type);
LLVMTypeRef jit_like_bool(const struct jit_emit *e, LLVMTypeRef like);
LLVMValueRef jit_slot(struct jit_emit *e, LLVMTypeRef type,
                      const char *name); // in the function's entry block

// ---- reading and writing registers (value.c) ----
LLVMValueRef jit_read(struct jit_emit *e, const struct tw_kir_operand *operand, unsigned bits, bool vector);
LLVMValueRef jit_read_typed(struct jit_emit *e, const struct tw_kir_operand *operand, enum tw_kir_type type,
                            bool vector);
LLVMValueRef jit_reg_slot(struct jit_emit *e, uint32_t reg);
LLVMValueRef jit_reg_get(struct jit_emit *e, uint32_t reg); // as it is kept
void jit_reg_set(struct jit_emit *e, uint32_t reg, LLVMValueRef value);
bool jit_operand_varies(const struct jit_emit *e, const struct tw_kir_operand *operand); // not even uniform
// How a register is kept: one value that stands for all lanes, one a group of lanes, one a lane (compact.c).
enum jit_form { JIT_ONE, JIT_FIRSTS, JIT_LANES };
enum jit_form jit_form_of(const struct jit_code *code, struct jit_shape s);
unsigned jit_form_count(const struct jit_code *code, struct jit_shape s); // of values
// The operand's values in the form of shape `like`: for lane 0, each group's first lane, or every lane.
LLVMValueRef jit_firsts(struct jit_emit *e, const struct tw_kir_operand *operand, unsigned bits,
                        struct jit_shape like);
LLVMValueRef jit_spread(struct jit_emit *e, LLVMValueRef value, struct jit_shape shape);    // to all lanes
LLVMValueRef jit_gather_up(struct jit_emit *e, LLVMValueRef lanes, struct jit_shape shape); // and back
// How far lane `lane` is above the one value that stands for all lanes (JIT_ONE).
uint64_t jit_above(const struct jit_emit *e, struct jit_shape s, unsigned lane);
// Emits an instruction whose result is kept compactly; false: it is not.
bool jit_emit_compact(struct jit_emit *e, const struct tw_kir_inst *inst);
// Writes result `index`: `value` is a scalar (lane 0 of shape `shape`) or a vector; blends where the block
// must.
void jit_write(struct jit_emit *e, const struct tw_kir_inst *inst, unsigned index, LLVMValueRef value,
               struct jit_shape shape);
void jit_write_any(struct jit_emit *e, const struct tw_kir_inst *inst, unsigned index, LLVMValueRef value);
LLVMValueRef jit_expand(struct jit_emit *e, LLVMValueRef scalar, struct jit_shape shape); // to a vector

// ---- some lanes of a long vector ----
// part.c: lane `k` of the part among all; a register's value as it is kept, of the part's lanes where it has one a lane, or of
// `lanes` of one that has; and how the part's are written.
unsigned jit_part_lane(const struct jit_emit *e, unsigned k);
LLVMValueRef jit_part_load(struct jit_emit *e, uint32_t reg);
LLVMValueRef jit_part_pick(struct jit_emit *e, uint32_t reg, const struct jit_lanes *lanes);
void jit_part_store(struct jit_emit *e, uint32_t reg, LLVMValueRef value);
// few.c: which registers are kept as few of their lanes.
[[nodiscard]] bool jit_few_find(struct jit_emit *e);
// An instruction whose result is kept so.
bool jit_makes_few(const struct jit_emit *e, const struct tw_kir_inst *inst);
[[nodiscard]] bool jit_emit_few(struct jit_emit *e, const struct tw_kir_inst *inst);
// A store of a register kept so. False: it is not.
bool jit_store_few(struct jit_emit *e, const struct tw_kir_inst *inst);
// stretch.c: emits the instructions of the block from `at` on, before `end`, that stretches of lanes do one after the
// other, and moves `at` behind them; where there are none it stays.
[[nodiscard]] bool jit_emit_stretches(struct jit_emit *e, uint32_t block, uint32_t end, uint32_t *at);
// emit_warp.c: a shuffle of which every lane's source is known, and that source.
bool jit_is_known_shuffle(const struct jit_emit *e, const struct tw_kir_inst *inst);
unsigned jit_shuffle_lane(const struct tw_kir_inst *inst, unsigned lane, bool *ret_in_range);

// ---- helpers ----
LLVMValueRef jit_intrinsic(struct jit_emit *e, const char *name, LLVMTypeRef *overloads,
                           unsigned overload_count, LLVMValueRef *args, unsigned count);
LLVMValueRef jit_unary(struct jit_emit *e, const char *name,
                       LLVMValueRef a); // an intrinsic overloaded on its type
LLVMValueRef jit_binary(struct jit_emit *e, const char *name, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef jit_any(struct jit_emit *e, LLVMValueRef mask);       // i1
LLVMValueRef jit_all(struct jit_emit *e, LLVMValueRef mask);       // i1: of all W
LLVMValueRef jit_mask_bits(struct jit_emit *e, LLVMValueRef mask); // iW
// The same in words, as LLVM takes longer integers apart bit by bit: one iW, or as many i64 as there are; their number.
enum { JIT_MASK_WORD = 64, JIT_MASK_WORDS_MAX = JIT_MAX_LANES / JIT_MASK_WORD };
unsigned jit_mask_words(struct jit_emit *e, LLVMValueRef mask, LLVMValueRef *ret_words);
LLVMValueRef jit_mask_join(struct jit_emit *e, const LLVMValueRef *words); // of masks longer than a word
// With AVX-512 long masks, and all of light code, are kept and reckoned with as words, among the integers: there are few registers for
// masks, and LLVM's quick instruction selection leaves every block that ends with one to the slow one.
bool jit_masks_are_words(const struct jit_emit *e);
LLVMValueRef jit_mask_op(struct jit_emit *e, LLVMOpcode op, LLVMValueRef a, LLVMValueRef b);
LLVMTypeRef jit_mask_type(struct jit_emit *e); // of a slot
LLVMValueRef jit_mask_load(struct jit_emit *e, LLVMValueRef slot);
void jit_mask_store(struct jit_emit *e, LLVMValueRef mask, LLVMValueRef slot);
unsigned jit_mask_bytes(const struct jit_emit *e); // a mask in memory
LLVMBasicBlockRef jit_block_new(struct jit_emit *e, const char *name);
LLVMValueRef jit_full_mask(struct jit_emit *e);
LLVMValueRef jit_frame_field(struct jit_emit *e, size_t offset, LLVMTypeRef type, const char *name);
LLVMValueRef jit_shuffle(struct jit_emit *e, LLVMValueRef a, LLVMValueRef b, const unsigned *indices,
                         unsigned n);

// The parts of `each` elements one behind the other: in pairs, so that LLVM sees concatenations. Spoils `parts`.
LLVMValueRef jit_concatenate(struct jit_emit *e, LLVMValueRef *parts, unsigned count, unsigned each);

// Of varying addresses, where groups of lanes are together (emit_group.c). False: they are not, or not all
// lanes take part.
bool jit_load_groups(struct jit_emit *e, const struct tw_kir_inst *inst);
bool jit_can_store_groups(struct jit_emit *e, const struct tw_kir_inst *inst);
// `value`: all lanes' elements side by side.
void jit_store_groups(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef value);
// A store whose lanes, in another order, fill stretches of memory. False: they do not, and nothing is emitted.
bool jit_store_runs(struct jit_emit *e, const struct tw_kir_inst *inst);

// tile.c, emit_tile.c: sums that do not fit into registers.
[[nodiscard]] bool jit_tiles_find(struct jit_emit *e);
[[nodiscard]] bool jit_emit_tile(struct jit_emit *e, uint32_t block); // all its chains
unsigned jit_vector_bytes(const struct jit_emit *e);                  // of the processor's vectors
unsigned jit_vector_count(const struct jit_emit *e);                  // of them there are registers for
// False: the lanes' places are not known from one another, or a piece's do not fit into one vector.
bool jit_pieces_of(const struct jit_emit *e, const struct tw_kir_inst *load, struct jit_pieces *ret_pieces);

LLVMValueRef jit_confine(struct jit_emit *e,
                         LLVMValueRef address); // the offset in the arena that it stands for
// The masked pointer to `address` + `offset`, which tw_kernel_behind_mask divides.
LLVMValueRef jit_pointer_at(struct jit_emit *e, LLVMValueRef address, int64_t offset);

// ---- llvm.c: the target, passes, output ----
struct jit_output {
    enum tw_jit_stage stage;
    enum tw_kernel_tier tier;
    struct tw_jit_times *times;
};
bool jit_has_avx512(void);
void jit_function_attributes(LLVMContextRef context, LLVMValueRef function);
void jit_set_target(LLVMModuleRef module);
// Verifies, optimises and emits the module into `out`: an object, assembly or LLVM's text.
[[nodiscard]] bool jit_finish(LLVMModuleRef module, struct jit_output output, struct tw_buf *out,
                              struct tw_error *err);
// Scatters of few lanes that are known become stores of these (sparse.c). False: there are none.
bool jit_store_sparse(LLVMModuleRef module);
// Lanes of vectors that are picked out become the constants that they are (lanes.c). False: none is one.
bool jit_fold_lanes(LLVMModuleRef module);
// Calls `change` for every instruction of the module, which may erase it or build others before it, and tells whether it did.
// True: some call did.
bool jit_each_instruction(LLVMModuleRef module,
                          bool (*change)(LLVMBuilderRef builder, LLVMValueRef instruction));
// What masks choose among floats is chosen as floats, not as words (blend.c).
void jit_blend_floats(LLVMModuleRef module);
// Parts of masks as words, as they were before LLVM combined them (words.c).
void jit_take_words(LLVMModuleRef module);
// Before code is generated for AVX-512 (fence.c).
void jit_fence_logic(LLVMModuleRef module);
// Before code is generated: no basic block is long (split.c). How often the longest one was cut.
unsigned jit_split_blocks(LLVMModuleRef module);
// INTERNAL unless every symbol of the ELF object is defined in it and every relocation is of a kind the
// loader takes.
[[nodiscard]] bool jit_object_check(struct tw_span object, struct tw_error *err);

// ---- emission, one file a topic; false with CUDA_MALFORMED_PTX for what is not supported ----
[[nodiscard]] bool jit_emit_kernel(struct jit_emit *e);
[[nodiscard]] bool jit_emit_blocks(struct jit_emit *e); // flow.c: all blocks of the thread's code
[[nodiscard]] bool jit_jump(struct jit_emit *e,
                            uint32_t block); // flow.c: ends the LLVM block by the terminator of `block`
// prefix.c: a comparison whose lanes are known from a count. After begin the builder is where the lanes must be compared
// one by one, and end takes the mask made there. False: it is not such a one.
struct jit_prefix {
    LLVMValueRef words[JIT_MASK_WORDS_MAX];
    LLVMBasicBlockRef from, done;
};
bool jit_prefix_begin(struct jit_emit *e, const struct tw_kir_inst *inst, struct jit_prefix *ret);
LLVMValueRef jit_prefix_end(struct jit_emit *e, const struct jit_prefix *s, LLVMValueRef mask);
// The mask of the lanes that a short row has, or of the rest, where the comparison is its beginning; else NULL.
LLVMValueRef jit_prefix_row(struct jit_emit *e, const struct tw_kir_inst *inst);
// rows.c: the rows for which a version of their own pays. NULL: there are none.
[[nodiscard]] bool jit_row_find(const struct jit_emit *e, const struct jit_row **ret_row);
LLVMValueRef jit_row_is_short(struct jit_emit *e,
                              const struct jit_row *row); // i1: of this launch, and not empty
// In the version for short rows: the instruction being emitted compares the threads' numbers with the bound; the loop that ends at
// `block` is left there by all lanes, its first round done.
bool jit_row_begins(const struct jit_emit *e, const struct tw_kir_inst *inst);
bool jit_row_ends(const struct jit_emit *e, uint32_t block);
// agree.c: whether scalars can tell that all lanes, all W of them there, take the varying branch of `block` the
// same way: i1 for all true and for all false. Hints are noted behind each instruction.
[[nodiscard]] bool jit_hints_build(struct jit_emit *e);
void jit_reset_hints(struct jit_emit *e);
void jit_note_hint(struct jit_emit *e, const struct tw_kir_inst *inst);
bool jit_agreement(struct jit_emit *e, const struct jit_block *block, LLVMValueRef ret_all[2]);
// serial.c: loops whose lanes are better run one after the other.
bool jit_is_serial(const struct jit_code *code, uint32_t block);
[[nodiscard]] bool jit_emit_serial(struct jit_emit *e, uint32_t block);
void jit_jump_out(struct jit_emit *e, uint32_t loop_block, uint32_t to); // flow.c: all its lanes, for good
bool jit_points_find(const struct jit_code *code, struct jit_points *ret_points, struct tw_error *err);
uint32_t jit_point_at(const struct jit_emit *e, uint32_t block, uint32_t at); // JIT_NONE: none
LLVMTypeRef jit_exact_type(struct jit_emit *e);
[[nodiscard]] bool jit_exact_emit(struct jit_emit *e, const struct jit_code *main_code);
// Ends the LLVM block: the exact version takes the warp up at `where`, and the next warp is on. The call itself is
// emitted once, last.
void jit_exact_go(struct jit_emit *e, LLVMValueRef where);
void jit_emit_hand_over(struct jit_emit *e);
void jit_check_guess(struct jit_emit *e, const struct tw_kir_inst *inst);
void jit_enter_point(struct jit_emit *e);
void jit_load_frame(struct jit_emit *e);
void jit_begin_warp(struct jit_emit *e, LLVMValueRef *tid_base);
void jit_reset_slots(struct jit_emit *e);
// local.c: which registers live within one block; a version of `block` begins, with slots of its own for them.
[[nodiscard]] bool jit_locals_find(struct jit_emit *e);
void jit_locals_forget(struct jit_emit *e, uint32_t block);
LLVMValueRef jit_offset_pointer(struct jit_emit *e, LLVMValueRef base, LLVMValueRef offset);
LLVMValueRef jit_state_pointer(struct jit_emit *e, LLVMValueRef warp); // of warp i32
LLVMValueRef jit_spill_pointer(struct jit_emit *e);                    // this warp's part
// To and from this warp's part of the spill area, in the layout of `layout`; `value` has that version's
// shape.
void jit_spill_store(struct jit_emit *e, const struct jit_emit *layout, uint32_t reg, LLVMValueRef value);
LLVMValueRef jit_spill_load(struct jit_emit *e, uint32_t reg, struct jit_shape shape);
void jit_emit_resumes(struct jit_emit *e, LLVMValueRef sw, uint32_t first_state);
void jit_enter(struct jit_emit *e); // emit_kernel.c: from the beginning
[[nodiscard]] bool jit_region_build(struct jit_emit *e);
// barrier.c: kernels with more than one barrier, or whose warps are suspended elsewhere too.
enum { JIT_NAMED_BYTES = 384 }; // of the table in the spill area
void jit_named_reset(struct jit_emit *e);
void jit_named_arrive(struct jit_emit *e, const struct tw_kir_inst *inst, bool waits);
LLVMValueRef jit_named_waits(struct jit_emit *e, LLVMValueRef warp);
void jit_named_round_end(struct jit_emit *e, LLVMBasicBlockRef again, LLVMBasicBlockRef done);
void jit_named_reduce(struct jit_emit *e, const struct tw_kir_inst *inst); // adds this warp's predicates
// Of the last round at the barrier that this warp waited at: true predicates and lanes, i32.
void jit_named_reduced(struct jit_emit *e, LLVMValueRef ret_counts[2]);
// yield.c: the warp may be suspended at the end of `block`; the builder is left where it goes on.
void jit_emit_yield(struct jit_emit *e, uint32_t block);
// The code that takes it up again, to be ended by the block's jump. False: it is there already.
bool jit_begin_yield_resume(struct jit_emit *e, uint32_t block);
// Registers that a warp suspended at the end of `b` takes with it.
bool jit_yield_keeps(const struct jit_code *code, const struct jit_block *b, uint32_t reg);
void jit_emit_states_reset(struct jit_emit *e);
void jit_emit_state_store(struct jit_emit *e, LLVMValueRef alive);
void jit_emit_round_end(struct jit_emit *e, LLVMValueRef alive, LLVMBasicBlockRef again,
                        LLVMBasicBlockRef done);
void jit_emit_dispatch(struct jit_emit *e,
                       LLVMBasicBlockRef skip);            // a warp to where it stood; ended ones to `skip`
void jit_emit_barrier(struct jit_emit *e, uint32_t block); // region.c: the warp stops here for the others
void jit_pass_barrier(struct jit_emit *e, uint32_t block); // there are no others
[[nodiscard]] bool jit_flow_build(struct jit_emit *e);
[[nodiscard]] bool jit_emit_inst(struct jit_emit *e, const struct tw_kir_inst *inst);
[[nodiscard]] LLVMValueRef jit_emit_int(struct jit_emit *e, const struct tw_kir_inst *inst,
                                        LLVMValueRef *src); // NULL: not supported
[[nodiscard]] LLVMValueRef jit_emit_bits(struct jit_emit *e, const struct tw_kir_inst *inst,
                                         LLVMValueRef *src);
[[nodiscard]] LLVMValueRef jit_emit_float(struct jit_emit *e, const struct tw_kir_inst *inst,
                                          LLVMValueRef *src);
[[nodiscard]] LLVMValueRef jit_emit_math(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef a);
// emit_avx512.c: operations on 32-bit floats that AVX-512 has instructions for; ask first whether it takes them.
bool jit_avx512_takes(const struct jit_emit *e, LLVMValueRef v);
// `quiet`: the source is never a signalling NaN.
LLVMValueRef jit_avx512_min_max(struct jit_emit *e, bool min, LLVMValueRef *src, const bool *quiet);
LLVMValueRef jit_avx512_fraction(struct jit_emit *e, LLVMValueRef x);
LLVMValueRef jit_avx512_rsqrt(struct jit_emit *e, LLVMValueRef x);
LLVMValueRef jit_avx512_scale(struct jit_emit *e, LLVMValueRef y, LLVMValueRef n);
[[nodiscard]] bool jit_emit_cvt(struct jit_emit *e, const struct tw_kir_inst *inst);
// To and from pairs of eight-bit floats, whole registers. NULL: not supported.
[[nodiscard]] LLVMValueRef jit_emit_to_fp8(struct jit_emit *e, const struct tw_kir_inst *inst, bool vector);
[[nodiscard]] LLVMValueRef jit_emit_from_fp8(struct jit_emit *e, const struct tw_kir_inst *inst, bool vector);
// Rounded toward zero, down or up. NULL: not supported.
[[nodiscard]] LLVMValueRef jit_emit_rounded(struct jit_emit *e, const struct tw_kir_inst *inst,
                                            LLVMValueRef *src);
[[nodiscard]] bool jit_emit_memory(struct jit_emit *e, const struct tw_kir_inst *inst);
// Where lanes' elements lie: a vector of pointers; with `words` one pointer and how many times four bytes each lane's is
// behind it.
struct jit_places {
    LLVMValueRef base, words;
};
// indexed.c: the places of an access to one table. False: its address is not made like that.
bool jit_indexed(struct jit_emit *e, const struct tw_kir_inst *inst, struct jit_places *ret);
// A vector of pointers, `bytes` behind them.
LLVMValueRef jit_places_at(struct jit_emit *e, const struct jit_places *places, uint64_t bytes);
// Values at the pointers of the active lanes; zeros for the others.
LLVMValueRef jit_gather(struct jit_emit *e, LLVMTypeRef type, LLVMValueRef pointers);
[[nodiscard]] bool jit_emit_matrix(struct jit_emit *e, const struct tw_kir_inst *inst);
[[nodiscard]] bool jit_emit_print(struct jit_emit *e, const struct tw_kir_inst *inst);
[[nodiscard]] bool jit_emit_atomic(struct jit_emit *e, const struct tw_kir_inst *inst);
[[nodiscard]] bool jit_emit_mbarrier(struct jit_emit *e, const struct tw_kir_inst *inst);
// The object after the operation `mode` with `v` on one that was `old`.
LLVMValueRef jit_mbarrier_next(struct jit_emit *e, uint8_t mode, LLVMValueRef old, LLVMValueRef v);
// emit_atomic.c: the active lanes do it one after the other, each with its `v`; what each found.
LLVMValueRef jit_mbarrier_lanes(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef v);
[[nodiscard]] bool jit_emit_warp(struct jit_emit *e, const struct tw_kir_inst *inst);
[[nodiscard]] bool jit_emit_sreg(struct jit_emit *e, const struct tw_kir_inst *inst);
void jit_fail_kernel(struct jit_emit *e, uint32_t status,
                     uint32_t line); // ends the LLVM block: the launch is over
void jit_fail_kernel_at(struct jit_emit *e, uint32_t status, LLVMValueRef line); // the same; i64
// Subnormals to zero of the same sign: of floats only, as conversions do; of halves, bfloats and doubles too.
LLVMValueRef jit_flush(struct jit_emit *e, LLVMValueRef value);
LLVMValueRef jit_flush_own(struct jit_emit *e, LLVMValueRef value);
LLVMTypeRef jit_like_float(const struct jit_emit *e, LLVMTypeRef like, LLVMTypeRef element);
LLVMValueRef jit_to_f32(struct jit_emit *e, LLVMValueRef value); // halves and bfloats; others stay
LLVMValueRef jit_from_f32(struct jit_emit *e, LLVMValueRef value, LLVMTypeRef type);
LLVMValueRef jit_round_to_odd(struct jit_emit *e,
                              LLVMValueRef value);                  // doubles to floats that round on rightly
LLVMValueRef jit_saturate(struct jit_emit *e, LLVMValueRef value);  // to 0…1, NaN to 0
LLVMValueRef jit_pointer(struct jit_emit *e, LLVMValueRef address); // masked into the arena; scalar or vector
