// SPDX-License-Identifier: Apache-2.0
//
// Linear memories on address space that is ours. While an instance is being made on a thread, Wasmtime asks
// for its memories in order, here:
//
//     the guest ABI's memory      the upper half of the instance's arena
//     the poll page (the last)    the arena's, one Wasm page, readable
//     further memories            a reservation of their own: 4 GiB and a guard
//     the collector's heap        the same, with nobody to reset it: instances that make objects serve once
//
// A memory begins as the module's image: the file mapped private (pages that are only read cost nothing),
// then zeros. Growing is mprotect; memories never move. Where the collector's heap grows by much, its pages
// come at once, in steps between which the guest can be paused and stopped: else they would come one by one
// within the one instruction that writes a new object, which cannot.

#include <errno.h>
#include <sys/mman.h>

#include "engine/internal.h"

static _Thread_local struct engine_instance *creating;

void engine_memory_creating(struct engine_instance *instance) {
    creating = instance;
}

bool engine_poll_page(const struct engine_instance *instance, bool open) {
    // A slot of Wasmtime's pool is to be what it was.
    int access = !open ? PROT_NONE : instance->is_pooled ? PROT_READ | PROT_WRITE : PROT_READ;
    return mprotect(instance->poll, ENGINE_WASM_PAGE, access) == 0;
}

// ---- a memory of a guest ----

static uint8_t *get_region(void *env, size_t *ret_size, size_t *ret_capacity) {
    const struct engine_region *region = env;
    *ret_size = region->size;
    *ret_capacity = ENGINE_MEMORY_RESERVATION;
    return region->base;
}

// What an instance's other memories have taken of its limit.
static uint64_t taken_beside(const struct engine_region *region) {
    const struct engine_instance *instance = region->instance;
    uint64_t sum = 0;
    for (uint32_t i = 0; instance && i < instance->regions_made; i++)
        sum += &instance->regions[i] == region ? 0 : instance->regions[i].size;
    if (instance && instance->heap && instance->heap != region)
        sum += instance->heap->size;
    return sum;
}

bool engine_region_count(struct engine_region *region, uint64_t bytes) {
    if (!region->instance || bytes == region->counted)
        return true;
    struct tw_account *account = region->instance->account;
    if (bytes < region->counted)
        tw_account_give(account, TW_RESOURCE_CPU_MEMORY, region->counted - bytes);
    else if (!tw_account_take(account, TW_RESOURCE_CPU_MEMORY, bytes - region->counted, NULL))
        return false;
    tw_metric_add(TW_METRIC_CPU_MEMORY_TENANT, tw_labels_tenant(region->instance->tenant),
                  (int64_t)(bytes - region->counted));
    region->counted = bytes;
    return true;
}

uint64_t engine_instance_memory(const struct engine_instance *instance) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < instance->regions_made; i++)
        sum += instance->regions[i].size;
    return sum + (instance->heap ? instance->heap->size : 0);
}

static wasmtime_error_t *grow_region(void *env, size_t new_size) {
    struct engine_region *region = env;
    if (new_size + taken_beside(region) > region->limit) {
        region->denied = ENGINE_DENIED_BY_FUNCTION;
        return wasmtime_error_new("the memory limit is reached");
    }
    if (!engine_region_count(region, new_size)) {
        region->denied = ENGINE_DENIED_BY_TENANT;
        return wasmtime_error_new("the tenant's memory limit is reached");
    }
    if (new_size > region->size &&
        mprotect(region->base + region->size, new_size - region->size, PROT_READ | PROT_WRITE) != 0) {
        (void)engine_region_count(region, region->size); // giving back is never refused
        return wasmtime_error_new("no memory to grow into");
    }
    region->size = new_size;
    return NULL;
}

// Wasmtime drops its memories before engine_memories_done lets go of the address space.
static void forget_region(void *env) {
    (void)env;
}

static uint8_t *reserve_anywhere(void) {
    uint8_t *base = mmap(NULL, ENGINE_MEMORY_RESERVATION + ENGINE_MEMORY_GUARD, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return base == MAP_FAILED ? NULL : base;
}

// Wasmtime takes the poll page for a memory of 4 GiB too, and aborts when a fault may belong to two.
static bool is_near_poll_page(const struct tw_gpu_arena *arena, const uint8_t *base) {
    uint64_t span = ENGINE_MEMORY_RESERVATION + ENGINE_MEMORY_GUARD;
    uintptr_t poll = (uintptr_t)arena->poll, at = (uintptr_t)base;
    return at < poll + span && poll < at + span;
}

// A reservation apart from the arena's poll page; `arena` may be NULL.
static bool reserve(struct engine_region *region, const struct tw_gpu_arena *arena) {
    size_t bytes = ENGINE_MEMORY_RESERVATION + ENGINE_MEMORY_GUARD;
    uint8_t *base = reserve_anywhere();
    // At most two reservations have room beside it: the third is away from it.
    uint8_t *near[3] = {};
    for (size_t i = 0; base && arena && i < TW_COUNT(near) && is_near_poll_page(arena, base); i++) {
        near[i] = base;
        base = reserve_anywhere();
    }
    for (size_t i = 0; i < TW_COUNT(near); i++) {
        if (near[i])
            munmap(near[i], bytes);
    }
    if (base && arena && is_near_poll_page(arena, base)) {
        munmap(base, bytes);
        base = NULL;
    }
    region->base = base;
    region->own_bytes = base ? bytes : 0;
    return base != NULL;
}

// Maps the image and opens the rest.
static bool fill(struct engine_region *region, const struct engine_image *image, uint32_t index) {
    const struct engine_image_memory *memory = &image->memories[index];
    if (memory->file_bytes) {
        if (mmap(region->base, memory->file_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, image->fd,
                 (off_t)(image->file_at + memory->file_offset)) == MAP_FAILED)
            return false;
        region->image = image->mapping + memory->file_offset;
        region->image_bytes = memory->file_bytes;
    }
    if (region->size > region->image_bytes &&
        mprotect(region->base + region->image_bytes, region->size - region->image_bytes,
                 PROT_READ | PROT_WRITE) != 0)
        return false;
    // A huge page would make every reset restore 2 MiB for one byte. Kernels without them say EINVAL.
    madvise(region->base, region->size, MADV_NOHUGEPAGE);
    return true;
}

static wasmtime_error_t *make_region(struct engine_instance *instance, size_t minimum,
                                     wasmtime_linear_memory_t *ret_memory) {
    uint32_t index = instance->regions_made++;
    struct engine_region *region = &instance->regions[index];
    const struct engine_image *image = &instance->module->image;
    if (index == instance->module->abi_memory)
        region->base = instance->arena->base + TW_ARENA_MEMORY_OFFSET;
    else if (!reserve(region, instance->arena))
        return wasmtime_error_new("no address space for a memory");
    region->instance = instance;
    region->limit = instance->module->limits.memory_bytes;
    region->size = image->mapping ? image->memories[index].size_bytes : minimum;
    region->image_size = region->size;
    if (region->size + taken_beside(region) > region->limit) {
        region->size = 0;
        region->denied = ENGINE_DENIED_BY_FUNCTION;
        return wasmtime_error_new("the memory limit is reached");
    }
    if (!engine_region_count(region, region->size)) {
        region->size = 0;
        region->denied = ENGINE_DENIED_BY_TENANT;
        return wasmtime_error_new("the tenant's memory limit is reached");
    }
    bool ok = image->mapping ? fill(region, image, index)
                             : mprotect(region->base, region->size, PROT_READ | PROT_WRITE) == 0;
    if (!ok)
        return wasmtime_error_new("no memory for an instance");
    ret_memory->env = region;
    ret_memory->get_memory = get_region;
    ret_memory->grow_memory = grow_region;
    ret_memory->finalizer = forget_region;
    return NULL;
}

// ---- the poll page ----

static uint8_t *get_poll(void *env, size_t *ret_size, size_t *ret_capacity) {
    const struct tw_gpu_arena *arena = env;
    *ret_size = *ret_capacity = ENGINE_WASM_PAGE;
    return arena->poll;
}

static wasmtime_error_t *grow_poll(void *env, size_t new_size) {
    (void)env;
    (void)new_size;
    return wasmtime_error_new("this memory cannot grow");
}

static wasmtime_error_t *make_poll(struct engine_instance *instance, wasmtime_linear_memory_t *ret_memory) {
    instance->poll = instance->arena->poll;
    ret_memory->env = instance->arena;
    ret_memory->get_memory = get_poll;
    ret_memory->grow_memory = grow_poll;
    ret_memory->finalizer = forget_region;
    return NULL;
}

// ---- the collector's heap ----

static void free_heap(void *env) {
    struct engine_region *region = env;
    if (region->instance)
        region->instance->heap = NULL;
    (void)engine_region_count(region, 0); // giving back is never refused
    munmap(region->base, region->own_bytes);
    free(region);
}

// Huge pages where the kernel has some: nobody puts this memory back, and they come and go ten times faster. False: there is
// no memory, or the guest is to stop.
static bool take_pages(const struct engine_region *region, size_t from) {
    madvise(region->base + from, region->size - from, MADV_HUGEPAGE); // EINVAL on kernels without
    for (size_t step; from < region->size; from += step) {
        size_t left = region->size - from;
        step = left < ENGINE_HEAP_STEP_BYTES ? left : ENGINE_HEAP_STEP_BYTES;
        if (region->instance && !engine_gate_pass(region->instance))
            return false;
        if (madvise(region->base + from, step, MADV_POPULATE_WRITE) != 0)
            return errno != ENOMEM; // before Linux 5.14 they come when they are written
    }
    return true;
}

static wasmtime_error_t *grow_heap(void *env, size_t new_size) {
    struct engine_region *region = env;
    size_t old_size = region->size;
    wasmtime_error_t *error = grow_region(region, new_size);
    if (error || new_size < old_size + ENGINE_HEAP_LAZY_BYTES || take_pages(region, old_size))
        return error;
    mmap(region->base + old_size, new_size - old_size, PROT_NONE,
         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0); // or stays until the heap goes
    region->size = old_size;
    (void)engine_region_count(region, old_size); // giving back is never refused
    return wasmtime_error_new("no memory to grow into, or stopped");
}

// Counts as the instance's memory; `instance` may be NULL.
static wasmtime_error_t *make_heap(struct engine_instance *instance, size_t minimum,
                                   wasmtime_linear_memory_t *ret_memory) {
    struct engine_region *region = tw_alloc_zero(1, sizeof(*region));
    if (!region || !reserve(region, instance ? instance->arena : NULL)) {
        free(region);
        return wasmtime_error_new("no address space for a memory");
    }
    region->instance = instance;
    region->limit = instance ? instance->module->limits.memory_bytes : ENGINE_MEMORY_DEFAULT;
    if (instance)
        instance->heap = region;
    wasmtime_error_t *error = grow_heap(region, minimum);
    if (error) {
        free_heap(region);
        return error;
    }
    ret_memory->env = region;
    ret_memory->get_memory = get_region;
    ret_memory->grow_memory = grow_heap;
    ret_memory->finalizer = free_heap;
    return NULL;
}

// The collector's heap has no maximum; a guest's memories have one since the module was rewritten.
static bool is_heap(const wasm_memorytype_t *type) {
    uint64_t max;
    return !wasmtime_memorytype_maximum(type, &max);
}

static wasmtime_error_t *new_memory(void *env, const wasm_memorytype_t *type, size_t minimum, size_t maximum,
                                    size_t reserved, size_t guard, wasmtime_linear_memory_t *ret_memory) {
    (void)env;
    (void)maximum;
    (void)reserved; // 4 GiB and 32 MiB: our settings
    (void)guard;
    struct engine_instance *instance = creating;
    if (!instance || is_heap(type))
        return make_heap(instance, minimum, ret_memory);
    if (instance->regions_made < instance->region_count)
        return make_region(instance, minimum, ret_memory);
    return make_poll(instance, ret_memory);
}

void engine_memory_configure(wasm_config_t *config) {
    wasmtime_memory_creator_t creator = {.new_memory = new_memory};
    wasmtime_config_host_memory_creator_set(config, &creator);
}

bool engine_memories_done(struct engine_instance *instance) {
    for (uint32_t i = 0; i < instance->regions_made; i++) {
        struct engine_region *region = &instance->regions[i];
        (void)engine_region_count(region, 0); // giving back is never refused
        if (region->own_bytes) {
            munmap(region->base, region->own_bytes);
        } else if (region->base && instance->arena) { // else it is in Wasmtime's pool
            // Back to plain reserved space: drops the image's mapping and every page.
            size_t used = region->size > region->image_bytes ? region->size : region->image_bytes;
            if (used && mmap(region->base, used, PROT_NONE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
                madvise(region->base, used, MADV_DONTNEED);
        }
    }
    return !instance->poll_closed || engine_poll_page(instance, true);
}
