// SPDX-License-Identifier: Apache-2.0
//
// Deploying: what is refused and how it is said; images that are saved and opened again.

#include "engine_test.h"

static void check_refused(struct engine_test *test, const char *wat, enum tw_code code, const char *says) {
    struct tw_error err = engine_test_refused(test, wat, NULL);
    if (err.code != code || !strstr(err.message, says))
        ck_abort_msg("%s: %s (wanted %s: …%s…)", tw_code_name(err.code), err.message, tw_code_name(code),
                     says);
}

TW_TEST("imports that are not offered are named, with the nearest that is") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    check_refused(&test,
                  "(module (import \"wasi_snapshot_preview1\" \"fd_wite\" (func (param i32 i32 i32 i32) "
                  "(result i32))))",
                  TW_ERR_UNKNOWN_IMPORT,
                  "wasi_snapshot_preview1.fd_wite, which this host does not offer; did you mean "
                  "wasi_snapshot_preview1.fd_write?");
    check_refused(
        &test, "(module (import \"wasi_unstable\" \"fd_write\" (func (param i32 i32 i32 i32) (result i32))))",
        TW_ERR_UNKNOWN_IMPORT, "wasi_snapshot_preview1.fd_write?");
    check_refused(&test, "(module (import \"env\" \"frobnicate_the_widget\" (func)))", TW_ERR_UNKNOWN_IMPORT,
                  "env.frobnicate_the_widget");
    check_refused(
        &test, "(module (import \"wasi_cuda\" \"launch\" (func (param i64) (result i32))))",
        TW_ERR_UNKNOWN_IMPORT,
        "wasi_cuda.launch with another signature; it is (i64 i32 i32 i32 i32 i32 i32 i32 i32 i32) -> (i32)");
    check_refused(&test, "(module (import \"env\" \"memory\" (memory 1)))", TW_ERR_UNKNOWN_IMPORT,
                  "memory env.memory");
    engine_test_close(&test);
}

TW_TEST("every function of the table links under all its names") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    uint32_t count;
    const struct engine_import *imports = engine_imports(&count);
    ck_assert_uint_gt(count, 150);
    struct tw_buf text;
    tw_buf_init(&text, 1 << 20);
    ck_assert(tw_buf_printf(&text, "(module "));
    for (uint32_t i = 0; i < count; i++) {
        ck_assert(
            tw_buf_printf(&text, "(import \"%s\" \"%s\" (func (param", imports[i].module, imports[i].name));
        for (const char *c = imports[i].signature; *c; c++)
            ck_assert(tw_buf_printf(&text, "%s", *c == ':' ? ") (result" : *c == 'I' ? " i64" : " i32"));
        ck_assert(tw_buf_printf(&text, ")))\n"));
    }
    ck_assert(tw_buf_printf(&text, "(func (export \"f\") (result i32) (i32.const 9)))"));
    struct tw_module *module = engine_test_module(&test, (const char *)text.data);
    ck_assert_uint_eq(tw_module_import_count(module), count);
    struct tw_str from, name;
    tw_module_import_at(module, count - 1, &from, &name);
    ck_assert(tw_str_equal(name, tw_str_from(imports[count - 1].name)));
    ck_assert_int_eq(ENGINE_CALL(&test, module, "f"), 9);
    tw_buf_done(&text);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("bytes that are no module, and code that is not valid, are refused") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_error err = {};
    ck_assert_ptr_null(engine_test_try(&test, tw_span_of("hello", 5), NULL, &err));
    ck_assert_int_eq(err.code, TW_ERR_INVALID_WASM);
    // (func (result i32)) with an empty body: the structure is right, the types are not.
    static const uint8_t untyped[] = {0, 'a',  's', 'm', 1, 0, 0,  0, 1, 5, 1, 0x60, 0,
                                      1, 0x7f, 3,   2,   1, 0, 10, 4, 1, 2, 0, 0x0b};
    ck_assert_ptr_null(engine_test_try(&test, tw_span_of(untyped, sizeof(untyped)), NULL, &err));
    ck_assert_int_eq(err.code, TW_ERR_INVALID_WASM);
    engine_test_close(&test);
}

TW_TEST("start code that traps, exits or never ends fails the deploy") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    check_refused(&test, "(module (func $boom unreachable) (start $boom))", TW_ERR_START_FAILED,
                  "unreachable in boom");
    check_refused(&test, "(module (func (export \"_initialize\") (unreachable)))", TW_ERR_START_FAILED,
                  "_initialize failed");
    check_refused(&test,
                  "(module (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))"
                  "(func $s (call $exit (i32.const 3))) (start $s))",
                  TW_ERR_START_FAILED, "proc_exit(3)");
    struct tw_module_limits limits = {.start_ms = 50};
    struct tw_error err =
        engine_test_refused(&test, "(module (func $s (loop $l (br $l))) (start $s))", &limits);
    ck_assert_int_eq(err.code, TW_ERR_START_FAILED);
    ck_assert_ptr_nonnull(strstr(err.message, "in time"));
    check_refused(&test, "(module (memory 1) (data (i32.const 65535) \"ab\"))", TW_ERR_INVALID_WASM,
                  "data segment of 2 bytes");
    check_refused(&test, "(module (table 1 funcref) (func $f) (elem (i32.const 1) $f))", TW_ERR_START_FAILED,
                  "element");
    struct tw_engine_stats stats;
    tw_engine_stats(test.engine, &stats);
    ck_assert_uint_eq(stats.instances, 0);
    engine_test_close(&test);
}

TW_TEST("memories and tables above the limits are refused at deploy and cannot be grown to") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module_limits limits = {.memory_bytes = 4 << 16, .table_elements = 10};
    struct tw_error err = engine_test_refused(&test, "(module (memory 5))", &limits);
    ck_assert_int_eq(err.code, TW_ERR_QUOTA);
    ck_assert_ptr_nonnull(strstr(err.message, "327680"));
    ck_assert_ptr_nonnull(strstr(err.message, "262144"));
    err = engine_test_refused(&test, "(module (memory 3) (memory 2))", &limits);
    ck_assert_int_eq(err.code, TW_ERR_QUOTA);
    err = engine_test_refused(&test, "(module (table 11 funcref))", &limits);
    ck_assert_int_eq(err.code, TW_ERR_QUOTA);
    struct tw_span wasm = engine_test_wat(
        "(module (memory $a 1) (memory $b 1) (table 1 funcref)"
        "(func (export \"a\") (param i32) (result i32) (memory.grow $a (local.get 0)))"
        "(func (export \"both\") (result i32) (drop (memory.grow $a (i32.const 1))) (memory.grow $b "
        "(i32.const 2)))"
        "(func (export \"table\") (param i32) (result i32) (table.grow (ref.null func) (local.get 0))))");
    struct tw_module *module = engine_test_try(&test, wasm, &limits, &err);
    ck_assert_ptr_nonnull(module);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "a", 2), 1);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "a", 3), -1);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "a", 65535), -1);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "both"), -1);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "table", 9), 1);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "table", 10), -1);
    free((void *)(uintptr_t)wasm.data);
    tw_module_unref(module);
    engine_test_close(&test);
}

static const char *const stateful =
    "(module (memory (export \"memory\") 3) (global $g (mut i64) (i64.const 1)) (global $v (mut v128) "
    "(v128.const i64x2 1 2))"
    "(global $f (mut f32) (f32.const 0.25)) (data (i32.const 65536) \"\\05\") (table 4 funcref)"
    "(func $s (global.set $g (i64.const 40)) (i32.store (i32.const 4) (i32.const 11)) (global.set $v "
    "(v128.const i64x2 3 4))) (start $s)"
    "(func (export \"f\") (result i32) (i32.add (i32.add (i32.wrap_i64 (global.get $g)) (i32.load (i32.const "
    "4)))"
    " (i32.add (i32.load8_u (i32.const 65536)) (i32.add (i32.wrap_i64 (i64x2.extract_lane 1 (global.get $v)))"
    "  (i32.trunc_f32_s (f32.mul (global.get $f) (f32.const 4))))))"
    " (global.set $g (i64.const 0)) (i32.store8 (i32.const 65536) (i32.const 0)) (global.set $v (v128.const "
    "i64x2 9 9))))";
enum { STATEFUL_RESULT = 40 + 11 + 5 + 4 + 1 };

static void save(const char *path, const struct tw_buf *image) {
    struct tw_error err = {};
    tw_assert_ok(tw_file_write(path, tw_buf_span(image), 0600, &err), &err);
}

TW_TEST("an image that was saved is opened again, without start code running") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_error err = {};
    struct tw_buf image;
    char path[96];
    tw_buf_init(&image, 64 << 20);
    snprintf(path, sizeof(path), "%s/image", test.dir);
    struct tw_span wasm = engine_test_wat(stateful);
    struct tw_module *module;
    tw_assert_ok(module = tw_module_build(test.engine, wasm, NULL, NULL, NULL, &image, &err), &err);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "f"), STATEFUL_RESULT);
    tw_module_unref(module);
    save(path, &image);
    tw_assert_ok(
        module = tw_module_open(test.engine, wasm, &(struct tw_image_file){.path = path}, NULL, &err), &err);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(ENGINE_CALL(&test, module, "f"), STATEFUL_RESULT);
    tw_module_unref(module);
    tw_buf_done(&image);
    free((void *)(uintptr_t)wasm.data);
    engine_test_close(&test);
}

TW_TEST(
    "a module that was built goes on with the image that was kept, and keeps its own when that is no good") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_error err = {};
    struct tw_buf images[2];
    char path[96];
    snprintf(path, sizeof(path), "%s/image", test.dir);
    struct tw_image_file file = {.path = path};
    struct tw_span wasm = engine_test_wat("(module (import \"wasi_snapshot_preview1\" \"random_get\" (func "
                                          "$random (param i32 i32) (result i32)))"
                                          "(memory (export \"memory\") 1) (func $s (drop (call $random "
                                          "(i32.const 0) (i32.const 4)))) (start $s)"
                                          "(func (export \"f\") (result i32) (i32.load (i32.const 0)) "
                                          "(i32.store (i32.const 0) (i32.const 7))))");
    struct tw_module *modules[2];
    int seeds[2];
    for (int i = 0; i < 2; i++) { // start code makes another image each time
        tw_buf_init(&images[i], 64 << 20);
        modules[i] = tw_module_build(test.engine, wasm, NULL, NULL, NULL, &images[i], &err);
        tw_assert_ok(modules[i], &err);
        memcpy(&seeds[i], images[i].data + 4096, sizeof(int)); // where the memory begins
    }
    ck_assert_int_ne(seeds[0], seeds[1]);
    ck_assert_int_eq(ENGINE_CALL(&test, modules[1], "f"), seeds[1]);
    save(path, &images[1]);
    tw_assert_ok(tw_module_settle(modules[0], &file, &err), &err);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(ENGINE_CALL(&test, modules[0], "f"), seeds[1]);
    tw_module_unref(modules[0]);

    modules[0] = tw_module_build(test.engine, wasm, NULL, NULL, NULL, &images[0], &err);
    tw_assert_ok(modules[0], &err);
    memcpy(&seeds[0], images[0].data + 4096, sizeof(int));
    images[1].data[4096] ^= 1;
    save(path, &images[1]);
    ck_assert(!tw_module_settle(modules[0], &file, &err));
    ck_assert_int_eq(err.code, TW_ERR_STORE);
    ck_assert_int_eq(ENGINE_CALL(&test, modules[0], "f"), seeds[0]);
    for (int i = 0; i < 2; i++) {
        tw_module_unref(modules[i]);
        tw_buf_done(&images[i]);
    }
    free((void *)(uintptr_t)wasm.data);
    engine_test_close(&test);
}

TW_TEST("an image with any byte changed, cut short, or of another module is refused") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_error err = {};
    struct tw_buf image;
    char path[96];
    tw_buf_init(&image, 64 << 20);
    snprintf(path, sizeof(path), "%s/image", test.dir);
    struct tw_span wasm = engine_test_wat(stateful),
                   other = engine_test_wat("(module (memory (export \"memory\") 3))");
    struct tw_module *module;
    tw_assert_ok(module = tw_module_build(test.engine, wasm, NULL, NULL, NULL, &image, &err), &err);
    tw_module_unref(module);
    // All of the header and the lists (one memory, three globals, one table), then a sample of the rest. The
    // padding between them means nothing.
    enum { LISTS_END = 88 + 24 + 3 * 24 + 8 };
    for (size_t at = 0; at < image.len; at += at < LISTS_END ? 1 : 1021) {
        if (at >= LISTS_END && at < 4096)
            continue;
        image.data[at] ^= 0x40;
        save(path, &image);
        memset(&err, 0, sizeof(err));
        module = tw_module_open(test.engine, wasm, &(struct tw_image_file){.path = path}, NULL, &err);
        if (module)
            ck_abort_msg("byte %zu of %zu was changed and not noticed", at, image.len);
        ck_assert_int_eq(err.code, TW_ERR_STORE);
        image.data[at] ^= 0x40;
    }
    for (size_t len = 0; len < image.len; len += 1000) {
        struct tw_buf cut = image;
        cut.len = len;
        save(path, &cut);
        ck_assert_ptr_null(
            tw_module_open(test.engine, wasm, &(struct tw_image_file){.path = path}, NULL, &err));
    }
    save(path, &image);
    ck_assert_ptr_null(tw_module_open(test.engine, other, &(struct tw_image_file){.path = path}, NULL, &err));
    ck_assert_ptr_null(
        tw_module_open(test.engine, wasm, &(struct tw_image_file){.path = "/nonexistent/image"}, NULL, &err));
    ck_assert_int_eq(err.code, TW_ERR_STORE);
    tw_assert_ok(
        module = tw_module_open(test.engine, wasm, &(struct tw_image_file){.path = path}, NULL, &err), &err);
    tw_module_unref(module);
    tw_buf_done(&image);
    free((void *)(uintptr_t)wasm.data);
    free((void *)(uintptr_t)other.data);
    engine_test_close(&test);
}

TW_TEST("exports are listed with their signatures and without our own") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module =
        engine_test_module(&test, "(module (memory (export \"memory\") 1) (func (export \"a\") (param i32 "
                                  "f64) (result i64) (i64.const 0)) (func (export \"b\"))"
                                  "(func $s) (start $s))");
    ck_assert_uint_eq(tw_module_export_count(module), 2);
    const struct tw_signature *a = tw_module_export_find(module, "a");
    ck_assert_ptr_nonnull(a);
    ck_assert_uint_eq(a->param_count, 2);
    ck_assert(a->params[0] == TW_WASM_I32 && a->params[1] == TW_WASM_F64 && a->results[0] == TW_WASM_I64);
    ck_assert_str_eq(tw_module_export_at(module, 1)->name, "b");
    ck_assert_ptr_null(tw_module_export_find(module, "tw:start"));
    ck_assert_ptr_null(tw_module_export_find(module, "memory"));
    ck_assert_ptr_null(tw_module_export_find(module, NULL));
    tw_module_unref(module);
    engine_test_close(&test);
}

// ---- what is foreseen ----

struct foreseen_seen {
    unsigned told, exports, imports;
};

static void see(void *context, const struct tw_module *module) {
    struct foreseen_seen *seen = context;
    seen->told++;
    seen->exports = tw_module_export_count(module);
    seen->imports = tw_module_import_count(module);
}

// Builds it, with at most `max` bytes foreseen, into `image`; whether the image was foreseen, byte for byte.
static bool is_foreseen(struct engine_test *test, const char *text, size_t max) {
    struct tw_span wasm = engine_test_wat(text);
    struct foreseen_seen seen = {};
    struct tw_error err = {};
    struct tw_buf foreseen, image;
    tw_buf_init(&foreseen, max);
    tw_buf_init(&image, 64 << 20);
    struct tw_foreseen watcher = {.tell = see, .context = &seen, .image = &foreseen};
    struct tw_module *module = tw_module_build(test->engine, wasm, NULL, NULL, &watcher, &image, &err);
    tw_assert_ok(module, &err);
    ck_assert_uint_eq(seen.told, 1);
    ck_assert_uint_eq(seen.exports, tw_module_export_count(module));
    ck_assert_uint_eq(seen.imports, tw_module_import_count(module));
    bool is_known = foreseen.len > 0;
    if (is_known) {
        ck_assert_uint_eq(foreseen.len, image.len);
        ck_assert_mem_eq(foreseen.data, image.data, image.len);
    }
    tw_module_unref(module);
    tw_buf_done(&image);
    tw_buf_done(&foreseen);
    free((void *)(uintptr_t)wasm.data);
    return is_known;
}

TW_TEST("an image that follows from the module alone is foreseen byte for byte, and no other one") {
    static const struct {
        const char *text;
        bool is_known;
    } cases[] = {
        {"(module)", true},
        {"(module (memory 1) (func (export \"f\")))", true},
        {"(module (memory 3) (data (i32.const 5) \"a\") (data (i32.const 70000) \"b\\00\") (data (i32.const "
         "4) \"xyz\"))",
         true},
        {"(module (memory 1) (data (i32.const 9000) \"\\00\\00\") (data (i32.const 65536) \"\") (data "
         "\"passive\"))",
         true},
        {"(module (memory $a 1) (memory $b 2) (data (memory $b) (i32.const 131071) \"q\") (data (memory $a) "
         "(i32.const 0) \"w\"))",
         true},
        {"(module (global $k i32 (i32.const 40)) (global (mut i32) (i32.const -7)) (global (mut i64) "
         "(i64.const -8))"
         "(global (mut f32) (f32.const 1.5)) (global (mut f64) (f64.const -2.25))"
         "(global (mut i32) (global.get $k)) (memory 1) (data (global.get $k) \"at\"))",
         true},
        {"(module (table 7 funcref) (table 3 9 externref) (func $f) (elem (i32.const 1) $f))", true},
        {"(module (table 7 funcref) (memory 1) (global (mut i32) (i32.const 3)) (data (i32.const 1) \"m\")"
         "(func (export \"grow\") (drop (table.grow (ref.null func) (i32.const 1)))))",
         true}, // serves once
        {"(module (import \"wasi_snapshot_preview1\" \"random_get\" (func (param i32 i32) (result i32))) "
         "(memory 1)"
         "(func (export \"_start\")))",
         true},
        {"(module (global (mut v128) (v128.const i64x2 1 2)))", false},
        {"(module (memory 1) (func $s (i32.store (i32.const 0) (i32.const 7))) (start $s))", false},
        {"(module (memory 1) (func (export \"_initialize\") (i32.store (i32.const 0) (i32.const 7))))",
         false},
        {"(module (memory 33) (data (i32.const 2097152) \"far\"))",
         false}, // beyond the megabyte allowed here
    };
    struct engine_test test;
    engine_test_open(&test, NULL);
    for (size_t i = 0; i < TW_COUNT(cases); i++)
        ck_assert_msg(is_foreseen(&test, cases[i].text, 1 << 20) == cases[i].is_known, "%s", cases[i].text);
    engine_test_close(&test);
}

// ---- from a file that is there already ----

struct file_seen {
    struct tw_buf *foreseen;
    unsigned asked;
    bool is_there, is_damaged;
};

static void see_nothing(void *context, const struct tw_module *module) {
    (void)context;
    (void)module;
}

static int open_seen(void *context) {
    struct file_seen *seen = context;
    struct tw_error err = {};
    seen->asked++;
    if (seen->is_damaged)
        seen->foreseen->data[0] ^= 1;
    return seen->is_there ? tw_file_memfd("test-image", tw_buf_span(seen->foreseen), &err) : -1;
}

// Builds it with its image in a file, if that `is_there`; NULL and `err` when it is refused.
static struct tw_module *build_seen(struct engine_test *test, const char *text, struct file_seen *seen,
                                    size_t *ret_captured, struct tw_error *err) {
    struct tw_span wasm = engine_test_wat(text);
    struct tw_buf foreseen, image;
    tw_buf_init(&foreseen, 1 << 20);
    tw_buf_init(&image, 64 << 20);
    seen->foreseen = &foreseen;
    struct tw_foreseen watcher = {
        .tell = see_nothing, .open_image = open_seen, .context = seen, .image = &foreseen};
    struct tw_module *module = tw_module_build(test->engine, wasm, NULL, NULL, &watcher, &image, err);
    *ret_captured = image.len;
    tw_buf_done(&image);
    tw_buf_done(&foreseen);
    free((void *)(uintptr_t)wasm.data);
    return module;
}

static const char counting[] =
    "(module (memory 2) (data (i32.const 65535) \"\\05\\06\") (global $g (mut i32) (i32.const 40))"
    "(func (export \"next\") (result i32) (global.set $g (i32.add (global.get $g) (i32.const 1)))"
    "(i32.store8 (i32.const 65536) (i32.add (i32.load8_u (i32.const 65536)) (i32.const 1)))"
    "(i32.add (global.get $g) (i32.load8_u (i32.const 65536)))))";

TW_TEST("an image that is in a file already is taken from there, and its first instance waits for the first "
        "call") {
    struct engine_test test;
    struct tw_error err = {};
    size_t captured;
    for (unsigned is_there = 0; is_there < 2; is_there++) {
        engine_test_open(&test, NULL);
        struct file_seen seen = {.is_there = is_there};
        struct tw_module *module = build_seen(&test, counting, &seen, &captured, &err);
        tw_assert_ok(module, &err);
        ck_assert_uint_eq(seen.asked, 1);
        ck_assert(is_there ? captured == 0 : captured > 0);
        struct tw_engine_stats stats;
        tw_engine_stats(test.engine, &stats);
        ck_assert_uint_eq(stats.instances, is_there);
        ck_assert_uint_eq(stats.warm, is_there);
        ck_assert_int_eq(ENGINE_CALL(&test, module, "next"), 41 + 7); // as the image: 40 and 6
        tw_engine_stats(test.engine, &stats);
        ck_assert_uint_eq(stats.instances, 1);
        ck_assert_int_eq(ENGINE_CALL(&test, module, "next"), 41 + 7);
        tw_module_unref(module);
        engine_test_close(&test);
    }
}

TW_TEST("an image in a file is asked for only where it follows from the module, and checked as any other") {
    static const struct {
        const char *text, *says;
        enum tw_code code;
        unsigned asked;
        bool is_damaged;
    } cases[] = {
        {"(module (memory 1) (func $s (i32.store (i32.const 0) (i32.const 7))) (start $s))", "", TW_OK, 0,
         false},
        {"(module (table 1 funcref) (func $f) (elem (i32.const 1) $f))", "element", TW_ERR_START_FAILED, 1,
         false},
        {"(module (memory 1) (data (i32.const 0) \"a\"))", "begin as an image", TW_ERR_STORE, 1, true},
    };
    struct engine_test test;
    size_t captured;
    engine_test_open(&test, NULL);
    for (size_t i = 0; i < TW_COUNT(cases); i++) {
        struct tw_error err = {};
        struct file_seen seen = {.is_there = true, .is_damaged = cases[i].is_damaged};
        struct tw_module *module = build_seen(&test, cases[i].text, &seen, &captured, &err);
        ck_assert_int_eq(err.code, cases[i].code);
        ck_assert_ptr_nonnull(strstr(err.message, cases[i].says));
        ck_assert_uint_eq(seen.asked, cases[i].asked);
        ck_assert(!module == (cases[i].code != TW_OK));
        tw_module_unref(module);
    }
    struct tw_engine_stats stats;
    tw_engine_stats(test.engine, &stats);
    ck_assert_uint_eq(stats.instances, 0);
    engine_test_close(&test);
}
