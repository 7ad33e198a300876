// SPDX-License-Identifier: Apache-2.0
//
// Puts a memory back to its image between two calls. The kernel tells which pages were written (PAGEMAP_SCAN,
// Linux 6.7): a written page of a private mapping is an anonymous one, in memory or swapped out, while pages
// that were only read still are the file's or the zero page. Those few are copied back; they stay the
// instance's own, so the next reset finds them again, which is why a scan that finds many gives them back to
// the kernel instead. Older kernels: all are given back.
//
// A scan costs more than all the rest of a short call. It is left out where it could find nothing new: a page becomes
// the instance's own by a page fault, and the kernel counts those of each thread. So when all of the guest ran on one
// thread, the thread of the last reset, with no page fault of that thread since, then the pages that were found last
// are all there are.

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/internal.h"

// Of <linux/fs.h> as of 6.7; older headers lack them.
struct scan_range {
    uint64_t start, end, categories;
};
struct scan_request {
    uint64_t size, flags, start, end, walk_end, ranges, range_count, max_pages;
    uint64_t inverted, all_of, any_of, report;
};
enum { SCAN_FILE = 1 << 2, SCAN_PRESENT = 1 << 3, SCAN_SWAPPED = 1 << 4, SCAN_ZERO_PAGE = 1 << 5 };
#define SCAN_IOCTL _IOWR('f', 16, struct scan_request)

enum { PAGE = 4096 };

// How many ranges of written pages lie in [start, end), at most range_count with max_pages pages; -1: cannot
// tell. *ret_walked is where it stopped looking.
static int scan(int pagemap, const uint8_t *start, const uint8_t *end, struct scan_range *ranges,
                size_t range_count, uint64_t max_pages, const uint8_t **ret_walked) {
    struct scan_request request = {
        .size = sizeof(request),
        .start = (uintptr_t)start,
        .end = (uintptr_t)end,
        .ranges = (uintptr_t)ranges,
        .range_count = range_count,
        .max_pages = max_pages,
        .inverted = SCAN_FILE | SCAN_ZERO_PAGE,
        .all_of = SCAN_FILE | SCAN_ZERO_PAGE,
        .any_of = SCAN_PRESENT | SCAN_SWAPPED,
        .report = SCAN_PRESENT,
    };
    int found = ioctl(pagemap, SCAN_IOCTL, &request);
    *ret_walked = start + (request.walk_end - request.start);
    return found;
}

// Page faults of this thread so far.
static uint64_t count_faults(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_THREAD, &usage) != 0)
        return UINT64_MAX;
    return (uint64_t)usage.ru_minflt + (uint64_t)usage.ru_majflt;
}

void engine_resetter_init(struct engine_resetter *resetter, enum tw_reset method) {
    resetter->pagemap = -1;
    if (method == TW_RESET_MADVISE)
        return;
    // Seen to work before it is relied on: a written page must be found and a page that was only read must
    // not.
    resetter->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (resetter->pagemap < 0)
        return;
    volatile uint8_t *pages =
        mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool works = false;
    if (pages != MAP_FAILED) {
        uint8_t *first = (uint8_t *)(uintptr_t)pages;
        madvise(first, 3 * PAGE, MADV_NOHUGEPAGE);
        uint64_t faults = count_faults();
        pages[PAGE] = 1;
        resetter->counts_faults = count_faults() > faults;
        (void)pages[2 * PAGE];
        struct scan_range ranges[4];
        const uint8_t *walked;
        works = scan(resetter->pagemap, first, first + 3 * PAGE, ranges, TW_COUNT(ranges), 0, &walked) == 1 &&
                ranges[0].start == (uintptr_t)first + PAGE && ranges[0].end == (uintptr_t)first + 2 * PAGE;
        munmap(first, 3 * PAGE);
    }
    if (!works)
        engine_resetter_done(resetter);
}

void engine_resetter_done(struct engine_resetter *resetter) {
    if (resetter->pagemap >= 0)
        close(resetter->pagemap);
    resetter->pagemap = -1;
}

static void copy_back(const struct engine_region *region, uint64_t from, uint64_t to) {
    uint64_t in_image =
        from < region->image_bytes ? (to < region->image_bytes ? to : region->image_bytes) : from;
    if (from < in_image)
        memcpy(region->base + from, region->image + from, in_image - from);
    if (in_image < to)
        memset(region->base + in_image, 0, to - in_image);
}

// ---- is there anything new? ----

// A number for this thread that no other has, nor will have.
static uint64_t own_thread(void) {
    static struct tw_counter count;
    static _Thread_local uint64_t own;
    if (!own)
        own = (uint64_t)tw_counter_add(&count, 1) + 1;
    return own;
}

void engine_reset_watch(struct engine_instance *instance) {
    if (instance->fault_thread != own_thread())
        instance->fault_thread = 0;
}

// Kernels write from threads of their own.
static bool has_no_new_pages(const struct engine_instance *instance) {
    const struct engine_resetter *resetter = &instance->engine->resetter;
    if (resetter->pagemap < 0 || !resetter->counts_faults || instance->gpu ||
        instance->fault_thread != own_thread())
        return false;
    for (uint32_t i = 0; i < instance->region_count; i++) {
        if (!instance->regions[i].is_known)
            return false;
    }
    return count_faults() == instance->faults;
}

// ---- putting back ----

static void note(struct engine_region *region, uint64_t from, uint64_t to) {
    if (region->known_count == ENGINE_RESET_KNOWN)
        region->is_known = false;
    else
        region->known[region->known_count++] = (struct engine_pages){from, to};
}

static bool scan_and_restore(const struct engine_resetter *resetter, struct engine_region *region) {
    const uint8_t *at = region->base, *end = region->base + region->size;
    uint64_t left = ENGINE_RESET_PAGES_MAX;
    region->is_known = true;
    region->known_count = 0;
    while (resetter->pagemap >= 0 && at < end && left > 0) {
        struct scan_range ranges[ENGINE_RESET_RANGES];
        int found = scan(resetter->pagemap, at, end, ranges, TW_COUNT(ranges), left, &at);
        if (found < 0 || tw_fault_strikes(TW_FAULT_RESET))
            return false;
        for (int i = 0; i < found; i++) {
            uint64_t from = ranges[i].start - (uintptr_t)region->base,
                     to = ranges[i].end - (uintptr_t)region->base;
            copy_back(region, from, to);
            note(region, from, to);
            left -= (to - from) / PAGE;
        }
    }
    if (at == end)
        return true;
    region->is_known = false;
    return !tw_fault_strikes(TW_FAULT_RESET) &&
           madvise(region->base + (at - region->base), (size_t)(end - at), MADV_DONTNEED) == 0;
}

static bool restore_known(const struct engine_region *region) {
    for (uint32_t i = 0; i < region->known_count; i++)
        copy_back(region, region->known[i].from, region->known[i].to);
    return !tw_fault_strikes(TW_FAULT_RESET);
}

bool engine_regions_restore(struct engine_instance *instance) {
    if (instance->region_count == 0)
        return true; // without memory there is nothing to look at
    bool known = has_no_new_pages(instance), ok = true;
    for (uint32_t i = 0; ok && i < instance->region_count; i++) {
        struct engine_region *region = &instance->regions[i];
        ok = known ? restore_known(region) : scan_and_restore(&instance->engine->resetter, region);
    }
    if (!known) {
        instance->fault_thread = own_thread();
        instance->faults = count_faults();
    }
    return ok;
}
