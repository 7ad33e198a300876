// SPDX-License-Identifier: Apache-2.0
//
// One countdown a kind. When nothing is configured a call costs one load of a word that nobody writes.

#include "base/fault.h"

#include <stdatomic.h>

#include "base/str.h"

static const char *const kind_names[TW_FAULT_KIND_COUNT] = {"alloc", "io", "cuda", "reset"};

// Calls until the failing one, 1 for the next; 0 and below: never (again).
static _Atomic int64_t countdown[TW_FAULT_KIND_COUNT];
static _Atomic bool armed;

static bool parse(struct tw_str text, enum tw_fault_kind *ret_kind, int64_t *ret_count) {
    struct tw_str name = tw_str_cut(&text, ':');
    uint64_t count;
    if (!tw_str_u64(text, &count) || count > INT64_MAX)
        return false;
    for (unsigned kind = 0; kind < TW_FAULT_KIND_COUNT; kind++) {
        if (tw_str_equal(name, tw_str_from(kind_names[kind]))) {
            *ret_kind = (enum tw_fault_kind)kind;
            *ret_count = (int64_t)count;
            return true;
        }
    }
    return false;
}

void tw_fault_configure(const char *text) {
    for (unsigned kind = 0; kind < TW_FAULT_KIND_COUNT; kind++)
        atomic_store_explicit(&countdown[kind], 0, memory_order_relaxed);
    atomic_store_explicit(&armed, false, memory_order_relaxed);
    if (!text || !*text)
        return;
    enum tw_fault_kind kind;
    int64_t count;
    if (!parse(tw_str_from(text), &kind, &count)) {
        fprintf(stderr, "tensor-wasm: TW_FAULT=%s is ignored; write alloc:N, io:N, cuda:N or reset:N\n",
                text);
        return;
    }
    atomic_store_explicit(&countdown[kind], count, memory_order_relaxed);
    atomic_store_explicit(&armed, count > 0, memory_order_relaxed);
}

bool tw_fault_strikes(enum tw_fault_kind kind) {
    if (__builtin_expect(!atomic_load_explicit(&armed, memory_order_relaxed), 1))
        return false;
    return atomic_fetch_sub_explicit(&countdown[kind], 1, memory_order_relaxed) == 1;
}

void *tw_alloc(size_t size) {
    return tw_fault_strikes(TW_FAULT_ALLOC) ? NULL : malloc(size ? size : 1);
}

void *tw_alloc_zero(size_t count, size_t size) {
    size_t bytes; // calloc checks it too, but under AddressSanitizer it would end the process
    if (tw_fault_strikes(TW_FAULT_ALLOC) || __builtin_mul_overflow(count, size, &bytes))
        return NULL;
    return calloc(1, bytes ? bytes : 1);
}

void *tw_realloc(void *old, size_t size) {
    return tw_fault_strikes(TW_FAULT_ALLOC) ? NULL : realloc(old, size ? size : 1);
}
