// SPDX-License-Identifier: Apache-2.0
//
// What a kind of device must offer: one table of hooks. `cpu` is the reference; whoever adds a kind
// implements all of them with the same results, or fails with CUDA_NOT_AVAILABLE and says what the hardware
// cannot do.
//
// An address is a device's own 64-bit number for a place in a context's memory: what kernels see as a
// pointer. Every hook gets checked arguments: sizes, ranges and handles were looked at before.
#pragma once

#include "gpu/gpu.h"

struct gpu_job;

enum gpu_start {
    GPU_START_AWAY,  // on the device's threads
    GPU_START_SMALL, // on this thread if it is short
    GPU_START_HELP   // this thread waits for the end anyway and takes part
};

struct gpu_device_hooks {
    const char *kind;

    // Opens it: `device->state` is the kind's own. Close stops its threads; no context is left.
    bool (*open)(struct tw_gpu_device *device, const struct tw_gpu_options *options, struct tw_error *err);
    void (*close)(struct tw_gpu_device *device);
    // Adds members to the open object: name, cores, lanes, memory …
    void (*describe)(const struct tw_gpu_device *device, struct tw_json_writer *json);
    bool (*healthy)(const struct tw_gpu_device *device);

    // `context->device_state` is the kind's own; made at first use, freed when it is not NULL.
    bool (*context_open)(struct tw_gpu_context *context, struct tw_error *err);
    void (*context_close)(struct tw_gpu_context *context);
    // Everything freed and zero; no job is running.
    bool (*context_reset)(struct tw_gpu_context *context, struct tw_error *err);

    // Zero-filled memory, aligned to 256 bytes. `size` > 0.
    bool (*alloc)(struct tw_gpu_context *context, uint64_t size, uint64_t *ret_address, struct tw_error *err);
    void (*free)(struct tw_gpu_context *context, uint64_t address, uint64_t size);
    bool (*write)(struct tw_gpu_context *context, uint64_t address, const void *host, uint64_t len,
                  struct tw_error *err);
    bool (*read)(struct tw_gpu_context *context, uint64_t address, void *host, uint64_t len,
                 struct tw_error *err);
    bool (*copy)(struct tw_gpu_context *context, uint64_t dst, uint64_t src, uint64_t len,
                 struct tw_error *err);
    bool (*fill)(struct tw_gpu_context *context, uint64_t address, uint8_t value, uint64_t len,
                 struct tw_error *err);

    // Gets the context and the job ready (windows mapped, sizes within the device's), on the launching
    // thread.
    bool (*prepare)(struct tw_gpu_context *context, struct gpu_job *job, struct tw_error *err);
    // Runs a job that holds its permit; gpu_job_end follows once, on any thread. True: it was on this one.
    bool (*start)(struct gpu_job *job, enum gpu_start how);
    // Called by the watcher every few milliseconds while anything runs: looks after jobs that wait too long.
    // True: some do.
    bool (*tick)(struct tw_gpu_device *device, int64_t now_ns);
};
