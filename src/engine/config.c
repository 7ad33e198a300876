// SPDX-License-Identifier: Apache-2.0
//
// Wasmtime's settings, and its errors turned into ours.
//
// Linear memories never move and have 4 GiB and a guard each, so that code needs no bounds checks.
// Copy-on-write initialisation is off because the memory is ours (Wasmtime aborts on the two together):
// images are mapped by memory.c. Guests are sandboxed by what is on here: threads, memory64 and stack
// switching are off.

#include "engine/config.h"

static void set_language(wasm_config_t *config) {
    wasmtime_config_wasm_tail_call_set(config, true);
    wasmtime_config_wasm_reference_types_set(config, true);
    wasmtime_config_wasm_bulk_memory_set(config, true);
    wasmtime_config_wasm_multi_value_set(config, true);
    wasmtime_config_wasm_multi_memory_set(config, true);
    wasmtime_config_wasm_simd_set(config, true);
    wasmtime_config_wasm_relaxed_simd_set(config, true);
    wasmtime_config_wasm_memory64_set(config, false);
    wasmtime_config_wasm_function_references_set(config, true);
    wasmtime_config_wasm_gc_set(config, true);
    wasmtime_config_wasm_exceptions_set(config, true);
    wasmtime_config_wasm_stack_switching_set(config, false);
    wasmtime_config_wasm_custom_page_sizes_set(config, false);
    wasmtime_config_wasm_wide_arithmetic_set(config, false);
    wasmtime_config_shared_memory_set(config, false);
}

wasm_config_t *engine_config_new(enum tw_interrupt interrupt, size_t stack_bytes) {
    wasm_config_t *config = wasm_config_new();
    if (!config)
        return NULL;
    size_t stack = stack_bytes ? stack_bytes : ENGINE_STACK_BYTES_DEFAULT;
    set_language(config);
    wasmtime_config_strategy_set(config, WASMTIME_STRATEGY_CRANELIFT);
    wasmtime_config_cranelift_opt_level_set(config, WASMTIME_OPT_LEVEL_SPEED);
    wasmtime_config_signals_based_traps_set(config, true);
    wasmtime_config_memory_reservation_set(config, ENGINE_MEMORY_RESERVATION);
    wasmtime_config_memory_guard_size_set(config, ENGINE_MEMORY_GUARD);
    wasmtime_config_memory_may_move_set(config, false);
    wasmtime_config_memory_init_cow_set(config, false);
    wasmtime_config_native_unwind_info_set(config, false); // Wasm backtraces do without
    wasmtime_config_epoch_interruption_set(config, interrupt == TW_INTERRUPT_EPOCH);
    wasmtime_config_max_wasm_stack_set(config, stack);
    wasmtime_config_async_stack_size_set(config, stack + ENGINE_STACK_HOST_BYTES);
    // The compiler process may start no threads; the server compiles nothing.
    wasmtime_config_parallel_compilation_set(config, false);
    return config;
}

bool engine_error_says(const wasmtime_error_t *error, const char *text) {
    wasm_byte_vec_t message;
    wasmtime_error_message(error, &message);
    bool says = memmem(message.data, message.size, text, strlen(text)) != NULL;
    wasm_byte_vec_delete(&message);
    return says;
}

bool engine_fail(struct tw_error *err, enum tw_code code, const char *what, wasmtime_error_t *error) {
    wasm_byte_vec_t text;
    wasmtime_error_message(error, &text);
    size_t len = text.size;
    while (len > 0 && (text.data[len - 1] == '\0' || text.data[len - 1] == '\n'))
        len--;
    for (size_t i = 0; i < len; i++) {
        if (text.data[i] == '\n')
            text.data[i] = ' ';
    }
    tw_fail(err, code, "%s: %.*s", what, (int)(len < TW_ERROR_MESSAGE_MAX ? len : TW_ERROR_MESSAGE_MAX),
            text.data);
    wasm_byte_vec_delete(&text);
    wasmtime_error_delete(error);
    return false;
}
