// SPDX-License-Identifier: Apache-2.0
//
// The other memory backend, for comparison: Wasmtime's pooling allocator has memories, tables and stacks.
//
//     owned      an arena's upper half; a reset puts the written pages back; kernels work on it in place
//     pooling    a slot of Wasmtime's pool; a reset drops the guest and makes it anew, the image is copied into it
//
// The poll memory lies in such a slot too: Wasmtime keeps slots far enough apart that a fault belongs to one only. Its
// page is opened again, for reading and writing as the pool had it, before the slot goes back.
//
// Growing is Wasmtime's: a memory's size is read where it matters, and nobody is asked before it grows. So an instance
// counts for its tenant with all that it may grow to, and several memories share the function's limit evenly. Devices
// need an arena: wasi_cuda answers not_available.

#include <sys/mman.h>

#include "engine/internal.h"

enum { SLOTS_EACH = 2 }; // the guest ABI's memory and the poll page; modules with more take others' places
#define SLOT_BYTES (ENGINE_MEMORY_RESERVATION + ENGINE_MEMORY_GUARD)

// ---- the pool ----

// Wasmtime aborts the process when its reservation fails: tried before.
static bool has_room(uint32_t count) {
    size_t bytes = count * SLOTS_EACH * SLOT_BYTES;
    void *mapping = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED)
        return false;
    munmap(mapping, bytes);
    return true;
}

static void set_sizes(wasmtime_pooling_allocation_config_t *pool, uint32_t count) {
    wasmtime_pooling_allocation_config_total_core_instances_set(pool, count);
    wasmtime_pooling_allocation_config_max_core_instance_size_set(pool, ENGINE_POOLED_INSTANCE_BYTES);
    wasmtime_pooling_allocation_config_total_memories_set(pool, count * SLOTS_EACH);
    wasmtime_pooling_allocation_config_max_memories_per_module_set(pool, ENGINE_IMAGE_MEMORIES_MAX + 1);
    wasmtime_pooling_allocation_config_max_memory_size_set(pool, ENGINE_MEMORY_RESERVATION);
    wasmtime_pooling_allocation_config_total_tables_set(pool, count * SLOTS_EACH);
    wasmtime_pooling_allocation_config_max_tables_per_module_set(pool, ENGINE_IMAGE_TABLES_MAX);
    wasmtime_pooling_allocation_config_table_elements_set(pool, ENGINE_TABLE_DEFAULT);
    wasmtime_pooling_allocation_config_total_stacks_set(pool, count);
    wasmtime_pooling_allocation_config_total_gc_heaps_set(pool, count);
    wasmtime_pooling_allocation_config_max_unused_warm_slots_set(pool, ENGINE_POOLED_UNUSED);
    wasmtime_pooling_allocation_config_linear_memory_keep_resident_set(pool, ENGINE_POOLED_KEEP_BYTES);
    wasmtime_pooling_allocation_config_table_keep_resident_set(pool, ENGINE_POOLED_KEEP_BYTES);
    wasmtime_pooling_allocation_config_async_stack_keep_resident_set(pool, ENGINE_STACK_KEEP_BYTES);
}

bool engine_pooling_configure(wasm_config_t *config, struct tw_engine_options *options,
                              struct tw_error *err) {
    uint32_t count = options->max_instances < ENGINE_POOLED_MAX ? options->max_instances : ENGINE_POOLED_MAX;
    while (count > 0 && !has_room(count))
        count /= 2;
    if (count == 0)
        return tw_fail(err, TW_ERR_CAPACITY,
                       "no address space for a pool of memories; raise `ulimit -v`, or use the memory "
                       "backend owned");
    options->max_instances = count;
    wasmtime_pooling_allocation_config_t *pool = wasmtime_pooling_allocation_config_new();
    set_sizes(pool, count);
    wasmtime_pooling_allocation_strategy_set(config, pool);
    wasmtime_pooling_allocation_config_delete(pool);
    return true;
}

// ---- an instance's memories ----

// How far each memory may grow so that all together stay within the function's limit. False: they begin with more.
static bool share_limit(const struct engine_instance *instance, uint64_t *ret_bytes) {
    uint64_t limit = instance->module->limits.memory_bytes, low = 0, high = limit / ENGINE_WASM_PAGE;
    while (low < high) {
        uint64_t pages = (low + high + 1) / 2, sum = 0;
        for (uint32_t i = 0; i < instance->region_count; i++) {
            uint64_t size = instance->regions[i].size;
            sum += size > pages * ENGINE_WASM_PAGE ? size : pages * ENGINE_WASM_PAGE;
        }
        if (sum <= limit)
            low = pages;
        else
            high = pages - 1;
    }
    *ret_bytes = low * ENGINE_WASM_PAGE;
    return low > 0 || instance->region_count == 0;
}

static void limit_memories(struct engine_instance *instance, uint64_t bytes) {
    wasmtime_store_limiter(instance->store, (int64_t)bytes, (int64_t)instance->module->limits.table_elements,
                           -1, -1, -1);
}

// Copies the image in, but for pages of zeros, which the slot has already.
static bool fill(struct engine_instance *instance, uint32_t index) {
    const struct engine_image *image = &instance->module->image;
    const struct engine_image_memory *memory = &image->memories[index];
    uint64_t size = instance->regions[index].size, before;
    if (memory->size_bytes > size) {
        wasmtime_error_t *error =
            wasmtime_memory_grow(instance->context, &instance->memories[index],
                                 (memory->size_bytes - size) / ENGINE_WASM_PAGE, &before);
        if (error) {
            wasmtime_error_delete(error);
            return false;
        }
    }
    uint8_t *base = wasmtime_memory_data(instance->context, &instance->memories[index]);
    const uint8_t *from = image->mapping + memory->file_offset;
    for (uint64_t at = 0; at < memory->file_bytes; at += ENGINE_IMAGE_PAGE) {
        if (!engine_image_is_zero(from + at))
            memcpy(base + at, from + at, ENGINE_IMAGE_PAGE);
    }
    return true;
}

// Charges the tenant for what each memory may become.
static bool count(struct engine_instance *instance, uint64_t share, struct tw_error *err) {
    for (uint32_t i = 0; i < instance->region_count; i++) {
        struct engine_region *region = &instance->regions[i];
        uint64_t most = instance->module->memories[i].max, size = region->size;
        most = most > share / ENGINE_WASM_PAGE ? share : most * ENGINE_WASM_PAGE;
        region->image_size = most > size ? most : size;
        if (engine_region_count(region, region->image_size))
            continue;
        region->denied = ENGINE_DENIED_BY_TENANT;
        return engine_instance_denied(instance, i, err);
    }
    return true;
}

static bool find_poll(struct engine_instance *instance, struct tw_error *err) {
    static const char name[] = "tw:poll";
    wasmtime_extern_t item;
    if (!wasmtime_instance_export_get(instance->context, &instance->instance, name, strlen(name), &item))
        return tw_fail(err, TW_ERR_INTERNAL, "the rewritten module lacks %s", name);
    instance->poll = wasmtime_memory_data(instance->context, &item.of.memory);
    return true;
}

void engine_pooling_look(struct engine_instance *instance) {
    for (uint32_t i = 0; i < instance->regions_made; i++)
        instance->regions[i].size = wasmtime_memory_data_size(instance->context, &instance->memories[i]);
}

bool engine_pooling_bind(struct engine_instance *instance, struct tw_error *err) {
    uint64_t share;
    instance->regions_made = instance->region_count;
    engine_pooling_look(instance);
    for (uint32_t i = 0; i < instance->region_count; i++) {
        struct engine_region *region = &instance->regions[i];
        region->instance = instance;
        if (instance->module->image.mapping && !fill(instance, i)) {
            region->denied = ENGINE_DENIED_BY_FUNCTION;
            return engine_instance_denied(instance, i, err);
        }
        region->base = wasmtime_memory_data(instance->context, &instance->memories[i]);
    }
    engine_pooling_look(instance);
    if (!share_limit(instance, &share))
        return engine_instance_denied(instance, 0, err);
    limit_memories(instance, share);
    return count(instance, share, err) &&
           (instance->engine->options.interrupt == TW_INTERRUPT_EPOCH || find_poll(instance, err));
}

bool engine_pooling_leave(struct engine_instance *instance) {
    if (instance->poll_closed && !engine_poll_page(instance, true))
        return false;
    instance->poll_closed = false;
    return true;
}
