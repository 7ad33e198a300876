// SPDX-License-Identifier: Apache-2.0
//
// The smallest function with a kernel, without a C library. By JSON, vector_add(n) adds two vectors that it
// makes itself, a[i] = i % 1000 and b[i] = 2 (i % 1000), and answers the sum of the results. As bytes, the
// input is two vectors of float32 one after the other and the output their sum. Either way the kernel works
// on our own memory: nothing is copied.

#include "tensor_wasm.h"

enum { BLOCK = 256, PERIOD = 1000 };

static const char ptx[] = {
#embed "vector_add.ptx"
};
extern unsigned char __heap_base[]; // the linker's: where memory is free

// Says why on the call's standard error, then traps.
static _Noreturn void fail(const char *what) {
    char text[TW_ERROR_TEXT_MAX];
    tw_log(TW_LOG_ERROR, what);
    tw_log(TW_LOG_ERROR, tw_cuda_last_error(text, sizeof text));
    __builtin_trap();
}

// Room for `count` floats at the start of the heap, which holds nothing else.
static float *take_floats(uint64_t count) {
    uint64_t end = (uint64_t)(uintptr_t)__heap_base + count * sizeof(float);
    uint64_t pages = (end + 65535) / 65536, have = __builtin_wasm_memory_size(0);
    if (pages > 65536 || (pages > have && __builtin_wasm_memory_grow(0, (size_t)(pages - have)) == SIZE_MAX))
        fail("the vectors do not fit the function's memory");
    return (float *)__heap_base;
}

// c = a + b, on the device.
static void add(const float *a, const float *b, float *c, uint32_t n) {
    int64_t kernel = tw_load_ptx(ptx, sizeof ptx, "vector_add");
    if (kernel < 0)
        fail("the kernel could not be loaded");
    struct tw_args args;
    tw_args_reset(&args);
    tw_args_range(&args, a, n * sizeof *a);
    tw_args_range(&args, b, n * sizeof *b);
    tw_args_range(&args, c, n * sizeof *c);
    tw_args_u32(&args, n);
    if (tw_launch(kernel, tw_dim((n + BLOCK - 1) / BLOCK), tw_dim(BLOCK), 0, &args) != TW_OK)
        fail("the kernel could not be run");
}

__attribute__((export_name("vector_add"))) double vector_add(int32_t signed_n) {
    if (signed_n <= 0)
        return 0;
    uint32_t n = (uint32_t)signed_n;
    float *a = take_floats(3 * (uint64_t)n), *b = a + n, *c = b + n;
    for (uint32_t i = 0; i < n; i++) {
        a[i] = (float)(i % PERIOD);
        b[i] = (float)(2 * (i % PERIOD));
    }
    add(a, b, c, n);
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += (double)c[i];
    return sum;
}

void _start(void);
void _start(void) {
    uint32_t size = tw_input_len(), n = size / 8;
    if (size == 0 || size % 8 != 0)
        fail("the input has to be two vectors of float32 of the same length");
    float *a = take_floats(3 * (uint64_t)n), *b = a + n, *c = b + n;
    if (tw_read_all(a, size) != size)
        fail("the input could not be read");
    add(a, b, c, n);
    if (tw_emit(c, n * sizeof *c) != TW_OK)
        fail("the result could not be sent");
}
