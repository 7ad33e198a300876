// SPDX-License-Identifier: Apache-2.0
//
// Arenas: 8 GiB of address space each, cut from large reservations so that they lie side by side:
//
//     | arena 0: 64 MiB no device maps, … | arena 1: 64 MiB no device maps, … | … | 64 MiB guard | poll pages |
//
// An access that is masked into an arena and runs over its end by a vector's width lands in the next one's
// lowest part, where nothing is mapped. Reservations have no access, so the kernel keeps one mapping for all that lies
// idle. Given arenas wait in a list and are taken again, last in, first out (their page tables are warm).

#include "gpu/internal.h"

#include <sys/mman.h>

// Huge pages need it, and it costs nothing.
#define ARENA_ALIGN (2ULL << 20)

struct slot {
    struct tw_gpu_arena arena; // first: a slot is found from its arena
    struct slot *next_free;
};

struct reservation {
    struct reservation *next;
    void *mapping;
    size_t bytes;
    struct slot slots[];
};

// Guarded by `lock`.
struct gpu_arenas {
    struct tw_lock lock;
    struct reservation *reservations;
    struct slot *first_free;
    uint32_t count, max; // arenas made
    uint32_t next_batch;
};

struct gpu_arenas *gpu_arenas_new(uint32_t max, struct tw_error *err) {
    struct gpu_arenas *arenas = tw_alloc_zero(1, sizeof(*arenas));
    if (!arenas) {
        tw_fail(err, TW_ERR_CAPACITY, "no memory for the table of arenas");
        return NULL;
    }
    tw_lock_init(&arenas->lock);
    arenas->max = max ? max : GPU_ARENAS_DEFAULT;
    arenas->next_batch = GPU_RESERVATION_ARENAS_MIN;
    return arenas;
}

void gpu_arenas_free(struct gpu_arenas *arenas) {
    if (!arenas)
        return;
    while (arenas->reservations) {
        struct reservation *reservation = arenas->reservations;
        arenas->reservations = reservation->next;
        munmap(reservation->mapping, reservation->bytes);
        free(reservation);
    }
    tw_lock_done(&arenas->lock);
    free(arenas);
}

static bool reserve_locked(struct gpu_arenas *arenas, uint32_t count) {
    struct reservation *reservation =
        tw_alloc_zero(1, sizeof(*reservation) + count * sizeof(reservation->slots[0]));
    if (!reservation)
        return false;
    size_t polls = count * TW_ARENA_POLL_BYTES;
    reservation->bytes = count * TW_ARENA_BYTES + TW_ARENA_LOW_GUARD + polls + ARENA_ALIGN;
    reservation->mapping =
        mmap(NULL, reservation->bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reservation->mapping == MAP_FAILED) {
        free(reservation);
        return false;
    }
    uint8_t *base = reservation->mapping;
    base += tw_align_up((uintptr_t)base, ARENA_ALIGN) - (uintptr_t)base;
    uint8_t *poll = base + count * TW_ARENA_BYTES + TW_ARENA_LOW_GUARD;
    if (mprotect(poll, polls, PROT_READ) != 0) {
        munmap(reservation->mapping, reservation->bytes);
        free(reservation);
        return false;
    }
    for (uint32_t i = count; i > 0; i--) {
        struct slot *slot = &reservation->slots[i - 1];
        slot->arena = (struct tw_gpu_arena){.base = base + (i - 1) * TW_ARENA_BYTES,
                                            .poll = poll + (i - 1) * TW_ARENA_POLL_BYTES,
                                            .id = arenas->count + i - 1};
        slot->next_free = arenas->first_free;
        arenas->first_free = slot;
    }
    arenas->count += count;
    reservation->next = arenas->reservations;
    arenas->reservations = reservation;
    return true;
}

// Where the address space is short (a limit, a sanitizer), smaller reservations may still be had.
static bool grow_locked(struct gpu_arenas *arenas) {
    uint32_t left = arenas->max - arenas->count;
    uint32_t count = arenas->next_batch < left ? arenas->next_batch : left;
    for (; count > 0; count /= 2) {
        if (reserve_locked(arenas, count)) {
            if (arenas->next_batch < GPU_RESERVATION_ARENAS_MAX)
                arenas->next_batch *= 2;
            return true;
        }
    }
    return false;
}

struct tw_gpu_arena *gpu_arena_take(struct gpu_arenas *arenas, struct tw_error *err) {
    TW_LOCK_SCOPE(&arenas->lock);
    if (!arenas->first_free && arenas->count >= arenas->max) {
        tw_fail(err, TW_ERR_CAPACITY, "all %" PRIu32 " arenas are taken; raise the limit on instances",
                arenas->max);
        return NULL;
    }
    if (!arenas->first_free && !grow_locked(arenas)) {
        tw_fail(err, TW_ERR_CAPACITY,
                "no address space for another arena of 8 GiB beside %" PRIu32
                "; lower the limit on instances or raise `ulimit -v`",
                arenas->count);
        return NULL;
    }
    struct slot *slot = arenas->first_free;
    arenas->first_free = slot->next_free;
    slot->next_free = NULL;
    return &slot->arena;
}

// Closes the device's part and drops its pages. Mapping anew merges what the device had cut into pieces.
static bool close_low_half(const struct tw_gpu_arena *arena) {
    uint8_t *low = arena->base + TW_ARENA_HEAP_OFFSET;
    size_t bytes = TW_ARENA_MEMORY_OFFSET - TW_ARENA_HEAP_OFFSET;
    return mmap(low, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) !=
           MAP_FAILED;
}

void gpu_arena_give(struct gpu_arenas *arenas, struct tw_gpu_arena *arena) {
    if (!arena)
        return;
    struct slot *slot = (struct slot *)arena;
    // An arena that cannot be closed is never used again: its address space is lost, its bytes are not shown
    // to anyone.
    if (arena->low_half_used && !close_low_half(arena))
        return;
    arena->low_half_used = false;
    TW_LOCK_SCOPE(&arenas->lock);
    slot->next_free = arenas->first_free;
    arenas->first_free = slot;
}
