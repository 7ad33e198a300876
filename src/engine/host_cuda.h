// SPDX-License-Identifier: Apache-2.0
//
// What the two halves of wasi_cuda share: kernels and streams (host_cuda.c), device memory (host_cuda_memory.c).
#pragma once

#include "engine/internal.h"

// Keeps the error's text for last_error_copy; its code of the guest ABI.
int engine_cuda_fail(struct engine_instance *instance, const struct tw_error *error);
// 0, or what engine_cuda_fail says; no trap.
wasm_trap_t *engine_cuda_answer32(struct engine_instance *instance, wasmtime_val_raw_t *args, bool ok,
                                  const struct tw_error *error);
wasm_trap_t *engine_cuda_answer64(struct engine_instance *instance, wasmtime_val_raw_t *args, bool ok,
                                  int64_t value, const struct tw_error *error);
// The instance's device context, made at first use. NULL: CUDA_NOT_AVAILABLE and others.
struct tw_gpu_context *engine_cuda_context(struct engine_instance *instance, struct tw_error *err);
// A range of the guest's memory, or CUDA_INVALID_POINTER.
uint8_t *engine_cuda_range(const struct engine_instance *instance, const wasmtime_val_raw_t *ptr,
                           uint64_t len, const char *what, struct tw_error *err);
// What kernels printed goes where the guest's own standard error goes.
void engine_cuda_take_prints(struct engine_instance *instance);
// The call's waiter, which wakes it: `finish` then puts the result.
struct tw_gpu_waiter *engine_cuda_arm(struct engine_call *call,
                                      void (*finish)(struct engine_call *, wasmtime_val_raw_t *));
