// SPDX-License-Identifier: Apache-2.0
//
// Making, filling and copying arrays, and what comes from segments, in pieces: each is done in a guest and in plain C on bytes, and
// a sum over all elements must be the same. And one of them alone ends when its call is stopped.

#include "begun.h"

#include <sys/mman.h>

enum { COUNT = 50'000, SEGMENT_BYTES = 300'000, REFERENCES = 10'000, ATTEMPTS = 500 };

// How a kind of element is made from a number and made a number again, in the guest and here.
struct kind {
    const char *storage, *unpacked, *get, *element, *number;
    unsigned bytes;
};
static const struct kind kinds[] = {
    {"i8", "i32", "array.get_u", "(local.get 0)", "(local.get 0)", 1},
    {"i16", "i32", "array.get_u", "(local.get 0)", "(local.get 0)", 2},
    {"i32", "i32", "array.get", "(local.get 0)", "(local.get 0)", 4},
    {"i64", "i64", "array.get", "(i64.mul (i64.extend_i32_u (local.get 0)) (i64.const 0x100000001))",
     "(i32.add (i32.wrap_i64 (local.get 0)) (i32.mul (i32.const 3) (i32.wrap_i64 (i64.shr_u (local.get 0) "
     "(i64.const 32)))))",
     8},
    {"v128", "v128", "array.get", "(i32x4.splat (local.get 0))",
     "(i32.add (i32x4.extract_lane 0 (local.get 0)) (i32.mul (i32.const 3) (i32x4.extract_lane 1 (local.get "
     "0))))",
     16},
    // References stand for numbers of four bytes.
    {"(ref null $s)", "(ref null $s)", "array.get", "(struct.new $s (local.get 0))",
     "(struct.get $s 0 (local.get 0))", 4},
    {"(ref null i31)", "(ref null i31)", "array.get",
     "(ref.i31 (i32.and (local.get 0) (i32.const 0x3fffffff)))", "(i31.get_u (local.get 0))", 4},
};

static const char guest_text[] =
    "(module (type $s (struct (field i32))) (type $a (array (mut %s)))"
    "(global $x (mut (ref null $a)) (ref.null $a)) (global $y (mut (ref null $a)) (ref.null $a))"
    "(func $element (param i32) (result %s) %s) (func $number (param %s) (result i32) %s)"
    "(func $begin (local $i i32) (local $v i32)"
    " (global.set $x (array.new $a (call $element (i32.const 0)) (i32.const 50000)))"
    " (global.set $y (array.new $a (call $element (i32.const 0)) (i32.const 50000)))"
    " (loop $l (local.set $v (i32.add (i32.mul (local.get $i) (i32.const 0x9e3779b1)) (i32.shr_u (local.get "
    "$i) (i32.const 7))))"
    "  (array.set $a (global.get $x) (local.get $i) (call $element (local.get $v)))"
    "  (array.set $a (global.get $y) (local.get $i) (call $element (i32.xor (local.get $v) (i32.const -1))))"
    "  (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 50000)))))"
    "(func $sum (result i32) (local $i i32) (local $h i32)"
    " (loop $l (local.set $h (i32.add (i32.mul (local.get $h) (i32.const 31)) (i32.xor"
    "  (call $number (%s $a (global.get $x) (local.get $i))) (i32.mul (i32.const 5) (call $number (%s $a "
    "(global.get $y) (local.get $i)))))))"
    "  (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 50000))))"
    " (local.get $h))"
    "(func (export \"make\") (param i32 i32 i32) (result i32) (call $begin)"
    " (global.set $x (array.new $a (call $element (local.get 1)) (local.get 2))) (call $sum))"
    "(func (export \"fill\") (param i32 i32 i32) (result i32) (call $begin)"
    " (array.fill $a (global.get $x) (local.get 0) (call $element (local.get 1)) (local.get 2)) (call $sum))"
    "(func (export \"copy\") (param i32 i32 i32) (result i32) (call $begin)"
    " (array.copy $a $a (global.get $x) (local.get 0) (global.get $x) (local.get 1) (local.get 2)) (call "
    "$sum))"
    "(func (export \"over\") (param i32 i32 i32) (result i32) (call $begin)"
    " (array.copy $a $a (global.get $y) (local.get 0) (global.get $x) (local.get 1) (local.get 2)) (call "
    "$sum))"
    "(func (export \"nowhere\") (param i32 i32 i32) (result i32)"
    " (array.fill $a (global.get $x) (local.get 0) (call $element (local.get 1)) (local.get 2)) (i32.const "
    "0))"
    "%s)"; // what else there is

// ---- the same in C ----------------------------------------------------------------------------------------
struct model {
    const struct kind *kind;
    uint8_t *x, *y; // COUNT elements each
};

static bool is_i31(const struct kind *kind) {
    return strstr(kind->storage, "i31") != NULL;
}

static void put(const struct model *model, uint8_t *array, uint32_t at, uint32_t value) {
    uint32_t lanes[4] = {value, value, value, value};
    if (is_i31(model->kind))
        lanes[0] &= 0x3fffffff;
    memcpy(array + (size_t)at * model->kind->bytes, lanes, model->kind->bytes);
}

static uint32_t number(const struct model *model, const uint8_t *array, uint32_t at) {
    uint32_t lanes[4] = {};
    memcpy(lanes, array + (size_t)at * model->kind->bytes, model->kind->bytes);
    return lanes[0] + 3 * lanes[1];
}

static void begin(const struct model *model) {
    for (uint32_t i = 0; i < COUNT; i++) {
        put(model, model->x, i, i * 0x9e3779b1U + (i >> 7));
        put(model, model->y, i, ~(i * 0x9e3779b1U + (i >> 7)));
    }
}

static int sum(const struct model *model) {
    uint32_t h = 0;
    for (uint32_t i = 0; i < COUNT; i++)
        h = h * 31 + (number(model, model->x, i) ^ 5 * number(model, model->y, i));
    return (int)h;
}

// An operation by its export's name: three numbers, and what it does to the arrays.
static int after(const struct model *model, const char *name, const int *args) {
    size_t unit = model->kind->bytes, to = (size_t)args[0], from = (size_t)args[1], n = (size_t)args[2];
    begin(model);
    if (strcmp(name, "fill") == 0 || strcmp(name, "make") == 0) {
        for (size_t i = 0; i < n; i++)
            put(model, model->x, (uint32_t)(to + i), (uint32_t)args[1]);
    } else {
        uint8_t *array = strcmp(name, "over") == 0 ? model->y : model->x;
        memmove(array + to * unit, model->x + from * unit, n * unit);
    }
    return sum(model);
}

// ---- the guest --------------------------------------------------------------------------------------------
static struct tw_module *new_guest(struct engine_test *test, const struct kind *kind, const char *more) {
    size_t size = sizeof guest_text + strlen(more) + 2048;
    char *text = malloc(size);
    int len = snprintf(text, size, guest_text, kind->storage, kind->unpacked, kind->element, kind->unpacked,
                       kind->number, kind->get, kind->get, more);
    ck_assert_int_lt(len, (int)size);
    struct tw_module *module = engine_test_module(test, text);
    free(text);
    return module;
}

static void check_trap(struct engine_test *test, struct tw_module *module, const char *export,
                       const int *args, const char *kind) {
    struct engine_test_call call = {};
    char wanted[96];
    snprintf(wanted, sizeof wanted, "the function trapped: %s in %s", kind, export);
    engine_test_put_args(&call, 3, args);
    ck_assert_int_eq(engine_test_code(test, module, export, 20'000, &call), TW_ERR_GUEST_TRAP);
    ck_assert_str_eq(call.invoke.error.message, wanted);
    engine_test_forget(&call);
}

// ---- fills and copies -------------------------------------------------------------------------------------
static const struct operation {
    const char *name;
    int args[3]; // where to, from where or what, how many
} operations[] = {
    {"fill", {12'345, 7, 30'001}},   {"fill", {3, 9, 32'768}},          {"fill", {0, 255, COUNT}},
    {"fill", {40'000, 1, 10'000}},   {"fill", {COUNT, 1, 0}},           {"copy", {101, 100, 40'001}},
    {"copy", {20'000, 100, 29'900}}, {"copy", {100, 101, 40'001}},      {"copy", {7, 30'000, 20'000}},
    {"copy", {5, 5, 32'769}},        {"copy", {16'384, 0, 16'384}},     {"copy", {COUNT, COUNT, 0}},
    {"over", {11, 13, 49'000}},      {"over", {30'000, 1'000, 20'000}}, {"over", {0, 0, COUNT}},
    {"make", {0, 12'345, COUNT}},
};
static const struct operation outside[] = {
    {"fill", {40'000, 1, 10'001}}, {"fill", {16, 1, -1}},    {"fill", {COUNT + 1, 1, 0}},
    {"copy", {1, 0, COUNT}},       {"copy", {0, 1, COUNT}},  {"copy", {0, -1, 20'000}},
    {"over", {20'000, 0, 30'001}}, {"over", {0, -5, COUNT}},
};

TW_TEST(
    "arrays of every kind of element are made, filled and copied as in one go, whichever way they overlap") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    for (size_t k = 0; k < TW_COUNT(kinds); k++) {
        struct model model = {&kinds[k], malloc(COUNT * 16), malloc(COUNT * 16)};
        struct tw_module *module = new_guest(&test, &kinds[k], "");
        for (size_t i = 0; i < TW_COUNT(operations); i++) {
            const struct operation *operation = &operations[i];
            int found = engine_test_i32(&test, module, operation->name, 3, operation->args);
            ck_assert_msg(found == after(&model, operation->name, operation->args), "%s %s %d %d %d",
                          kinds[k].storage, operation->name, operation->args[0], operation->args[1],
                          operation->args[2]);
        }
        for (size_t i = 0; i < TW_COUNT(outside); i++)
            check_trap(&test, module, outside[i].name, outside[i].args, "array_out_of_bounds");
        check_trap(&test, module, "nowhere", (int[]){0, 1, 20'000}, "null_reference");
        check_trap(&test, module, "nowhere", (int[]){0, 1, 0}, "null_reference");
        check_trap(&test, module, "make", (int[]){0, 1, -1}, "allocation_too_large");
        tw_module_unref(module);
        free(model.x);
        free(model.y);
    }
    engine_test_close(&test);
}

TW_TEST("long arrays whose elements cannot be set, or not be null, are made in one go") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(
        &test,
        "(module (memory (export \"memory\") 1) (type $s (struct (field i32))) (type $fixed (array i32))"
        "(type $full (array (mut (ref $s))))"
        "(func (export \"fixed\") (param i32 i32) (result i32)"
        " (array.get $fixed (array.new $fixed (local.get 0) (i32.const 20000)) (local.get 1)))"
        "(func (export \"full\") (param i32 i32) (result i32) (struct.get $s 0"
        " (array.get $full (array.new $full (struct.new $s (local.get 0)) (i32.const 20000)) (local.get "
        "1)))))");
    static const int places[] = {0, 1, 9'999, 16'384, 19'999};
    for (size_t i = 0; i < TW_COUNT(places); i++) {
        int args[] = {1000 + (int)i, places[i]};
        ck_assert_int_eq(engine_test_i32(&test, module, "fixed", 2, args), args[0]);
        ck_assert_int_eq(engine_test_i32(&test, module, "full", 2, args), args[0]);
    }
    tw_module_unref(module);
    engine_test_close(&test);
}

// ---- segments ---------------------------------------------------------------------------------------------
static uint8_t segment_byte(uint32_t i) {
    return (uint8_t)(i * i + (i >> 9));
}

// A passive segment, and what takes from it.
static char *segment_text(void) {
    static const char uses[] =
        "(memory (export \"memory\") 5)"
        "(func (export \"init\") (param i32 i32 i32) (result i32) (call $begin)"
        " (array.init_data $a $d (global.get $x) (local.get 0) (local.get 1) (local.get 2)) (call $sum))"
        "(func (export \"new\") (param i32 i32 i32) (result i32) (call $begin) (array.copy $a $a (global.get "
        "$x) (i32.const 0)"
        " (array.new_data $a $d (local.get 1) (local.get 2)) (i32.const 0) (local.get 2)) (call $sum))"
        "(func (export \"new dropped\") (param i32 i32 i32) (result i32) (data.drop $d)"
        " (array.len (array.new_data $a $d (local.get 1) (local.get 2))))"
        "(func (export \"dropped\") (param i32 i32 i32) (result i32) (call $begin) (data.drop $d)"
        " (array.init_data $a $d (global.get $x) (local.get 0) (local.get 1) (local.get 2)) (call $sum))"
        "(func (export \"bytes\") (param i32 i32 i32) (result i32) (local $i i32) (local $h i32)"
        " (memory.init $d (local.get 0) (local.get 1) (local.get 2))"
        " (loop $l (local.set $h (i32.add (i32.mul (local.get $h) (i32.const 31)) (i32.load8_u (local.get "
        "$i))))"
        "  (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 327680))))"
        " (local.get $h))"
        "(func (export \"no bytes\") (param i32 i32 i32) (result i32) (data.drop $d)"
        " (memory.init $d (local.get 0) (local.get 1) (local.get 2)) (i32.const 0))"
        "(data $d \"";
    char *text = malloc(sizeof uses + 3 * SEGMENT_BYTES + 3), *at = text + sizeof uses - 1;
    memcpy(text, uses, sizeof uses);
    for (uint32_t i = 0; i < SEGMENT_BYTES; i++)
        at += snprintf(at, 4, "\\%02x", segment_byte(i));
    memcpy(at, "\")", 3);
    return text;
}

TW_TEST("an array takes its elements from a long data segment") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    char *text = segment_text();
    for (size_t k = 0; k < 5; k++) { // what is no reference
        struct model model = {&kinds[k], malloc(COUNT * 16), malloc(COUNT * 16)};
        int unit = (int)kinds[k].bytes, all = SEGMENT_BYTES / unit < COUNT ? SEGMENT_BYTES / unit : COUNT;
        struct tw_module *module = new_guest(&test, &kinds[k], text);
        const int wanted[][3] = {{0, 0, all}, {7, 1, all - 7}, {COUNT - 17'000, 12'345, 17'000}};
        for (size_t i = 0; i < TW_COUNT(wanted); i++) {
            begin(&model);
            for (int j = 0; j < wanted[i][2] * unit; j++)
                model.x[wanted[i][0] * unit + j] = segment_byte((uint32_t)(wanted[i][1] + j));
            ck_assert_int_eq(engine_test_i32(&test, module, "init", 3, wanted[i]), sum(&model));
            begin(&model);
            for (int j = 0; j < wanted[i][2] * unit; j++)
                model.x[j] = segment_byte((uint32_t)(wanted[i][1] + j));
            ck_assert_int_eq(engine_test_i32(&test, module, "new", 3, wanted[i]), sum(&model));
        }
        check_trap(&test, module, "init", (int[]){0, SEGMENT_BYTES - 17'000 * unit + 1, 17'000},
                   "out_of_bounds");
        check_trap(&test, module, "init", (int[]){COUNT - 16'999, 0, 17'000}, "array_out_of_bounds");
        check_trap(&test, module, "dropped", (int[]){0, 0, 17'000}, "out_of_bounds");
        check_trap(&test, module, "new", (int[]){0, SEGMENT_BYTES - 17'000 * unit + 1, 17'000},
                   "out_of_bounds");
        check_trap(&test, module, "new", (int[]){0, 0, -1}, "out_of_bounds");
        check_trap(&test, module, "new dropped", (int[]){0, 0, 17'000}, "out_of_bounds");
        tw_module_unref(module);
        free(model.x);
        free(model.y);
    }
    free(text);
    engine_test_close(&test);
}

TW_TEST("a memory takes its bytes from a long data segment") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    char *text = segment_text();
    uint8_t *memory = malloc(5 * 65'536);
    struct tw_module *module = new_guest(&test, &kinds[0], text);
    const int wanted[][3] = {{0, 0, SEGMENT_BYTES}, {27'680, 1, 299'999}, {100, 30'000, 262'145}};
    for (size_t i = 0; i < TW_COUNT(wanted); i++) {
        uint32_t h = 0;
        memset(memory, 0, 5 * 65'536);
        for (int j = 0; j < wanted[i][2]; j++)
            memory[wanted[i][0] + j] = segment_byte((uint32_t)(wanted[i][1] + j));
        for (int j = 0; j < 5 * 65'536; j++)
            h = h * 31 + memory[j];
        ck_assert_int_eq(engine_test_i32(&test, module, "bytes", 3, wanted[i]), (int)h);
    }
    check_trap(&test, module, "bytes", (int[]){0, 1, SEGMENT_BYTES}, "out_of_bounds");
    check_trap(&test, module, "bytes", (int[]){27'681, 0, SEGMENT_BYTES}, "out_of_bounds");
    check_trap(&test, module, "no bytes", (int[]){0, 0, 280'000}, "out_of_bounds");
    tw_module_unref(module);
    free(memory);
    free(text);
    engine_test_close(&test);
}

TW_TEST("an array takes its references from a long element segment") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    static const char head[] =
        "(module (type $f (func (result i32))) (type $a (array (mut (ref null $f))))"
        "(func $0 (result i32) (i32.const 11)) (func $1 (result i32) (i32.const 222))"
        "(func $2 (result i32) (i32.const 3333))"
        "(func (export \"init\") (param i32 i32 i32) (result i32) (local $x (ref null $a)) (local $i i32) "
        "(local $h i32)"
        " (local.set $x (array.new $a (ref.func $0) (i32.const 12000)))"
        " (array.init_elem $a $e (local.get $x) (local.get 0) (local.get 1) (local.get 2))"
        " (loop $l (local.set $h (i32.add (i32.mul (local.get $h) (i32.const 31)) (call_ref $f (array.get $a "
        "(local.get $x) (local.get $i)))))"
        "  (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 12000))))"
        " (local.get $h))"
        "(func (export \"new\") (param i32 i32 i32) (result i32) (local $x (ref null $a)) (local $i i32) "
        "(local $h i32)"
        " (local.set $x (array.new_elem $a $e (local.get 1) (local.get 2)))"
        " (loop $l (local.set $h (i32.add (i32.mul (local.get $h) (i32.const 31)) (call_ref $f (array.get $a "
        "(local.get $x) (local.get $i)))))"
        "  (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (array.len (local.get "
        "$x)))))"
        " (local.get $h))"
        "(func (export \"new dropped\") (param i32 i32 i32) (result i32) (elem.drop $e)"
        " (array.len (array.new_elem $a $e (local.get 1) (local.get 2))))"
        " (elem $e (ref null $f)";
    char *text = malloc(sizeof head + REFERENCES * 16 + 16), *at = text + sizeof head - 1;
    memcpy(text, head, sizeof head);
    for (unsigned i = 0; i < REFERENCES; i++)
        at += snprintf(at, 17, " (ref.func $%u)", i * i % 3 + i % 2);
    memcpy(at, "))", 3);
    struct tw_module *module = engine_test_module(&test, text);
    const int wanted[][3] = {{0, 0, REFERENCES}, {2'000, 1, 9'999}, {1'000, 1'500, 8'192}};
    for (size_t i = 0; i < TW_COUNT(wanted); i++) {
        static const uint32_t answers[] = {11, 222, 3333};
        uint32_t h = 0;
        for (int j = 0; j < 12'000; j++) {
            unsigned k = (unsigned)(wanted[i][1] + j - wanted[i][0]);
            bool is_taken = j >= wanted[i][0] && j < wanted[i][0] + wanted[i][2];
            h = h * 31 + answers[is_taken ? k * k % 3 + k % 2 : 0];
        }
        ck_assert_int_eq(engine_test_i32(&test, module, "init", 3, wanted[i]), (int)h);
        h = 0;
        for (int j = 0; j < wanted[i][2]; j++) {
            unsigned k = (unsigned)(wanted[i][1] + j);
            h = h * 31 + answers[k * k % 3 + k % 2];
        }
        ck_assert_int_eq(engine_test_i32(&test, module, "new", 3, wanted[i]), (int)h);
    }
    check_trap(&test, module, "new", (int[]){0, 1, REFERENCES}, "table_out_of_bounds");
    check_trap(&test, module, "new dropped", (int[]){0, 0, 5'000}, "table_out_of_bounds");
    check_trap(&test, module, "init", (int[]){0, 1, REFERENCES}, "table_out_of_bounds");
    check_trap(&test, module, "init", (int[]){2'001, 0, REFERENCES}, "array_out_of_bounds");
    tw_module_unref(module);
    free(text);
    engine_test_close(&test);
}

// ---- types with large numbers --------------------------------------------------------------------------------
// What the helpers take are references to types, whose numbers are signed and have 1 to 3 bytes.
TW_TEST("arrays whose types have large numbers are made, filled and copied") {
    static const unsigned numbers[] = {62, 63, 64, 127, 128, 8'191, 8'192, 20'000};
    enum { TYPE_TEXT = 16, REST = 1'200 };
    struct engine_test test;
    engine_test_open(&test, NULL);
    for (size_t i = 0; i < TW_COUNT(numbers); i++) {
        char *text = malloc(numbers[i] * TYPE_TEXT + REST), *at = text;
        at += snprintf(at, TYPE_TEXT, "(module");
        for (unsigned type = 0; type < numbers[i]; type++)
            at += snprintf(at, TYPE_TEXT, "(type (func))");
        snprintf(
            at, REST - TYPE_TEXT,
            "(type $a (array (mut i64))) (type $b (array (mut (ref null $a)))) (func (export \"f\") (param "
            "i32 i32) "
            "(result i32) (local $x (ref null $a)) (local $y (ref null $a)) (local $z (ref null $b))"
            "(local.set $x (array.new $a (i64.const 5) (local.get 0)))"
            "(local.set $y (array.new $a (i64.const 7) (local.get 0)))"
            "(array.fill $a (local.get $x) (i32.const 1) (i64.const 11) (local.get 1))"
            "(array.copy $a $a (local.get $y) (i32.const 0) (local.get $x) (i32.const 0) (local.get 1))"
            "(local.set $z (array.new $b (ref.null $a) (local.get 0)))"
            "(array.fill $b (local.get $z) (i32.const 0) (local.get $y) (local.get 1))"
            "(local.set $y (array.get $b (local.get $z) (i32.const 3)))"
            "(i32.wrap_i64 (i64.add (i64.mul (i64.const 1000000) (array.get $a (local.get $y) (i32.const 0)))"
            "(i64.add (i64.mul (i64.const 1000) (array.get $a (local.get $y) (i32.const 1)))"
            "(array.get $a (local.get $y) (i32.sub (local.get 0) (i32.const 1))))))))");
        struct tw_module *module = engine_test_module(&test, text);
        ck_assert_int_eq(engine_test_i32(&test, module, "f", 2, (int[]){40'000, 39'999}), 5'011'007);
        tw_module_unref(module);
        free(text);
    }
    engine_test_close(&test);
}

// ---- how many ---------------------------------------------------------------------------------------------
// A copy from each of `count` types to each, twice.
static char *pairs_text(unsigned count) {
    char *text = malloc(64 + count * 64 + count * count * 256), *at = text;
    at += snprintf(at, 16, "(module");
    for (unsigned i = 0; i < count; i++)
        at += snprintf(at, 64, "(type $t%u (array (mut i32)))", i);
    for (unsigned i = 0; i < 2 * count * count; i++)
        at += snprintf(at, 128,
                       "(func (param i32) (array.copy %u %u (ref.null %u) (local.get 0) (ref.null %u) "
                       "(local.get 0) (local.get 0)))",
                       i % count, i / count % count, i % count, i / count % count);
    snprintf(at, 64, "(func (export \"good\") (result i32) (i32.const 7)))");
    return text;
}

TW_TEST("as many kinds of long copies are taken as the limit says, and no more") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    char *most = pairs_text(32), *more = pairs_text(33);
    struct tw_module *module = engine_test_module(&test, most);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "good"), 7);
    tw_module_unref(module);
    struct tw_error err = engine_test_refused(&test, more, NULL);
    ck_assert_int_eq(err.code, TW_ERR_MODULE_TOO_LARGE);
    ck_assert_ptr_nonnull(strstr(err.message, "1024"));
    free(most);
    free(more);
    engine_test_close(&test);
}

// ---- stopping ---------------------------------------------------------------------------------------------
// The guest prepares, notes in its memory that it begins, does one operation and then says so. There is no poll between: growing the
// memory has one before it, and leaves enough of the budget. Where nothing was said, the stop came within the operation. A fast
// one may be over before it is stopped.
// Whether the pages of a new array come before it is written (Linux 5.14): else zeros alone are not stopped.
static bool has_populate(void) {
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool has = page != MAP_FAILED && madvise(page, 4096, MADV_POPULATE_WRITE) == 0;
    if (page != MAP_FAILED)
        munmap(page, 4096);
    return has;
}

static void check_stopped_within(struct engine_test *test, struct tw_module *module, const char *export) {
    for (int i = 0; i < ATTEMPTS; i++)
        if (!begun_run(test, module, export, true, NULL))
            return;
    ck_abort_msg("%s: all of it was done after cancelling, each time", export);
}

TW_TEST("one long array that is made, filled or copied, or comes from a segment, is stopped in the middle") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    enum { DATA_BYTES = 16 << 20 };
    static const char head[] =
        "(module " BEGUN_IMPORTS
        "(memory (export \"memory\") 257) (type $a (array (mut i32))) (type $b (array (mut i8)))"
        "(func (export \"fill\") (local $x (ref $a))"
        " (local.set $x (array.new_default $a (i32.const 8000000))) " BEGUN_HERE
        " (array.fill $a (local.get $x) (i32.const 0) (i32.const 7) (array.len (local.get $x))) " BEGUN_DONE
        ")"
        "(func (export \"new\") (local $n i32) (local.set $n (i32.const 8000000)) " BEGUN_HERE
        " (drop (array.new $a (i32.const 7) (local.get $n))) " BEGUN_DONE ")"
        "(func (export \"new default\") (local $n i32) (local.set $n (i32.const 16000000)) " BEGUN_HERE
        " (drop (array.new_default $a (local.get $n))) " BEGUN_DONE ")"
        "(func (export \"new from data\") (local $n i32) (local.set $n (i32.const 16777216)) " BEGUN_HERE
        " (drop (array.new_data $b $d (i32.const 0) (local.get $n))) " BEGUN_DONE ")"
        "(func (export \"copy\") (local $x (ref $a))"
        " (local.set $x (array.new_default $a (i32.const 16000000))) " BEGUN_HERE
        " (array.copy $a $a (local.get $x) (i32.const 5) (local.get $x) (i32.const 0)"
        "  (i32.sub (array.len (local.get $x)) (i32.const 5))) " BEGUN_DONE ")"
        "(func (export \"from data\") (local $x (ref $b))"
        " (local.set $x (array.new_default $b (i32.const 16777216))) " BEGUN_HERE
        " (array.init_data $b $d (local.get $x) (i32.const 0) (i32.const 0) (array.len (local.get "
        "$x))) " BEGUN_DONE ")"
        "(func (export \"to memory\") (local $n i32) (local.set $n (i32.const 16777216)) " BEGUN_HERE
        " (memory.init $d (i32.const 64) (i32.const 0) (local.get $n)) " BEGUN_DONE ")"
        "(data $d \"";
    char *text = malloc(sizeof head + DATA_BYTES + 4);
    memcpy(text, head, sizeof head);
    memset(text + sizeof head - 1, 'a', DATA_BYTES);
    memcpy(text + sizeof head - 1 + DATA_BYTES, "\"))", 4);
    struct tw_module *module = engine_test_module(&test, text);
    free(text);
    static const char *const exports[] = {"new",       "new from data", "fill",       "copy",
                                          "from data", "to memory",     "new default"};
    size_t count = TW_COUNT(exports) - !has_populate();
    for (size_t i = 0; i < count; i++)
        check_stopped_within(&test, module, exports[i]);
    tw_module_unref(module);
    engine_test_close(&test);
}
