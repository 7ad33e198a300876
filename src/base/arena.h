// SPDX-License-Identifier: Apache-2.0
//
// Memory that dies together: one arena a request, a compilation, a configuration. Allocation is a pointer
// bump; there is no free, only reset and done. Not thread-safe: an arena is confined to one thread at a time.
//
//     struct tw_arena arena;
//     tw_arena_init(&arena, 16 << 20);                      // never takes more than 16 MiB
//     struct node *n = TW_ARENA_NEW(&arena, struct node);   // zeroed; NULL when the maximum is reached
//     tw_arena_done(&arena);
#pragma once

#include "base/str.h"

struct tw_arena_chunk;

// Confined.
struct tw_arena {
    struct tw_arena_chunk *chunks;
    uint8_t *next, *end;
    size_t used; // bytes taken from the system
    size_t max;
    bool is_starved; // memory was short once when it had to grow, rather than the maximum reached
};

void tw_arena_init(struct tw_arena *arena, size_t max);
void tw_arena_done(struct tw_arena *arena);
void tw_arena_reset(struct tw_arena *arena); // frees all but the first chunk
// Zeroed memory; `align` is a power of two ≤ 64. NULL when the maximum or the memory is exhausted.
[[nodiscard]] void *tw_arena_alloc(struct tw_arena *arena, size_t size, size_t align);
[[nodiscard]] void *tw_arena_alloc_array(struct tw_arena *arena, size_t count, size_t size, size_t align);
#define TW_ARENA_NEW(arena, type) ((type *)tw_arena_alloc((arena), sizeof(type), _Alignof(type)))
#define TW_ARENA_ARRAY(arena, type, count)                                                                   \
    ((type *)tw_arena_alloc_array((arena), (count), sizeof(type), _Alignof(type)))
// A copy that ends in NUL.
[[nodiscard]] char *tw_arena_str(struct tw_arena *arena, struct tw_str text);
[[nodiscard]] [[gnu::format(printf, 2, 3)]] char *tw_arena_printf(struct tw_arena *arena, const char *format,
                                                                  ...);
