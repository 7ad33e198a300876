// SPDX-License-Identifier: Apache-2.0
//
// poll_oneoff, clocks and partial writes, from a C guest that calls WASI without a C library between. What it prints is
// compared with the numbers of the WASI specification.

#include "engine_test.h"

static const char guest[] =
    "#include <stdio.h>\n#include <string.h>\n#include <wasi/api.h>\n"
    "static __wasi_subscription_t subs[4];\n"
    "static __wasi_event_t events[4];\n"
    "static __wasi_size_t count;\n"
    "static void clock_sub(int i, int user, int id, long long ns, int flags) {\n"
    "  memset(&subs[i], 0, sizeof subs[i]); subs[i].userdata = user; subs[i].u.tag = "
    "__WASI_EVENTTYPE_CLOCK;\n"
    "  subs[i].u.u.clock.id = id; subs[i].u.u.clock.timeout = ns; subs[i].u.u.clock.flags = flags; }\n"
    "static void fd_sub(int i, int user, int tag, int fd) {\n"
    "  memset(&subs[i], 0, sizeof subs[i]); subs[i].userdata = user; subs[i].u.tag = tag;\n"
    "  subs[i].u.u.fd_read.file_descriptor = fd; }\n"
    "static void poll(int n) { count = 99; int e = __wasi_poll_oneoff(subs, events, n, &count); "
    "printf(\"%d:\", e);\n"
    "  for (unsigned i = 0; !e && i < count; i++) printf(\" %d/%d/%d/%d\", (int)events[i].userdata, "
    "events[i].error,\n"
    "    events[i].type, (int)events[i].fd_readwrite.nbytes);\n"
    "  puts(\"\"); }\n"
    "static long long now(int id) { __wasi_timestamp_t t = 0; (void)!__wasi_clock_time_get(id, 1, &t); "
    "return t; }\n"
    "int main(void) {\n"
    "  poll(0);\n"
    "  clock_sub(0, 1, 1, 50000000000, 0); clock_sub(1, 2, 1, 3000000, 0); poll(2);\n"
    "  clock_sub(0, 3, 1, 1, 1); poll(1);\n" // long past
    "  long long wall = now(0) + 3000000; clock_sub(0, 4, 0, wall, 1); poll(1); printf(\"%d\\n\", now(0) >= "
    "wall);\n"
    "  fd_sub(0, 5, 1, 0); fd_sub(1, 6, 2, 1); fd_sub(2, 7, 1, 9); fd_sub(3, 8, 2, 0); poll(4);\n"
    "  clock_sub(0, 9, 2, 1, 0); fd_sub(1, 10, 5, 0); poll(2);\n"
    "  clock_sub(0, 11, 1, 50000000000, 0); fd_sub(1, 12, 2, 2); poll(2);\n"
    "  __wasi_timestamp_t res; printf(\"%d %d %d\\n\", __wasi_clock_res_get(0, &res), "
    "__wasi_clock_res_get(3, &res),\n"
    "    __wasi_clock_res_get(4, &res));\n"
    "  long long cpu = now(2), mono = now(1); printf(\"%d %d\\n\", now(2) >= cpu, now(1) >= mono);\n"
    "  printf(\"%d %d %d\\n\", __wasi_poll_oneoff((void *)-48, events, 1, &count),\n"
    "    __wasi_poll_oneoff(subs, (void *)-31, 1, &count), __wasi_poll_oneoff(subs, events, 1, (void "
    "*)-3));\n"
    "  return 0; }\n";

TW_TEST("poll_oneoff waits for clocks and streams, and tells each event's own error") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_c(&test, guest);
    struct engine_test_call call = {};
    call.invoke.input = tw_span_of("hello", 5);
    ck_assert_int_eq(engine_test_code(&test, module, NULL, 20000, &call), TW_OK);
    ck_assert_str_eq(
        (char *)call.invoke.output.data,
        "28:\n"                                 // no subscriptions: invalid
        "0: 2/0/0/0\n"                          // the nearer clock
        "0: 3/0/0/0\n"                          // already past
        "0: 4/0/0/0\n1\n"                       // not before its time
        "0: 5/0/1/5 6/0/2/0 7/8/1/0 8/76/2/0\n" // five bytes; ready; bad descriptor; not for writing
        "0: 9/58/0/0 10/28/5/0\n"               // a clock that cannot wake; no such kind
        "0: 12/0/2/0\n"                         // a stream is ready before a far clock
        "0 0 28\n1 1\n"                         // four clocks; they do not go back
        "21 21 21\n");                          // ranges outside memory
    engine_test_forget(&call);
    tw_module_unref(module);
    engine_test_close(&test);
}

// Two buffers of 6 bytes where 10 may be written: the first is, and counted; then nothing more is.
TW_TEST("what was written of several buffers is told, and the error by the next write") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(
        &test, "(module (import \"wasi_snapshot_preview1\" \"fd_write\" (func $write (param i32 i32 i32 i32) "
               "(result i32)))"
               "(memory (export \"memory\") 1)"
               "(data (i32.const 0) \"\\40\\00\\00\\00\\06\\00\\00\\00\\46\\00\\00\\00\\06\\00\\00\\00\")"
               "(data (i32.const 64) \"firsttsecond\")"
               // 10,000 · first errno + 100 · first count + second errno
               "(func (export \"f\") (result i32)"
               " (i32.add (i32.mul (call $write (i32.const 1) (i32.const 0) (i32.const 2) (i32.const 32)) "
               "(i32.const 10000))"
               " (i32.add (i32.mul (i32.load (i32.const 32)) (i32.const 100))"
               "  (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 36))))))");
    struct engine_test_call call = {};
    call.invoke.output_max = 10;
    ck_assert_int_eq(engine_test_code(&test, module, "f", 5000, &call), TW_OK);
    ck_assert_int_eq(call.invoke.results[0].of.i32, 600 + 51); // ENOSPC is 51
    ck_assert_str_eq((char *)call.invoke.output.data, "firstt");
    engine_test_forget(&call);
    tw_module_unref(module);
    engine_test_close(&test);
}
