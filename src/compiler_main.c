// SPDX-License-Identifier: Apache-2.0
//
// The program tensor-wasm-compiler: the one place where tenants' code meets LLVM and Cranelift. The server
// starts it, speaks to it over the socket at TW_COMPILE_FD, and maps what it makes; src/compile/ has the
// protocol and the sandbox. This file says what each kind of request means.

#include <malloc.h>
#include <sys/socket.h>

#include "compile/compile.h"
#include "engine/engine.h"
#include "jit/jit.h"
#include "ptx/ptx.h"

// IR of one module and what the passes add to it. The child's own memory limit is usually met before.
static const size_t arena_max = (size_t)1 << 30;

static bool no_room(const struct tw_buf *out, struct tw_error *err) {
    return tw_fail(err, TW_ERR_COMPILE_FAILED, "the result is larger than %zu bytes; make the module smaller",
                   out->max);
}

// ---- PTX ----

static bool parse(struct tw_arena *arena, const struct tw_compile_request *request,
                  struct tw_kir_module **ret_module, struct tw_error *err) {
    tw_arena_init(arena, arena_max);
    struct tw_str text = tw_str_of((const char *)request->input.data, request->input.len);
    return tw_ptx_parse(arena, text, ret_module, err);
}

static bool append_name(char *names, size_t size, const char *name) {
    size_t len = strlen(names);
    int more = snprintf(names + len, size - len, "%s%s", len ? ", " : "", name);
    return more > 0 && (size_t)more < size - len;
}

// The entry that was asked for; where none was named, the module's only one (of those that are not refused).
static bool entry_of(const struct tw_kir_module *module, const struct tw_compile_request *request,
                     const char **ret_entry, struct tw_error *err) {
    char names[320] = "";
    uint32_t count = 0;
    *ret_entry = request->entry;
    if (request->entry[0])
        return true;
    for (unsigned round = 0; round < 2 && count == 0; round++)
        for (uint32_t i = 0; i < module->function_count; i++) {
            const struct tw_kir_function *function = &module->functions[i];
            if (!function->is_entry || (function->refusal && round == 0))
                continue;
            *ret_entry = function->name;
            count++;
            (void)append_name(names, sizeof names, *ret_entry); // a list too long for the message is cut
        }
    return count == 1 || tw_fail(err, TW_ERR_CUDA_INVALID_KERNEL,
                                 "which kernel? name an entry; the module has %" PRIu32 ": %s", count,
                                 count ? names : "none");
}

static bool compile_stage(struct tw_kir_module *module, const char *entry,
                          const struct tw_compile_request *request, enum tw_jit_stage stage,
                          struct tw_buf *out, struct tw_error *err) {
    struct tw_jit_result result = {};
    if (!tw_jit_compile(module, entry, &request->variant, stage, &result, err))
        return false;
    bool ok = tw_buf_append(out, result.bytes.data, result.bytes.len);
    tw_jit_result_done(&result);
    return ok || no_room(out, err);
}

// Compiles the kernel and says how long each part took, in microseconds: "parse 120\n…".
static bool compile_timed(struct tw_kir_module *module, const char *entry,
                          const struct tw_compile_request *request, int64_t parse_ns, struct tw_buf *out,
                          struct tw_error *err) {
    struct tw_jit_result result = {};
    int64_t begin_ns = tw_clock_ns();
    if (!tw_jit_compile(module, entry, &request->variant, TW_JIT_OBJECT, &result, err))
        return false;
    int64_t compile_ns = tw_clock_ns() - begin_ns;
    const struct tw_jit_times *times = &result.times;
    const struct {
        const char *name;
        int64_t ns;
    } parts[] = {
        {"parse", parse_ns},           {"simplify", times->simplify_ns}, {"analyse", times->analyse_ns},
        {"emit", times->emit_ns},      {"passes", times->passes_ns},     {"code", times->code_ns},
        {"all", parse_ns + compile_ns}};
    bool ok = true;
    for (size_t i = 0; i < TW_COUNT(parts); i++)
        ok = ok && tw_buf_printf(out, "%s %" PRId64 "\n", parts[i].name, parts[i].ns / 1000);
    ok = ok && tw_buf_printf(out, "bytes %zu\n", result.bytes.len);
    tw_jit_result_done(&result);
    return ok || no_room(out, err);
}

// With a named entry that function alone is changed, without one all kernels are.
static bool each_entry(struct tw_kir_module *module, const char *name,
                       bool (*pass)(struct tw_kir_module *, struct tw_kir_function *, struct tw_error *),
                       struct tw_error *err) {
    if (name[0] && !tw_kir_function_find(module, name))
        return tw_fail(err, TW_ERR_CUDA_INVALID_KERNEL, "the module has no kernel '%s'", name);
    for (uint32_t i = 0; i < module->function_count; i++) {
        struct tw_kir_function *function = &module->functions[i];
        bool wanted = name[0] ? strcmp(function->name, name) == 0 : function->is_entry && !function->refusal;
        if (wanted && (!function->is_declaration || function->refusal) && !pass(module, function, err))
            return false;
    }
    return true;
}

// Stages of one kernel alone.
static bool dump_kernel(struct tw_kir_module *module, const struct tw_compile_request *request,
                        int64_t parse_ns, struct tw_buf *out, struct tw_error *err) {
    const char *entry;
    if (!entry_of(module, request, &entry, err))
        return false;
    if (strcmp(request->stage, "llvm") == 0)
        return compile_stage(module, entry, request, TW_JIT_LLVM, out, err);
    if (strcmp(request->stage, "asm") == 0)
        return compile_stage(module, entry, request, TW_JIT_ASM, out, err);
    if (strcmp(request->stage, "program") == 0)
        return compile_stage(module, entry, request, TW_JIT_PROGRAM, out, err);
    if (strcmp(request->stage, "time") == 0)
        return compile_timed(module, entry, request, parse_ns, out, err);
    if (!each_entry(module, entry, tw_kir_inline, err) || !each_entry(module, entry, tw_kir_simplify, err))
        return false;
    if (strcmp(request->stage, "opt") == 0)
        return tw_kir_print(module, out, err);
    bool fence = strcmp(request->stage, "fence") == 0;
    return tw_ptx_print(module, &(struct tw_ptx_options){.entry = entry, .fence = fence}, out, err);
}

// A module whose kernels are all refused has nothing to show.
static bool has_kernels(const struct tw_kir_module *module, struct tw_error *err) {
    const char *refusal = NULL;
    for (uint32_t i = 0; i < module->function_count; i++) {
        if (module->functions[i].is_entry && !module->functions[i].refusal)
            return true;
        if (module->functions[i].is_entry && !refusal)
            refusal = module->functions[i].refusal;
    }
    return !refusal || tw_fail(err, TW_ERR_CUDA_MALFORMED_PTX, "%s", refusal);
}

static bool dump(struct tw_kir_module *module, const struct tw_compile_request *request, int64_t parse_ns,
                 struct tw_buf *out, struct tw_error *err) {
    bool parsed_only = strcmp(request->stage, "parse") == 0;
    if (!parsed_only && strcmp(request->stage, "ir") != 0)
        return dump_kernel(module, request, parse_ns, out, err);
    return has_kernels(module, err) &&
           (parsed_only || each_entry(module, request->entry, tw_kir_inline, err)) &&
           tw_kir_print(module, out, err);
}

// ---- INFO ----
// [{"name":…,"params":[{"name":…,"type":…,"offset":…,"size":…,"pointer":…}…],"required_block":[…],"max_block":[…],
// "refused":"line …, column …: …" where it has a refusal}…]

static void write_dims(struct tw_json_writer *json, const char *key, const uint32_t dims[3]) {
    tw_json_write_key(json, key);
    tw_json_write_array(json);
    for (unsigned i = 0; i < 3; i++)
        tw_json_write_u64(json, dims[i]);
    tw_json_write_end(json, ']');
}

static void write_param(struct tw_json_writer *json, const struct tw_kir_param *param) {
    tw_json_write_object(json);
    tw_json_write_key(json, "name");
    tw_json_write_str(json, tw_str_from(param->name));
    tw_json_write_key(json, "type");
    tw_json_write_str(json, tw_str_from(tw_kir_type_name(param->type)));
    tw_json_write_key(json, "offset");
    tw_json_write_u64(json, param->offset);
    tw_json_write_key(json, "size");
    tw_json_write_u64(json, param->size);
    tw_json_write_key(json, "pointer");
    tw_json_write_bool(json, param->is_pointer);
    tw_json_write_end(json, '}');
}

static void write_entry(struct tw_json_writer *json, const struct tw_kir_function *function) {
    tw_json_write_object(json);
    tw_json_write_key(json, "name");
    tw_json_write_str(json, tw_str_from(function->name));
    tw_json_write_key(json, "params");
    tw_json_write_array(json);
    for (uint32_t i = 0; i < function->param_count; i++)
        write_param(json, &function->params[i]);
    tw_json_write_end(json, ']');
    write_dims(json, "required_block", function->required_block);
    write_dims(json, "max_block", function->max_block);
    if (function->refusal) {
        tw_json_write_key(json, "refused");
        tw_json_write_str(json, tw_str_from(function->refusal));
    }
    tw_json_write_end(json, '}');
}

static bool info(const struct tw_kir_module *module, struct tw_buf *out, struct tw_error *err) {
    struct tw_json_writer json;
    tw_json_write_init(&json, out);
    tw_json_write_array(&json);
    for (uint32_t i = 0; i < module->function_count; i++) {
        if (module->functions[i].is_entry)
            write_entry(&json, &module->functions[i]);
    }
    tw_json_write_end(&json, ']');
    return tw_json_write_done(&json) || no_room(out, err);
}

// ---- the handlers ----

static bool with_ptx(const struct tw_compile_request *request, struct tw_buf *out, struct tw_error *err) {
    struct tw_arena arena;
    struct tw_kir_module *module;
    int64_t begin_ns = tw_clock_ns();
    bool ok = parse(&arena, request, &module, err);
    if (ok && request->kind == TW_COMPILE_PTX)
        ok = compile_stage(module, request->entry, request, TW_JIT_OBJECT, out, err);
    else if (ok && request->kind == TW_COMPILE_DUMP)
        ok = dump(module, request, tw_clock_ns() - begin_ns, out, err);
    else if (ok)
        ok = info(module, out, err);
    tw_arena_done(&arena);
    return ok;
}

static bool compile(const struct tw_compile_request *request, struct tw_buf *out, struct tw_error *err) {
    switch (request->kind) {
    case TW_COMPILE_WASM:
        return tw_engine_precompile(request->input, request->interrupt, out, err);
    case TW_COMPILE_PTX:
    case TW_COMPILE_DUMP:
    case TW_COMPILE_INFO:
        return with_ptx(request, out, err);
    }
    return tw_fail(err, TW_ERR_INTERNAL, "there is no request of kind %d", (int)request->kind);
}

// ---- warming up ----

// A kernel with something of everything that kernels have: LLVM binds and sets up most of itself on first
// use.
static const char warm_ptx[] =
    ".version 7.0\n.target sm_80\n.address_size 64\n"
    ".visible .entry warm(.param .u64 a, .param .u32 n, .param .f32 f) {\n"
    ".reg .pred %p<3>; .reg .b32 %r<12>; .reg .b64 %d<6>; .reg .f32 %f<6>;\n"
    ".shared .align 4 .b8 tile[1024];\n"
    "ld.param.u64 %d1, [a]; ld.param.u32 %r1, [n]; ld.param.f32 %f1, [f];\n"
    "mov.u32 %r2, %tid.x; mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ntid.x;\n"
    "mad.lo.s32 %r5, %r3, %r4, %r2; setp.ge.s32 %p1, %r5, %r1; @%p1 bra DONE;\n"
    "mul.wide.s32 %d2, %r5, 4; add.s64 %d3, %d1, %d2; ld.global.f32 %f2, [%d3];\n"
    "mov.u32 %r6, 0; mov.f32 %f3, 0f00000000;\n"
    "LOOP: fma.rn.f32 %f3, %f2, %f1, %f3; sqrt.rn.f32 %f4, %f3; add.s32 %r6, %r6, 1;\n"
    "setp.lt.s32 %p2, %r6, %r5; @%p2 bra LOOP;\n"
    "mov.u32 %r7, tile; and.b32 %r8, %r2, 255; shl.b32 %r9, %r8, 2; add.s32 %r10, %r7, %r9;\n"
    "st.shared.f32 [%r10], %f4; ld.shared.f32 %f5, [%r10]; st.global.f32 [%d3], %f5;\n"
    "DONE: ret; }\n";

// The same with more of it.
static const char wide_ptx[] =
    ".version 7.0\n.target sm_80\n.address_size 64\n"
    ".visible .entry wide(.param .u64 a, .param .u64 b, .param .u32 n, .param .f32 f) {\n"
    ".reg .pred %p<6>; .reg .b32 %r<24>; .reg .b64 %d<9>; .reg .f32 %f<12>; .reg .f64 %g<3>;\n"
    ".shared .align 4 .b8 tile[1024];\n"
    "ld.param.u64 %d1, [a]; ld.param.u64 %d4, [b]; ld.param.u32 %r1, [n]; ld.param.f32 %f1, [f];\n"
    "mov.u32 %r2, %tid.x; mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ntid.x;\n"
    "mad.lo.s32 %r5, %r3, %r4, %r2; setp.ge.s32 %p1, %r5, %r1; @%p1 bra DONE;\n"
    "mul.wide.s32 %d2, %r5, 4; add.s64 %d3, %d1, %d2; ld.global.f32 %f2, [%d3];\n"
    "add.s64 %d5, %d4, %d2; ld.global.u32 %r11, [%d5];\n"
    "mul.wide.u32 %d6, %r11, 4; add.s64 %d7, %d1, %d6; ld.global.f32 %f6, [%d7];\n"
    "mov.u32 %r6, 0; mov.f32 %f3, 0f00000000;\n"
    "LOOP: fma.rn.f32 %f3, %f2, %f6, %f3; sqrt.rn.f32 %f4, %f3; add.s32 %r6, %r6, 1;\n"
    "setp.gt.f32 %p3, %f4, %f1; selp.f32 %f3, %f4, %f3, %p3; @%p3 bra SKIP;\n"
    "div.rn.f32 %f3, %f3, %f1; ex2.approx.f32 %f3, %f3;\n"
    "SKIP: setp.lt.s32 %p2, %r6, %r11; @%p2 bra LOOP;\n"
    "mov.u32 %r7, tile; and.b32 %r8, %r2, 255; shl.b32 %r9, %r8, 2; add.s32 %r10, %r7, %r9;\n"
    "st.shared.f32 [%r10], %f4; bar.sync 0; ld.shared.f32 %f5, [%r10+4];\n"
    "shfl.sync.bfly.b32 %r12, %r11, 16, 31, -1; add.s32 %r13, %r12, %r11; min.s32 %r14, %r13, %r1; shr.u32 "
    "%r15, %r14, 3;\n"
    "cvt.rn.f32.s32 %f7, %r15; add.f32 %f8, %f7, %f5; max.f32 %f9, %f8, %f3; cvt.f64.f32 %g1, %f9; mul.f64 "
    "%g2, %g1, %g1; cvt.rn.f32.f64 %f10, %g2;\n"
    "atom.global.add.u32 %r16, [%d5], 1; st.global.f32 [%d3], %f10; st.global.f32 [%d7], %f9;\n"
    "DONE: ret; }\n";

// (module (memory 1) (func (export "f") (param i32) (result i32) (i32.add (i32.load (local.get 0)) (i32.const
// 1))))
static const uint8_t warm_wasm[] = {
    0, 'a', 's', 'm', 1, 0, 0,   0, 1, 6,  1,  0x60, 1,  0x7f, 1,    0x7f, 3,    2, 1, 0,    5, 3,    1,
    0, 1,   7,   5,   1, 1, 'f', 0, 0, 10, 12, 1,    10, 0,    0x20, 0,    0x28, 2, 0, 0x41, 1, 0x6a, 0x0b};

// Requests that make nothing of use. The first so many are made again in every fork: with the small kernel alone a
// quarter of the faults are left to the request, with both nearly none.
enum { WARM_FORK = 2, WARM_COUNT = 5 };
static struct tw_compile_request warm_request(unsigned step) {
    const struct tw_span small = tw_span_of(warm_ptx, sizeof(warm_ptx) - 1),
                         wide = tw_span_of(wide_ptx, sizeof(wide_ptx) - 1),
                         wasm = tw_span_of(warm_wasm, sizeof(warm_wasm));
    struct tw_compile_request ptx = {.kind = TW_COMPILE_PTX, .input = small, .entry = "warm"};
    switch (step) {
    case 1:
        ptx.input = wide;
        snprintf(ptx.entry, sizeof(ptx.entry), "wide");
        [[fallthrough]];
    case 0:
        return ptx;
    case 2:
        ptx.variant = (struct tw_kernel_variant){.lanes = 16, .x_multiple = 1, .opt_level = TW_KERNEL_FULL};
        return ptx;
    case 3:
        return (struct tw_compile_request){
            .kind = TW_COMPILE_WASM, .input = wasm, .interrupt = TW_COMPILE_INTERRUPT_EPOCH};
    default:
        return (struct tw_compile_request){
            .kind = TW_COMPILE_WASM, .input = wasm, .interrupt = TW_COMPILE_INTERRUPT_POLL};
    }
}

static bool warm_step(unsigned step, struct tw_error *err) {
    struct tw_compile_request request = warm_request(step);
    struct tw_buf out;
    tw_buf_init(&out, 16 << 20);
    bool ok = compile(&request, &out, err);
    tw_buf_done(&out);
    return ok;
}

// What is set up before the first request, every request finds in its fork.
static bool warm_up(struct tw_error *err) {
    for (unsigned step = 0; step < WARM_COUNT; step++) {
        if (!warm_step(step, err))
            return tw_wrap(err, "warming up");
    }
    return true;
}

// Compiling a kernel of a few hundred lines takes more memory than those above: as much as most take is touched, and kept
// for them.
static void warm_heap(void) {
    enum { HEAP_BYTES = 2 << 20, PAGE_BYTES = 4096 };
    mallopt(M_MMAP_THRESHOLD, 2 * HEAP_BYTES);
    mallopt(M_TRIM_THRESHOLD, 8 * HEAP_BYTES);
    char *heap = tw_alloc(HEAP_BYTES);
    for (size_t at = 0; heap && at < HEAP_BYTES; at += PAGE_BYTES)
        *(volatile char *)(heap + at) = 0;
    free(heap);
}

static bool warm_fork(unsigned step) {
    struct tw_error unused;
    if (step == 0)
        warm_heap();
    return step < WARM_FORK && warm_step(step, &unused);
}

static bool init(struct tw_error *err) {
    return tw_engine_precompile_init(err) && tw_jit_init(err) && warm_up(err);
}

static const char *target(void) {
    static char text[512];
    snprintf(text, sizeof(text), "%s|%s", tw_jit_target(), tw_engine_target());
    return text;
}

int main(void) {
    int type = 0;
    socklen_t size = sizeof(type);
    if (getsockopt(TW_COMPILE_FD, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_SEQPACKET) {
        fputs("tensor-wasm-compiler " TW_VERSION
              ": started by tensor-wasm for itself; there is nothing to run by hand\n",
              stderr);
        return 2;
    }
    const struct tw_compile_handlers handlers = {
        .init = init, .warm = warm_fork, .target = target, .compile = compile};
    return tw_compile_serve(TW_COMPILE_FD, &handlers);
}
