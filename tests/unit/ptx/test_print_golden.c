// SPDX-License-Identifier: Apache-2.0
//
// The CUDA kernels of tests/golden/ptx printed as PTX: as they were parsed, inlined, and simplified, with and
// without fence. The text reads back to what it was printed from. With TW_PTXAS=path NVIDIA's assembler gets
// all of it, too.

#include "golden.h"
#include "print_check.h"

// What may differ: generic accesses whose space was found out, and hints on branches that are no longer
// there.
static void erase_hints(char *text) {
    static const char *const hints[] = {".local", ".shared", ".const", ".uniform"};
    for (size_t i = 0; i < TW_COUNT(hints); i++)
        for (char *at = text; (at = strstr(at, hints[i]));)
            memmove(at, at + strlen(hints[i]), strlen(at + strlen(hints[i])) + 1);
}

static void prepare(struct tw_kir_module *module, bool simplify) {
    struct tw_error err = {};
    for (uint32_t f = 0; f < module->function_count; f++) {
        if (!module->functions[f].is_entry)
            continue;
        tw_assert_ok(tw_kir_inline(module, &module->functions[f], &err), &err);
        if (simplify)
            tw_assert_ok(tw_kir_simplify(module, &module->functions[f], &err), &err);
    }
    tw_assert_ok(tw_kir_verify(module, &err), &err);
}

static void same_after_simplifying(const char *ptx, const char *text, const char *entry) {
    static struct snippet first, second;
    tw_assert_ok(snippet_parse(&first, ptx), &first.err);
    tw_assert_ok(snippet_parse(&second, text), &second.err);
    prepare(first.module, true);
    prepare(second.module, true);
    char *a = shape(first.module, entry), *b = shape(second.module, entry);
    erase_hints(a);
    erase_hints(b);
    same_text(b, a);
    free(a);
    free(b);
    tw_arena_done(&first.arena);
    tw_arena_done(&second.arena);
}

static const struct {
    const char *file, *entries[3];
} kernels[] = {{"vector_add", {"vector_add"}},
               {"saxpy", {"saxpy"}},
               {"reduce", {"reduce_shared", "reduce_shuffle"}},
               {"sgemm", {"sgemm"}},
               {"softmax", {"softmax"}},
               {"convolution", {"convolution"}},
               {"histogram", {"histogram_shared", "histogram_global"}},
               {"calls", {"calls"}}};

// Calls must be inlined for the fence and for structures; printf and addresses in initialisers have no fence.
static bool may_refuse(const char *file, unsigned stage, bool fence, const char *message) {
    if (stage == 0 && strstr(message, "inline"))
        return true;
    return fence && strcmp(file, "calls") == 0 && strstr(message, "fence");
}

// As parsed, inlined, and simplified, with and without fence.
static void golden(size_t index, int level) {
    static struct snippet s;
    char *ptx = golden_compile(kernels[index].file, level);
    if (!ptx)
        return;
    for (unsigned stage = 0; stage < 3; stage++)
        for (unsigned fence = 0; fence < 2; fence++) {
            s.err = (struct tw_error){};
            tw_assert_ok(snippet_parse(&s, ptx), &s.err);
            if (stage)
                prepare(s.module, stage == 2);
            char *text = there_and_back(s.module, fence ? &fenced : &plain, &s.err);
            if (!text && !may_refuse(kernels[index].file, stage, fence != 0, s.err.message))
                ck_abort_msg("%s at O%d, stage %u, fence %u: %s", kernels[index].file, level, stage, fence,
                             s.err.message);
            bool bounds = strcmp(kernels[index].file, "calls") ==
                          0; // the index of its brx, which is one more instruction
            if (text && !fence && !bounds)
                for (size_t e = 0; e < 2 && kernels[index].entries[e]; e++)
                    same_after_simplifying(ptx, text, kernels[index].entries[e]);
            static const unsigned targets[] = {70, 80, 90};
            for (size_t t = 0; text && t < TW_COUNT(targets); t++) {
                free(text);
                struct tw_ptx_options options = {.sm = targets[t], .version = 78, .fence = fence};
                text = printed(s.module, &options, &s.err);
                assemble(text, targets[t]);
            }
            free(text);
            tw_arena_done(&s.arena);
        }
    free(ptx);
}

TW_TEST("golden kernels at every level come back from their printed text") {
    for (size_t i = 0; i < TW_COUNT(kernels); i++)
        for (int level = 0; level <= 3; level++)
            golden(i, level);
}
