// SPDX-License-Identifier: Apache-2.0
//
// wasi:tensor/host@0.1.0: request bytes in, response bytes out. Reading shares its place with WASI's standard
// input, emitting its bytes with standard output.

#include "engine/internal.h"

enum { TENSOR_OK = 0, TENSOR_INVALID = -2, TENSOR_GONE = -3 };

static wasm_trap_t *answer(wasmtime_val_raw_t *args, int value) {
    args[0].i32 = value;
    return NULL;
}

bool engine_output_count(struct engine_call *call, uint64_t bytes) {
    uint64_t counted = call->output_counted, wanted = tw_align_up(bytes, ENGINE_SLICE_BYTES);
    struct tw_account *account = call->invoke->account;
    if (wanted == counted || (bytes && (bytes <= ENGINE_OUTPUT_FREE || wanted < counted)))
        return true;
    if (wanted < counted)
        tw_account_give(account, TW_RESOURCE_CPU_MEMORY, counted - wanted);
    else if (!tw_account_take(account, TW_RESOURCE_CPU_MEMORY, wanted - counted, NULL))
        return false;
    tw_metric_add(TW_METRIC_CPU_MEMORY_TENANT, tw_labels_tenant(call->invoke->tenant),
                  (int64_t)(wanted - counted));
    call->output_counted = wanted;
    return true;
}

int engine_emit(struct engine_instance *instance, struct tw_span bytes) {
    struct tw_invoke *invoke = instance->call->invoke;
    uint64_t max = invoke->output_max ? invoke->output_max : ENGINE_OUTPUT_DEFAULT;
    if (bytes.len > max - instance->host.emitted)
        return TENSOR_INVALID;
    for (size_t part; bytes.len; bytes = tw_span_of(bytes.data + part, bytes.len - part)) {
        part = engine_slice(bytes.len);
        if (engine_is_stopping(instance))
            return TENSOR_GONE;
        if (invoke->emit) {
            if (!invoke->emit(invoke, tw_span_of(bytes.data, part)))
                return TENSOR_GONE;
        } else if (!engine_output_count(instance->call, invoke->output.len + part) ||
                   !tw_buf_append(&invoke->output, bytes.data, part)) {
            return TENSOR_INVALID;
        }
        instance->host.emitted += part;
    }
    return TENSOR_OK;
}

static void finish_emit(struct engine_call *call, wasmtime_val_raw_t *result) {
    result->i32 = (int32_t)call->wait.kernel;
}

wasm_trap_t *engine_emitted(struct engine_instance *instance, wasmtime_val_raw_t *args, int value) {
    struct engine_call *call = instance->call;
    struct tw_invoke *invoke = call->invoke;
    args[0].i32 = value;
    if (value != TENSOR_OK || !invoke->is_slow || !invoke->is_slow(invoke, false))
        return NULL;
    // A sleep without an end: the client's progress wakes it, or a stop. Who takes the timer wakes the call.
    call->wait.kernel = value;
    if (!engine_call_sleep(call, TW_NO_DEADLINE, finish_emit))
        return NULL; // no memory: it goes on, up to the output's limit
    if (!invoke->is_slow(invoke, true) && engine_timer_take(&call->engine->timers, &call->sleep))
        engine_call_disarm(call);
    return NULL;
}

void engine_append_stderr(struct engine_instance *instance, struct tw_span bytes) {
    struct tw_buf *text = &instance->call->invoke->stderr_text;
    size_t left = text->max - text->len;
    if (!tw_buf_append(text, bytes.data, bytes.len < left ? bytes.len : left))
        return; // no memory: the text is for people, the call goes on
}

wasm_trap_t *engine_tensor_input_len(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    size_t len = instance->call->invoke->input.len - instance->host.input_at; // still to be read
    return answer(args, len > INT32_MAX ? INT32_MAX : (int)len);
}

wasm_trap_t *engine_tensor_read_input(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    struct tw_span input = instance->call->invoke->input;
    size_t left = input.len - instance->host.input_at, len = (uint32_t)args[1].i32;
    uint8_t *to = engine_guest(instance, (uint32_t)args[0].i32, len);
    if (!to)
        return answer(args, TENSOR_INVALID);
    if (len > left)
        len = left;
    if (len > INT32_MAX)
        len = INT32_MAX;
    if (!engine_copy(instance, to, input.data + instance->host.input_at, len))
        return engine_stop_trap();
    instance->host.input_at += len;
    return answer(args, (int)len);
}

wasm_trap_t *engine_tensor_emit_chunk(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    uint32_t len = (uint32_t)args[1].i32;
    const uint8_t *from = engine_guest(instance, (uint32_t)args[0].i32, len);
    if (!from || len > ENGINE_CHUNK_MAX)
        return answer(args, TENSOR_INVALID);
    return engine_emitted(instance, args, len ? engine_emit(instance, tw_span_of(from, len)) : TENSOR_OK);
}

// Nothing is held back here: each chunk was handed on when it was emitted.
wasm_trap_t *engine_tensor_flush(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    (void)instance;
    return answer(args, TENSOR_OK);
}

wasm_trap_t *engine_tensor_set_content_type(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    uint32_t len = (uint32_t)args[1].i32;
    const uint8_t *from = engine_guest(instance, (uint32_t)args[0].i32, len);
    if (!from || len >= TW_CONTENT_TYPE_MAX)
        return answer(args, TENSOR_INVALID);
    // A copy: a kernel that still runs may change the guest's memory once it was looked at.
    char text[TW_CONTENT_TYPE_MAX] = {};
    memcpy(text, from, len);
    // It becomes a header line: printable ASCII only.
    for (uint32_t i = 0; i < len; i++) {
        if (text[i] < 0x20 || text[i] > 0x7e)
            return answer(args, TENSOR_INVALID);
    }
    memcpy(instance->call->invoke->content_type, text, sizeof(text));
    return answer(args, TENSOR_OK);
}

wasm_trap_t *engine_tensor_set_status(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    int status = args[0].i32;
    if (status < 200 || status > 599)
        return answer(args, TENSOR_INVALID);
    instance->call->invoke->status = status;
    return answer(args, TENSOR_OK);
}

wasm_trap_t *engine_tensor_log(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    static const char *const levels[] = {"trace", "debug", "info", "warn", "error"};
    uint32_t level = (uint32_t)args[0].i32, len = (uint32_t)args[2].i32;
    const uint8_t *text = engine_guest(instance, (uint32_t)args[1].i32, len);
    if (!text)
        return NULL; // it has no way to tell
    if (len > ENGINE_LOG_LINE_MAX)
        len = ENGINE_LOG_LINE_MAX;
    const char *name = levels[level < TW_COUNT(levels) ? level : TW_COUNT(levels) - 1];
    engine_append_stderr(instance, tw_span_of(name, strlen(name)));
    engine_append_stderr(instance, tw_span_of(": ", 2));
    engine_append_stderr(instance, tw_span_of(text, len));
    engine_append_stderr(instance, tw_span_of("\n", 1));
    return NULL;
}
