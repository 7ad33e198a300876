// SPDX-License-Identifier: Apache-2.0
//
// Images: the state every fresh instance of a module begins with, as a file that is mapped, not decoded.
//
//     0         header | memories[] | globals[] | tables[]        checked by meta_crc
//     page …    memory 0's bytes, memory 1's, …                   each page-aligned, trailing zeros left out;
//     data_crc
//
// Numbers are little-endian as the machine's. Whoever reads a file checks every count and range: it may come
// from anywhere.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/internal.h"

enum { IMAGE_VERSION = 1, IMAGE_PAGE = ENGINE_IMAGE_PAGE, IMAGE_REPLAY = 1 };
static const char magic[8] = "TWIMAGE";

struct header {
    char magic[8];
    uint32_t version, flags;
    uint32_t meta_crc, data_crc; // meta_crc: over the header with this field 0, and the lists
    uint64_t data_offset, file_bytes;
    uint32_t memory_count, global_count, table_count, zero;
    struct tw_digest wasm; // of the module it belongs to
};

// ---- capture ----

bool engine_image_is_zero(const uint8_t *page) {
    uint64_t any = 0;
    for (size_t i = 0; i < IMAGE_PAGE / sizeof(any); i++) {
        uint64_t word;
        memcpy(&word, page + i * sizeof(word), sizeof(word));
        any |= word;
    }
    return any == 0;
}

static uint64_t used_bytes(const struct engine_region *region) {
    uint64_t used = region->size;
    while (used > 0 && engine_image_is_zero(region->base + used - IMAGE_PAGE))
        used -= IMAGE_PAGE;
    return used;
}

static size_t size_of_type(uint8_t type) {
    return type == TW_WASM_V128 ? 16 : type == TW_WASM_I64 || type == TW_WASM_F64 ? 8 : 4;
}

static void capture_globals(struct engine_instance *instance, struct engine_image_global *globals) {
    for (uint32_t i = 0; i < instance->module->global_count; i++) {
        globals[i].type = instance->module->global_types[i];
        wasmtime_val_t value;
        wasmtime_global_get(instance->context, &instance->globals[i], &value);
        if (engine_type_is_numeric((uint8_t)globals[i].type)) // what lies behind it in the union is anybody's
            memcpy(globals[i].value, &value.of, size_of_type((uint8_t)globals[i].type));
        wasmtime_val_unroot(&value);
    }
}

static bool capture_tables(struct engine_instance *instance, uint64_t *tables, struct tw_error *err) {
    for (uint32_t i = 0; i < instance->module->table_count; i++) {
        char name[24];
        int len = snprintf(name, sizeof(name), "tw:t%" PRIu32, i);
        wasmtime_extern_t item;
        if (!wasmtime_instance_export_get(instance->context, &instance->instance, name, (size_t)len, &item))
            return tw_fail(err, TW_ERR_INTERNAL, "the rewritten module lacks %s", name);
        tables[i] = wasmtime_table_size(instance->context, &item.of.table);
        wasmtime_extern_delete(&item);
    }
    return true;
}

static bool append_zeros(struct tw_buf *out, size_t len) {
    uint8_t *bytes = tw_buf_reserve(out, len);
    if (!bytes)
        return false;
    memset(bytes, 0, len);
    tw_buf_commit(out, len);
    return true;
}

static bool too_large(const struct tw_buf *out, struct tw_error *err) {
    return tw_buf_fail(out, err, TW_ERR_QUOTA,
                       "the instance's memory is larger than an image of %zu bytes may hold", out->max);
}

// Where the lists begin, from the file's beginning.
struct places {
    size_t memories, globals, tables, end;
};

static struct places places_of(const struct header *header) {
    struct places places = {.memories = sizeof(*header)};
    places.globals = places.memories + header->memory_count * sizeof(struct engine_image_memory);
    places.tables = places.globals + header->global_count * sizeof(struct engine_image_global);
    places.end = places.tables + header->table_count * sizeof(uint64_t);
    return places;
}

// Lists the memories and appends their bytes, which makes the file's length known.
static bool capture_memories(const struct engine_instance *instance, struct header *header,
                             struct tw_buf *out) {
    uint64_t at = header->data_offset;
    for (uint32_t i = 0; i < header->memory_count; i++) {
        const struct engine_region *region = &instance->regions[i];
        struct engine_image_memory memory = {region->size, at, used_bytes(region)};
        memcpy(out->data + sizeof(*header) + i * sizeof(memory), &memory, sizeof(memory));
        if (!tw_buf_append(out, region->base, memory.file_bytes))
            return false;
        at += memory.file_bytes;
    }
    header->file_bytes = at;
    return true;
}

static struct header header_of(const struct tw_module *module, const struct tw_digest *wasm, bool replay) {
    struct header header = {.version = IMAGE_VERSION,
                            .flags = replay ? IMAGE_REPLAY : 0,
                            .memory_count = module->memory_count,
                            .global_count = replay ? 0 : module->global_count,
                            .table_count = module->table_count,
                            .wasm = *wasm};
    memcpy(header.magic, magic, sizeof(magic));
    header.data_offset = tw_align_up(places_of(&header).end, IMAGE_PAGE);
    return header;
}

bool engine_image_capture(struct engine_instance *instance, const struct tw_digest *wasm, bool replay,
                          struct tw_buf *out, struct tw_error *err) {
    struct header header = header_of(instance->module, wasm, replay);
    struct places places = places_of(&header);
    tw_buf_reset(out);
    if (!append_zeros(out, header.data_offset) || !capture_memories(instance, &header, out))
        return too_large(out, err);
    if (!replay)
        capture_globals(instance, (void *)(out->data + places.globals));
    if (!capture_tables(instance, (void *)(out->data + places.tables), err))
        return false;
    memcpy(out->data, &header, sizeof(header));
    return true;
}

void engine_image_seal(struct tw_buf *out) {
    struct header header;
    memcpy(&header, out->data, sizeof(header));
    header.data_crc = tw_crc32(0, tw_span_of(out->data + header.data_offset, out->len - header.data_offset));
    memcpy(out->data, &header, sizeof(header));
    header.meta_crc = tw_crc32(0, tw_span_of(out->data, places_of(&header).end));
    memcpy(out->data, &header, sizeof(header));
}

// ---- foreseeing ----

// Nothing runs that could change what the module itself says, and all that it says is known.
static bool is_foreseeable(const struct tw_module *module, const struct tw_wasm *wasm,
                           const struct tw_wasm_rewritten *rewritten) {
    bool is_known = !module->has_start && !module->has_initialize && wasm->imported_memories == 0 &&
                    wasm->imported_globals == 0 && wasm->imported_tables == 0;
    for (uint32_t i = 0; is_known && i < rewritten->global_count; i++)
        is_known = wasm->globals[rewritten->globals[i]].is_known;
    return is_known;
}

// A memory's bytes up to the end of the last segment in it, behind what `out` has; trailing zeros as capturing leaves
// them out. False when `out` has no room for it.
static bool foresee_memory(const struct tw_wasm *wasm, uint32_t memory, struct tw_buf *out) {
    uint64_t len = 0;
    size_t at = out->len;
    for (uint32_t i = 0; i < wasm->data_count; i++) {
        const struct tw_wasm_data *data = &wasm->data[i];
        if (data->is_active && data->memory == memory && data->bytes.len &&
            data->offset + data->bytes.len > len)
            len = data->offset + data->bytes.len;
    }
    len = tw_align_up(len, IMAGE_PAGE);
    if (!append_zeros(out, len))
        return false;
    for (uint32_t i = 0; i < wasm->data_count; i++) {
        const struct tw_wasm_data *data = &wasm->data[i];
        if (data->is_active && data->memory == memory && data->bytes.len)
            memcpy(out->data + at + data->offset, data->bytes.data, data->bytes.len);
    }
    while (out->len > at && engine_image_is_zero(out->data + out->len - IMAGE_PAGE))
        out->len -= IMAGE_PAGE;
    return true;
}

static bool foresee_memories(const struct tw_wasm *wasm, struct header *header, struct tw_buf *out) {
    for (uint32_t i = 0; i < header->memory_count; i++) {
        uint64_t at = out->len;
        if (!foresee_memory(wasm, i, out))
            return false;
        struct engine_image_memory memory = {wasm->memories[i].min * ENGINE_WASM_PAGE, at, out->len - at};
        memcpy(out->data + sizeof(*header) + i * sizeof(memory), &memory, sizeof(memory));
    }
    header->file_bytes = out->len;
    return true;
}

static void foresee_lists(const struct tw_wasm *wasm, const struct tw_wasm_rewritten *rewritten,
                          const struct header *header, struct tw_buf *out) {
    struct places places = places_of(header);
    struct engine_image_global *globals = (void *)(out->data + places.globals);
    uint64_t *tables = (void *)(out->data + places.tables);
    for (uint32_t i = 0; i < header->global_count; i++) {
        const struct tw_wasm_global *global = &wasm->globals[rewritten->globals[i]];
        globals[i].type = global->type;
        memcpy(globals[i].value, &global->value, size_of_type(global->type));
    }
    for (uint32_t i = 0; i < header->table_count; i++)
        tables[i] = wasm->tables[i].min;
}

bool engine_image_foresee(const struct tw_module *module, const struct tw_wasm *wasm,
                          const struct tw_wasm_rewritten *rewritten, struct tw_buf *out) {
    if (!is_foreseeable(module, wasm, rewritten))
        return false;
    struct header header = header_of(module, &module->digest, module->single_use);
    tw_buf_reset(out);
    if (!append_zeros(out, header.data_offset) || !foresee_memories(wasm, &header, out))
        return false;
    foresee_lists(wasm, rewritten, &header, out);
    memcpy(out->data, &header, sizeof(header));
    engine_image_seal(out);
    return true;
}

// ---- mapping ----

static bool bad(struct tw_error *err, const char *what) {
    return tw_fail(err, TW_ERR_STORE,
                   "the image is damaged: %s; deploy the function again, or take another snapshot", what);
}

static bool check_memories(const struct engine_image *image, const struct header *header,
                           struct tw_error *err) {
    uint64_t at = header->data_offset;
    for (uint32_t i = 0; i < image->memory_count; i++) {
        const struct engine_image_memory *memory = &image->memories[i];
        if (memory->size_bytes > ENGINE_MEMORY_RESERVATION || memory->size_bytes % ENGINE_WASM_PAGE ||
            memory->file_bytes > memory->size_bytes || memory->file_bytes % IMAGE_PAGE ||
            memory->file_offset != at)
            return bad(err, "a memory's place in it is not possible");
        at += memory->file_bytes;
    }
    return at == header->file_bytes || bad(err, "its length is not what its memories need");
}

static bool check(struct engine_image *image, const struct tw_digest *wasm, struct tw_error *err) {
    struct header header;
    if (image->len < sizeof(header))
        return bad(err, "it is shorter than its header");
    memcpy(&header, image->mapping, sizeof(header));
    if (memcmp(header.magic, magic, sizeof(magic)) != 0)
        return bad(err, "it does not begin as an image");
    if (header.version != IMAGE_VERSION)
        return tw_fail(err, TW_ERR_STORE,
                       "the image has version %" PRIu32 ", this server reads %d; deploy the function again",
                       header.version, IMAGE_VERSION);
    if (header.memory_count > ENGINE_IMAGE_MEMORIES_MAX || header.global_count > ENGINE_IMAGE_GLOBALS_MAX ||
        header.table_count > ENGINE_IMAGE_TABLES_MAX)
        return bad(err, "it counts more than a module can have");
    struct places places = places_of(&header);
    if (header.file_bytes != image->len || header.data_offset != tw_align_up(places.end, IMAGE_PAGE) ||
        header.data_offset > image->len)
        return bad(err, "its length is not what its header says");
    struct header plain = header;
    plain.meta_crc = 0;
    uint32_t crc = tw_crc32(tw_crc32(0, tw_span_of(&plain, sizeof(plain))),
                            tw_span_of(image->mapping + sizeof(header), places.end - sizeof(header)));
    if (crc != header.meta_crc)
        return bad(err, "the checksum of its header does not match");
    if (tw_crc32(0, tw_span_of(image->mapping + header.data_offset, image->len - header.data_offset)) !=
        header.data_crc)
        return bad(err, "the checksum of its bytes does not match");
    if (!tw_digest_equal(&header.wasm, wasm))
        return bad(err, "it belongs to another module");
    image->replay = (header.flags & IMAGE_REPLAY) != 0;
    image->memory_count = header.memory_count;
    image->global_count = header.global_count;
    image->table_count = header.table_count;
    image->memories = (const void *)(image->mapping + places.memories);
    image->globals = (const void *)(image->mapping + places.globals);
    image->tables = (const void *)(image->mapping + places.tables);
    return check_memories(image, &header, err);
}

bool engine_image_map(int fd, uint64_t at, uint64_t len, const struct tw_digest *wasm,
                      struct engine_image *ret_image, struct tw_error *err) {
    struct engine_image image = {.fd = fd, .file_at = at};
    struct stat info;
    uint64_t left = fstat(fd, &info) == 0 && (uint64_t)info.st_size > at ? (uint64_t)info.st_size - at : 0;
    if (left == 0 || len > left || at % IMAGE_PAGE) {
        close(fd);
        return bad(err, "it is not where it should be in its file");
    }
    image.len = len ? len : left;
    void *mapping = mmap(NULL, image.len, PROT_READ, MAP_SHARED, fd, (off_t)at);
    if (mapping == MAP_FAILED) {
        int error_number = errno;
        close(fd);
        return tw_fail_errno(err, TW_ERR_STORE, error_number, "the image could not be mapped");
    }
    image.mapping = mapping;
    if (!check(&image, wasm, err)) {
        engine_image_done(&image);
        return false;
    }
    *ret_image = image;
    return true;
}

void engine_image_done(struct engine_image *image) {
    if (!image->mapping)
        return;
    munmap(image->mapping, image->len);
    close(image->fd);
    *image = (struct engine_image){};
}
