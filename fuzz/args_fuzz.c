// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a launch's argument records, against parameters that the first bytes choose. What is accepted
// is read a second time here, by a plain reader of the format, and must say the same.
//
//     input := count:u8 { kind:u8 }count records

#include "gpu/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEMORY_BYTES = 65'536, BUFFER_BYTES = 100, PARAMS_MAX = 32 };

static struct tw_kernel_info info_of(const uint8_t **at, const uint8_t *end) {
    struct tw_kernel_info info = {.name = "fuzzed"};
    uint32_t count = *at < end ? *(*at)++ % (PARAMS_MAX + 1) : 0;
    for (uint32_t i = 0; i < count && *at < end; i++) {
        uint8_t kind = *(*at)++;
        uint32_t size = 1u << (kind & 3);
        uint32_t offset = (uint32_t)tw_align_up(info.param_bytes, size);
        info.params[info.param_count++] = (struct tw_kernel_param){
            .offset = offset, .size = size, .is_pointer = size == 8 && kind & 4, .is_float = kind & 8};
        info.param_bytes = offset + size;
    }
    return info;
}

// What a record means; false: it is not whole.
static bool meaning(const uint8_t *at, const uint8_t *end, const struct gpu_buffer *buffer,
                    uint64_t *ret_value, size_t *ret_len) {
    static const uint8_t sizes[] = {0, 4, 8, 4, 8, 4, 8, 8, 16};
    if (at == end || *at == 0 || *at > 8 || (size_t)(end - at) < 1u + sizes[*at])
        return false;
    uint64_t value = 0, offset = 0;
    memcpy(&value, at + 1, sizes[*at] == 16 ? 8 : sizes[*at]);
    if (*at == 7)
        value = TW_ARENA_MEMORY_OFFSET + (uint32_t)value;
    if (*at == 8) {
        memcpy(&offset, at + 9, 8);
        value = buffer->address + offset;
    }
    *ret_value = value;
    *ret_len = 1u + sizes[*at];
    return true;
}

static void check(const struct tw_kernel_info *info, const uint8_t *at, const uint8_t *end,
                  const struct gpu_buffer *buffer, const uint8_t *params) {
    for (uint32_t i = 0; i < info->param_count; i++) {
        uint64_t value, got = 0;
        size_t len;
        const struct tw_kernel_param *param = &info->params[i];
        if (!meaning(at, end, buffer, &value, &len))
            abort();
        if (*at == 7 && value - TW_ARENA_MEMORY_OFFSET > MEMORY_BYTES)
            abort(); // outside the guest's memory
        if (*at == 8 && value - buffer->address > BUFFER_BYTES)
            abort();
        memcpy(&got, params + param->offset, param->size);
        if (memcmp(&got, &value, param->size) != 0)
            abort();
        at += len;
    }
    if (at != end)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *at = data, *end = data + size;
    struct gpu_buffer buffer = {.address = TW_ARENA_HEAP_OFFSET + 4096, .size = BUFFER_BYTES};
    struct tw_gpu_context context = {};
    uint64_t handle;
    if (!gpu_handle_add(&context.buffers, &buffer, 16, &handle))
        return 0;
    context.buffers.slots[0].handle = 1 << 16; // else it would be another one in each run, and never be hit
    _Alignas(64) uint8_t params[GPU_PARAM_BYTES_MAX];
    struct tw_kernel_info info = info_of(&at, end);
    struct tw_gpu_launch launch = {.args = tw_span_of(at, (size_t)(end - at)), .memory_bytes = MEMORY_BYTES};
    struct tw_error err = {};
    if (gpu_args_bind(&context, &info, &launch, params, &err))
        check(&info, at, end, &buffer, params);
    else if (err.code == TW_OK)
        abort();
    free(context.buffers.slots);
    return 0;
}
