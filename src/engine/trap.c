// SPDX-License-Identifier: Apache-2.0
//
// How a guest ended, in our words: returned, left by proc_exit, stopped by us, or trapped. A stop shows as an
// out-of-bounds trap at a poll (its page was closed), as an interrupt (a host function saw it) or as an
// epoch's error; the call knows that it was stopped before the guest ended.
//
// Function names in the backtrace come from the text that Wasmtime prints, which is the one place where it
// demangles them:
//
//     error while executing at wasm backtrace:
//         0:     0x2f - <unknown>!inner
//         1:     0x36 - <unknown>!outer

#include "engine/internal.h"

static const char *const kinds[] = {
    [WASMTIME_TRAP_CODE_STACK_OVERFLOW] = "stack_overflow",
    [WASMTIME_TRAP_CODE_MEMORY_OUT_OF_BOUNDS] = "out_of_bounds",
    [WASMTIME_TRAP_CODE_HEAP_MISALIGNED] = "misaligned",
    [WASMTIME_TRAP_CODE_TABLE_OUT_OF_BOUNDS] = "table_out_of_bounds",
    [WASMTIME_TRAP_CODE_INDIRECT_CALL_TO_NULL] = "indirect_call_to_null",
    [WASMTIME_TRAP_CODE_BAD_SIGNATURE] = "bad_signature",
    [WASMTIME_TRAP_CODE_INTEGER_OVERFLOW] = "integer_overflow",
    [WASMTIME_TRAP_CODE_INTEGER_DIVISION_BY_ZERO] = "integer_division_by_zero",
    [WASMTIME_TRAP_CODE_BAD_CONVERSION_TO_INTEGER] = "bad_conversion_to_integer",
    [WASMTIME_TRAP_CODE_UNREACHABLE_CODE_REACHED] = "unreachable",
    [WASMTIME_TRAP_CODE_INTERRUPT] = "interrupt",
    [WASMTIME_TRAP_CODE_NULL_REFERENCE] = "null_reference",
    [WASMTIME_TRAP_CODE_ARRAY_OUT_OF_BOUNDS] = "array_out_of_bounds",
    [WASMTIME_TRAP_CODE_ALLOCATION_TOO_LARGE] = "allocation_too_large",
    [WASMTIME_TRAP_CODE_CAST_FAILURE] = "cast_failure",
};

static const char *kind_of(wasmtime_trap_code_t code) {
    return code < TW_COUNT(kinds) && kinds[code] ? kinds[code] : "other";
}

// An exception that nothing caught, or a heap that could not grow, end a call with an error that is no trap. The store
// forgets the exception, for its next call. NULL: something else happened.
static const char *kind_of_error(struct engine_call *call) {
    const struct engine_region *heap = call->instance->heap;
    wasmtime_exnref_t exception;
    if (wasmtime_context_take_exception(call->instance->context, &exception)) {
        wasmtime_exnref_unroot(&exception);
        return "uncaught_exception";
    }
    bool is_full = call->instance->is_pooled ? engine_error_says(call->error, "GC heap out of memory")
                                             : heap && heap->denied;
    return is_full ? "out_of_memory" : NULL;
}

// ---- backtrace ----

// Rust's names end in a hash that tells nothing to people: "::h" and 16 hex digits.
static struct tw_str without_hash(struct tw_str name) {
    enum { HASH_LEN = 19 };
    if (name.len <= HASH_LEN || memcmp(name.data + name.len - HASH_LEN, "::h", 3) != 0)
        return name;
    for (size_t i = name.len - 16; i < name.len; i++) {
        if (!memchr("0123456789abcdef", name.data[i], 16))
            return name;
    }
    return tw_str_of(name.data, name.len - HASH_LEN);
}

// The name of frame `index` in Wasmtime's text; empty when it is not there.
static struct tw_str name_in_text(struct tw_str text, size_t index) {
    char start[24];
    struct tw_str prefix = tw_str_of(start, (size_t)snprintf(start, sizeof(start), "%zu:", index));
    while (text.len) {
        struct tw_str line = tw_str_trim(tw_str_cut(&text, '\n'));
        if (!tw_str_starts(line, prefix))
            continue;
        const char *bang = memchr(line.data, '!', line.len);
        if (!bang)
            break;
        return without_hash(tw_str_of(bang + 1, (size_t)(line.data + line.len - bang - 1)));
    }
    return (struct tw_str){};
}

// What the module calls a frame's function, or else the name it is exported under; empty when it has neither.
static struct tw_str name_of(const struct tw_module *module, const wasm_frame_t *frame, struct tw_str text,
                             size_t index) {
    const wasm_name_t *raw = wasmtime_frame_func_name(frame);
    if (raw) {
        struct tw_str name = name_in_text(text, index);
        return name.len ? name : tw_str_of(raw->data, raw->size);
    }
    for (uint32_t i = 0; i < module->export_count; i++)
        if (module->export_functions[i] == wasm_frame_func_index(frame))
            return tw_str_from(module->exports[i].name);
    return (struct tw_str){};
}

// No place within the function: the engine knows it in the rewritten module, which nobody else has.
static void write_frame(struct tw_json_writer *writer, const wasm_frame_t *frame, struct tw_str name) {
    tw_json_write_object(writer);
    tw_json_write_key(writer, "function");
    if (name.len)
        tw_json_write_str(writer, name);
    else
        tw_json_write_null(writer);
    tw_json_write_key(writer, "index");
    tw_json_write_u64(writer, wasm_frame_func_index(frame));
    tw_json_write_end(writer, '}');
}

// Appends the module's own frames; ret_name is the innermost function's, "" when it has none.
static void write_frames(const struct tw_module *module, struct tw_buf *out, const wasm_frame_vec_t *frames,
                         struct tw_str text, char *ret_name, size_t size) {
    struct tw_json_writer writer;
    tw_json_write_init(&writer, out);
    tw_json_write_array(&writer);
    // A fill or copy in pieces is a function of the rewrite: only the innermost frame can be one.
    size_t first = frames->size && wasm_frame_func_index(frames->data[0]) >= module->function_count;
    for (size_t i = first; i < frames->size && i < ENGINE_FRAMES_MAX; i++)
        write_frame(&writer, frames->data[i], name_of(module, frames->data[i], text, i));
    tw_json_write_end(&writer, ']');
    if (!tw_json_write_done(&writer))
        tw_buf_reset(out); // names beyond all measure; the trap's kind is told anyway
    struct tw_str name =
        frames->size > first ? name_of(module, frames->data[first], text, first) : (struct tw_str){};
    snprintf(ret_name, size, "%.*s", TW_STR_ARG(name));
}

// Takes `frames`.
static void end_by_guest(struct engine_call *call, const char *kind, wasm_frame_vec_t *frames,
                         struct tw_str text) {
    struct tw_invoke *invoke = call->invoke;
    char name[96];
    write_frames(invoke->module, &invoke->backtrace, frames, text, name, sizeof(name));
    wasm_frame_vec_delete(frames);
    snprintf(invoke->trap_kind, sizeof(invoke->trap_kind), "%s", kind);
    tw_fail(&invoke->error, TW_ERR_GUEST_TRAP, "the function trapped: %s%s%s", kind, name[0] ? " in " : "",
            name);
}

static void trapped(struct engine_call *call) {
    wasmtime_trap_code_t code = UINT8_MAX;
    wasm_byte_vec_t message;
    wasm_frame_vec_t frames;
    wasmtime_trap_code(call->trap, &code);
    wasm_trap_message(call->trap, &message);
    wasm_trap_trace(call->trap, &frames);
    end_by_guest(call, kind_of(code), &frames, tw_str_of(message.data, message.size));
    wasm_byte_vec_delete(&message);
}

// An error that is no trap: the guest could not be entered.
static enum tw_code code_of(const wasmtime_error_t *error) {
    bool is_full = engine_error_says(error, ENGINE_NO_STACK) || engine_error_says(error, ENGINE_POOL_FULL);
    return is_full ? TW_ERR_CAPACITY : TW_ERR_INTERNAL;
}

static void failed(struct engine_call *call) {
    const char *kind = kind_of_error(call);
    wasm_byte_vec_t message;
    wasm_frame_vec_t frames;
    if (kind) {
        wasmtime_error_message(call->error, &message);
        wasmtime_error_wasm_trace(call->error, &frames);
        end_by_guest(call, kind, &frames, tw_str_of(message.data, message.size));
        wasm_byte_vec_delete(&message);
    } else {
        engine_fail(&call->invoke->error, code_of(call->error), "the call failed", call->error);
        call->error = NULL;
    }
}

void engine_outcome_stopped(struct tw_invoke *invoke, enum tw_code code) {
    if (code == TW_ERR_CANCELLED)
        tw_fail(&invoke->error, code, "the call was cancelled");
    else
        tw_fail(&invoke->error, code,
                "the function did not finish before its deadline, %lld ms after it was called",
                (long long)(invoke->deadline_ns - invoke->times.queued_ns + TW_NS_PER_MS / 2) / TW_NS_PER_MS);
}

void engine_outcome(struct engine_call *call, bool stopped) {
    struct tw_invoke *invoke = call->invoke;
    if (stopped) {
        // However it ended: a kernel that was stopped may have made the guest return or abort by itself.
        engine_outcome_stopped(invoke, call->stop_code);
    } else if (call->exited) {
        if (invoke->exit_code)
            tw_fail(&invoke->error, TW_ERR_GUEST_EXIT, "the function left with exit code %d",
                    invoke->exit_code);
    } else if (call->trap) {
        trapped(call);
    } else if (call->error) {
        failed(call);
    }
    if (call->trap)
        wasm_trap_delete(call->trap);
    if (call->error)
        wasmtime_error_delete(call->error);
    call->trap = NULL;
    call->error = NULL;
}
