// SPDX-License-Identifier: Apache-2.0
//
// The guest's argument buffer → the kernel's parameter block. A buffer is a run of records without padding:
//
//     args   := record*                         at most 128 records and 4,096 bytes
//     record := 0x01 i32 | 0x02 i64 | 0x03 f32 | 0x04 f64 | 0x05 u32 | 0x06 u64
//             | 0x07 offset:u32 length:u32      a range of guest memory
//             | 0x08 handle:u64 offset:u64      a place in a device buffer
//
// Each record is checked against the parameter at its position: there must be one for each, of its width, and
// a pointer where the kernel wants a pointer. Nothing is written for a buffer that does not fit.

#include "gpu/internal.h"

enum tag { TAG_I32 = 1, TAG_I64, TAG_F32, TAG_F64, TAG_U32, TAG_U64, TAG_RANGE, TAG_BUFFER };

static const struct {
    const char *name;
    uint8_t bytes; // after the tag
} tags[] = {
    [TAG_I32] = {"i32", 4},           [TAG_I64] = {"i64", 8},
    [TAG_F32] = {"f32", 4},           [TAG_F64] = {"f64", 8},
    [TAG_U32] = {"u32", 4},           [TAG_U64] = {"u64", 8},
    [TAG_RANGE] = {"guest range", 8}, [TAG_BUFFER] = {"device buffer", 16},
};

struct record {
    uint8_t tag;
    uint64_t bits, bits2;
};

// Confined to one launch.
struct binder {
    const struct tw_gpu_context *context;
    const struct tw_kernel_info *info;
    uint64_t memory_bytes;
    uint32_t position; // of the record, from 0
    struct tw_error *err;
};

static uint64_t little(const uint8_t *bytes, unsigned count) {
    uint64_t value = 0;
    memcpy(&value, bytes, count);
    return value;
}

static bool read_record(struct binder *binder, struct tw_span *rest, struct record *ret_record) {
    // Once: a kernel that still runs may change the guest's memory between two looks.
    uint8_t tag = *(const volatile uint8_t *)rest->data;
    if (tag >= TW_COUNT(tags) || !tags[tag].name)
        return tw_fail(binder->err, TW_ERR_CUDA_INVALID_ARGS,
                       "argument %" PRIu32 ": unknown tag 0x%02x; records begin with 01 to 08",
                       binder->position, tag);
    unsigned bytes = tags[tag].bytes;
    if (rest->len - 1 < bytes)
        return tw_fail(binder->err, TW_ERR_CUDA_INVALID_ARGS,
                       "argument %" PRIu32 ": %s takes %u bytes after its tag, the buffer ends after %zu",
                       binder->position, tags[tag].name, bytes, rest->len - 1);
    *ret_record = (struct record){.tag = tag};
    if (tag == TAG_RANGE || tag == TAG_BUFFER) {
        ret_record->bits = little(rest->data + 1, bytes / 2);
        ret_record->bits2 = little(rest->data + 1 + bytes / 2, bytes / 2);
    } else {
        ret_record->bits = little(rest->data + 1, bytes);
    }
    rest->data += 1 + bytes;
    rest->len -= 1 + bytes;
    return true;
}

// Guest memory is the upper half of the arena.
static bool bind_range(struct binder *binder, const struct record *record, uint64_t *ret_value) {
    if (record->bits > binder->memory_bytes || record->bits2 > binder->memory_bytes - record->bits)
        return tw_fail(binder->err, TW_ERR_CUDA_INVALID_POINTER,
                       "argument %" PRIu32 ": the range of %" PRIu64 " bytes at %" PRIu64
                       " leaves guest memory, which has %" PRIu64 " bytes",
                       binder->position, record->bits2, record->bits, binder->memory_bytes);
    *ret_value = TW_ARENA_MEMORY_OFFSET + record->bits;
    return true;
}

static bool bind_buffer(struct binder *binder, const struct record *record, uint64_t *ret_value) {
    const struct gpu_buffer *buffer = gpu_handle_find(&binder->context->buffers, record->bits);
    if (!buffer)
        return tw_fail(binder->err, TW_ERR_CUDA_INVALID_HANDLE,
                       "argument %" PRIu32 ": there is no device buffer %" PRIu64
                       "; use a handle that alloc gave",
                       binder->position, record->bits);
    if (record->bits2 > buffer->size)
        return tw_fail(binder->err, TW_ERR_CUDA_INVALID_ARGS,
                       "argument %" PRIu32 ": offset %" PRIu64 " leaves the device buffer of %" PRIu64
                       " bytes",
                       binder->position, record->bits2, buffer->size);
    *ret_value = buffer->address + record->bits2;
    return true;
}

static bool fail_width(const struct binder *binder, const struct record *record,
                       const struct tw_kernel_param *param) {
    return tw_fail(binder->err, TW_ERR_CUDA_INVALID_ARGS,
                   "argument %" PRIu32 ": %s was given, the kernel's parameter is %s of %" PRIu32 " bytes",
                   binder->position, tags[record->tag].name,
                   param->is_pointer ? "a pointer"
                   : param->is_float ? "a float"
                                     : "a scalar",
                   param->size);
}

// Whether a 4-byte integer, signed or not, is one of `size` bytes.
static bool narrows(const struct record *record, uint32_t size) {
    if (record->tag == TAG_I32) {
        int32_t value = (int32_t)(uint32_t)record->bits;
        int32_t limit = INT32_C(1) << (8 * size);
        return value < limit && value >= -limit / 2;
    }
    return record->tag == TAG_U32 && record->bits < (UINT64_C(1) << (8 * size));
}

static bool bind_scalar(struct binder *binder, const struct record *record,
                        const struct tw_kernel_param *param) {
    uint32_t bytes = tags[record->tag].bytes;
    if (param->is_pointer) {
        if (bytes == param->size && record->bits == 0 && (record->tag == TAG_I64 || record->tag == TAG_U64))
            return true; // a null pointer
        return tw_fail(binder->err, TW_ERR_CUDA_INVALID_ARGS,
                       "argument %" PRIu32 ": the kernel's parameter is a pointer, %s was given; pass a "
                       "guest range (07) or a device buffer (08)",
                       binder->position, tags[record->tag].name);
    }
    if (bytes == param->size || ((param->size == 1 || param->size == 2) && narrows(record, param->size)))
        return true;
    return fail_width(binder, record, param);
}

static bool bind_record(struct binder *binder, const struct record *record, uint64_t *ret_value) {
    const struct tw_kernel_param *param = &binder->info->params[binder->position];
    *ret_value = record->bits;
    if (record->tag != TAG_RANGE && record->tag != TAG_BUFFER)
        return bind_scalar(binder, record, param);
    // A parameter of 8 bytes that the kernel does not use, or uses as a number too, may still be a pointer.
    if (param->size != 8 || param->is_float)
        return fail_width(binder, record, param);
    return record->tag == TAG_RANGE ? bind_range(binder, record, ret_value)
                                    : bind_buffer(binder, record, ret_value);
}

static bool check_sizes(const struct tw_kernel_info *info, struct tw_span args, struct tw_error *err) {
    if (args.len > GPU_ARGS_BYTES_MAX)
        return tw_fail(err, TW_ERR_CUDA_ARGS_UNSUPPORTED, "%zu bytes of arguments, the limit is %d", args.len,
                       GPU_ARGS_BYTES_MAX);
    if (info->param_bytes > GPU_PARAM_BYTES_MAX || info->param_count > GPU_ARGS_MAX)
        return tw_fail(err, TW_ERR_CUDA_ARGS_UNSUPPORTED,
                       "kernel '%.64s' takes %" PRIu32 " parameters in %" PRIu32
                       " bytes, the limits are %d and %d",
                       info->name, info->param_count, info->param_bytes, GPU_ARGS_MAX, GPU_PARAM_BYTES_MAX);
    return true;
}

bool gpu_args_bind(const struct tw_gpu_context *context, const struct tw_kernel_info *info,
                   const struct tw_gpu_launch *launch, uint8_t *params, struct tw_error *err) {
    struct binder binder = {
        .context = context, .info = info, .memory_bytes = launch->memory_bytes, .err = err};
    struct tw_span rest = launch->args;
    if (!check_sizes(info, rest, err))
        return false;
    uint64_t values[GPU_ARGS_MAX];
    for (; rest.len > 0; binder.position++) {
        struct record record = {};
        if (binder.position == GPU_ARGS_MAX)
            return tw_fail(err, TW_ERR_CUDA_ARGS_UNSUPPORTED, "more than %d arguments", GPU_ARGS_MAX);
        if (!read_record(&binder, &rest, &record))
            return false;
        if (binder.position >= info->param_count)
            return tw_fail(err, TW_ERR_CUDA_INVALID_ARGS,
                           "argument %" PRIu32 " is one too many: kernel '%.64s' takes %" PRIu32,
                           binder.position, info->name, info->param_count);
        if (!bind_record(&binder, &record, &values[binder.position]))
            return false;
    }
    if (binder.position < info->param_count)
        return tw_fail(err, TW_ERR_CUDA_INVALID_ARGS,
                       "%" PRIu32 " arguments were given, kernel '%.64s' takes %" PRIu32, binder.position,
                       info->name, info->param_count);
    memset(params, 0, tw_align_up(info->param_bytes, 64));
    for (uint32_t i = 0; i < info->param_count; i++)
        memcpy(params + info->params[i].offset, &values[i], info->params[i].size);
    return true;
}
