// SPDX-License-Identifier: Apache-2.0
//
// Launches one kernel many times with addresses that lead to the edges of what is this instance's, and out of
// it. The input is a table and the PTX:
//
//     input := count:u32 { operation:u32 address:u64 threads:u32 from_end:u32 }count ptx
//
// Where `from_end` is 1 the address counts from the end of the linear memory, which lies at 4 GiB in the
// arena. The answer is the memory's size and, for each record, the launch's code and what the first thread
// read.

#include <stdio.h>
#include <string.h>

#include "tensor_wasm.h"

struct record {
    uint32_t operation, address_low, address_high, threads, from_end;
};

static uint8_t input[1 << 20];
static uint32_t out[32 * 4];

__attribute__((export_name("run"))) void run(void) {
    size_t len = tw_read_all(input, sizeof input);
    uint32_t count;
    char line[64];
    memcpy(&count, input, 4);
    size_t text = 4 + count * sizeof(struct record);
    uint64_t size = (uint64_t)__builtin_wasm_memory_size(0) * 65536;
    int64_t kernel = tw_load_ptx(input + text, len - text, "k");
    tw_emit(line, (size_t)snprintf(line, sizeof line, "%llu %lld\n", size, kernel < 0 ? kernel : 0));
    for (uint32_t i = 0; i < count; i++) {
        struct record record;
        struct tw_args args;
        memcpy(&record, input + 4 + i * sizeof record, sizeof record);
        uint64_t address = record.address_low | (uint64_t)record.address_high << 32;
        if (record.from_end)
            address += (4ULL << 30) + size;
        memset(out, 0, sizeof out);
        tw_args_reset(&args);
        tw_args_u32(&args, record.operation);
        tw_args_u32(&args, (uint32_t)address);
        tw_args_u32(&args, (uint32_t)(address >> 32));
        tw_args_range(&args, out, sizeof out);
        int code = tw_launch(kernel, tw_dim(1), tw_dim(record.threads), 0, &args);
        tw_emit(line, (size_t)snprintf(line, sizeof line, "%d %u\n", code, out[0]));
    }
}

int main(void) {
    return 0;
}
