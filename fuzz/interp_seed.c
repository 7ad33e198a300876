// SPDX-License-Identifier: Apache-2.0
//
// Seeds for interp_fuzz.c: programs of the kernels in PTX files, as the compiler makes them. interp_seed FOLDER FILE.ptx…

#include "jit/jit.h"
#include "ptx/ptx.h"

enum { INPUT_MAX = 16 << 20, ARENA_MAX = 256 << 20 };

static bool write_seed(const char *path, struct tw_span bytes) {
    FILE *file = fopen(path, "wb");
    bool ok = file && fwrite(bytes.data, 1, bytes.len, file) == bytes.len;
    return (!file || fclose(file) == 0) && ok;
}

// Kernels that no program can say are left out.
static bool make_seed(const char *folder, struct tw_kir_module *module, const char *entry) {
    struct tw_error err = {};
    struct tw_jit_result result = {};
    struct tw_kernel_artifact artifact;
    struct tw_kernel_variant variant = {.opt_level = TW_KERNEL_INTERPRETED};
    char path[4'096];
    bool ok = tw_jit_compile(module, entry, &variant, TW_JIT_OBJECT, &result, &err) &&
              tw_kernel_artifact_decode(tw_buf_span(&result.bytes), &artifact, &err);
    if (!ok)
        fprintf(stderr, "%s: %s\n", entry, err.message);
    snprintf(path, sizeof path, "%s/%s", folder, entry);
    if (ok && artifact.info.variant.opt_level == TW_KERNEL_INTERPRETED)
        ok = write_seed(path, artifact.object);
    tw_jit_result_done(&result);
    return ok;
}

static bool make_seeds(const char *folder, const char *ptx_path) {
    struct tw_arena arena;
    struct tw_buf text;
    struct tw_kir_module *module;
    struct tw_error err = {};
    tw_arena_init(&arena, ARENA_MAX);
    tw_buf_init(&text, INPUT_MAX);
    bool ok = tw_file_read(ptx_path, &text, &err) && tw_ptx_parse(&arena, tw_buf_str(&text), &module, &err);
    if (!ok)
        fprintf(stderr, "%s: %s\n", ptx_path, err.message);
    for (uint32_t f = 0; ok && f < module->function_count; f++)
        if (module->functions[f].is_entry)
            ok = make_seed(folder, module, module->functions[f].name);
    tw_buf_done(&text);
    tw_arena_done(&arena);
    return ok;
}

int main(int argc, char **argv) {
    struct tw_error err = {};
    bool ok = argc > 2 && tw_jit_init(&err);
    for (int i = 2; ok && i < argc; i++)
        ok = make_seeds(argv[1], argv[i]);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
