// SPDX-License-Identifier: Apache-2.0
//
// What the host reads from the guest's memory while a kernel changes it: an entry of an iovec list, which points into
// memory or out of it. Both are fine, the second is refused; what was checked must not be read once more to be used.

#include <wasi/api.h>

#include "tensor_wasm.h"

#define EXPORT(name) __attribute__((export_name(#name))) void name(void)

enum { ENTRIES = 1024, ROUNDS = 2000 };

static const char ptx[] = ".version 7.8\n.target sm_80\n.address_size 64\n"
                          // *at is one, the other, and so on until *stop; *begun says that it runs
                          ".visible .entry flip(.param .u64 at, .param .u64 stop, .param .u64 begun, .param "
                          ".u32 one, .param .u32 bits) {\n"
                          ".reg .b32 %r<5>; .reg .b64 %d<4>; .reg .pred %p;\n"
                          "ld.param.u64 %d1, [at]; ld.param.u64 %d2, [stop]; ld.param.u64 %d3, [begun];\n"
                          "ld.param.u32 %r1, [one]; ld.param.u32 %r2, [bits];\n"
                          "mov.u32 %r3, 1; st.release.gpu.global.u32 [%d3], %r3;\n"
                          "L: st.volatile.global.u32 [%d1], %r1; xor.b32 %r1, %r1, %r2;\n"
                          "ld.acquire.gpu.global.u32 %r3, [%d2]; setp.eq.u32 %p, %r3, 0; @%p bra L; ret; }\n";

static volatile uint32_t stop, begun;

// Until stop is set *at is one or the other.
static void flip(void *at, uint32_t one, uint32_t other) {
    struct tw_args args;
    tw_args_reset(&args);
    tw_args_range(&args, at, 4);
    tw_args_range(&args, (void *)&stop, 4);
    tw_args_range(&args, (void *)&begun, 4);
    tw_args_u32(&args, one);
    tw_args_u32(&args, one ^ other);
    int64_t kernel = tw_load_ptx(ptx, sizeof ptx - 1, "flip");
    if (kernel < 0 || tw_launch_async(0, kernel, tw_dim(1), tw_dim(1), 0, &args) != TW_OK)
        __builtin_trap();
    while (!begun)
        tw_yield();
}

static void end(void) {
    stop = 1;
    if (tw_cuda_sync() != TW_OK)
        __builtin_trap();
}

static char bytes[64];
static __wasi_iovec_t reads[ENTRIES];
static __wasi_ciovec_t writes[ENTRIES];

EXPORT(write_torn) {
    __wasi_size_t done;
    for (int i = 0; i < ENTRIES; i++)
        writes[i] = (__wasi_ciovec_t){(const uint8_t *)bytes, 1};
    flip(&writes[ENTRIES - 1].buf, (uint32_t)bytes, 0xfffffff0u);
    for (int i = 0; i < ROUNDS; i++)
        (void)__wasi_fd_write(1, writes, ENTRIES, &done);
    end();
}

EXPORT(read_torn) {
    __wasi_size_t done;
    for (int i = 0; i < ENTRIES; i++)
        reads[i] = (__wasi_iovec_t){(uint8_t *)bytes, 1};
    flip(&reads[ENTRIES - 1].buf, (uint32_t)bytes, 0xfffffff0u);
    for (int i = 0; i < ROUNDS; i++)
        (void)__wasi_fd_read(0, reads, ENTRIES, &done);
    end();
}

int main(void) {
    return 0;
}
