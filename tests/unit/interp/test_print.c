// SPDX-License-Identifier: Apache-2.0
//
// Programs as text.

#include "harness/test.h"
#include "maker.h"

static char *text_of(struct maker *m, size_t max, struct tw_error *err) {
    struct tw_buf out;
    struct tw_span bytes = maker_bytes(m);
    tw_buf_init(&out, max);
    m->info.spill_bytes = m->reg_bytes;
    bool ok = tw_interp_print(bytes, &m->info, &out, err);
    free((void *)(uintptr_t)bytes.data);
    char *text = ok ? strndup((const char *)out.data, out.len) : NULL;
    tw_buf_done(&out);
    return text;
}

static void make(struct maker *m) {
    maker_init(m);
    m->flags = TW_INTERP_BARRIERS;
    uint32_t seven = maker_constant(m, 7, 4), b = maker_row(m), p = maker_row(m); // at 0, 512, 1024
    m->zeros[m->zero_count++] = (struct tw_interp_zero){.row = b, .bytes = 128};
    maker_block(m);
    MAKE(m, TW_INTERP_GUARD, 1 << 1 | 1, p);
    maker_add(m, b, b, seven);
    MAKE(m, TW_INTERP_UNGUARD, 0);
    maker_less(m, p, b, seven);
    MAKE(m, TW_INTERP_BRX, 0, b, 2, 1, 3, 2, 4);
    maker_block(m);
    MAKE(m, TW_INTERP_BARRIER, 12, 2);
    maker_block(m);
    MAKE(m, TW_INTERP_END, 0);
}

TW_TEST("a program's text has its blocks, operations, rows, constants and places") {
    static struct maker m;
    struct tw_error err = {};
    make(&m);
    char *text = text_of(&m, 1 << 20, &err);
    tw_assert_ok(text, &err);
    ck_assert_str_eq(text, "program, 1536 bytes of rows a warp, barriers\n"
                           "zero 512, 128 bytes\n"
                           "$0:\n"
                           "  guard p1024, skip 1, negated\n"
                           "  add.u32 w512, w512, w0=0x7\n"
                           "  unguard\n"
                           "  setp.s32.lt p1024, w512, w0=0x7\n"
                           "  brx w512, 2, $1, 3, $2, 4\n"
                           "$1:\n"
                           "  barrier $2 #0xc\n"
                           "$2:\n"
                           "  end\n");
    free(text);
}

TW_TEST("what is no program has no text, and one too long for its buffer fails") {
    static struct maker m;
    struct tw_error err = {};
    make(&m);
    m.blocks[2] = 99;
    ck_assert_ptr_null(text_of(&m, 1 << 20, &err));
    ck_assert_int_eq(err.code, TW_ERR_INTERNAL);
    make(&m);
    for (size_t max = 1; max < 200; max += 7) {
        ck_assert_ptr_null(text_of(&m, max, &err));
        ck_assert_int_eq(err.code, TW_ERR_CAPACITY);
    }
}
