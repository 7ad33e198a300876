// SPDX-License-Identifier: Apache-2.0
//
// An arena is a list of chunks, the newest first; memory is cut from the newest. Each chunk is twice as large
// as the one before, up to CHUNK_LARGEST, so that a small arena stays small and a large one costs few system
// allocations. What does not fit the rest of the newest chunk gets a new chunk, and the rest is lost until
// reset.

#include "base/arena.h"

#include <stdarg.h>

#include "base/fault.h"

enum {
    CHUNK_FIRST = 4096,      // most requests need less
    CHUNK_LARGEST = 1 << 20, // beyond this the malloc call no longer shows
    ALIGN_MAX = 64,          // a cache line, the widest vector register
};

// Confined to its arena. The bytes follow the header.
struct tw_arena_chunk {
    struct tw_arena_chunk *older;
    size_t size; // with the header
    uint8_t bytes[];
};

void tw_arena_init(struct tw_arena *arena, size_t max) {
    *arena = (struct tw_arena){.max = max};
}

void tw_arena_done(struct tw_arena *arena) {
    for (struct tw_arena_chunk *chunk = arena->chunks, *older; chunk; chunk = older) {
        older = chunk->older;
        free(chunk);
    }
    *arena = (struct tw_arena){.max = arena->max};
}

void tw_arena_reset(struct tw_arena *arena) {
    struct tw_arena_chunk *chunk = arena->chunks;
    if (!chunk)
        return;
    while (chunk->older) {
        struct tw_arena_chunk *older = chunk->older;
        free(chunk);
        chunk = older;
    }
    arena->chunks = chunk;
    arena->next = chunk->bytes;
    arena->end = (uint8_t *)chunk + chunk->size;
    arena->used = chunk->size;
}

// Adds a chunk with room for `size` bytes at any alignment.
static bool add_chunk(struct tw_arena *arena, size_t size) {
    size_t needed;
    if (__builtin_add_overflow(size, sizeof(struct tw_arena_chunk) + ALIGN_MAX, &needed))
        return false;
    size_t left = arena->max - arena->used;
    if (needed > left)
        return false;
    size_t wanted = arena->chunks ? arena->chunks->size * 2 : CHUNK_FIRST;
    if (wanted > CHUNK_LARGEST)
        wanted = CHUNK_LARGEST;
    if (wanted < needed)
        wanted = needed;
    if (wanted > left)
        wanted = left;
    struct tw_arena_chunk *chunk = tw_alloc(wanted);
    arena->is_starved |= !chunk;
    if (!chunk)
        return false;
    chunk->older = arena->chunks;
    chunk->size = wanted;
    arena->chunks = chunk;
    arena->next = chunk->bytes;
    arena->end = (uint8_t *)chunk + wanted;
    arena->used += wanted;
    return true;
}

// The next `size` bytes of the newest chunk, or NULL when they do not fit.
static uint8_t *cut(struct tw_arena *arena, size_t size, size_t align) {
    size_t padding = -(uintptr_t)arena->next & (align - 1);
    size_t left = (size_t)(arena->end - arena->next);
    if (!arena->chunks || padding > left || size > left - padding)
        return NULL;
    uint8_t *memory = arena->next + padding;
    arena->next = memory + size;
    return memory;
}

void *tw_arena_alloc(struct tw_arena *arena, size_t size, size_t align) {
    TW_ASSERT(align && align <= ALIGN_MAX && (align & (align - 1)) == 0);
    uint8_t *memory = cut(arena, size, align);
    if (!memory && add_chunk(arena, size))
        memory = cut(arena, size, align);
    return memory ? memset(memory, 0, size) : NULL;
}

void *tw_arena_alloc_array(struct tw_arena *arena, size_t count, size_t size, size_t align) {
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? NULL : tw_arena_alloc(arena, bytes, align);
}

char *tw_arena_str(struct tw_arena *arena, struct tw_str text) {
    char *copy = text.len == SIZE_MAX ? NULL : tw_arena_alloc(arena, text.len + 1, 1);
    if (copy && text.len)
        memcpy(copy, text.data, text.len);
    return copy;
}

char *tw_arena_printf(struct tw_arena *arena, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = len < 0 ? NULL : tw_arena_alloc(arena, (size_t)len + 1, 1);
    if (text)
        vsnprintf(text, (size_t)len + 1, format, again);
    va_end(again);
    return text;
}
