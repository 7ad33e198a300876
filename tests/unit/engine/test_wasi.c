// SPDX-License-Identifier: Apache-2.0
//
// WASI preview 1 with real C guests (clang, wasi-libc) and, where C cannot reach, with WAT.

#include "engine_test.h"

TW_TEST("a C program echoes standard input and leaves with its code") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_c(
        &test, "#include <stdio.h>\n"
               "int main(void) { char b[100]; size_t n, all = 0;\n"
               "  while ((n = fread(b, 1, sizeof b, stdin)) > 0) { fwrite(b, 1, n, stdout); all += n; }\n"
               "  fprintf(stderr, \"%zu bytes\\n\", all); return all == 5 ? 42 : 0; }");
    uint8_t input[1000];
    for (size_t i = 0; i < sizeof(input); i++)
        input[i] = (uint8_t)(i * 7);
    for (int round = 0; round < 3; round++) {
        struct engine_test_call call = {};
        call.invoke.input = tw_span_of(input, sizeof(input));
        ck_assert_int_eq(engine_test_code(&test, module, NULL, 5000, &call), TW_OK);
        ck_assert_uint_eq(call.invoke.output.len, sizeof(input));
        ck_assert_mem_eq(call.invoke.output.data, input, sizeof(input));
        ck_assert_str_eq((char *)call.invoke.stderr_text.data, "1000 bytes\n");
        engine_test_forget(&call);
    }
    struct engine_test_call call = {};
    call.invoke.input = tw_span_of("12345", 5);
    ck_assert_int_eq(engine_test_code(&test, module, NULL, 5000, &call), TW_ERR_GUEST_EXIT);
    ck_assert_int_eq(call.invoke.exit_code, 42);
    ck_assert_str_eq((char *)call.invoke.output.data, "12345");
    engine_test_forget(&call);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("a C program sees its arguments and environment and no files") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_c(
        &test, "#include <errno.h>\n#include <fcntl.h>\n#include <stdio.h>\n#include "
               "<stdlib.h>\n#include <string.h>\n#include <unistd.h>\n"
               "int main(int c, char **v) { for (int i = 0; i < c; i++) printf(\"[%s]\", v[i]);\n"
               "  printf(\" %s %s\\n\", getenv(\"A\"), getenv(\"B\") ? \"set\" : \"unset\");\n"
               "  printf(\"%d %d\", open(\"/etc/passwd\", O_RDONLY), isatty(1)); return 0; }");
    static const char *const args[] = {"prog", "two words", "", NULL}, *const env[] = {"A=value=x", NULL};
    struct engine_test_call call = {};
    call.invoke.wasi_args = args;
    call.invoke.wasi_env = env;
    ck_assert_int_eq(engine_test_code(&test, module, NULL, 5000, &call), TW_OK);
    ck_assert_str_eq((char *)call.invoke.output.data, "[prog][two words][] value=x unset\n-1 0");
    engine_test_forget(&call);
    struct engine_test_call bare = {};
    ck_assert_int_eq(engine_test_code(&test, module, NULL, 5000, &bare), TW_OK);
    ck_assert_str_eq((char *)bare.invoke.output.data, " (null) unset\n-1 0");
    engine_test_forget(&bare);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("a C program has clocks, random bytes and sleep") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_c(
        &test,
        "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <time.h>\n#include "
        "<unistd.h>\n"
        "int main(void) { struct timespec a, b, s = {0, 30000000}; unsigned char r[2][32];\n"
        "  clock_gettime(CLOCK_MONOTONIC, &a); nanosleep(&s, 0); clock_gettime(CLOCK_MONOTONIC, &b);\n"
        "  long ms = (b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000;\n"
        "  getentropy(r[0], 32); getentropy(r[1], 32);\n"
        "  printf(\"%ld %d %d\", (long)time(0), ms >= 30 && ms < 1000, memcmp(r[0], r[1], 32) != 0); return "
        "0; }");
    struct engine_test_call call = {};
    ck_assert_int_eq(engine_test_code(&test, module, NULL, 5000, &call), TW_OK);
    long wall;
    int slept, differ;
    ck_assert_int_eq(sscanf((char *)call.invoke.output.data, "%ld %d %d", &wall, &slept, &differ), 3);
    ck_assert(wall > (long)(tw_clock_wall_ns() / TW_NS_PER_S) - 60 && slept == 1 && differ == 1);
    engine_test_forget(&call);
    tw_module_unref(module);
    engine_test_close(&test);
}

// Every errno as it is returned; the constants are of the WASI specification.
TW_TEST("bad pointers, bad descriptors and what is not granted are errors of WASI") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(
        &test,
        "(module (import \"wasi_snapshot_preview1\" \"fd_write\" (func $write (param i32 i32 i32 i32) "
        "(result i32)))"
        "(import \"wasi_snapshot_preview1\" \"fd_read\" (func $read (param i32 i32 i32 i32) (result i32)))"
        "(import \"wasi_snapshot_preview1\" \"fd_close\" (func $close (param i32) (result i32)))"
        "(import \"wasi_snapshot_preview1\" \"random_get\" (func $random (param i32 i32) (result i32)))"
        "(import \"wasi_snapshot_preview1\" \"clock_time_get\" (func $clock (param i32 i64 i32) (result "
        "i32)))"
        "(import \"wasi_snapshot_preview1\" \"fd_seek\" (func $seek (param i32 i64 i32 i32) (result i32)))"
        "(import \"wasi_snapshot_preview1\" \"fd_prestat_get\" (func $prestat (param i32 i32) (result i32)))"
        "(import \"wasi_snapshot_preview1\" \"sock_shutdown\" (func $shutdown (param i32 i32) (result i32)))"
        "(import \"wasi_snapshot_preview1\" \"proc_raise\" (func $raise (param i32) (result i32)))"
        "(memory (export \"memory\") 1)"
        // An iovec at 0: (ptr 16, len 4); one at 8 with a length beyond memory.
        "(data (i32.const 0) \"\\10\\00\\00\\00\\04\\00\\00\\00\\10\\00\\00\\00\\f0\\ff\\ff\\ff\" \"DATA\")"
        "(func (export \"write\") (param i32 i32 i32 i32) (result i32) (call $write (local.get 0) (local.get "
        "1) (local.get 2) (local.get 3)))"
        "(func (export \"read\") (param i32 i32 i32 i32) (result i32) (call $read (local.get 0) (local.get "
        "1) (local.get 2) (local.get 3)))"
        "(func (export \"closed\") (param i32) (result i32) (drop (call $close (local.get 0))) (call $write "
        "(local.get 0) (i32.const 0) (i32.const 1) (i32.const 32)))"
        "(func (export \"close\") (param i32) (result i32) (call $close (local.get 0)))"
        "(func (export \"random\") (param i32 i32) (result i32) (call $random (local.get 0) (local.get 1)))"
        "(func (export \"clock\") (param i32 i32) (result i32) (call $clock (local.get 0) (i64.const 0) "
        "(local.get 1)))"
        "(func (export \"seek\") (param i32) (result i32) (call $seek (local.get 0) (i64.const 0) (i32.const "
        "0) (i32.const 64)))"
        "(func (export \"prestat\") (param i32) (result i32) (call $prestat (local.get 0) (i32.const 64)))"
        "(func (export \"shutdown\") (param i32) (result i32) (call $shutdown (local.get 0) (i32.const 0)))"
        "(func (export \"raise\") (result i32) (call $raise (i32.const 9))))");
    enum { OK = 0, BADF = 8, FAULT = 21, INVAL = 28, NOSYS = 52, NOTSOCK = 57, SPIPE = 70, NOTCAPABLE = 76 };
    ck_assert_int_eq(ENGINE_CALL(&test, module, "write", 1, 0, 1, 32), OK);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "write", 2, 0, 1, 32), OK);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "write", 0, 0, 1, 32), NOTCAPABLE);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "write", 3, 0, 1, 32), BADF);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "write", 1, 8, 1, 32), FAULT);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "write", 1, 65533, 1, 32), FAULT);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "write", 1, 0, 1, 65533), FAULT);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "write", 1, 0, 1, -1), FAULT);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "write", 1, -8, 1, 32), FAULT);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "write", 1, 0, -1, 32), INVAL);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "read", 0, 0, 1, 32), OK);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "read", 1, 0, 1, 32), NOTCAPABLE);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "read", 0, 8, 1, 32), FAULT);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "closed", 1), BADF);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "write", 1, 0, 1, 32), OK); // open again in the next call
    ck_assert_int_eq(ENGINE_CALL(&test, module, "close", 7), BADF);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "random", 0, 65536), OK);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "random", 1, 65536), FAULT);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "clock", 0, 0), OK);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "clock", 9, 0), INVAL);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "clock", 1, 65530), FAULT);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "seek", 1), SPIPE);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "seek", 5), BADF);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "prestat", 3), BADF);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "shutdown", 1), NOTSOCK);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "shutdown", 4), BADF);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "raise"), NOSYS);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("output stops at its maximum, whichever way it is written") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(
        &test, "(module (import \"wasi_snapshot_preview1\" \"fd_write\" (func $write (param i32 i32 i32 i32) "
               "(result i32)))"
               "(import \"wasi:tensor/host@0.1.0\" \"emit-chunk\" (func $emit (param i32 i32) (result i32)))"
               "(memory (export \"memory\") 2) (data (i32.const 0) \"\\10\\00\\00\\00\\04\\00\\00\\00\")"
               // Emits 4 bytes, writes 4 bytes, emits 4 more: 100 * first + 10 * second + third.
               "(func (export \"f\") (result i32) (i32.add (i32.mul (i32.const -100) (call $emit (i32.const "
               "0) (i32.const 4)))"
               " (i32.add (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)) (call $emit "
               "(i32.const 0) (i32.const 4)))))"
               "(func (export \"big\") (result i32) (call $emit (i32.const 0) (i32.const 65537)))"
               "(func (export \"out\") (result i32) (call $emit (i32.const 131070) (i32.const 4))))");
    struct engine_test_call call = {};
    call.invoke.output_max = 10;
    ck_assert_int_eq(engine_test_code(&test, module, "f", 1000, &call), TW_OK);
    ck_assert_int_eq(call.invoke.results[0].of.i32, -2); // the third did not fit
    ck_assert_uint_eq(call.invoke.output.len, 8);
    engine_test_forget(&call);
    struct engine_test_call small = {};
    small.invoke.output_max = 3;
    ck_assert_int_eq(engine_test_code(&test, module, "f", 1000, &small), TW_OK);
    ck_assert_int_eq(small.invoke.results[0].of.i32, 200 + 51 - 2); // ENOSPC is 51
    ck_assert_uint_eq(small.invoke.output.len, 0);
    engine_test_forget(&small);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "big"), -2);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "out"), -2);
    tw_module_unref(module);
    engine_test_close(&test);
}

static bool take_two(struct tw_invoke *invoke, struct tw_span bytes) {
    int *taken = (int *)(uintptr_t)invoke->trace_id; // a place of the test's own
    return ++*taken <= 2 && bytes.len == 4;
}

TW_TEST("a client that takes chunks as they come, and goes away, is told to the guest") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(
        &test,
        "(module (import \"wasi:tensor/host@0.1.0\" \"emit-chunk\" (func $emit (param i32 i32) (result i32)))"
        "(import \"wasi:tensor/host@0.1.0\" \"set-status\" (func $status (param i32) (result i32)))"
        "(import \"wasi:tensor/host@0.1.0\" \"set-content-type\" (func $type (param i32 i32) (result i32)))"
        "(memory (export \"memory\") 1) (data (i32.const 0) \"text/csv\\0d\\0a\")"
        "(func (export \"f\") (result i32) (drop (call $status (i32.const 418))) (drop (call $status "
        "(i32.const 99)))"
        " (drop (call $type (i32.const 0) (i32.const 8))) (drop (call $type (i32.const 0) (i32.const 10)))"
        " (i32.add (call $emit (i32.const 0) (i32.const 4)) (i32.add (call $emit (i32.const 0) (i32.const "
        "4)) (call $emit (i32.const 0) (i32.const 4))))))");
    int taken = 0;
    struct engine_test_call call = {};
    call.invoke.emit = take_two;
    call.invoke.trace_id = (const char *)&taken;
    ck_assert_int_eq(engine_test_code(&test, module, "f", 1000, &call), TW_OK);
    ck_assert_int_eq(call.invoke.results[0].of.i32, -3);
    ck_assert_int_eq(taken, 3);
    ck_assert_int_eq(call.invoke.status, 418);
    ck_assert_str_eq(call.invoke.content_type, "text/csv");
    ck_assert_uint_eq(call.invoke.output.len, 0);
    engine_test_forget(&call);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("read-input drains, and shares its place with standard input") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(
        &test,
        "(module (import \"wasi:tensor/host@0.1.0\" \"read-input\" (func $read (param i32 i32) (result i32)))"
        "(import \"wasi:tensor/host@0.1.0\" \"input-len\" (func $len (result i32)))"
        "(memory (export \"memory\") 1)"
        "(func (export \"f\") (result i32) (i32.add (i32.mul (i32.const 10000) (call $len))"
        " (i32.add (i32.mul (i32.const 1000) (call $read (i32.const 0) (i32.const 3)))"
        " (i32.add (i32.mul (i32.const 100) (call $read (i32.const 3) (i32.const 60)))"
        " (i32.add (i32.mul (i32.const 10) (call $read (i32.const 3) (i32.const 60))) (i32.eq (i32.load8_u "
        "(i32.const 4)) (i32.const 53)))))))"
        "(func (export \"bad\") (result i32) (call $read (i32.const 65535) (i32.const 2))))");
    for (int i = 0; i < 2; i++) {
        struct engine_test_call call = {};
        call.invoke.input = tw_span_of("12345", 5);
        ck_assert_int_eq(engine_test_code(&test, module, "f", 1000, &call), TW_OK);
        ck_assert_int_eq(call.invoke.results[0].of.i32, 53201);
        engine_test_forget(&call);
    }
    ck_assert_int_eq(ENGINE_CALL(&test, module, "bad"), -2);
    tw_module_unref(module);
    engine_test_close(&test);
}
