// SPDX-License-Identifier: Apache-2.0
//
// What the tests against the fake compiler share: a cache folder that goes when the test ends, and short ways
// to ask.
#pragma once

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compile/compile.h"
#include "harness/test.h"

[[maybe_unused]] static char folder[64];

[[maybe_unused]] static int remove_one(const char *path, const struct stat *info, int type,
                                       struct FTW *walk) {
    (void)info, (void)type, (void)walk;
    return remove(path);
}

[[maybe_unused]] static void remove_folder(void) {
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

[[maybe_unused]] static void make_folder(void) {
    snprintf(folder, sizeof(folder), "/tmp/tw-cache-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    atexit(remove_folder);
}

[[maybe_unused]] static struct tw_compiler *compiler_new(const char *cache, unsigned processes) {
    struct tw_error err = {};
    struct tw_compiler_options options = {
        .program = TW_TEST_FAKE_COMPILER, .cache_dir = cache, .processes = processes, .wall_ms = 90'000};
    struct tw_compiler *compiler = tw_compiler_new(&options, &err);
    tw_assert_ok(compiler, &err);
    return compiler;
}

[[maybe_unused]] static struct tw_compile_request request_of(const char *text) {
    return (struct tw_compile_request){
        .kind = TW_COMPILE_PTX, .input = tw_span_of(text, strlen(text)), .entry = "k"};
}

[[maybe_unused]] static struct tw_artifact *compile(struct tw_compiler *compiler,
                                                    const struct tw_compile_request *request) {
    struct tw_error err = {};
    struct tw_artifact *artifact = tw_compile(compiler, request, &err);
    tw_assert_ok(artifact, &err);
    return artifact;
}

// The answer as text; at most 255 bytes.
[[maybe_unused]] static void answer(struct tw_compiler *compiler, const struct tw_compile_request *request,
                                    char ret_text[256]) {
    struct tw_artifact *artifact = compile(compiler, request);
    snprintf(ret_text, 256, "%.*s", (int)tw_artifact_bytes(artifact).len,
             (const char *)tw_artifact_bytes(artifact).data);
    tw_artifact_unref(artifact);
}

[[maybe_unused]] static struct tw_compiler_stats stats_of(const struct tw_compiler *compiler) {
    struct tw_compiler_stats stats;
    tw_compiler_stats(compiler, &stats);
    return stats;
}
