// SPDX-License-Identifier: Apache-2.0
//
// Arenas, device memory and what a context's reset leaves: nothing.

#include "unit/gpu/fixture.h"

// Of the process, in this arena.
static size_t count_mappings(const struct tw_gpu_arena *arena) {
    FILE *maps = fopen("/proc/self/maps", "r");
    ck_assert_ptr_nonnull(maps);
    size_t count = 0;
    char line[512];
    while (fgets(line, sizeof(line), maps)) {
        uintptr_t from = (uintptr_t)strtoull(line, NULL, 16);
        count += from >= (uintptr_t)arena->base && from < (uintptr_t)arena->base + TW_ARENA_BYTES;
    }
    fclose(maps);
    return count;
}

TW_TEST("arenas lie apart by 8 GiB, are recycled, and end at the limit") {
    struct tw_error err = {};
    struct gpu_arenas *arenas = gpu_arenas_new(6, &err);
    tw_assert_ok(arenas, &err);
    struct tw_gpu_arena *taken[6];
    for (size_t i = 0; i < 6; i++) {
        taken[i] = gpu_arena_take(arenas, &err);
        tw_assert_ok(taken[i], &err);
        ck_assert_uint_eq((uintptr_t)taken[i]->base % (2 << 20), 0);
        for (size_t j = 0; j < i; j++) {
            uintptr_t a = (uintptr_t)taken[i]->base, b = (uintptr_t)taken[j]->base;
            ck_assert_uint_ge(a > b ? a - b : b - a, TW_ARENA_BYTES);
            ck_assert_uint_ne(taken[i]->id, taken[j]->id);
        }
    }
    ck_assert_ptr_null(gpu_arena_take(arenas, &err));
    ck_assert_int_eq(err.code, TW_ERR_CAPACITY);
    ck_assert_ptr_nonnull(strstr(err.message, "6 arenas"));
    gpu_arena_give(arenas, taken[3]);
    ck_assert_ptr_eq(gpu_arena_take(arenas, &err), taken[3]);
    gpu_arenas_free(arenas);
}

// 0 when a byte at the address can be read, else the signal.
static int probe(const uint8_t *address) {
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        _exit(*(const volatile uint8_t *)address & 0);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

TW_TEST("a given arena is closed, its bytes are gone, and what follows the last arena is never mapped") {
    struct fixture fixture;
    fixture_open(&fixture, NULL);
    uint64_t buffer;
    tw_assert_ok(tw_gpu_alloc(fixture.context, 10'000, &buffer, &fixture.err), &fixture.err);
    const struct gpu_buffer *object = gpu_handle_find(&fixture.context->buffers, buffer);
    uint8_t *bytes = fixture.arena->base + object->address;
    memset(bytes, 0x5a, 10'000);
    ck_assert_int_eq(probe(bytes), 0);
    ck_assert(fixture.arena->low_half_used);
    ck_assert_int_ne(probe(fixture.arena->base), 0);
    ck_assert_int_ne(probe(fixture.arena->base + TW_ARENA_BYTES), 0);
    ck_assert_int_ne(probe(fixture.arena->base + TW_ARENA_BYTES + TW_ARENA_LOW_GUARD - 1), 0);
    tw_gpu_context_free(fixture.context);
    tw_gpu_arena_give(fixture.gpu, fixture.arena);
    ck_assert_int_ne(probe(bytes), 0);
    fixture.context = NULL;
    fixture.arena = NULL;
    struct tw_gpu_arena *again = tw_gpu_arena_take(fixture.gpu, &fixture.err);
    ck_assert(!again->low_half_used);
    ck_assert_int_eq(mprotect(bytes - (uintptr_t)bytes % 4096, 4096, PROT_READ), 0);
    ck_assert_uint_eq(*bytes, 0);
    fixture_close(&fixture);
}

TW_TEST("allocations are zero, aligned to 256, apart, and running over an end faults") {
    struct fixture fixture;
    fixture_open(&fixture, NULL);
    static const uint64_t sizes[] = {1, 255, 256, 257, 4096, 4097, 70'000, 5 << 20};
    uint64_t previous_end = 0;
    for (size_t i = 0; i < TW_COUNT(sizes); i++) {
        uint64_t handle;
        tw_assert_ok(tw_gpu_alloc(fixture.context, sizes[i], &handle, &fixture.err), &fixture.err);
        const struct gpu_buffer *object = gpu_handle_find(&fixture.context->buffers, handle);
        uint8_t *bytes = fixture.arena->base + object->address;
        ck_assert_uint_eq(object->address % 256, 0);
        ck_assert_uint_ge(object->address, previous_end + 4096);
        for (uint64_t at = 0; at < sizes[i]; at += 97)
            ck_assert_uint_eq(bytes[at], 0);
        ck_assert_int_ne(probe(bytes + tw_align_up(sizes[i], 256)), 0);
        previous_end = object->address + sizes[i];
    }
    fixture_close(&fixture);
}

TW_TEST(
    "memory that was written and freed is zero when it is allocated again, and a round costs no mapping") {
    struct fixture fixture;
    fixture_open(&fixture, NULL);
    static const uint64_t sizes[] = {300, 9000, 200'000, 8 << 20};
    size_t mappings = 0;
    for (int round = 0; round < 6; round++) {
        uint64_t handles[TW_COUNT(sizes)];
        for (size_t i = 0; i < TW_COUNT(sizes); i++) {
            tw_assert_ok(tw_gpu_alloc(fixture.context, sizes[i], &handles[i], &fixture.err), &fixture.err);
            uint8_t *host = malloc(sizes[i]);
            tw_assert_ok(tw_gpu_read(fixture.context, handles[i], 0, host, sizes[i], &fixture.err),
                         &fixture.err);
            uint8_t any = 0;
            for (uint64_t at = 0; at < sizes[i]; at++)
                any |= host[at];
            ck_assert_uint_eq(any, 0);
            free(host);
            tw_assert_ok(tw_gpu_fill(fixture.context, handles[i], 0, 0xee, sizes[i], &fixture.err),
                         &fixture.err);
        }
        for (size_t i = 0; i < TW_COUNT(sizes) && round % 2; i++)
            tw_assert_ok(tw_gpu_buffer_free(fixture.context, handles[i], &fixture.err), &fixture.err);
        tw_assert_ok(tw_gpu_context_reset(fixture.context, &fixture.err), &fixture.err);
        ck_assert(!tw_gpu_buffer_free(fixture.context, handles[0], &fixture.err));
        if (round == 0)
            mappings = count_mappings(fixture.arena);
        else
            ck_assert_uint_eq(count_mappings(fixture.arena), mappings);
    }
    fixture_close(&fixture);
}

TW_TEST("what a kernel scattered over mapped memory is gone after a reset") {
    struct fixture fixture;
    fixture_open(&fixture, NULL);
    // Writes into its own buffer, a freed one's place, its shared window and its local window.
    static const char scatter[] =
        "KERNEL(k) { AT(u64, PARAM(u64, 0)) = 0x1111; AT(u64, PARAM(u64, 8)) = 0x2222;\n"
        "  AT(u64, f->shared + 64) = 0x3333; AT(u64, f->local + 64) = 0x4444; return 0; }";
    static const char gather[] =
        "KERNEL(k) { AT(u64, PARAM(u64, 0)) = AT(u64, PARAM(u64, 8)) | AT(u64, PARAM(u64, 16))\n"
        "  | AT(u64, f->shared + 64) | AT(u64, f->local + 64) | f->grid[0]; return 0; }";
    struct tw_kernel_info info = make_info("scatter", 0, 3);
    info.static_shared = 1024, info.local_bytes = 1024;
    uint64_t first, second, result;
    tw_assert_ok(tw_gpu_alloc(fixture.context, 100, &first, &fixture.err), &fixture.err);
    tw_assert_ok(tw_gpu_alloc(fixture.context, 5000, &second, &fixture.err), &fixture.err);
    uint64_t first_at = ((struct gpu_buffer *)gpu_handle_find(&fixture.context->buffers, first))->address;
    uint64_t second_at = ((struct gpu_buffer *)gpu_handle_find(&fixture.context->buffers, second))->address;
    tw_assert_ok(tw_gpu_buffer_free(fixture.context, second, &fixture.err), &fixture.err);
    int64_t kernel = load_info(fixture.context, scatter, &info);
    struct args args = {};
    put_u64(&args, first_at), put_u64(&args, second_at), put_u64(&args, 0);
    struct tw_gpu_launch launch = make_launch(kernel, 1, 1, &args);
    ck_assert_int_eq(tw_gpu_launch(fixture.context, &launch, NULL, &fixture.err), TW_GPU_DONE);
    ck_assert_uint_eq(fixture.arena->base[first_at], 0x11);
    ck_assert_uint_eq(fixture.arena->base[second_at], 0x22);
    tw_assert_ok(tw_gpu_context_reset(fixture.context, &fixture.err), &fixture.err);

    kernel = load_info(fixture.context, gather, &info);
    tw_assert_ok(tw_gpu_alloc(fixture.context, 8, &result, &fixture.err), &fixture.err);
    uint64_t result_at = ((struct gpu_buffer *)gpu_handle_find(&fixture.context->buffers, result))->address,
             value;
    args = (struct args){};
    put_u64(&args, result_at), put_u64(&args, first_at), put_u64(&args, second_at);
    launch = make_launch(kernel, 1, 1, &args);
    ck_assert_int_eq(tw_gpu_launch(fixture.context, &launch, NULL, &fixture.err), TW_GPU_DONE);
    tw_assert_ok(tw_gpu_read(fixture.context, result, 0, &value, 8, &fixture.err), &fixture.err);
    ck_assert_uint_eq(value, 1); // grid.x: it ran, and found zeros
    fixture_close(&fixture);
}

TW_TEST("limits on size, total, count and ranges hold, and the metrics follow") {
    struct fixture fixture;
    fixture_open(&fixture, NULL);
    tw_gpu_context_free(fixture.context);
    struct tw_gpu_limits limits = {.alloc_bytes = 1 << 20, .total_bytes = 3 << 20, .handles = 5};
    struct tw_labels labels = tw_labels_tenant(77);
    fixture.context =
        tw_gpu_context_new(tw_gpu_device_default(fixture.gpu), fixture.arena, 77, &limits, &fixture.err);
    uint64_t handles[5], over;
    ck_assert(!tw_gpu_alloc(fixture.context, 0, &over, &fixture.err));
    ck_assert(!tw_gpu_alloc(fixture.context, (1 << 20) + 1, &over, &fixture.err));
    ck_assert(!tw_gpu_alloc(fixture.context, UINT64_MAX, &over, &fixture.err));
    ck_assert_int_eq(fixture.err.code, TW_ERR_CUDA_QUOTA);
    for (int i = 0; i < 3; i++)
        tw_assert_ok(tw_gpu_alloc(fixture.context, 1 << 20, &handles[i], &fixture.err), &fixture.err);
    ck_assert_int_eq(tw_metric_get(TW_METRIC_GPU_MEMORY_TENANT, labels), 3 << 20);
    ck_assert_int_eq(tw_metric_get(TW_METRIC_GPU_MEMORY_USED, tw_labels()), 3 << 20);
    ck_assert(!tw_gpu_alloc(fixture.context, 1, &over, &fixture.err));
    tw_assert_ok(tw_gpu_buffer_free(fixture.context, handles[1], &fixture.err), &fixture.err);
    for (int i = 2; i < 5; i++)
        tw_assert_ok(tw_gpu_alloc(fixture.context, 16, &handles[i - 1], &fixture.err), &fixture.err);
    ck_assert(!tw_gpu_alloc(fixture.context, 16, &over, &fixture.err));
    ck_assert_int_eq(fixture.err.code, TW_ERR_CUDA_QUOTA);

    uint8_t byte = 0;
    ck_assert(tw_gpu_read(fixture.context, handles[1], 15, &byte, 1, &fixture.err));
    ck_assert(tw_gpu_read(fixture.context, handles[1], 16, &byte, 0, &fixture.err));
    ck_assert(!tw_gpu_read(fixture.context, handles[1], 16, &byte, 1, &fixture.err));
    ck_assert_int_eq(fixture.err.code, TW_ERR_CUDA_INVALID_POINTER);
    ck_assert(!tw_gpu_write(fixture.context, handles[1], UINT64_MAX, &byte, 2, &fixture.err));
    ck_assert(!tw_gpu_fill(fixture.context, handles[1], 1, 0, UINT64_MAX, &fixture.err));
    ck_assert(!tw_gpu_copy(fixture.context, handles[1], 0, handles[2], 8, 9, &fixture.err));
    ck_assert(tw_gpu_copy(fixture.context, handles[1], 0, handles[2], 8, 8, &fixture.err));
    tw_assert_ok(tw_gpu_context_reset(fixture.context, &fixture.err), &fixture.err);
    ck_assert_int_eq(tw_metric_get(TW_METRIC_GPU_MEMORY_TENANT, labels), 0);
    ck_assert_int_eq(tw_metric_get(TW_METRIC_GPU_MEMORY_USED, tw_labels()), 0);
    fixture_close(&fixture);
}

TW_TEST("a heap filled, thinned out and filled again never overlaps and never forgets") {
    struct fixture fixture;
    fixture_open(&fixture, NULL);
    enum { SLOTS = 200 };
    struct {
        uint64_t handle, size;
        uint8_t mark;
    } slots[SLOTS] = {};
    uint64_t seed = 99;
    for (int step = 0; step < 6000; step++) {
        seed = seed * 6'364'136'223'846'793'005ULL + 1'442'695'040'888'963'407ULL;
        size_t i = (seed >> 33) % SLOTS;
        if (slots[i].handle) {
            uint8_t ends[2];
            tw_assert_ok(tw_gpu_read(fixture.context, slots[i].handle, 0, ends, 1, &fixture.err),
                         &fixture.err);
            tw_assert_ok(
                tw_gpu_read(fixture.context, slots[i].handle, slots[i].size - 1, ends + 1, 1, &fixture.err),
                &fixture.err);
            ck_assert_uint_eq(ends[0], slots[i].mark);
            ck_assert_uint_eq(ends[1], slots[i].mark);
            tw_assert_ok(tw_gpu_buffer_free(fixture.context, slots[i].handle, &fixture.err), &fixture.err);
            slots[i].handle = 0;
            continue;
        }
        slots[i].size = (seed >> 40) % 60'000 + 1;
        slots[i].mark = (uint8_t)(step | 1);
        uint8_t middle = 1;
        tw_assert_ok(tw_gpu_alloc(fixture.context, slots[i].size, &slots[i].handle, &fixture.err),
                     &fixture.err);
        tw_assert_ok(
            tw_gpu_read(fixture.context, slots[i].handle, slots[i].size / 2, &middle, 1, &fixture.err),
            &fixture.err);
        ck_assert_uint_eq(middle, 0);
        tw_assert_ok(
            tw_gpu_fill(fixture.context, slots[i].handle, 0, slots[i].mark, slots[i].size, &fixture.err),
            &fixture.err);
    }
    fixture_close(&fixture);
}

TW_TEST("a context that was not used maps nothing, and its reset does nothing") {
    struct fixture fixture;
    fixture_open(&fixture, NULL);
    size_t mappings = count_mappings(fixture.arena);
    for (int i = 0; i < 1000; i++)
        tw_assert_ok(tw_gpu_context_reset(fixture.context, &fixture.err), &fixture.err);
    ck_assert_uint_eq(count_mappings(fixture.arena), mappings);
    ck_assert(!fixture.arena->low_half_used);
    ck_assert_ptr_null(fixture.context->device_state);
    fixture_close(&fixture);
}
