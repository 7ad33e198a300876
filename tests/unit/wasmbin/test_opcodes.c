// SPDX-License-Identifier: Apache-2.0
//
// The table of instructions against wat2wasm: each one is assembled by name, and must decode to its number,
// with its immediates ending where the function ends.

#include "guests.h"

struct row {
    uint32_t code;
    enum wasmbin_immediates immediates;
    const char *text;
};
static const struct row rows[] = {
#define WASMBIN_OP(byte, immediates, id, text) {WASMBIN_##id, WASMBIN_IMM_##immediates, text},
#define WASMBIN_FB(code, immediates, id, text) {WASMBIN_##id, WASMBIN_IMM_##immediates, text},
#define WASMBIN_FC(code, immediates, id, text) {WASMBIN_##id, WASMBIN_IMM_##immediates, text},
#define WASMBIN_FD(code, immediates, id, text) {WASMBIN_##id, WASMBIN_IMM_##immediates, text},
#define WASMBIN_REFUSED(byte, proposal, text)
#include "wasmbin/opcodes.def"
#undef WASMBIN_OP
#undef WASMBIN_FB
#undef WASMBIN_FC
#undef WASMBIN_FD
#undef WASMBIN_REFUSED
};

// Immediates in the text format, with numbers of several bytes where they can be. NULL: handled by hand.
static const char *immediates_text(const struct row *row) {
    switch (row->immediates) {
    case WASMBIN_IMM_NONE:
        return "";
    case WASMBIN_IMM_BLOCK:
        return row->code == WASMBIN_IF ? "(type 1) nop else nop end" : "(type 1) end";
    case WASMBIN_IMM_LABEL:
        return "0";
    case WASMBIN_IMM_LABELS:
        return "0 0 0 0";
    case WASMBIN_IMM_FUNC:
        return "200";
    case WASMBIN_IMM_TYPE_TABLE:
        return "1 (type 1)";
    case WASMBIN_IMM_TYPES:
        return "(result i64)";
    case WASMBIN_IMM_LOCAL:
        return "199";
    case WASMBIN_IMM_GLOBAL:
    case WASMBIN_IMM_TABLE:
    case WASMBIN_IMM_ELEM:
    case WASMBIN_IMM_DATA:
    case WASMBIN_IMM_MEMORY:
        return "1";
    case WASMBIN_IMM_TABLE_TABLE:
    case WASMBIN_IMM_MEMORY_MEMORY:
        return "1 0";
    case WASMBIN_IMM_ELEM_TABLE: // the text has the table first
    case WASMBIN_IMM_DATA_MEMORY:
        return "1 0";
    case WASMBIN_IMM_MEMARG:
        return "1 offset=70000 align=1";
    case WASMBIN_IMM_MEMARG_LANE:
        return "1 offset=70000 align=1 1";
    case WASMBIN_IMM_LANE:
        return "1";
    case WASMBIN_IMM_HEAP:
        return "extern";
    case WASMBIN_IMM_S32:
    case WASMBIN_IMM_S64:
        return "-70000";
    case WASMBIN_IMM_BYTES4:
    case WASMBIN_IMM_BYTES8:
        return "11.25"; // no byte of it is 0
    case WASMBIN_IMM_BYTES16:
        return row->code == WASMBIN_V128_CONST ? "i32x4 1 2 3 4" : "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15";
    case WASMBIN_IMM_TRY: // unknown to wabt
    case WASMBIN_IMM_CAST_LABEL:
    case WASMBIN_IMM_TAG:
    case WASMBIN_IMM_TYPE:
    case WASMBIN_IMM_TYPE_TYPE:
    case WASMBIN_IMM_TYPE_NUMBER:
    case WASMBIN_IMM_TYPE_DATA:
    case WASMBIN_IMM_TYPE_ELEM:
    case WASMBIN_IMM_UNKNOWN:
    case WASMBIN_IMM_REFUSED:
        break;
    }
    ck_abort_msg("%s", row->text);
}

// wabt has the older names of two.
static const char *wabt_text(const struct row *row) {
    if (row->code == WASMBIN_I16X8_RELAXED_DOT_I8X16_I7X16_S)
        return "i16x8.dot_i8x16_i7x16_s";
    return row->code == WASMBIN_I32X4_RELAXED_DOT_I8X16_I7X16_ADD_S ? "i32x4.dot_i8x16_i7x16_add_s"
                                                                    : row->text;
}

// What cannot stand alone, and what wabt does not know: tests/unit/engine/test_language.c has that.
static bool is_left_out(const struct row *row) {
    static const uint32_t codes[] = {WASMBIN_ELSE,
                                     WASMBIN_END,
                                     WASMBIN_THROW,
                                     WASMBIN_THROW_REF,
                                     WASMBIN_TRY_TABLE,
                                     WASMBIN_CALL_REF,
                                     WASMBIN_REF_EQ,
                                     WASMBIN_RETURN_CALL_REF,
                                     WASMBIN_REF_AS_NON_NULL,
                                     WASMBIN_BR_ON_NULL,
                                     WASMBIN_BR_ON_NON_NULL};
    for (size_t i = 0; i < TW_COUNT(codes); i++)
        if (row->code == codes[i])
            return true;
    return row->code >= WASMBIN_PREFIX_FB && row->code < WASMBIN_PREFIX_FC;
}

TW_TEST("every instruction of the table is what wat2wasm makes of its name") {
    struct tw_buf text;
    tw_buf_init(&text, 1 << 20);
    ck_assert(tw_buf_printf(
        &text, "(module (type (func)) (type (func)) (memory 1) (memory 1) (table 1 funcref) (table 1 "
               "funcref) (global i32 (i32.const 0)) (global (mut i32) (i32.const 0))\n"));
    for (size_t i = 0; i < TW_COUNT(rows); i++) {
        if (is_left_out(&rows[i]))
            continue;
        ck_assert(tw_buf_printf(&text, "(func (type 0) (local"));
        for (unsigned local = 0; local < 200; local++)
            ck_assert(tw_buf_printf(&text, " i32"));
        ck_assert(tw_buf_printf(&text, ") %s %s)\n", wabt_text(&rows[i]), immediates_text(&rows[i])));
    }
    ck_assert(tw_buf_printf(&text, "(elem func 200) (elem func) (data \"\") (data \"\"))"));
    parse(assemble_with((const char *)text.data, "--no-check"));

    const struct wasmbin_module *module = wasm.sections;
    uint32_t func = 0;
    for (size_t i = 0; i < TW_COUNT(rows); i++) {
        if (is_left_out(&rows[i]))
            continue;
        const struct wasmbin_body *body = &module->bodies[func++];
        struct wasmbin_reader reader = {wasm.bytes.data, body->code, body->end, &err};
        struct wasmbin_op op, end;
        tw_assert_ok(wasmbin_next(&reader, &op), &err);
        ck_assert_msg(op.code == rows[i].code, "%s is %x, expected %x", rows[i].text, op.code, rows[i].code);
        ck_assert_msg(rows[i].immediates == WASMBIN_IMM_BLOCK || reader.at + 1 == body->end, "%s",
                      rows[i].text);
        do
            tw_assert_ok(wasmbin_next(&reader, &end), &err);
        while (reader.at < body->end);
        ck_assert_uint_eq(end.code, WASMBIN_END);
    }
    ck_assert_uint_eq(func, wasm.func_count);
    tw_buf_done(&text);
}

static struct wasmbin_op decode(const char *bytes, size_t len) {
    struct wasmbin_reader reader = {(const uint8_t *)bytes, (const uint8_t *)bytes,
                                    (const uint8_t *)bytes + len, &err};
    struct wasmbin_op op = {};
    tw_assert_ok(wasmbin_next(&reader, &op), &err);
    ck_assert_ptr_eq(reader.at, reader.end);
    return op;
}

static void decode_fails(const char *bytes, size_t len, const char *part) {
    struct wasmbin_reader reader = {(const uint8_t *)bytes, (const uint8_t *)bytes,
                                    (const uint8_t *)bytes + len, &err};
    struct wasmbin_op op;
    ck_assert_msg(!wasmbin_next(&reader, &op), "decoded, expected: %s", part);
    ck_assert_msg(strstr(err.message, part) != NULL, "\"%s\" does not contain \"%s\"", err.message, part);
}
#define DECODE(bytes)             decode(bytes, sizeof(bytes) - 1)
#define DECODE_FAILS(bytes, part) decode_fails(bytes, sizeof(bytes) - 1, part)

TW_TEST("immediates land where the decoder says") {
    ck_assert_uint_eq(DECODE("\x11\x85\x01\x07").a, 133);
    ck_assert_uint_eq(DECODE("\x11\x85\x01\x07").b, 7);
    struct wasmbin_op table = DECODE("\x0e\x02\x05\x81\x02\x00");
    ck_assert_uint_eq(table.a, 3);
    ck_assert_uint_eq(table.b, 257);
    ck_assert_uint_eq(*table.labels, 5);
    ck_assert_uint_eq(DECODE("\x28\x42\x03\x80\x01").a, 3);
    ck_assert_uint_eq(DECODE("\x28\x02\x80\x01").a, 0);
    ck_assert_uint_eq(DECODE("\xfd\x54\x40\x09\x00\x05").a, 9);
    ck_assert_uint_eq(DECODE("\xfc\x0a\x01\x02").a, 1);
    ck_assert_uint_eq(DECODE("\xfc\x0a\x01\x02").b, 2);
    ck_assert_uint_eq(DECODE("\x02\x40").a, UINT32_MAX);
    ck_assert_uint_eq(DECODE("\x02\x7e").a, UINT32_MAX);
    ck_assert_uint_eq(DECODE("\x02\x81\x01").a, 129);
    // try_table of type 2 with catch 5 6, catch_all_ref 7
    struct wasmbin_op catching = DECODE("\x1f\x02\x02\x00\x05\x06\x03\x07");
    ck_assert_uint_eq(catching.a, 2);
    ck_assert_uint_eq(catching.b, 2);
    ck_assert_uint_eq(*catching.labels, 0);
    ck_assert_uint_eq(DECODE("\xfb\x18\x03\x09\x6e\x83\x01").a,
                      9);                                     // br_on_cast 9 (ref null any) (ref null 131)
    ck_assert_uint_eq(DECODE("\xfb\x08\x04\x82\x01").b, 130); // array.new_fixed 4 130
    ck_assert_uint_eq(DECODE("\xfb\x13\x04\x05").b, 5);       // array.init_elem
    ck_assert_uint_eq(DECODE("\xfb\x17\x70").a, TW_WASM_FUNCREF); // ref.cast (ref null func)
    ck_assert_uint_eq(DECODE("\xd0\x6f").a, TW_WASM_EXTERNREF);
    ck_assert_uint_eq(DECODE("\xd0\x05").a, TW_WASM_REF);
    ck_assert_uint_eq(DECODE("\x08\x81\x01").a, 129); // throw
    ck_assert_uint_eq(DECODE("\x15\x07").a, 7);       // return_call_ref
    ck_assert_uint_eq(DECODE("\x02\x64\x85\x01").a, UINT32_MAX);
    // A sub-opcode may be longer than it needs to be.
    ck_assert_uint_eq(DECODE("\xfc\x8b\x00\x00").code, WASMBIN_MEMORY_FILL);
}

TW_TEST("signed numbers are read to their last bit") {
    ck_assert_int_eq(DECODE("\x41\x7f").value, -1);
    ck_assert_int_eq(DECODE("\x41\xff\x00").value, 127);
    ck_assert_int_eq(DECODE("\x41\x80\x7f").value, -128);
    ck_assert_int_eq(DECODE("\x41\xff\xff\xff\xff\x07").value, INT32_MAX);
    ck_assert_int_eq(DECODE("\x41\x80\x80\x80\x80\x78").value, INT32_MIN);
    ck_assert_int_eq(DECODE("\x42\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00").value, INT64_MAX);
    ck_assert_int_eq(DECODE("\x42\x80\x80\x80\x80\x80\x80\x80\x80\x80\x7f").value, INT64_MIN);
    DECODE_FAILS("\x41\xff\xff\xff\xff\x0f", "not a signed LEB128 number of 32 bits");
    DECODE_FAILS("\x41\x80\x80\x80\x80\x70", "not a signed LEB128 number of 32 bits");
    DECODE_FAILS("\x41\x80\x80\x80\x80\x80\x00", "not a signed LEB128 number of 32 bits");
    DECODE_FAILS("\x42\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "not a signed LEB128 number of 64 bits");
    DECODE_FAILS("\x42\x80\x80\x80\x80\x80\x80\x80\x80\x80\x7e", "not a signed LEB128 number of 64 bits");
    DECODE_FAILS("\x41\x80", "byte 2: a number is cut short");
    DECODE_FAILS("\x02\x80\x80\x80\x80\x70", "expected a block type, found -4294967296");
    DECODE_FAILS("\x02\x80\x80\x80\x80\x20", "not a signed LEB128 number of 33 bits");
}

TW_TEST("what no instruction looks like is refused, proposals by name") {
    DECODE_FAILS("\x27", "unknown instruction 0x27");
    DECODE_FAILS("\xff", "unknown instruction 0xff");
    DECODE_FAILS("\xfc\x12", "unknown instruction 0xfc 0x12");
    DECODE_FAILS("\xfd\x9a\x01", "unknown instruction 0xfd 0x9a");
    DECODE_FAILS("\xfd\x94\x02", "unknown instruction 0xfd 0x114");
    DECODE_FAILS("\xfc\xff\xff\xff\xff\x0f", "unknown instruction 0xfc 0xffffffff");
    DECODE_FAILS("\x10\xff\xff\xff\xff\x1f", "not an LEB128 number of 32 bits");
    DECODE_FAILS("\x10\x80\x80\x80\x80\x80\x00", "not an LEB128 number of 32 bits");
    DECODE_FAILS("\x28\x05\x00", "an alignment of 2^5");
    DECODE_FAILS("\x28\x80\x01\x00", "an alignment of 2^128");
    DECODE_FAILS("\x28\x42", "a memory index is cut short");
    DECODE_FAILS("\x43\x00\x00", "only 2 are left");
    DECODE_FAILS("\x1c\x02\x7f\x7f", "a select of 2 types");
    DECODE_FAILS("\x0e\x7f\x00", "127 labels are announced, only 1 bytes are left");
    DECODE_FAILS("", "expected an instruction, found the end");
    DECODE_FAILS("\xfe\x00\x02\x00", "threads are not supported by this host");
    DECODE_FAILS("\xfb\x1f\x00", "unknown instruction 0xfb 0x1f");
    DECODE_FAILS("\x06\x40", "try: the exceptions of before WebAssembly 3.0 are not supported by this host");
    DECODE_FAILS("\x07\x00",
                 "catch: the exceptions of before WebAssembly 3.0 are not supported by this host");
    DECODE_FAILS("\x02\x68", "stack switching is not supported");
    DECODE_FAILS("\x02\x65", "threads are not supported");
    DECODE_FAILS("\x02\x63\x62", "custom descriptors are not supported");
    DECODE_FAILS("\x02\x63\x7f", "expected what a reference refers to, found 0x7f");
    DECODE_FAILS("\x02\x64", "a number is cut short");
    DECODE_FAILS("\xd0\xff\x7f", "expected what a reference refers to, found -1");
    DECODE_FAILS("\xfb\x18\x04\x00\x6e\x6e", "unknown flags 0x04 of a cast");
    DECODE_FAILS("\x1f\x40\x01\x04\x00", "unknown catch clause 0x04");
    DECODE_FAILS("\x1f\x40\x01\x00\x00", "a label is cut short");
}
