// SPDX-License-Identifier: Apache-2.0
//
// Runs a published kernel, whose name and version come as two lines of input, on 32 words of its own memory.
// The answer is the code (a kernel's id reads 0) and, on the next line, the words or the last error's text.

#include <stdio.h>
#include <string.h>

#include "tensor_wasm.h"

#define EXPORT(name) __attribute__((export_name(#name))) void name(void)

static uint32_t words[32];

static void say(long long code) {
    char error[TW_ERROR_TEXT_MAX + 1], line[TW_ERROR_TEXT_MAX + 64];
    int len = snprintf(line, sizeof line, "%lld\n%s", code, tw_cuda_last_error(error, sizeof error));
    tw_emit(line, (size_t)len);
}

static int run_on_words(int64_t kernel) {
    struct tw_args args;
    tw_args_reset(&args);
    tw_args_range(&args, words, sizeof words);
    return tw_launch(kernel, tw_dim(1), tw_dim(32), 0, &args);
}

EXPORT(run) {
    char text[4096] = "";
    text[tw_read_all(text, sizeof text - 1)] = 0;
    char *version = strchr(text, '\n');
    *version++ = 0;
    int64_t kernel = tw_load_kernel(text, version);
    for (uint32_t i = 0; i < 32; i++)
        words[i] = i;
    int code = kernel < 0 ? (int)kernel : run_on_words(kernel);
    say(code);
    for (int i = 0; i < 32 && code == TW_OK; i++) {
        char word[16];
        tw_emit(word, (size_t)snprintf(word, sizeof word, "%u ", words[i]));
    }
}

// Loads the same kernel twice and a third time after unloading both: the ids differ, and each runs.
EXPORT(run_again) {
    char text[4096] = "";
    text[tw_read_all(text, sizeof text - 1)] = 0;
    char *version = strchr(text, '\n');
    *version++ = 0;
    int64_t first = tw_load_kernel(text, version), second = tw_load_kernel(text, version);
    int codes[5] = {run_on_words(first), run_on_words(second), tw_cuda_unload(first), tw_cuda_unload(second),
                    run_on_words(first)};
    int64_t third = tw_load_kernel(text, version);
    char line[128];
    tw_emit(line, (size_t)snprintf(line, sizeof line, "%d %d %d %d %d %d %d %u", first != second, codes[0],
                                   codes[1], codes[2], codes[3], codes[4], run_on_words(third), words[5]));
}

// Ranges that leave memory, and names that are too long.
EXPORT(bad_ranges) {
    char line[128];
    long long codes[] = {tw_cuda_load_kernel((const char *)0x7ffffff0, 5, "1", 1),
                         tw_cuda_load_kernel("inc", 3, (const char *)0x7ffffff0, 5),
                         tw_cuda_load_kernel("inc", 0xffffffff, "1", 1),
                         tw_cuda_load_kernel((const char *)words, 129, "1", 1),
                         tw_cuda_load_kernel("", 0, "", 0)};
    tw_emit(line, (size_t)snprintf(line, sizeof line, "%lld %lld %lld %lld %lld", codes[0], codes[1],
                                   codes[2], codes[3], codes[4]));
}

int main(void) {
    return 0; // every export stands for itself
}
