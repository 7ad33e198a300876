// SPDX-License-Identifier: Apache-2.0
//
// Which long instructions need a function that does them in pieces (bulk.c), one function for each pair of what they name;
// and the types of those functions. One that can only be short needs none: what comes from a segment is no longer than that.
// What makes an array is helped where the array can be filled afterwards, and that is not as quick as making it: bytes are.

#include "wasmbin/internal.h"

enum { NO_SLOT = UINT16_MAX };

bool wasmbin_helpers_init(struct wasmbin_helpers *helpers, struct tw_arena *arena, struct tw_error *err) {
    *helpers = (struct wasmbin_helpers){};
    helpers->items = WASMBIN_ARRAY(arena, struct wasmbin_helper, WASMBIN_MAX_HELPERS, err);
    helpers->slots = WASMBIN_ARRAY(arena, uint16_t, WASMBIN_HELPER_SLOTS, err);
    if (!helpers->items || !helpers->slots)
        return false;
    memset(helpers->slots, 0xff, WASMBIN_HELPER_SLOTS * sizeof *helpers->slots);
    return true;
}

// ---- what there is to do in pieces ------------------------------------------------------------------------
// The storage type of an array's elements, and whether they can be changed; no bytes: the type is not an array's.
static struct tw_span field_of(const struct tw_wasm *wasm, uint32_t type, bool *ret_mutable) {
    const struct wasmbin_module *module = wasm->sections;
    struct tw_error unused = {};
    struct wasmbin_reader reader = {wasm->bytes.data, wasm->bytes.data + module->arrays[type],
                                    wasm->bytes.data + wasm->bytes.len, &unused};
    const uint8_t *start = reader.at;
    if (!module->arrays[type] || !wasmbin_read_storage(&reader))
        return (struct tw_span){};
    *ret_mutable = *reader.at == 1; // it was read before
    return tw_span_of(start, (size_t)(reader.at - start));
}

static struct tw_span storage_of(const struct tw_wasm *wasm, uint32_t type) {
    bool is_mutable;
    return field_of(wasm, type, &is_mutable);
}

static bool is_array(const struct tw_wasm *wasm, uint32_t type) {
    return ((const struct wasmbin_module *)wasm->sections)->arrays[type] != 0;
}

// How many bytes of a data segment an element takes.
static uint8_t element_log2(const struct tw_wasm *wasm, uint32_t type) {
    switch (storage_of(wasm, type).data[0]) {
    case WASMBIN_STORAGE_I8:
        return 0;
    case WASMBIN_STORAGE_I16:
        return 1;
    case TW_WASM_I64:
    case TW_WASM_F64:
        return 3;
    case TW_WASM_V128:
        return 4;
    default:
        return 2; // a reference cannot be read from data: such a module is not valid
    }
}

// Whether an array of that type can be made of zeros or nulls and filled afterwards.
static bool is_fillable(const struct tw_wasm *wasm, uint32_t type) {
    bool is_mutable = false;
    struct tw_span storage = field_of(wasm, type, &is_mutable);
    return is_mutable && storage.data[0] != WASMBIN_REF_TYPE;
}

bool wasmbin_makes_array(uint32_t code) {
    return code == WASMBIN_ARRAY_NEW || code == WASMBIN_ARRAY_NEW_DATA || code == WASMBIN_ARRAY_NEW_ELEM;
}

static uint32_t filler_of(uint32_t code) {
    return code == WASMBIN_ARRAY_NEW        ? WASMBIN_ARRAY_FILL
           : code == WASMBIN_ARRAY_NEW_DATA ? WASMBIN_ARRAY_INIT_DATA
                                            : WASMBIN_ARRAY_INIT_ELEM;
}

// Fills in what the instruction names. False: it needs no pieces, or names what it cannot.
static bool describe(const struct tw_wasm *wasm, struct wasmbin_helper *helper) {
    const struct wasmbin_module *module = wasm->sections;
    switch (helper->code) {
    case WASMBIN_MEMORY_FILL:
    case WASMBIN_MEMORY_COPY:
        return true;
    case WASMBIN_MEMORY_INIT:
        helper->segment_len = (uint32_t)wasm->data[helper->a].bytes.len;
        break;
    case WASMBIN_ARRAY_FILL:
        return is_array(wasm, helper->a);
    case WASMBIN_ARRAY_COPY:
        return is_array(wasm, helper->a) && is_array(wasm, helper->b);
    case WASMBIN_ARRAY_NEW:
        return is_fillable(wasm, helper->a) && storage_of(wasm, helper->a).data[0] != WASMBIN_STORAGE_I8;
    case WASMBIN_ARRAY_INIT_DATA:
    case WASMBIN_ARRAY_NEW_DATA:
        if (!is_array(wasm, helper->a))
            return false;
        helper->unit_log2 = element_log2(wasm, helper->a);
        helper->segment_len = (uint32_t)wasm->data[helper->b].bytes.len;
        break;
    case WASMBIN_ARRAY_INIT_ELEM:
    case WASMBIN_ARRAY_NEW_ELEM:
        if (!is_array(wasm, helper->a))
            return false;
        helper->segment_len = module->elem_lens[helper->b];
        break;
    default:
        return false;
    }
    if (wasmbin_makes_array(helper->code) && !is_fillable(wasm, helper->a))
        return false;
    return helper->segment_len >> helper->unit_log2 > wasmbin_piece(helper->code);
}

// ---- finding and adding -----------------------------------------------------------------------------------
static uint32_t first_slot(const struct wasmbin_helper *wanted) {
    return (uint32_t)((wanted->code * 31ULL + wanted->a * 0x9e3779b1ULL + wanted->b * 0x85ebca6bULL) >> 7) %
           WASMBIN_HELPER_SLOTS;
}

static uint32_t find_or_add(struct wasmbin_helpers *helpers, const struct wasmbin_helper *wanted) {
    uint32_t slot = first_slot(wanted);
    for (; helpers->slots[slot] != NO_SLOT; slot = (slot + 1) % WASMBIN_HELPER_SLOTS) {
        const struct wasmbin_helper *helper = &helpers->items[helpers->slots[slot]];
        if (helper->code == wanted->code && helper->a == wanted->a && helper->b == wanted->b)
            return helpers->slots[slot];
    }
    if (helpers->count == WASMBIN_MAX_HELPERS) {
        helpers->is_full = true;
        return WASMBIN_NO_HELPER;
    }
    helpers->slots[slot] = (uint16_t)helpers->count;
    helpers->items[helpers->count] = *wanted;
    return helpers->count++;
}

uint32_t wasmbin_helper_find(struct wasmbin_helpers *helpers, const struct tw_wasm *wasm,
                             const struct wasmbin_op *op) {
    struct wasmbin_helper wanted = {.code = op->code, .a = op->a, .b = op->b};
    if (op->immediates == WASMBIN_IMM_MEMORY || op->immediates == WASMBIN_IMM_TYPE)
        wanted.b = 0;
    if (!describe(wasm, &wanted))
        return WASMBIN_NO_HELPER;
    if (wasmbin_makes_array(wanted.code)) {
        struct wasmbin_helper filler = wanted;
        filler.code = filler_of(wanted.code);
        wanted.filler = find_or_add(helpers, &filler);
        if (wanted.filler == WASMBIN_NO_HELPER)
            return WASMBIN_NO_HELPER;
    }
    return find_or_add(helpers, &wanted);
}

// ---- types ------------------------------------------------------------------------------------------------
static bool is_of_arrays(const struct wasmbin_helper *helper) {
    return helper->code == WASMBIN_ARRAY_FILL || helper->code == WASMBIN_ARRAY_COPY ||
           helper->code == WASMBIN_ARRAY_INIT_DATA || helper->code == WASMBIN_ARRAY_INIT_ELEM;
}

static void put_type(struct wasmbin_helper_type *type, const void *bytes, size_t len) {
    TW_ASSERT(type->len + len <= sizeof type->bytes);
    memcpy(type->bytes + type->len, bytes, len);
    type->len += len;
}

static void put_i32(struct wasmbin_helper_type *type) {
    put_type(type, (const uint8_t[]){TW_WASM_I32}, 1);
}

// (ref null $array), or (ref $array)
static void put_array(struct wasmbin_helper_type *type, uint8_t reference, uint32_t array) {
    put_type(type, &reference, 1);
    uint32_t value = array;
    for (; value > 0x3f; value >>= 7) // signed: a type's number is positive
        put_type(type, (const uint8_t[]){(uint8_t)(value | 0x80)}, 1);
    put_type(type, (const uint8_t[]){(uint8_t)value}, 1);
}

// An element on the stack: small integers are i32 there.
static void put_element(struct wasmbin_helper_type *type, const struct tw_wasm *wasm, uint32_t array) {
    struct tw_span storage = storage_of(wasm, array);
    if (storage.data[0] == WASMBIN_STORAGE_I8 || storage.data[0] == WASMBIN_STORAGE_I16)
        put_i32(type);
    else
        put_type(type, storage.data, storage.len);
}

static void put_maker(struct wasmbin_helper_type *type, const struct tw_wasm *wasm,
                      const struct wasmbin_helper *helper) {
    put_type(type, (const uint8_t[]){0x60, 2}, 2);
    if (helper->code == WASMBIN_ARRAY_NEW)
        put_element(type, wasm, helper->a);
    else
        put_i32(type); // where from
    put_i32(type);     // how much
    put_type(type, (const uint8_t[]){1}, 1);
    put_array(type, WASMBIN_REF_TYPE, helper->a);
}

void wasmbin_helper_type_write(const struct tw_wasm *wasm, const struct wasmbin_helper *helper,
                               struct wasmbin_helper_type *ret_type) {
    bool has_array = is_of_arrays(helper), is_copy = helper->code == WASMBIN_ARRAY_COPY;
    *ret_type = (struct wasmbin_helper_type){};
    if (wasmbin_makes_array(helper->code)) {
        put_maker(ret_type, wasm, helper);
        return;
    }
    put_type(ret_type, (const uint8_t[]){0x60, (uint8_t)(3 + has_array + is_copy)}, 2);
    if (has_array)
        put_array(ret_type, WASMBIN_REF_NULL_TYPE, helper->a);
    put_i32(ret_type); // where to
    if (is_copy)
        put_array(ret_type, WASMBIN_REF_NULL_TYPE, helper->b);
    if (helper->code == WASMBIN_ARRAY_FILL)
        put_element(ret_type, wasm, helper->a);
    else
        put_i32(ret_type);                       // where from, or a memory's new value
    put_i32(ret_type);                           // how much
    put_type(ret_type, (const uint8_t[]){0}, 1); // no results
}
