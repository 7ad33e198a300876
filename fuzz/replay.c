// SPDX-License-Identifier: Apache-2.0
//
// Runs a libFuzzer target over a folder of inputs as an ordinary test: every file as it is, cut short at many
// places, and with bytes changed by a fixed generator, so that each run does the same. A crash ends the
// program before its last line, which the caller takes for a failure. Real fuzzing links the same target with
// clang -fsanitize=fuzzer instead of this file.

#include <dirent.h>

#include "base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CUTS = 100, CHANGES = 300, INPUT_MAX = 16 << 20 };

// A small fixed generator (xorshift64*, Vigna 2014).
static uint64_t next_random(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dULL;
}

// An exact heap copy, so that a read past its end is seen by the sanitizer.
static void run(const uint8_t *data, size_t len) {
    uint8_t *copy = tw_alloc(len ? len : 1);
    TW_ASSERT(copy);
    memcpy(copy, data, len);
    LLVMFuzzerTestOneInput(copy, len);
    free(copy);
}

static void run_variants(const struct tw_buf *input, uint64_t seed) {
    run(input->data, input->len);
    for (size_t i = 0; i < CUTS && input->len; i++)
        run(input->data, input->len * i / CUTS);
    uint8_t *changed = tw_alloc(input->len + 1);
    TW_ASSERT(changed);
    for (size_t i = 0; i < CHANGES && input->len; i++) {
        memcpy(changed, input->data, input->len);
        for (uint64_t n = 1 + next_random(&seed) % 4; n > 0; n--)
            changed[next_random(&seed) % input->len] = (uint8_t)next_random(&seed);
        run(changed, input->len);
    }
    free(changed);
}

static int replay_folder(const char *folder) {
    DIR *dir = opendir(folder);
    int count = 0;
    if (!dir)
        return 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[4096];
        struct tw_error err = {};
        struct tw_buf input;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        tw_buf_init(&input, INPUT_MAX);
        if (entry->d_name[0] != '.' && tw_file_read(path, &input, &err)) {
            printf("%s\n", entry->d_name);
            fflush(stdout);
            run_variants(&input, 1 + (uint64_t)count);
            count++;
        }
        tw_buf_done(&input);
    }
    closedir(dir);
    return count;
}

int main(int argc, char **argv) {
    int count = 0;
    for (int i = 1; i < argc; i++)
        count += replay_folder(argv[i]);
    printf("%d passed, %d failed\n", count, count == 0);
    return count ? EXIT_SUCCESS : EXIT_FAILURE;
}
