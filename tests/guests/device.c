// SPDX-License-Identifier: Apache-2.0
//
// Asks the device for things that it must refuse, or runs a PTX text that came as input, and prints the codes
// it gets. Every export reads raw input; the answer is "CODE" and, on the next line, the text of the last
// error.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensor_wasm.h"

#define EXPORT(name) __attribute__((export_name(#name))) void name(void)

static char text[5 << 20]; // larger than the largest bomb of PTX
static size_t text_len;

static void read_input(void) {
    text_len = tw_read_all(text, sizeof text);
}

static void say(long long code) {
    char error[TW_ERROR_TEXT_MAX + 1], line[TW_ERROR_TEXT_MAX + 64];
    int len = snprintf(line, sizeof line, "%lld\n%s", code, tw_cuda_last_error(error, sizeof error));
    tw_emit(line, (size_t)len);
}

// The entry of every text is called k.
static int64_t load(void) {
    return tw_load_ptx(text, text_len, "k");
}

EXPORT(load_only) {
    read_input();
    int64_t kernel = load();
    say(kernel > 0 ? 0 : kernel);
}

// Runs k(out): 64 threads, a buffer of 64 words that is printed after.
EXPORT(run) {
    read_input();
    int64_t kernel = load(), buffer = tw_cuda_alloc(256);
    unsigned words[64] = {0};
    struct tw_args args;
    if (kernel < 0 || buffer < 0) {
        say(kernel < 0 ? kernel : buffer);
        return;
    }
    tw_cuda_memset_d8(buffer, 0, 0, 256);
    tw_args_reset(&args);
    tw_args_buffer(&args, buffer, 0);
    int code = tw_launch(kernel, tw_dim(2), tw_dim(32), 0, &args);
    if (code == TW_OK)
        code = tw_cuda_memcpy_d2h(words, buffer, sizeof words);
    say(code);
    for (int i = 0; i < 64 && code == TW_OK; i++) {
        char word[16];
        tw_emit(word, (size_t)snprintf(word, sizeof word, "%u ", words[i]));
    }
}

static int launch(int64_t kernel, int64_t buffer, struct tw_dim grid, struct tw_dim block, uint32_t shared) {
    struct tw_args args;
    tw_args_reset(&args);
    tw_args_buffer(&args, buffer, 0);
    return tw_launch(kernel, grid, block, shared, &args);
}

// The kernel that came as input takes one pointer. One line a case: its code.
EXPORT(dimensions) {
    read_input();
    int64_t kernel = load(), buffer = tw_cuda_alloc(1024);
    static const struct {
        struct tw_dim grid, block;
        uint32_t shared;
    } cases[] = {
        {{1, 1, 1}, {1, 1, 1}, 0},     {{0, 1, 1}, {1, 1, 1}, 0},           {{1, 1, 1}, {0, 1, 1}, 0},
        {{1, 1, 1}, {1025, 1, 1}, 0},  {{1, 1, 1}, {32, 32, 2}, 0},         {{1, 65536, 1}, {1, 1, 1}, 0},
        {{1, 1, 65536}, {1, 1, 1}, 0}, {{2147483648u, 1, 1}, {1, 1, 1}, 0}, {{1, 1, 1}, {1, 1, 1}, 1u << 30},
        {{1, 1, 1}, {1, 1, 65}, 0},    {{1, 1, 1}, {1024, 1, 1}, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char line[32];
        int code = launch(kernel, buffer, cases[i].grid, cases[i].block, cases[i].shared);
        tw_emit(line, (size_t)snprintf(line, sizeof line, "%d ", code));
    }
}

static int launch_bytes(int64_t kernel, const void *bytes, size_t len) {
    return tw_cuda_launch(kernel, 1, 1, 1, 1, 1, 1, 0, bytes, len);
}

EXPORT(arguments) {
    read_input();
    int64_t kernel = load(), buffer = tw_cuda_alloc(1024);
    struct tw_args args[8];
    char line[256];
    for (int i = 0; i < 8; i++)
        tw_args_reset(&args[i]);
    tw_args_buffer(&args[1], buffer, 0), tw_args_i32(&args[1], 1); // one too many
    tw_args_i32(&args[2], 1);                                      // a narrow number for a pointer
    tw_args_buffer(&args[3], 12345, 0);                            // no such buffer
    tw_args_range(&args[4], (void *)0xfffffff0u, 64);              // leaves memory
    tw_args_buffer(&args[5], buffer, 0), args[5].len -= 3;         // cut off
    tw_args_append(&args[6], 99, &buffer, 8);                      // no such tag
    tw_args_buffer(&args[7], buffer, 1 << 20);                     // beyond the buffer
    int codes[10], count = 0;
    for (int i = 0; i < 8; i++)
        codes[count++] = launch_bytes(kernel, args[i].bytes, args[i].len);
    codes[count++] = launch_bytes(kernel, (void *)0xfffffff0u, 64);
    codes[count++] = launch_bytes(kernel, text, 5000);
    for (int i = 0; i < count; i++)
        tw_emit(line, (size_t)snprintf(line, sizeof line, "%d ", codes[i]));
}

EXPORT(handles) {
    static char bytes[16];
    char line[256];
    int64_t buffer = tw_cuda_alloc(16);
    long long codes[] = {
        tw_cuda_free(buffer + 1000000),
        tw_cuda_memcpy_h2d(buffer, bytes, 16),
        tw_cuda_memcpy_h2d(buffer, bytes, 17),
        tw_cuda_memcpy_d2h((void *)0xfffffff8u, buffer, 16),
        tw_cuda_memset_d8(buffer, 8, 1, 9),
        tw_cuda_memset_d8(buffer, -1, 1, 1),
        tw_cuda_memcpy_d2d(buffer, 0, buffer, 8, 9),
        tw_cuda_memcpy_d2d(buffer, 0, -5, 0, 1),
        tw_cuda_free(buffer),
        tw_cuda_free(buffer),
        tw_cuda_memcpy_h2d(buffer, bytes, 1),
        tw_cuda_alloc(0),
        tw_cuda_alloc(1ull << 40),
        tw_cuda_alloc(~0ull),
        tw_cuda_unload(77),
        launch_bytes(77, bytes, 0),
        tw_cuda_stream_destroy(77),
        tw_cuda_stream_sync(77),
        tw_cuda_load_ptx((void *)0xfffffff0u, 64, "k", 1),
        tw_cuda_load_ptx(bytes, 16, (void *)0xfffffff0u, 64),
        tw_cuda_load_kernel("x", 1, "1", 1),
        tw_cuda_sync(),
    };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        tw_emit(line, (size_t)snprintf(line, sizeof line, "%lld ", codes[i]));
}

// Takes device memory until there is none left, then shows that all of it comes back.
EXPORT(exhaust) {
    static int64_t buffers[8192];
    int count = 0;
    char line[64];
    int64_t last = 0;
    while (count < 8192 && (last = tw_cuda_alloc(1 << 20)) > 0)
        buffers[count++] = last;
    for (int i = 0; i < count; i++)
        if (tw_cuda_free(buffers[i]) != TW_OK)
            count = -1;
    tw_emit(line, (size_t)snprintf(line, sizeof line, "%d %lld %d", count, (long long)last,
                                   tw_cuda_alloc(64 << 20) > 0));
}

EXPORT(devices) {
    char json[4096];
    int need = tw_cuda_device_info(0, json, 1), got = tw_cuda_device_info(0, json, sizeof json);
    char line[64];
    tw_emit(line, (size_t)snprintf(line, sizeof line, "%d %d %d\n", tw_cuda_device_count(), need, got));
    if (got > 0)
        tw_emit(json, (size_t)got);
}

// Two streams, launches queued on each, and what the sync says.
EXPORT(streams) {
    read_input();
    int64_t kernel = load(), one = tw_cuda_stream_create(), two = tw_cuda_stream_create();
    int64_t buffers[2] = {tw_cuda_alloc(256), tw_cuda_alloc(256)};
    unsigned words[64];
    char line[64];
    int code = 0;
    for (int i = 0; i < 8 && code == 0; i++) {
        struct tw_args args;
        tw_args_reset(&args);
        tw_args_buffer(&args, buffers[i % 2], 0);
        code = tw_launch_async(i % 2 ? two : one, kernel, tw_dim(2), tw_dim(32), 0, &args);
    }
    int synced = tw_cuda_stream_sync(one);
    int all = tw_cuda_sync();
    tw_cuda_memcpy_d2h(words, buffers[1], sizeof words);
    tw_emit(line, (size_t)snprintf(line, sizeof line, "%d %d %d %u %d", code, synced, all, words[63],
                                   tw_cuda_stream_destroy(one)));
}

// A launch that nobody waits for; kernels without a parameter take none of the arguments.
EXPORT(leave_running) {
    read_input();
    int64_t kernel = load();
    struct tw_args args;
    tw_args_reset(&args);
    tw_args_buffer(&args, tw_cuda_alloc(256), 0);
    int code = tw_launch_async(0, kernel, tw_dim(2), tw_dim(32), 0, &args);
    char line[32];
    tw_emit(line, (size_t)snprintf(line, sizeof line, "%d", code));
}

int main(void) {
    return 0;
}
