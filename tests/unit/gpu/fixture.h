// SPDX-License-Identifier: Apache-2.0
//
// A CPU device with one context, and kernels written in C: each test kernel is a C function of the type
// tw_kernel_entry, compiled by clang to a relocatable object when the test runs and wrapped into an artifact.
// They do by hand what the kernel compiler makes of PTX: addresses are masked into the arena.
#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gpu/internal.h"
#include "harness/test.h"

extern char **environ;

// ThreadSanitizer keeps signals from a thread until it calls into the C library, which a kernel never does:
// under it no kernel can be stopped, and the tests of that pass over.
[[gnu::weak]] void __tsan_init(void);
[[maybe_unused]] static bool can_stop_kernels(void) {
    return __tsan_init == NULL;
}

#define KERNEL_PRELUDE                                                                                       \
    "typedef unsigned char u8; typedef unsigned int u32; typedef unsigned long u64; typedef int s32;\n"      \
    "struct frame { u8 *base; u64 mask; const u8 *params; u64 param_base, shared, local, global; u8 "        \
    "*spill;\n"                                                                                              \
    "  u32 grid[3], block[3], dynamic, worker, workers, pad; u64 grid_id, fault_site, shared_limit; };\n"    \
    "#define AT(type, offset) (*(volatile type *)(f->base + ((offset) & f->mask)))\n"                        \
    "#define PARAM(type, at) (*(const type *)(f->params + (at)))\n"                                          \
    "#define KERNEL(name) u32 name(struct frame *f, u64 first, u64 count)\n"                                 \
    "#define EACH_THREAD(b, t) for (u64 b = first; b < first + count; b++) for (u32 t = 0; t < "             \
    "f->block[0]; t++)\n"

// Bytes of a file made by clang from `source`; `extra` is one more option or NULL.
static struct tw_buf compile_object(const char *source, const char *extra) {
    char c_path[] = "/tmp/tw-kernel-XXXXXX.c", o_path[sizeof(c_path)];
    int fd = mkstemps(c_path, 2);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_gt(dprintf(fd, "%s%s", KERNEL_PRELUDE, source), 0);
    close(fd);
    memcpy(o_path, c_path, sizeof(c_path));
    o_path[sizeof(o_path) - 2] = 'o';
    const char *argv[] = {TW_TEST_CLANG, "-w", "-c",   "-O2", "-fPIC", "-fno-stack-protector",
                          c_path,        "-o", o_path, extra, NULL};
    pid_t child;
    int status;
    ck_assert_int_eq(posix_spawn(&child, TW_TEST_CLANG, NULL, NULL, (char **)(uintptr_t)argv, environ), 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    struct tw_buf object;
    struct tw_error err = {};
    tw_buf_init(&object, 1 << 20);
    tw_assert_ok(tw_file_read(o_path, &object, &err), &err);
    unlink(c_path);
    unlink(o_path);
    return object;
}

// u64 parameters, `pointers` of them pointers first.
static struct tw_kernel_info make_info(const char *name, uint32_t pointers, uint32_t scalars) {
    struct tw_kernel_info info = {.variant = {.lanes = 32, .x_multiple = 1}};
    snprintf(info.name, sizeof(info.name), "%s", name);
    for (uint32_t i = 0; i < pointers + scalars; i++)
        info.params[i] = (struct tw_kernel_param){.offset = 8 * i, .size = 8, .is_pointer = i < pointers};
    info.param_count = pointers + scalars;
    info.param_bytes = 8 * info.param_count;
    return info;
}

struct fixture {
    struct tw_gpu *gpu;
    struct tw_gpu_arena *arena;
    struct tw_gpu_context *context;
    struct tw_error err;
};

[[maybe_unused]] static void fixture_open(struct fixture *fixture, const struct tw_gpu_options *options) {
    *fixture = (struct fixture){};
    struct tw_gpu_options defaults = {.device = "cpu", .cpu_threads = 2, .max_arenas = 8};
    fixture->gpu = tw_gpu_new(options ? options : &defaults, &fixture->err);
    tw_assert_ok(fixture->gpu, &fixture->err);
    fixture->arena = tw_gpu_arena_take(fixture->gpu, &fixture->err);
    tw_assert_ok(fixture->arena, &fixture->err);
    fixture->context =
        tw_gpu_context_new(tw_gpu_device_default(fixture->gpu), fixture->arena, 7, NULL, &fixture->err);
    tw_assert_ok(fixture->context, &fixture->err);
}

[[maybe_unused]] static void fixture_close(struct fixture *fixture) {
    tw_gpu_context_free(fixture->context);
    tw_gpu_arena_give(fixture->gpu, fixture->arena);
    tw_gpu_free(fixture->gpu);
}

[[maybe_unused]] static int64_t load_info(struct tw_gpu_context *context, const char *source,
                                          const struct tw_kernel_info *info) {
    struct tw_error err = {};
    struct tw_buf object = compile_object(source, NULL), bytes;
    tw_buf_init(&bytes, 2 << 20);
    struct tw_kernel_artifact artifact = {.info = *info, .object = tw_buf_span(&object)};
    int64_t kernel = 0;
    tw_assert_ok(tw_kernel_artifact_encode(&artifact, &bytes, &err), &err);
    tw_assert_ok(gpu_load_artifact(context, tw_buf_span(&bytes), &kernel, &err), &err);
    tw_buf_done(&bytes);
    tw_buf_done(&object);
    return kernel;
}

[[maybe_unused]] static int64_t load_kernel(struct tw_gpu_context *context, const char *source,
                                            uint32_t pointers, uint32_t scalars) {
    struct tw_kernel_info info = make_info("test", pointers, scalars);
    return load_info(context, source, &info);
}

// ---- argument records ----
struct args {
    uint8_t bytes[8192];
    size_t len;
};

[[maybe_unused]] static void put(struct args *args, uint8_t tag, const void *value, size_t len) {
    args->bytes[args->len++] = tag;
    memcpy(args->bytes + args->len, value, len);
    args->len += len;
}
[[maybe_unused]] static void put_u64(struct args *args, uint64_t value) {
    put(args, 6, &value, sizeof(value));
}
[[maybe_unused]] static void put_buffer(struct args *args, uint64_t handle, uint64_t offset) {
    uint64_t pair[] = {handle, offset};
    put(args, 8, pair, sizeof(pair));
}
[[maybe_unused]] static void put_range(struct args *args, uint32_t offset, uint32_t len) {
    uint32_t pair[] = {offset, len};
    put(args, 7, pair, sizeof(pair));
}

[[maybe_unused]] static struct tw_gpu_launch make_launch(int64_t kernel, uint32_t grid, uint32_t block,
                                                         const struct args *args) {
    return (struct tw_gpu_launch){.kernel = kernel,
                                  .grid = {grid, 1, 1},
                                  .block = {block, 1, 1},
                                  .args = args ? tw_span_of(args->bytes, args->len) : (struct tw_span){},
                                  .deadline_ns = TW_NO_DEADLINE};
}

// Memory is made readable and writable as the engine does.
[[maybe_unused]] static uint8_t *open_guest_memory(const struct tw_gpu_arena *arena, size_t bytes) {
    uint8_t *memory = arena->base + TW_ARENA_MEMORY_OFFSET;
    ck_assert_int_eq(mprotect(memory, bytes, PROT_READ | PROT_WRITE), 0);
    return memory;
}
