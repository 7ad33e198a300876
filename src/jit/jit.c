// SPDX-License-Identifier: Apache-2.0
//
// The compiler from end to end: inline and simplify the entry, analyse it, emit LLVM IR, optimise, and wrap
// the object into an artifact.

#include "emit.h"

#include "kernel/limits.h"
#include "lower.h"

enum { MAX_OUTPUT = 256 << 20 };

static bool find_entry(struct tw_kir_module *module, const char *entry, struct tw_kir_function **ret_function,
                       struct tw_error *err) {
    struct tw_kir_function *f = tw_kir_function_find(module, entry);
    if (f && f->is_entry) {
        *ret_function = f;
        return true;
    }
    char names[160] = "";
    size_t len = 0;
    for (uint32_t i = 0; i < module->function_count && len < sizeof names - 1; i++)
        if (module->functions[i].is_entry)
            len += (size_t)snprintf(names + len, sizeof names - len, "%s%s", len ? ", " : "",
                                    module->functions[i].name);
    return tw_fail(err, TW_ERR_CUDA_INVALID_KERNEL, "no entry '%.60s'; the module has: %s", entry,
                   len ? names : "none");
}

static bool is_warp_sreg(uint32_t sreg) {
    return sreg == TW_KIR_LANEID || sreg == TW_KIR_WARPID || sreg == TW_KIR_NWARPID ||
           (sreg >= TW_KIR_LANEMASK_EQ && sreg <= TW_KIR_LANEMASK_GE);
}

// Volatile shared memory: before there was bar.warp.sync, programs relied on it that a warp's 32 threads run in step.
static bool is_in_step(const struct tw_kir_inst *inst) {
    return (inst->op == TW_KIR_LD || inst->op == TW_KIR_ST) && inst->mods & TW_KIR_VOLATILE &&
           (inst->space == TW_KIR_SHARED || inst->space == TW_KIR_GENERIC);
}

// Anything but one barrier for the whole block.
static void note_barrier(struct jit_code *code, const struct tw_kir_inst *inst,
                         const struct tw_kir_inst **first) {
    unsigned at = inst->op == TW_KIR_BARRED;
    if (!*first)
        *first = inst;
    unsigned first_at = (*first)->op == TW_KIR_BARRED;
    bool plain = inst->op != TW_KIR_BARARRIVE && inst->src_count == at + 1 && inst->src[at].is_imm &&
                 (*first)->op != TW_KIR_BARARRIVE && inst->src[at].bits == (*first)->src[first_at].bits;
    code->named_barriers |= !plain;
}

static void note_uses(struct jit_code *code) {
    const struct tw_kir_inst *first = NULL;
    for (uint32_t b = 0; b < code->function->block_count; b++)
        for (uint32_t i = 0; i < code->function->blocks[b].count; i++) {
            const struct tw_kir_inst *inst = &code->function->blocks[b].insts[i];
            code->uses_warp_ops |= (tw_kir_op_flags(inst->op) & TW_KIR_WARP) != 0;
            code->uses_warp_ops |= inst->op == TW_KIR_SREG && is_warp_sreg(inst->index);
            code->uses_warp_ops |= is_in_step(inst);
            code->uses_atomics |= inst->op == TW_KIR_ATOM && inst->space != TW_KIR_SHARED;
            if (tw_kir_op_flags(inst->op) & TW_KIR_SYNC)
                note_barrier(code, inst, &first);
            code->needs_param_copy |= inst->op == TW_KIR_PARAMADDR;
            code->prints |= inst->op == TW_KIR_PRINTF;
            code->tells_time |= inst->op == TW_KIR_SREG && inst->index >= TW_KIR_GLOBALTIMER &&
                                inst->index <= TW_KIR_GLOBALTIMER_HI;
            code->reduces |= inst->op == TW_KIR_BARRED;
            code->named_barriers |= inst->op == TW_KIR_NANOSLEEP; // others pass barriers at other times
        }
    code->uses_warp_ops |= code->named_barriers; // they count threads by warps of 32
    code->uses_barriers |= code->named_barriers;
}

// What launches with rows of 32 threads will ask for.
static void choose_lanes(struct jit_code *code) {
    note_uses(code);
    struct tw_kernel_info info = {.uses_warp_ops = code->uses_warp_ops};
    code->variant = tw_kernel_variant_for(&info, (const uint32_t[3]){32, 1, 1}, code->variant.opt_level);
}

static bool check_depth(const struct jit_code *code, struct tw_error *err) {
    for (uint32_t l = 0; l < code->loop_count; l++)
        if (code->loops[l].depth > JIT_MAX_LOOP_DEPTH) {
            const struct jit_block *header = &code->blocks[code->loops[l].header];
            uint32_t line = header->count ? header->insts[0].line : header->last ? header->last->line : 0;
            return tw_fail(
                err, TW_ERR_CUDA_QUOTA,
                "line %u: loops of kernel %.80s nest deeper than %d; put inner ones into kernels of "
                "their own",
                line, code->function->name, JIT_MAX_LOOP_DEPTH);
        }
    return true;
}

static bool check_waits(const struct jit_code *code, struct tw_error *err) {
    uint64_t pending = 0;
    for (uint32_t b = 0; b < code->count; b++)
        pending += code->blocks[b].pending;
    return pending * code->count <= JIT_MAX_WAITS ||
           tw_fail(err, TW_ERR_CUDA_QUOTA,
                   "kernel %.80s has %u blocks, and threads part and meet at %" PRIu64
                   " of them; the limit of the product is %d: split the kernel",
                   code->function->name, code->count, pending, JIT_MAX_WAITS);
}

static bool analyse(struct jit_code *code, struct tw_error *err) {
    unsigned w = code->variant.lanes;
    if (!tw_kernel_variant_good(&code->variant))
        return tw_fail(err, TW_ERR_INTERNAL, "no such kernel variant: %u lanes, block.x a multiple of %u", w,
                       code->variant.x_multiple);
    note_uses(code);
    if (code->uses_warp_ops && w < 32)
        return tw_fail(err, TW_ERR_INTERNAL, "kernel %.80s uses warp operations, which need 32 lanes, not %u",
                       code->function->name, w);
    if (!jit_cfg_build(code, err) || !check_depth(code, err))
        return false;
    if (w > TW_KERNEL_TURNS_MAX && !jit_whole_runs(code))
        return tw_fail(err, TW_ERR_INTERNAL, "kernel %.80s has no variant of %u lanes", code->function->name,
                       w);
    code->turns =
        code->uses_barriers && (w <= TW_KERNEL_TURNS_MAX || code->variant.x_multiple > code->variant.lanes);
    return jit_layout_build(code, err) && jit_liveness(code, err) && jit_find_quiet(code, err) &&
           jit_divergence(code, err) && check_waits(code, err);
}

static void fill_info(const struct jit_code *code, uint64_t spill_bytes, bool guesses,
                      struct tw_kernel_info *info) {
    const struct tw_kir_function *f = code->function;
    snprintf(info->name, sizeof info->name, "%s", f->name);
    info->variant = code->variant;
    info->param_count = f->param_count;
    info->param_bytes = f->param_bytes;
    for (uint32_t i = 0; i < f->param_count; i++) {
        const struct tw_kir_param *p = &f->params[i];
        info->params[i] = (struct tw_kernel_param){.offset = p->offset,
                                                   .size = p->size,
                                                   .is_pointer = p->is_pointer,
                                                   .is_float = tw_kir_type_is_float(p->type)};
    }
    info->static_shared = (uint32_t)code->layout.static_shared;
    info->dynamic_shared_offset = (uint32_t)code->layout.dynamic_offset;
    info->local_bytes = (uint32_t)code->layout.local_bytes;
    info->spill_bytes = (uint32_t)spill_bytes;
    memcpy(info->required_block, f->required_block, sizeof info->required_block);
    memcpy(info->max_block, f->max_block, sizeof info->max_block);
    info->uses_warp_ops = code->uses_warp_ops;
    info->uses_barriers = code->uses_barriers;
    info->uses_atomics = code->uses_atomics;
    info->needs_param_copy = code->needs_param_copy;
    info->prints = code->prints;
    info->tells_time = code->tells_time;
    info->guesses = guesses;
    info->whole_lanes = (uint16_t)jit_whole_lanes(code);
    info->globals_bytes = code->layout.globals_bytes;
    info->globals_align = (uint32_t)code->layout.globals_align;
}

static LLVMTypeRef entry_type(struct jit_emit *e) {
    LLVMTypeRef params[3] = {LLVMPointerTypeInContext(e->context, 0), jit_int(e, 64), jit_int(e, 64)};
    return LLVMFunctionType(jit_int(e, 32), params, 3, false);
}

static LLVMValueRef add_function(struct jit_emit *e, const char *name, LLVMTypeRef type) {
    LLVMValueRef f = LLVMAddFunction(e->module, name, type);
    jit_function_attributes(e->context, f);
    return f;
}

// Leaves the launch to a version of the kernel, a function of its own that only the entry calls.
static bool emit_tail(const struct jit_emit *entry, struct jit_emit *version, const char *name) {
    LLVMTypeRef type = entry_type(version);
    LLVMValueRef args[3];
    version->function = add_function(version, name, type);
    LLVMSetLinkage(version->function, LLVMInternalLinkage);
    for (unsigned i = 0; i < TW_COUNT(args); i++)
        args[i] = LLVMGetParam(entry->function, i);
    LLVMValueRef status = LLVMBuildCall2(entry->b, type, version->function, args, TW_COUNT(args), "");
    LLVMSetTailCallKind(status, LLVMTailCallKindMustTail);
    LLVMBuildRet(entry->b, status);
    return jit_emit_kernel(version);
}

// An entry that asks which version the launch takes: the one for short rows or the one for all.
static bool emit_versions(struct jit_emit *e, const struct jit_row *row) {
    struct jit_emit version = *e, all = *e;
    version.row = row;
    e->function = add_function(e, TW_KERNEL_SYMBOL, entry_type(e));
    e->frame = LLVMGetParam(e->function, 0);
    LLVMPositionBuilderAtEnd(e->b, jit_block_new(e, "entry"));
    LLVMBasicBlockRef is_short = jit_block_new(e, "short"), any = jit_block_new(e, "any");
    e->params = jit_frame_field(e, offsetof(struct tw_kernel_frame, params),
                                LLVMPointerTypeInContext(e->context, 0), "params");
    LLVMBuildCondBr(e->b, jit_row_is_short(e, row), is_short, any);
    LLVMPositionBuilderAtEnd(e->b, is_short);
    if (!emit_tail(e, &version, "short_rows"))
        return false;
    LLVMPositionBuilderAtEnd(e->b, any);
    return emit_tail(e, &all, "all_rows");
}

static bool emit_main(struct jit_emit *e) {
    const struct jit_row *row;
    if (!jit_row_find(e, &row))
        return false;
    if (row)
        return emit_versions(e, row);
    e->function = add_function(e, TW_KERNEL_SYMBOL, entry_type(e));
    return jit_emit_kernel(e);
}

// Places of registers in the spill area for both versions; a warp's part is as large as either needs, and what warps of
// both versions share (the counters of barriers) lies at one place, behind the registers of either.
static bool build_spills(struct jit_emit *e) {
    if (!jit_region_build(e))
        return false;
    if (!e->exact)
        return true;
    if (!jit_region_build(e->exact))
        return false;
    uint64_t most = e->spill_bytes > e->exact->spill_bytes ? e->spill_bytes : e->exact->spill_bytes;
    e->spill_bytes = e->exact->spill_bytes = most;
    uint64_t table_at = e->table_at > e->exact->table_at ? e->table_at : e->exact->table_at;
    e->table_at = e->exact->table_at = table_at;
    return true;
}

static bool emit_version(struct jit_emit *e) {
    if (!build_spills(e))
        return false;
    if (e->code->variant.opt_level != TW_KERNEL_EXACT)
        return emit_main(e);
    if (!e->exact)
        return tw_fail(e->err, TW_ERR_INTERNAL, "kernel %.80s guesses nothing: it has no exact version",
                       e->code->function->name);
    e->exact->context = e->context;
    e->exact->module = e->module;
    e->exact->b = e->b;
    e->exact->function = add_function(e->exact, TW_KERNEL_SYMBOL, jit_exact_type(e->exact));
    return jit_exact_emit(e->exact, e->code);
}

static bool emit_module(struct jit_emit *e, enum tw_jit_stage stage, struct tw_buf *out) {
    e->context = LLVMContextCreate();
    LLVMContextSetDiscardValueNames(e->context, stage == TW_JIT_OBJECT); // nobody reads them
    e->module = LLVMModuleCreateWithNameInContext(e->code->function->name, e->context);
    e->b = LLVMCreateBuilderInContext(e->context);
    jit_set_target(e->module);
    struct jit_output output = {
        .stage = stage, .tier = (enum tw_kernel_tier)e->code->variant.opt_level, .times = e->times};
    int64_t begin_ns = tw_clock_ns();
    bool ok = emit_version(e);
    e->times->emit_ns = tw_clock_ns() - begin_ns;
    ok = ok && jit_finish(e->module, output, out, e->err);
    LLVMDisposeBuilder(e->b);
    LLVMDisposeModule(e->module);
    LLVMContextDispose(e->context);
    return ok;
}

static bool wrap_artifact(const struct jit_emit *e, struct tw_span object, struct tw_buf *out,
                          struct tw_error *err) {
    const struct jit_layout *l = &e->code->layout;
    struct tw_kernel_artifact artifact = {
        .object = object, .global_relocs = l->relocs, .global_reloc_count = l->reloc_count};
    fill_info(e->code, e->spill_bytes, e->exact, &artifact.info);
    if (l->image)
        artifact.globals = tw_span_of(l->image, l->globals_bytes);
    return tw_kernel_artifact_encode(&artifact, out, err);
}

static bool produce(struct jit_emit *e, enum tw_jit_stage stage, struct tw_jit_result *ret_result) {
    struct tw_buf object [[gnu::cleanup(tw_buf_done)]] = {};
    struct tw_jit_result result = {.times = *e->times};
    e->times = &result.times;
    tw_buf_init(&object, MAX_OUTPUT);
    tw_buf_init(&result.bytes, 2 * (size_t)MAX_OUTPUT);
    bool text = stage != TW_JIT_OBJECT;
    bool ok = emit_module(e, stage, text ? &result.bytes : &object);
    if (ok && !text)
        ok = jit_object_check(tw_buf_span(&object), e->err) &&
             wrap_artifact(e, tw_buf_span(&object), &result.bytes, e->err);
    if (ok)
        *ret_result = result;
    else
        tw_buf_done(&result.bytes);
    return ok;
}

// A program's artifact, or its text.
static bool wrap_program(const struct jit_code *code, enum tw_jit_stage stage, struct tw_span program,
                         uint32_t reg_bytes, struct tw_jit_result *result, struct tw_error *err) {
    struct jit_emit e = {.code = code, .spill_bytes = reg_bytes};
    struct tw_kernel_info info = {};
    fill_info(code, reg_bytes, false, &info);
    tw_buf_init(&result->bytes, 2 * (size_t)MAX_OUTPUT);
    bool ok = stage == TW_JIT_PROGRAM ? tw_interp_print(program, &info, &result->bytes, err)
                                      : wrap_artifact(&e, program, &result->bytes, err);
    if (!ok)
        tw_buf_done(&result->bytes);
    return ok;
}

// A program in place of an object; *ret_can false: there can be none.
static bool interpret(struct jit_code *code, enum tw_jit_stage stage, struct tw_jit_times *times,
                      bool *ret_can, struct tw_jit_result *ret_result, struct tw_error *err) {
    struct tw_buf program [[gnu::cleanup(tw_buf_done)]] = {};
    struct tw_jit_result result = {};
    struct jit_lowered lowered;
    int64_t begin_ns = tw_clock_ns();
    code->exact = true;
    code->variant = (struct tw_kernel_variant){
        .lanes = TW_INTERP_LANES, .x_multiple = 1, .opt_level = TW_KERNEL_INTERPRETED};
    tw_buf_init(&program, MAX_OUTPUT);
    if (!analyse(code, err) || !jit_lower(code, &program, &lowered, err))
        return false;
    *ret_can = lowered.can;
    if (!lowered.can && stage == TW_JIT_PROGRAM)
        return tw_fail(err, TW_ERR_NOT_IMPLEMENTED,
                       "%s; the kernel has no program, and is compiled before its first launch", lowered.why);
    if (!lowered.can)
        return true;
    if (!wrap_program(code, stage, tw_buf_span(&program), lowered.reg_bytes, &result, err))
        return false;
    times->analyse_ns = tw_clock_ns() - begin_ns;
    result.times = *times;
    *ret_result = result;
    return true;
}

static bool compile(struct jit_code *code, enum tw_jit_stage stage, struct tw_jit_times *times,
                    struct tw_jit_result *ret_result, struct tw_error *err) {
    int64_t begin_ns = tw_clock_ns();
    struct jit_points points;
    if (code->variant.lanes == TW_KERNEL_LANES_ANY)
        choose_lanes(code);
    struct jit_code exact_code = *code;
    if (!analyse(code, err) || !jit_points_find(code, &points, err))
        return false;
    struct jit_emit e = {.code = code,
                         .arena = code->arena,
                         .lanes = code->variant.lanes,
                         .avx512 = jit_has_avx512(),
                         .err = err,
                         .times = times,
                         .points = &points};
    struct jit_emit exact = e;
    if (points.count) {
        exact_code.exact = true;
        exact.code = &exact_code;
        e.exact = &exact;
        if (!analyse(&exact_code, err))
            return false;
    }
    times->analyse_ns = tw_clock_ns() - begin_ns;
    return produce(&e, stage, ret_result);
}

bool tw_jit_compile(struct tw_kir_module *module, const char *entry, const struct tw_kernel_variant *variant,
                    enum tw_jit_stage stage, struct tw_jit_result *ret_result, struct tw_error *err) {
    struct tw_kir_function *function = NULL;
    struct tw_jit_times times = {};
    if (!find_entry(module, entry, &function, err))
        return false;
    int64_t begin_ns = tw_clock_ns();
    if (!function->is_prepared &&
        (!tw_kir_inline(module, function, err) || !tw_kir_simplify(module, function, err)))
        return false;
    if (function->param_count > TW_KERNEL_PARAMS_MAX || strlen(function->name) > TW_KERNEL_NAME_MAX)
        return tw_fail(err, TW_ERR_CUDA_ARGS_UNSUPPORTED, "kernel %.80s has %u parameters, the limit is %d",
                       function->name, function->param_count, TW_KERNEL_PARAMS_MAX);
    times.simplify_ns = tw_clock_ns() - begin_ns;
    struct tw_arena arena;
    tw_arena_init(&arena, JIT_ARENA_BYTES);
    struct jit_code code = {.arena = &arena, .module = module, .function = function, .variant = *variant};
    bool ok = function->is_prepared || jit_find_waiting(&code, module, err);
    function->is_prepared = ok;
    if (ok && (variant->opt_level == TW_KERNEL_INTERPRETED || stage == TW_JIT_PROGRAM)) {
        struct jit_code program = code;
        bool can = false;
        if (stage == TW_JIT_OBJECT || stage == TW_JIT_PROGRAM)
            ok = interpret(&program, stage, &times, &can, ret_result, err);
        if (!ok || can) {
            tw_arena_done(&arena);
            return ok;
        }
        code.variant.opt_level = TW_KERNEL_LIGHT;
        code.variant.lanes = TW_KERNEL_LANES_ANY;
    }
    ok = ok && compile(&code, stage, &times, ret_result, err);
    tw_arena_done(&arena);
    return ok;
}

void tw_jit_result_done(struct tw_jit_result *result) {
    tw_buf_done(&result->bytes);
}
