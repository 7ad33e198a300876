// SPDX-License-Identifier: Apache-2.0
//
// The JSON that clients send, as far as a call's arguments: the first byte chooses a signature. What is taken has to
// come back as itself when it is written and read again.

#include "base/base.h"
#include "service/service.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t types[] = {TW_WASM_I32, TW_WASM_I64, TW_WASM_F32, TW_WASM_F64, TW_WASM_V128};

static void check_again(const struct tw_signature *signature, const struct tw_value *values) {
    struct tw_buf text;
    struct tw_json_writer writer;
    struct tw_error err = {};
    struct tw_value again[TW_INVOKE_VALUES_MAX] = {};
    tw_buf_init(&text, 1 << 20);
    tw_json_write_init(&writer, &text);
    tw_results_to_json(values, signature->param_count, &writer);
    TW_ASSERT(tw_json_write_done(&writer));
    struct tw_json *root = tw_json_parse(tw_buf_span(&text), &err);
    TW_ASSERT(root);
    // One result stands alone; arguments are always an array.
    if (tw_json_type(root) == TW_JSON_ARRAY) {
        TW_ASSERT(tw_args_from_json(signature, root, again, &err));
        for (uint32_t i = 0; i < signature->param_count; i++) {
            bool is_nan = (values[i].type == TW_WASM_F32 && values[i].of.f32 != values[i].of.f32) ||
                          (values[i].type == TW_WASM_F64 && values[i].of.f64 != values[i].of.f64);
            TW_ASSERT(is_nan || again[i].of.i64 == values[i].of.i64);
        }
    }
    tw_json_free(root);
    tw_buf_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tw_error err = {};
    struct tw_value values[TW_INVOKE_VALUES_MAX] = {};
    uint8_t params[4] = {};
    if (!size)
        return 0;
    struct tw_signature signature = {.params = params, .param_count = data[0] % TW_COUNT(params)};
    for (uint32_t i = 0; i < signature.param_count; i++)
        params[i] = types[(data[0] / TW_COUNT(params) + i) % TW_COUNT(types)];
    struct tw_json *root = tw_json_parse(tw_span_of(data + 1, size - 1), &err);
    if (!root) {
        TW_ASSERT(err.code != TW_OK && err.message[0]);
        return 0;
    }
    if (tw_args_from_json(&signature, root, values, &err))
        check_again(&signature, values);
    else
        TW_ASSERT(err.code != TW_OK && err.message[0]);
    tw_json_free(root);
    return 0;
}
