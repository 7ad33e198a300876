// SPDX-License-Identifier: Apache-2.0
//
// The real program in its real sandbox: LLVM and Cranelift do their work with the system calls they are
// allowed, bad inputs get the errors they deserve, and memory that runs out inside them is told from a crash.

#include "compile/compile.h"
#include "harness/test.h"

static struct tw_compiler *compiler_new(uint64_t memory_bytes) {
    struct tw_error err = {};
    struct tw_compiler_options options = {
        .program = TW_TEST_BIN_DIR "/tensor-wasm-compiler", .processes = 1, .memory_bytes = memory_bytes};
    struct tw_compiler *compiler = tw_compiler_new(&options, &err);
    tw_assert_ok(compiler, &err);
    return compiler;
}

static const char store_tid[] =
    ".version 7.0\n.target sm_80\n.address_size 64\n"
    ".visible .entry store_tid(.param .u64 out, .param .f32 x) .reqntid 64, 1, 1 {\n"
    ".reg .b64 %d<3>; .reg .b32 %r<2>;\n"
    "ld.param.u64 %d1, [out]; mov.u32 %r1, %tid.x; mul.wide.u32 %d2, %r1, 4; add.s64 %d1, %d1, %d2;\n"
    "st.global.u32 [%d1], %r1; ret; }\n"
    ".visible .entry nothing() { ret; }\n";

static struct tw_compile_request ptx_request(enum tw_compile_kind kind, const char *entry,
                                             const char *stage) {
    struct tw_compile_request request = {.kind = kind,
                                         .input = tw_span_of(store_tid, sizeof(store_tid) - 1),
                                         .variant = {.lanes = 16, .x_multiple = 1}};
    snprintf(request.entry, sizeof(request.entry), "%s", entry);
    snprintf(request.stage, sizeof(request.stage), "%s", stage);
    return request;
}

static struct tw_artifact *compile(struct tw_compiler *compiler, const struct tw_compile_request *request) {
    struct tw_error err = {};
    struct tw_artifact *artifact = tw_compile(compiler, request, &err);
    tw_assert_ok(artifact, &err);
    return artifact;
}

static bool holds(const struct tw_artifact *artifact, const char *text) {
    struct tw_span bytes = tw_artifact_bytes(artifact);
    return memmem(bytes.data, bytes.len, text, strlen(text)) != NULL;
}

TW_TEST("PTX becomes an artifact that decodes and names its kernel") {
    struct tw_error err = {};
    struct tw_compiler *compiler = compiler_new(0);
    struct tw_compile_request request = ptx_request(TW_COMPILE_PTX, "store_tid", "");
    for (uint16_t level = 0; level < 2; level++) {
        request.variant.opt_level = level;
        struct tw_artifact *artifact = compile(compiler, &request);
        struct tw_kernel_artifact *decoded = tw_alloc_zero(1, sizeof(*decoded));
        tw_assert_ok(tw_kernel_artifact_decode(tw_artifact_bytes(artifact), decoded, &err), &err);
        ck_assert_str_eq(decoded->info.name, "store_tid");
        ck_assert_uint_eq(decoded->info.variant.opt_level, level);
        ck_assert_uint_eq(decoded->info.param_count, 2);
        ck_assert_uint_eq(decoded->info.params[1].offset, 8);
        ck_assert_uint_eq(decoded->info.required_block[0], 64);
        ck_assert_mem_eq(decoded->object.data, "\177ELF", 4);
        free(decoded);
        tw_artifact_unref(artifact);
    }
    tw_compiler_free(compiler);
}

TW_TEST("every stage of a kernel is shown in its own language") {
    static const struct {
        const char *stage, *text;
    } stages[] = {{"parse", "mulwide.u32"},
                  {"ir", "st.u32.global"},
                  {"opt", "st.u32.global"},
                  {"program", "$0:"},
                  {"llvm", "define "},
                  {"asm", ".text"},
                  {"ptx", ".visible .entry store_tid("}};
    struct tw_compiler *compiler = compiler_new(0);
    for (size_t i = 0; i < TW_COUNT(stages); i++) {
        struct tw_compile_request request = ptx_request(TW_COMPILE_DUMP, "store_tid", stages[i].stage);
        struct tw_artifact *artifact = compile(compiler, &request);
        ck_assert_msg(holds(artifact, stages[i].text), "stage %s lacks %s", stages[i].stage, stages[i].text);
        tw_artifact_unref(artifact);
    }
    tw_compiler_free(compiler);
}

TW_TEST("the list of kernels is JSON with their parameters") {
    struct tw_error err = {};
    struct tw_compiler *compiler = compiler_new(0);
    struct tw_compile_request request = ptx_request(TW_COMPILE_INFO, "", "");
    struct tw_artifact *artifact = compile(compiler, &request);
    struct tw_json *root = tw_json_parse(tw_artifact_bytes(artifact), &err);
    tw_assert_ok(root, &err);
    ck_assert_uint_eq(tw_json_count(root), 2);
    const struct tw_json *kernel = tw_json_at(root, 0), *params = tw_json_get(kernel, "params");
    ck_assert(tw_str_equal(tw_json_str(tw_json_get(kernel, "name")), TW_STR("store_tid")));
    ck_assert_uint_eq(tw_json_count(params), 2);
    ck_assert(tw_json_bool(tw_json_get(tw_json_at(params, 0), "pointer")));
    ck_assert(tw_str_equal(tw_json_str(tw_json_get(tw_json_at(params, 1), "type")), TW_STR("f32")));
    ck_assert_int_eq(tw_json_int(tw_json_get(tw_json_at(params, 1), "offset")), 8);
    ck_assert_int_eq(tw_json_int(tw_json_at(tw_json_get(kernel, "required_block"), 0)), 64);
    tw_json_free(root);
    tw_artifact_unref(artifact);
    tw_compiler_free(compiler);
}

static void assert_fails(struct tw_compiler *compiler, const struct tw_compile_request *request,
                         enum tw_code code, const char *message) {
    struct tw_error err = {};
    ck_assert_ptr_null(tw_compile(compiler, request, &err));
    ck_assert_msg(err.code == code && strstr(err.message, message), "%s: %s", tw_code_name(err.code),
                  err.message);
}

TW_TEST("inputs that are wrong get errors that say where") {
    struct tw_compiler *compiler = compiler_new(0);
    struct tw_compile_request request = ptx_request(TW_COMPILE_PTX, "saxpy", "");
    assert_fails(compiler, &request, TW_ERR_CUDA_INVALID_KERNEL, "store_tid");
    request.input = tw_span_of(".version 7.0\n.target sm_80\nbogus", 32);
    assert_fails(compiler, &request, TW_ERR_CUDA_MALFORMED_PTX, "line 3");
    request = (struct tw_compile_request){.kind = TW_COMPILE_WASM, .input = tw_span_of("(module)", 8)};
    assert_fails(compiler, &request, TW_ERR_INVALID_WASM, "not valid");
    struct tw_compiler_stats stats;
    tw_compiler_stats(compiler, &stats);
    ck_assert_uint_eq(stats.restarts, 0);
    tw_compiler_free(compiler);
}

static void put_u32(struct tw_buf *out, uint32_t value) {
    do
        ck_assert(tw_buf_append_byte(out, (uint8_t)((value & 0x7fU) | (value > 0x7f ? 0x80U : 0U))));
    while (value >>= 7);
}

// A module with one function of `steps` times `local.get 0, i32.const 7, i32.mul, local.set 0`.
static void make_wasm(struct tw_buf *out, uint32_t steps) {
    static const uint8_t head[] = {0, 'a', 's', 'm', 1, 0, 0, 0, 1, 5, 1, 0x60, 1, 0x7f, 0, 3, 2, 1, 0, 10};
    static const uint8_t step[] = {0x20, 0, 0x41, 7, 0x6c, 0x21, 0};
    uint32_t body = 2 + steps * (uint32_t)sizeof(step);
    struct tw_buf inner;
    tw_buf_init(&inner, 64 << 20);
    put_u32(&inner, 1);
    put_u32(&inner, body);
    ck_assert(tw_buf_append_byte(&inner, 0));
    for (uint32_t i = 0; i < steps; i++)
        ck_assert(tw_buf_append(&inner, step, sizeof(step)));
    ck_assert(tw_buf_append_byte(&inner, 0x0b));
    ck_assert(tw_buf_append(out, head, sizeof(head)));
    put_u32(out, (uint32_t)inner.len);
    ck_assert(tw_buf_append(out, inner.data, inner.len));
    tw_buf_done(&inner);
}

TW_TEST("Wasm becomes code for either way of interrupting, and too much of it for the memory is told so") {
    struct tw_compiler *compiler = compiler_new(48 << 20);
    struct tw_buf small, large;
    tw_buf_init(&small, 64 << 20);
    tw_buf_init(&large, 64 << 20);
    make_wasm(&small, 10);
    make_wasm(&large, 300'000);
    struct tw_compile_request request = {.kind = TW_COMPILE_WASM, .input = tw_buf_span(&large)};
    assert_fails(compiler, &request, TW_ERR_COMPILE_FAILED, "ran out of memory (limit 48 MiB)");
    request.input = tw_buf_span(&small);
    struct tw_digest keys[2];
    for (uint32_t i = 0; i < 2; i++) {
        request.interrupt = i;
        struct tw_artifact *artifact = compile(compiler, &request);
        ck_assert(holds(artifact, "\177ELF"));
        keys[i] = tw_artifact_key(artifact);
        tw_artifact_unref(artifact);
    }
    ck_assert(!tw_digest_equal(&keys[0], &keys[1]));
    tw_buf_done(&small);
    tw_buf_done(&large);
    tw_compiler_free(compiler);
}
