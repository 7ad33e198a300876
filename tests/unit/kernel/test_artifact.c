// SPDX-License-Identifier: Apache-2.0
//
// Artifacts come back as they went in, whatever is broken in them is refused, and the variant follows the
// block's shape.

#include "harness/test.h"
#include "kernel/frame.h"

static struct tw_kernel_artifact example(const uint8_t *globals, const uint64_t *relocs,
                                         const uint8_t *object) {
    struct tw_kernel_artifact a = {};
    snprintf(a.info.name, sizeof a.info.name, "saxpy");
    a.info.variant = (struct tw_kernel_variant){.lanes = 16, .x_multiple = 16, .opt_level = 1};
    a.info.param_count = 2;
    a.info.param_bytes = 12;
    a.info.params[0] = (struct tw_kernel_param){.size = 8, .is_pointer = 1};
    a.info.params[1] = (struct tw_kernel_param){.offset = 8, .size = 4, .is_float = 1};
    a.info.uses_barriers = true;
    a.info.globals_bytes = 24;
    a.info.globals_align = 8;
    a.globals = tw_span_of(globals, 24);
    a.global_relocs = relocs;
    a.global_reloc_count = 2;
    a.object = tw_span_of(object, 100);
    return a;
}

static const uint8_t globals[24] = {1, 2, 3};
static const uint64_t relocs[2] = {0, 16};
static const uint8_t object[100] = "\177ELF";

static uint8_t *encoded(size_t *ret_len) {
    struct tw_kernel_artifact a = example(globals, relocs, object);
    struct tw_error err = {};
    struct tw_buf out;
    tw_buf_init(&out, 1 << 20);
    tw_assert_ok(tw_kernel_artifact_encode(&a, &out, &err), &err);
    return tw_buf_take(&out, ret_len);
}

TW_TEST("an artifact comes back as it went in") {
    size_t len;
    uint8_t *bytes = encoded(&len);
    struct tw_kernel_artifact a = {};
    struct tw_error err = {};
    tw_assert_ok(tw_kernel_artifact_decode(tw_span_of(bytes, len), &a, &err), &err);
    ck_assert_str_eq(a.info.name, "saxpy");
    ck_assert_uint_eq(a.info.variant.lanes, 16);
    ck_assert_uint_eq(a.info.params[1].offset, 8);
    ck_assert(a.info.uses_barriers && !a.info.uses_atomics);
    ck_assert_uint_eq(a.globals.len, 24);
    ck_assert_mem_eq(a.globals.data, globals, 24);
    ck_assert_uint_eq(a.global_reloc_count, 2);
    ck_assert_mem_eq(a.global_relocs, relocs, sizeof relocs);
    ck_assert_uint_eq(a.object.len, 100);
    ck_assert_mem_eq(a.object.data, object, 100);
    free(bytes);
}

TW_TEST("an artifact cut short anywhere is refused") {
    size_t len;
    uint8_t *bytes = encoded(&len);
    for (size_t cut = 0; cut < len; cut++) {
        struct tw_kernel_artifact a;
        struct tw_error err = {};
        uint8_t *copy = malloc(cut ? cut : 1);
        ck_assert_ptr_nonnull(copy);
        memcpy(copy, bytes, cut);
        ck_assert(!tw_kernel_artifact_decode(tw_span_of(copy, cut), &a, &err));
        ck_assert_int_eq(err.code, TW_ERR_INTERNAL);
        free(copy);
    }
    free(bytes);
}

TW_TEST("no flipped bit makes the decoder read outside") {
    size_t len;
    uint8_t *bytes = encoded(&len);
    for (size_t bit = 0; bit < len * 8; bit++) {
        struct tw_kernel_artifact a;
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (tw_kernel_artifact_decode(tw_span_of(bytes, len), &a, NULL)) {
            ck_assert(a.object.data >= bytes && a.object.data + a.object.len <= bytes + len);
            ck_assert(a.globals.data >= bytes && a.globals.data + a.globals.len <= bytes + len);
            for (uint32_t i = 0; i < a.global_reloc_count; i++)
                ck_assert_uint_le(a.global_relocs[i] + 8, a.globals.len);
        }
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    free(bytes);
}

TW_TEST("an artifact that does not fit its buffer is refused") {
    struct tw_kernel_artifact a = example(globals, relocs, object);
    struct tw_error err = {};
    struct tw_buf out;
    tw_buf_init(&out, 500);
    ck_assert(!tw_kernel_artifact_encode(&a, &out, &err));
    ck_assert_int_eq(err.code, TW_ERR_CUDA_QUOTA);
    tw_buf_done(&out);
}

TW_TEST("the variant fills rows where it can, and warp operations have 32 lanes") {
    static const struct {
        uint32_t block[3];
        bool warp_ops;
        uint16_t lanes, x_multiple;
    } cases[] = {
        {{256, 1, 1}, false, 32, 32}, {{48, 2, 1}, false, 16, 16}, {{8, 8, 1}, false, 8, 8},
        {{16, 16, 1}, true, 32, 16},  {{32, 4, 1}, true, 32, 32},  {{100, 1, 1}, false, 32, 1},
        {{1, 1, 1}, false, 8, 1},     {{3, 5, 1}, false, 16, 1},   {{64, 1, 1}, true, 32, 32},
        {{1, 1, 1}, true, 32, 1},     {{4, 8, 2}, false, 32, 4},   {{16, 3, 1}, true, 32, 1},
    };
    for (size_t i = 0; i < TW_COUNT(cases); i++) {
        struct tw_kernel_info info = {.uses_warp_ops = cases[i].warp_ops};
        struct tw_kernel_variant v = tw_kernel_variant_for(&info, cases[i].block, 1);
        ck_assert_uint_eq(v.lanes, cases[i].lanes);
        ck_assert_uint_eq(v.x_multiple, cases[i].x_multiple);
        ck_assert_uint_eq(v.opt_level, 1);
        ck_assert_uint_eq(v.unconfined, 0);
    }
}

TW_TEST("light code has no more than 16 lanes unless there are warp operations") {
    static const struct {
        uint32_t block[3];
        bool warp_ops;
        uint16_t lanes, x_multiple;
    } cases[] = {
        {{256, 1, 1}, false, 16, 16}, {{48, 2, 1}, false, 16, 16}, {{8, 8, 1}, false, 8, 8},
        {{16, 16, 1}, false, 16, 16}, {{32, 4, 1}, true, 32, 32},  {{100, 1, 1}, false, 16, 1},
        {{1, 1, 1}, false, 8, 1},     {{4, 8, 2}, false, 16, 4},   {{16, 3, 1}, true, 32, 1},
    };
    for (size_t i = 0; i < TW_COUNT(cases); i++) {
        struct tw_kernel_info info = {.uses_warp_ops = cases[i].warp_ops, .whole_lanes = 256};
        struct tw_kernel_variant v = tw_kernel_variant_for(&info, cases[i].block, TW_KERNEL_LIGHT);
        ck_assert_uint_eq(v.lanes, cases[i].lanes);
        ck_assert_uint_eq(v.x_multiple, cases[i].x_multiple);
        ck_assert_uint_eq(v.opt_level, TW_KERNEL_LIGHT);
        ck_assert(tw_kernel_variant_good(&v));
    }
}

TW_TEST("a hot kernel that goes through rows gets wide blocks of one row as several long vectors") {
    static const struct {
        uint32_t block[3];
        unsigned level;
        uint16_t lanes, x_multiple;
    } cases[] = {
        {{256, 1, 1}, 1, 256, 256}, {{512, 1, 1}, 1, 256, 512}, {{1024, 1, 1}, 1, 256, 1024},
        {{1024, 1, 1}, 0, 16, 16},  {{768, 1, 1}, 1, 32, 32},   {{256, 2, 1}, 1, 32, 32},
        {{16, 16, 1}, 1, 256, 16},  {{512, 1, 2}, 1, 32, 32},
    };
    for (size_t i = 0; i < TW_COUNT(cases); i++) {
        struct tw_kernel_info info = {.whole_lanes = TW_KERNEL_ROW_MAX};
        struct tw_kernel_variant v = tw_kernel_variant_for(&info, cases[i].block, cases[i].level);
        ck_assert_uint_eq(v.lanes, cases[i].lanes);
        ck_assert_uint_eq(v.x_multiple, cases[i].x_multiple);
        ck_assert(tw_kernel_variant_good(&v));
    }
    struct tw_kernel_variant narrow = {.lanes = 128, .x_multiple = 512};
    ck_assert(!tw_kernel_variant_good(&narrow));
}

TW_TEST("a hot kernel that works on tiles gets its blocks as one vector, as far as it bears that") {
    static const struct {
        uint32_t block[3];
        unsigned level;
        uint16_t lanes, x_multiple;
    } cases[] = {
        {{16, 16, 1}, 1, 32, 16}, {{16, 8, 1}, 1, 128, 16}, {{16, 8, 1}, 0, 16, 16},  {{64, 1, 1}, 1, 64, 64},
        {{32, 2, 1}, 1, 64, 32},  {{8, 8, 2}, 1, 8, 8},     {{32, 1, 1}, 1, 32, 32},  {{8, 12, 1}, 1, 8, 8},
        {{4, 16, 1}, 1, 64, 4},   {{1, 128, 1}, 1, 32, 1},  {{512, 1, 1}, 1, 32, 32},
    };
    for (size_t i = 0; i < TW_COUNT(cases); i++) {
        struct tw_kernel_info info = {.whole_lanes = cases[i].block[1] == 16 && i == 0 ? 64 : 128};
        struct tw_kernel_variant v = tw_kernel_variant_for(&info, cases[i].block, cases[i].level);
        uint16_t lanes = i == 0 ? 16 : cases[i].lanes; // 256 threads are more than it bears
        ck_assert_uint_eq(v.lanes, lanes);
        ck_assert_uint_eq(v.x_multiple, cases[i].x_multiple);
        ck_assert(tw_kernel_variant_good(&v));
    }
}
