// SPDX-License-Identifier: Apache-2.0
//
// Device memory: whole pages of the arena's lower half, first fit, at least 64 KiB of unmapped space between
// any two allocations. An allocation ends where its last page ends (to 256 bytes), so that running over its
// end faults.
//
// Memory is zero when it is given out. Freed pages are zeroed at once and stay mapped, to be given out again
// for the same number of pages without a call to the kernel's memory management: a guest that does the same
// every time settles into no mmap and no mprotect at all. When the place runs short they are closed and
// joined.
//
// Every allocation costs up to two of the process's mappings, of which there are few (vm.max_map_count): half
// of them are for heaps, and when half of those are gone, contexts that have many allocations get no more.

#include "gpu/cpu/internal.h"

#include <sys/mman.h>

enum {
    CACHED_MAX = 64, // extents kept mapped, a heap
    HEAP_EXTENTS_MAX = 1 << 20,
    FAIR_EXTENTS = 32, // what every heap may have while there are mappings at all
    MAP_COUNT_DEFAULT = 65'530,
};
// Below this, writing zeros beats giving pages back and faulting them in again.
#define ZERO_BY_HAND_BYTES (64ULL << 10)
// From here on huge pages pay: a fault for every 2 MiB instead of 512.
#define HUGE_BYTES      (2ULL << 20)
#define HUGE_FROM_BYTES (4ULL << 20)

// Extents of all heaps of the process.
static struct tw_counter extents_mapped;

static int64_t extents_allowed(void) {
    static struct tw_counter known; // read once; the same whoever reads it
    int64_t count = tw_counter_get(&known);
    if (count)
        return count;
    char path[] = "/proc/sys/vm/max_map_count";
    struct tw_buf text;
    tw_buf_init(&text, 64);
    uint64_t maps = MAP_COUNT_DEFAULT;
    if (tw_file_read(path, &text, NULL)) {
        struct tw_str all = tw_buf_str(&text);
        if (!tw_str_u64(tw_str_cut(&all, '\n'), &maps) || maps > INT32_MAX)
            maps = MAP_COUNT_DEFAULT;
    }
    tw_buf_done(&text);
    count = (int64_t)maps / 4 + 1;
    tw_counter_set(&known, count);
    return count;
}

void cpu_heap_init(struct cpu_heap *heap, uint8_t *arena_base, uint64_t begin, uint64_t end) {
    *heap = (struct cpu_heap){.base = arena_base, .begin = begin, .end = end};
}

void cpu_heap_done(struct cpu_heap *heap) {
    tw_counter_add(&extents_mapped, -(int64_t)heap->count);
    free(heap->extents);
    *heap = (struct cpu_heap){};
}

static void zero(const struct cpu_heap *heap, const struct cpu_extent *extent) {
    uint8_t *pages = heap->base + extent->offset;
    if (extent->bytes <= ZERO_BY_HAND_BYTES || madvise(pages, extent->bytes, MADV_DONTNEED) != 0)
        memset(pages, 0, extent->bytes);
}

static void remove_at(struct cpu_heap *heap, size_t index) {
    heap->cached -= !heap->extents[index].live;
    memmove(&heap->extents[index], &heap->extents[index + 1],
            (heap->count - index - 1) * sizeof(heap->extents[0]));
    heap->count--;
    tw_counter_add(&extents_mapped, -1);
}

// Makes an extent inaccessible and drops its pages. Mapping anew joins it with the closed space around.
static bool close_extent(const struct cpu_heap *heap, const struct cpu_extent *extent) {
    return mmap(heap->base + extent->offset, extent->bytes, PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED;
}

// False when there was none to close.
static bool drop_cached(struct cpu_heap *heap) {
    size_t before = heap->count;
    for (size_t i = heap->count; i > 0; i--) {
        if (!heap->extents[i - 1].live && close_extent(heap, &heap->extents[i - 1]))
            remove_at(heap, i - 1);
    }
    return heap->count < before;
}

static struct cpu_extent *find_cached(struct cpu_heap *heap, uint64_t bytes) {
    for (size_t i = 0; heap->cached > 0 && i < heap->count; i++) {
        if (!heap->extents[i].live && heap->extents[i].bytes == bytes)
            return &heap->extents[i];
    }
    return NULL;
}

// The first hole that holds it with a gap on both sides; where to insert it in the list.
static bool find_hole(const struct cpu_heap *heap, uint64_t bytes, uint64_t *ret_offset, size_t *ret_index) {
    uint64_t align = bytes >= HUGE_FROM_BYTES ? HUGE_BYTES : CPU_PAGE_BYTES;
    uint64_t from = heap->begin;
    for (size_t i = 0; i <= heap->count; i++) {
        uint64_t to = i < heap->count ? heap->extents[i].offset : heap->end;
        uint64_t offset = tw_align_up(from + CPU_GAP_BYTES, align);
        if (offset < to && bytes + CPU_GAP_BYTES <= to - offset) {
            *ret_offset = offset;
            *ret_index = i;
            return true;
        }
        if (i < heap->count)
            from = heap->extents[i].offset + heap->extents[i].bytes;
    }
    return false;
}

static bool fail_mappings(struct tw_error *err) {
    return tw_fail(
        err, TW_ERR_CUDA_QUOTA,
        "the process has too many separate device allocations; free some, allocate fewer and larger ones, "
        "or raise vm.max_map_count");
}

static bool count_extent(const struct cpu_heap *heap, struct tw_error *err) {
    int64_t allowed = extents_allowed();
    int64_t mine = heap->count < FAIR_EXTENTS ? allowed : allowed / 2;
    if (tw_counter_add_below(&extents_mapped, 1, mine))
        return true;
    return fail_mappings(err);
}

static bool insert(struct cpu_heap *heap, size_t index, const struct cpu_extent *extent) {
    if (!tw_vec_grow(&heap->extents, &heap->capacity, heap->count, sizeof(heap->extents[0]),
                     HEAP_EXTENTS_MAX))
        return false;
    memmove(&heap->extents[index + 1], &heap->extents[index],
            (heap->count - index) * sizeof(heap->extents[0]));
    heap->extents[index] = *extent;
    heap->count++;
    return true;
}

static bool map_new(struct cpu_heap *heap, uint64_t bytes, uint64_t *ret_offset, struct tw_error *err) {
    struct cpu_extent extent = {.bytes = bytes, .live = true};
    size_t index;
    if (!find_hole(heap, bytes, &extent.offset, &index) &&
        !(drop_cached(heap) && find_hole(heap, bytes, &extent.offset, &index)))
        return tw_fail(err, TW_ERR_CUDA_QUOTA,
                       "no %" PRIu64 " bytes in a row are left in the device's memory; free something",
                       bytes);
    if (!count_extent(heap, err))
        return false;
    uint8_t *pages = heap->base + extent.offset;
    bool ok = mprotect(pages, bytes, PROT_READ | PROT_WRITE) == 0;
    if (ok && bytes >= HUGE_FROM_BYTES)
        madvise(pages, bytes, MADV_HUGEPAGE); // a wish; without it pages are small
    if (!ok || !insert(heap, index, &extent)) {
        if (ok && !close_extent(heap, &extent))
            return tw_fail(err, TW_ERR_INTERNAL, "device memory could not be closed again");
        tw_counter_add(&extents_mapped, -1);
        return ok ? tw_fail(err, TW_ERR_CAPACITY, "no memory for the list of device allocations")
                  : fail_mappings(err);
    }
    *ret_offset = extent.offset;
    return true;
}

bool cpu_heap_alloc(struct cpu_heap *heap, uint64_t size, uint64_t *ret_offset, struct tw_error *err) {
    uint64_t bytes = tw_align_up(size, CPU_PAGE_BYTES);
    uint64_t offset = 0;
    struct cpu_extent *cached = find_cached(heap, bytes);
    if (cached) {
        cached->live = true;
        heap->cached--;
        offset = cached->offset;
    } else if (!map_new(heap, bytes, &offset, err)) {
        return false;
    }
    *ret_offset = offset + bytes - tw_align_up(size, 256);
    return true;
}

static struct cpu_extent *find_live(struct cpu_heap *heap, uint64_t offset) {
    for (size_t i = 0; i < heap->count; i++) {
        struct cpu_extent *extent = &heap->extents[i];
        if (extent->live && offset >= extent->offset && offset - extent->offset < extent->bytes)
            return extent;
    }
    return NULL;
}

void cpu_heap_free(struct cpu_heap *heap, uint64_t offset) {
    struct cpu_extent *extent = find_live(heap, offset);
    TW_ASSERT(extent != NULL);
    if (heap->cached >= CACHED_MAX && close_extent(heap, extent)) {
        remove_at(heap, (size_t)(extent - heap->extents));
        return;
    }
    zero(heap, extent);
    extent->live = false;
    heap->cached++;
}

// A kernel may have written into anything that is mapped, by mistake or not: so cached extents are zeroed as
// well.
void cpu_heap_reset(struct cpu_heap *heap) {
    for (size_t i = heap->count; i > 0; i--) {
        struct cpu_extent *extent = &heap->extents[i - 1];
        if (extent->live && heap->cached >= CACHED_MAX && close_extent(heap, extent)) {
            remove_at(heap, i - 1);
            continue;
        }
        zero(heap, extent);
        heap->cached += extent->live;
        extent->live = false;
    }
}
