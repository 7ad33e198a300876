// SPDX-License-Identifier: Apache-2.0
//
// The compiler process's half: rewritten Wasm in, Wasmtime's serialized code out. One engine for each way of
// interrupting is made before the process is locked down and kept for its life.

#include <cpuid.h>

#include "engine/config.h"

// Frozen after tw_engine_precompile_init, which the compiler's one thread calls.
static wasm_engine_t *compilers[TW_INTERRUPT_EPOCH + 1];

bool tw_engine_precompile_init(struct tw_error *err) {
    for (unsigned interrupt = 0; interrupt < TW_COUNT(compilers); interrupt++) {
        if (compilers[interrupt])
            continue;
        wasm_config_t *config = engine_config_new((enum tw_interrupt)interrupt, 0);
        if (config)
            compilers[interrupt] = wasm_engine_new_with_config(config);
        if (!compilers[interrupt])
            return tw_fail(err, TW_ERR_INTERNAL, "Wasmtime did not start");
    }
    return true;
}

bool tw_engine_precompile(struct tw_span wasm, uint32_t interrupt, struct tw_buf *out, struct tw_error *err) {
    if (interrupt >= TW_COUNT(compilers))
        return tw_fail(err, TW_ERR_INTERNAL, "there is no way of interrupting with the number %" PRIu32,
                       interrupt);
    if (!tw_engine_precompile_init(err))
        return false;
    wasmtime_module_t *module = NULL;
    wasmtime_error_t *error = wasmtime_module_new(compilers[interrupt], wasm.data, wasm.len, &module);
    if (error)
        return engine_fail(err, TW_ERR_INVALID_WASM, "the module is not valid", error);
    wasm_byte_vec_t code;
    error = wasmtime_module_serialize(module, &code);
    wasmtime_module_delete(module);
    if (error)
        return engine_fail(err, TW_ERR_COMPILE_FAILED, "the code could not be written", error);
    bool ok = tw_buf_append(out, code.data, code.size);
    wasm_byte_vec_delete(&code);
    return ok || tw_fail(err, TW_ERR_COMPILE_FAILED,
                         "the compiled code is larger than %zu bytes; make the module smaller", out->max);
}

// ---- what the code is made for ----

static char target[160];

// The CPU features that change the code Cranelift makes; Wasmtime checks them again when it loads the code.
static void make_target(void) {
    unsigned a, b, c, d, leaf1 = 0, leaf7b = 0, leaf7c = 0, ext = 0;
    if (__get_cpuid(1, &a, &b, &c, &d))
        leaf1 = c;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        leaf7b = b;
        leaf7c = c;
    }
    if (__get_cpuid(0x80000001, &a, &b, &c, &d))
        ext = c;
    // SSE3 SSSE3 FMA CX16 SSE4.1 SSE4.2 POPCNT OSXSAVE AVX; BMI1 AVX2 BMI2 AVX512{F,DQ,VL};
    // AVX512{VBMI,BITALG}; LZCNT
    const unsigned leaf1_mask =
        1U << 0 | 1U << 9 | 1U << 12 | 1U << 13 | 1U << 19 | 1U << 20 | 1U << 23 | 1U << 27 | 1U << 28;
    const unsigned leaf7b_mask = 1U << 3 | 1U << 5 | 1U << 8 | 1U << 16 | 1U << 17 | 1U << 31;
    const unsigned leaf7c_mask = 1U << 1 | 1U << 12;
    snprintf(target, sizeof(target), "wasmtime" WASMTIME_VERSION ":x86_64:%08x-%08x-%08x-%08x",
             leaf1 & leaf1_mask, leaf7b & leaf7b_mask, leaf7c & leaf7c_mask, ext & 1U << 5);
}

const char *tw_engine_target(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_target);
    return target;
}
