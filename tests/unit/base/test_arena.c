// SPDX-License-Identifier: Apache-2.0
//
// Arenas: alignment, zeroing, the maximum, and what a reset keeps.

#include "harness/test.h"

static bool all_are(const uint8_t *memory, size_t size, uint8_t value) {
    for (size_t i = 0; i < size; i++) {
        if (memory[i] != value)
            return false;
    }
    return true;
}

TW_TEST("memory is zeroed, aligned and does not overlap, over many sizes") {
    struct tw_arena arena;
    tw_arena_init(&arena, 64 << 20);
    enum { COUNT = 2000 };
    static struct {
        uint8_t *memory;
        size_t size;
    } made[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        size_t align = (size_t)1 << i % 7;
        made[i].size = i * 37 % 5000;
        made[i].memory = tw_arena_alloc(&arena, made[i].size, align);
        ck_assert_ptr_nonnull(made[i].memory);
        ck_assert_uint_eq((uintptr_t)made[i].memory % align, 0);
        ck_assert(all_are(made[i].memory, made[i].size, 0));
        memset(made[i].memory, (int)(i & 0xFF), made[i].size);
    }
    for (size_t i = 0; i < COUNT; i++)
        ck_assert(all_are(made[i].memory, made[i].size, i & 0xFF));
    tw_arena_done(&arena);
}

TW_TEST("the maximum bounds what is taken from the system") {
    struct tw_arena arena;
    tw_arena_init(&arena, 100'000);
    size_t total = 0;
    while (tw_arena_alloc(&arena, 1000, 8))
        total += 1000;
    ck_assert_uint_le(arena.used, 100'000);
    ck_assert_uint_ge(total, 80'000);
    ck_assert_ptr_null(tw_arena_alloc(&arena, 200'000, 8));
    ck_assert_ptr_null(tw_arena_alloc(&arena, SIZE_MAX, 8));
    ck_assert_ptr_null(tw_arena_alloc(&arena, SIZE_MAX - 40, 64));
    ck_assert_ptr_null(tw_arena_alloc_array(&arena, SIZE_MAX / 2, 4, 4));
    tw_arena_done(&arena);
    ck_assert_ptr_nonnull(tw_arena_alloc(&arena, 1000, 8)); // done leaves a usable empty arena
    tw_arena_done(&arena);
}

TW_TEST("a reset keeps the first chunk only and gives zeroed memory again") {
    struct tw_arena arena;
    tw_arena_init(&arena, 1 << 20);
    uint8_t *first = tw_arena_alloc(&arena, 100, 1);
    memset(first, 0xAA, 100);
    size_t one_chunk = arena.used;
    for (unsigned i = 0; i < 100; i++)
        ck_assert_ptr_nonnull(tw_arena_alloc(&arena, 1000, 1));
    ck_assert_uint_gt(arena.used, one_chunk);
    tw_arena_reset(&arena);
    ck_assert_uint_eq(arena.used, one_chunk);
    uint8_t *again = tw_arena_alloc(&arena, 100, 1);
    ck_assert_ptr_eq(again, first);
    for (unsigned i = 0; i < 100; i++)
        ck_assert_uint_eq(again[i], 0);
    tw_arena_done(&arena);
    tw_arena_reset(&arena);
}

TW_TEST("an arena that was never initialised further than {} gives nothing") {
    struct tw_arena arena = {};
    ck_assert_ptr_null(tw_arena_alloc(&arena, 1, 1));
    tw_arena_done(&arena);
}

TW_TEST("texts are copied and formatted") {
    struct tw_arena arena;
    tw_arena_init(&arena, 1 << 16);
    ck_assert_str_eq(tw_arena_str(&arena, tw_str_of("abcdef", 3)), "abc");
    ck_assert_str_eq(tw_arena_str(&arena, (struct tw_str){}), "");
    ck_assert_str_eq(tw_arena_printf(&arena, "%s-%d", "x", 42), "x-42");
    int *numbers = TW_ARENA_ARRAY(&arena, int, 10);
    ck_assert_int_eq(numbers[9], 0);
    ck_assert_ptr_null(tw_arena_printf(&arena, "%70000d", 1));
    tw_arena_done(&arena);
}

TW_TEST("without memory an allocation is NULL and the arena still works") {
    struct tw_arena arena;
    tw_arena_init(&arena, 1 << 20);
    tw_fault_configure("alloc:1");
    ck_assert_ptr_null(tw_arena_alloc(&arena, 10, 1));
    tw_fault_configure(NULL);
    ck_assert_ptr_nonnull(tw_arena_alloc(&arena, 10, 1));
    tw_arena_done(&arena);
}
