// SPDX-License-Identifier: Apache-2.0
//
// Keeps a kernel and a buffer from one call to the next: open() makes them, add(n) adds n to the buffer's number
// with the kernel and answers what it is then. Errors are negative.

#include "tensor_wasm.h"

static const char ptx[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                          ".visible .entry add(.param .u64 to, .param .u32 n) {\n"
                          " .reg .b32 %r<3>; .reg .b64 %d;\n"
                          " ld.param.u64 %d, [to]; ld.param.u32 %r0, [n]; ld.global.u32 %r1, [%d];\n"
                          " add.u32 %r2, %r1, %r0; st.global.u32 [%d], %r2; ret; }\n";
static int64_t kernel, buffer, stream;

__attribute__((export_name("open"))) int open(void) {
    kernel = tw_cuda_load_ptx(ptx, sizeof ptx - 1, "add", 3);
    buffer = tw_cuda_alloc(4);
    stream = tw_cuda_stream_create();
    if (kernel < 0 || buffer < 0 || stream < 0)
        return -1;
    return tw_cuda_memset_d8(buffer, 0, 0, 4);
}

__attribute__((export_name("add"))) int add(int n) {
    struct tw_args args;
    int result;
    tw_args_reset(&args);
    tw_args_buffer(&args, buffer, 0);
    tw_args_u32(&args, (uint32_t)n);
    int status = tw_launch_async(stream, kernel, tw_dim(1), tw_dim(1), 0, &args);
    if (status == TW_OK)
        status = tw_cuda_stream_sync(stream);
    if (status == TW_OK)
        status = tw_cuda_memcpy_d2h(&result, buffer, 4);
    return status == TW_OK ? result : status;
}

int main(void) {
    return 0;
}
