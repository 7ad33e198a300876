// SPDX-License-Identifier: Apache-2.0
//
// Argument records against kernel parameters: what is written where, and each way to be refused, by code and
// position.

#include "unit/gpu/fixture.h"

struct bench {
    struct fixture fixture;
    struct tw_kernel_info info;
    _Alignas(64) uint8_t params[GPU_PARAM_BYTES_MAX];
};

static void add_param(struct bench *bench, uint32_t size, bool is_pointer, bool is_float) {
    struct tw_kernel_info *info = &bench->info;
    uint32_t offset = (uint32_t)tw_align_up(info->param_bytes, size);
    info->params[info->param_count++] = (struct tw_kernel_param){
        .offset = offset, .size = size, .is_pointer = is_pointer, .is_float = is_float};
    info->param_bytes = offset + size;
}

static enum tw_code bind(struct bench *bench, const struct args *args, char *message) {
    struct tw_gpu_launch launch = {.args = tw_span_of(args->bytes, args->len), .memory_bytes = 1 << 16};
    struct tw_error err = {};
    bool ok = gpu_args_bind(bench->fixture.context, &bench->info, &launch, bench->params, &err);
    ck_assert_int_eq(ok, err.code == TW_OK);
    if (message)
        snprintf(message, TW_ERROR_MESSAGE_MAX, "%s", err.message);
    return err.code;
}

static void open_bench(struct bench *bench) {
    *bench = (struct bench){.info = {.name = "bench"}};
    fixture_open(&bench->fixture, NULL);
}

TW_TEST("each kind of record lands in its parameter, aligned, little endian") {
    struct bench bench;
    open_bench(&bench);
    uint64_t buffer;
    tw_assert_ok(tw_gpu_alloc(bench.fixture.context, 100, &buffer, &bench.fixture.err), &bench.fixture.err);
    add_param(&bench, 4, false, false);
    add_param(&bench, 8, false, false);
    add_param(&bench, 4, false, true);
    add_param(&bench, 8, false, true);
    add_param(&bench, 1, false, false);
    add_param(&bench, 2, false, false);
    add_param(&bench, 8, true, false);
    add_param(&bench, 8, true, false);
    ck_assert_uint_eq(bench.info.param_bytes, 56);
    struct args args = {};
    int32_t minus = -2;
    int64_t wide = -3;
    float single = 1.5F;
    double twice = -2.25;
    uint32_t byte = 200;
    int32_t half = -30'000;
    put(&args, 1, &minus, 4), put(&args, 2, &wide, 8), put(&args, 3, &single, 4), put(&args, 4, &twice, 8);
    put(&args, 5, &byte, 4), put(&args, 1, &half, 4), put_range(&args, 0x1234, 0x100),
        put_buffer(&args, buffer, 40);
    ck_assert_int_eq(bind(&bench, &args, NULL), TW_OK);
    const struct gpu_buffer *object = gpu_handle_find(&bench.fixture.context->buffers, buffer);
    static const uint8_t expected[] = {
        0xfe, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, //
        0,    0,    0xc0, 0x3f, 0, 0, 0, 0, 0,    0,    0,    0,    0,    0,    0x02, 0xc0, //
        200,  0,    0xd0, 0x8a, 0, 0, 0, 0, 0x34, 0x12, 0,    0,    1,    0,    0,    0};
    ck_assert_mem_eq(bench.params, expected, sizeof(expected));
    uint64_t address;
    memcpy(&address, bench.params + 48, 8);
    ck_assert_uint_eq(address, object->address + 40);
    ck_assert_uint_eq(object->address % 256, 0);
    fixture_close(&bench.fixture);
}

TW_TEST("wrong counts, widths, tags and pointers are refused with their position") {
    struct bench bench;
    open_bench(&bench);
    add_param(&bench, 8, true, false);  // 0
    add_param(&bench, 4, false, false); // 1
    add_param(&bench, 8, false, true);  // 2
    uint64_t buffer, zero = 0;
    char message[TW_ERROR_MESSAGE_MAX];
    tw_assert_ok(tw_gpu_alloc(bench.fixture.context, 100, &buffer, &bench.fixture.err), &bench.fixture.err);
    struct args good = {};
    put_buffer(&good, buffer, 0), put(&good, 1, &zero, 4), put(&good, 4, &zero, 8);
    ck_assert_int_eq(bind(&bench, &good, NULL), TW_OK);
    struct args null_pointer = {};
    put_u64(&null_pointer, 0), put(&null_pointer, 1, &zero, 4), put(&null_pointer, 4, &zero, 8);
    ck_assert_int_eq(bind(&bench, &null_pointer, NULL), TW_OK);

    struct args few = good;
    few.len -= 9;
    ck_assert_int_eq(bind(&bench, &few, message), TW_ERR_CUDA_INVALID_ARGS);
    ck_assert_ptr_nonnull(strstr(message, "2 arguments were given"));
    struct args many = good;
    put_u64(&many, 1);
    ck_assert_int_eq(bind(&bench, &many, message), TW_ERR_CUDA_INVALID_ARGS);
    ck_assert_ptr_nonnull(strstr(message, "argument 3 is one too many"));
    struct args cut = good;
    cut.len -= 1;
    ck_assert_int_eq(bind(&bench, &cut, message), TW_ERR_CUDA_INVALID_ARGS);
    ck_assert_ptr_nonnull(strstr(message, "argument 2: f64 takes 8 bytes"));
    static const uint8_t bad_tags[] = {0, 9, 0x80, 0xff};
    for (size_t i = 0; i < TW_COUNT(bad_tags); i++) {
        struct args bad = good;
        bad.bytes[17] = bad_tags[i];
        ck_assert_int_eq(bind(&bench, &bad, message), TW_ERR_CUDA_INVALID_ARGS);
        ck_assert_ptr_nonnull(strstr(message, "argument 1: unknown tag"));
    }
    struct args wide = {};
    put_buffer(&wide, buffer, 0), put(&wide, 2, &zero, 8);
    ck_assert_int_eq(bind(&bench, &wide, message), TW_ERR_CUDA_INVALID_ARGS);
    ck_assert_ptr_nonnull(strstr(message, "argument 1: i64 was given"));
    struct args number = {};
    put_u64(&number, 4096);
    ck_assert_int_eq(bind(&bench, &number, message), TW_ERR_CUDA_INVALID_ARGS);
    ck_assert_ptr_nonnull(strstr(message, "argument 0: the kernel's parameter is a pointer"));
    struct args pointer = {};
    put_buffer(&pointer, buffer, 0), put_buffer(&pointer, buffer, 0);
    ck_assert_int_eq(bind(&bench, &pointer, message), TW_ERR_CUDA_INVALID_ARGS);
    struct args pointer_for_double = {};
    put_buffer(&pointer_for_double, buffer, 0), put(&pointer_for_double, 1, &zero, 4),
        put_range(&pointer_for_double, 0, 8);
    ck_assert_int_eq(bind(&bench, &pointer_for_double, message), TW_ERR_CUDA_INVALID_ARGS);
    ck_assert_ptr_nonnull(strstr(message, "argument 2"));
    fixture_close(&bench.fixture);
}

TW_TEST("ranges must lie in guest memory, handles must be this context's") {
    struct bench bench;
    open_bench(&bench);
    add_param(&bench, 8, true, false);
    static const struct {
        uint32_t offset, len;
        bool ok;
    } ranges[] = {{0, 65'536, true},       {65'536, 0, true},       {65'535, 1, true},
                  {65'535, 2, false},      {0, 65'537, false},      {65'537, 0, false},
                  {0xffff'ffff, 1, false}, {1, 0xffff'ffff, false}, {0xffff'ffff, 0xffff'ffff, false}};
    for (size_t i = 0; i < TW_COUNT(ranges); i++) {
        struct args args = {};
        put_range(&args, ranges[i].offset, ranges[i].len);
        ck_assert_int_eq(bind(&bench, &args, NULL), ranges[i].ok ? TW_OK : TW_ERR_CUDA_INVALID_POINTER);
    }
    uint64_t buffer, freed;
    tw_assert_ok(tw_gpu_alloc(bench.fixture.context, 100, &buffer, &bench.fixture.err), &bench.fixture.err);
    tw_assert_ok(tw_gpu_alloc(bench.fixture.context, 100, &freed, &bench.fixture.err), &bench.fixture.err);
    tw_assert_ok(tw_gpu_buffer_free(bench.fixture.context, freed, &bench.fixture.err), &bench.fixture.err);
    const struct {
        uint64_t handle, offset;
        enum tw_code code;
    } handles[] = {{buffer, 100, TW_OK},
                   {buffer, 101, TW_ERR_CUDA_INVALID_ARGS},
                   {buffer, UINT64_MAX, TW_ERR_CUDA_INVALID_ARGS},
                   {freed, 0, TW_ERR_CUDA_INVALID_HANDLE},
                   {0, 0, TW_ERR_CUDA_INVALID_HANDLE},
                   {UINT64_MAX, 0, TW_ERR_CUDA_INVALID_HANDLE},
                   {buffer + (1 << 16), 0, TW_ERR_CUDA_INVALID_HANDLE}};
    for (size_t i = 0; i < TW_COUNT(handles); i++) {
        struct args args = {};
        put_buffer(&args, handles[i].handle, handles[i].offset);
        ck_assert_int_eq(bind(&bench, &args, NULL), handles[i].code);
    }
    fixture_close(&bench.fixture);
}

TW_TEST("narrow parameters take 4-byte integers that fit") {
    struct bench bench;
    open_bench(&bench);
    add_param(&bench, 1, false, false);
    static const struct {
        uint8_t tag;
        int64_t value;
        bool ok;
    } cases[] = {{1, 127, true}, {1, 255, true},  {1, 256, false},         {1, -128, true}, {1, -129, false},
                 {5, 255, true}, {5, 256, false}, {5, 0xffff'ffff, false}, {3, 0, false}};
    for (size_t i = 0; i < TW_COUNT(cases); i++) {
        struct args args = {};
        put(&args, cases[i].tag, &cases[i].value, 4);
        ck_assert_int_eq(bind(&bench, &args, NULL), cases[i].ok ? TW_OK : TW_ERR_CUDA_INVALID_ARGS);
        if (cases[i].ok)
            ck_assert_uint_eq(bench.params[0], (uint8_t)cases[i].value);
    }
    fixture_close(&bench.fixture);
}

TW_TEST("128 arguments are taken, 129 and more than 4,096 bytes are not") {
    struct bench bench;
    open_bench(&bench);
    for (int i = 0; i < 128; i++)
        add_param(&bench, 8, false, false);
    struct args args = {};
    for (uint64_t i = 0; i < 128; i++)
        put_u64(&args, i * 3);
    ck_assert_int_eq(bind(&bench, &args, NULL), TW_OK);
    for (uint64_t i = 0, value; i < 128; i++) {
        memcpy(&value, bench.params + 8 * i, 8);
        ck_assert_uint_eq(value, 3 * i);
    }
    put_u64(&args, 1);
    ck_assert_int_eq(bind(&bench, &args, NULL), TW_ERR_CUDA_ARGS_UNSUPPORTED);
    args.len = 4097;
    ck_assert_int_eq(bind(&bench, &args, NULL), TW_ERR_CUDA_ARGS_UNSUPPORTED);
    fixture_close(&bench.fixture);
}

TW_TEST("no random buffer of arguments is taken unless every record fits") {
    struct bench bench;
    open_bench(&bench);
    add_param(&bench, 4, false, false);
    add_param(&bench, 8, true, false);
    uint64_t seed = 1'234'567;
    int taken = 0;
    for (int round = 0; round < 100'000; round++) {
        struct args args = {};
        seed = seed * 6'364'136'223'846'793'005ULL + 1;
        args.len = (seed >> 33) % 24;
        for (size_t i = 0; i < args.len; i++) {
            seed = seed * 6'364'136'223'846'793'005ULL + 1;
            args.bytes[i] = (uint8_t)(seed >> 40);
            if (i == 0 || i == 5)
                args.bytes[i] %= 9;
        }
        bool fits = args.len == 14 && (args.bytes[0] == 1 || args.bytes[0] == 3 || args.bytes[0] == 5) &&
                    args.bytes[5] == 7;
        uint32_t offset, len;
        memcpy(&offset, args.bytes + 6, 4), memcpy(&len, args.bytes + 10, 4);
        fits = fits && (uint64_t)offset + len <= 65'536;
        uint64_t value;
        memcpy(&value, args.bytes + 6, 8);
        fits = fits || (args.len == 14 && (args.bytes[0] == 1 || args.bytes[0] == 3 || args.bytes[0] == 5) &&
                        (args.bytes[5] == 2 || args.bytes[5] == 6) && value == 0);
        ck_assert_int_eq(bind(&bench, &args, NULL) == TW_OK, fits);
        taken += fits;
    }
    ck_assert_int_lt(taken, 100);
    fixture_close(&bench.fixture);
}
