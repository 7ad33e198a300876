// SPDX-License-Identifier: Apache-2.0
//
// Bytes to integers, names and types. LEB128 is read strictly: at most ceil(bits / 7) bytes, and the bits of
// the last one that do not fit must repeat the sign (binary format, chapter 5.2.2 of the specification).
// Longer forms of small numbers are allowed there, so they are here.

#include "wasmbin/internal.h"

#include <stdarg.h>

bool wasmbin_bad(const struct wasmbin_reader *reader, const uint8_t *at, const char *format, ...) {
    char text[TW_ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return tw_fail(reader->err, TW_ERR_INVALID_WASM, "byte %zu: %s", (size_t)(at - reader->base), text);
}

bool wasmbin_refused(const struct wasmbin_reader *reader, const uint8_t *at, const char *what,
                     const char *proposal) {
    return wasmbin_bad(reader, at, "%s: %s not supported by this host; compile without that feature", what,
                       proposal);
}

bool wasmbin_too_many(const struct wasmbin_reader *reader, const char *what, uint64_t value, uint64_t max) {
    return tw_fail(reader->err, TW_ERR_MODULE_TOO_LARGE,
                   "byte %zu: %" PRIu64 " %s, the limit is %" PRIu64 "; make the module smaller or split it",
                   (size_t)(reader->at - reader->base), value, what, max);
}

bool wasmbin_no_memory(struct tw_error *err) {
    return tw_fail(err, TW_ERR_CAPACITY, "no memory left to read this module; try again later");
}

static bool cut_short(const struct wasmbin_reader *reader, const char *what) {
    return wasmbin_bad(reader, reader->end, "%s is cut short; the module is not complete", what);
}

bool wasmbin_read_byte(struct wasmbin_reader *reader, const char *what, uint8_t *ret_byte) {
    if (reader->at == reader->end)
        return cut_short(reader, what);
    *ret_byte = *reader->at++;
    return true;
}

bool wasmbin_read_long_u32(struct wasmbin_reader *reader, const char *what, uint32_t *ret_value) {
    const uint8_t *start = reader->at;
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        if (reader->at == reader->end)
            return cut_short(reader, what);
        uint8_t byte = *reader->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte & 0x80)
            continue;
        if (value > UINT32_MAX)
            break;
        *ret_value = (uint32_t)value;
        return true;
    }
    return wasmbin_bad(reader, start, "%s is not an LEB128 number of 32 bits", what);
}

bool wasmbin_read_signed(struct wasmbin_reader *reader, unsigned bits, int64_t *ret_value) {
    const uint8_t *start = reader->at;
    uint64_t value = 0;
    for (unsigned shift = 0; shift < bits; shift += 7) {
        if (reader->at == reader->end)
            return cut_short(reader, "a number");
        uint8_t byte = *reader->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte & 0x80)
            continue;
        unsigned known = bits - shift; // bits of this byte that belong to the number
        if (known < 7) {
            // The sign and all above it must be equal.
            uint8_t above = (uint8_t)((byte & 0x7f) >> (known - 1));
            if (above != 0 && above != 0x7f >> (known - 1))
                break;
        }
        if (shift + 7 < 64 && (byte & 0x40))
            value |= UINT64_MAX << (shift + 7);
        *ret_value = (int64_t)value;
        return true;
    }
    return wasmbin_bad(reader, start, "not a signed LEB128 number of %u bits", bits);
}

bool wasmbin_read_bytes(struct wasmbin_reader *reader, const char *what, size_t len,
                        struct tw_span *ret_bytes) {
    if ((size_t)(reader->end - reader->at) < len)
        return wasmbin_bad(reader, reader->at,
                           "%s has %zu bytes, only %zu are left; the module is not complete", what, len,
                           (size_t)(reader->end - reader->at));
    *ret_bytes = tw_span_of(reader->at, len);
    reader->at += len;
    return true;
}

bool wasmbin_read_name(struct wasmbin_reader *reader, const char *what, size_t max, struct tw_str *ret_name) {
    const uint8_t *start = reader->at;
    uint32_t len;
    struct tw_span bytes;
    if (!wasmbin_read_u32(reader, what, &len))
        return false;
    if (len > max)
        return tw_fail(reader->err, TW_ERR_MODULE_TOO_LARGE,
                       "byte %zu: %s has %u bytes, the limit is %zu; give it a shorter one",
                       (size_t)(start - reader->base), what, len, max);
    if (!wasmbin_read_bytes(reader, what, len, &bytes))
        return false;
    struct tw_str name = tw_str_of((const char *)bytes.data, bytes.len);
    if (!tw_utf8_valid(name))
        return wasmbin_bad(reader, start, "%s is not UTF-8", what);
    *ret_name = name;
    return true;
}

bool wasmbin_read_count(struct wasmbin_reader *reader, const char *what, uint32_t max, uint32_t *ret_count) {
    const uint8_t *start = reader->at;
    uint32_t count;
    if (!wasmbin_read_u32(reader, what, &count))
        return false;
    if (count > max)
        return wasmbin_too_many(reader, what, count, max);
    if (count > (size_t)(reader->end - reader->at))
        return wasmbin_bad(reader, start, "%u %s are announced, only %zu bytes are left", count, what,
                           (size_t)(reader->end - reader->at));
    *ret_count = count;
    return true;
}

// ---- types ------------------------------------------------------------------------------------------------
bool wasmbin_is_numeric(uint8_t type) {
    return type >= TW_WASM_V128 && type <= TW_WASM_I32;
}

// The proposal that a type's byte belongs to; NULL: none that we know.
static const char *type_proposal(uint8_t byte) {
    switch (byte) {
    case 0x62:
        return "custom descriptors are";
    case 0x65:
        return "threads are";
    case 0x68:
    case 0x75:
        return "stack switching is";
    default:
        return NULL;
    }
}

static bool no_type(const struct wasmbin_reader *reader, const char *what, uint8_t byte) {
    const char *proposal = type_proposal(byte);
    if (proposal)
        return wasmbin_refused(reader, reader->at - 1, what, proposal);
    return wasmbin_bad(reader, reader->at - 1, "expected %s, found 0x%02x", what, byte);
}

// Kinds of objects, of nothing, and exceptions: 0x69 … 0x6e, 0x71 … 0x74.
static bool is_heap_kind(uint8_t byte) {
    return byte >= 0x69 && byte <= 0x74;
}

// heaptype ::= s33 ≥ 0, a type index | one byte, negative
bool wasmbin_read_heaptype(struct wasmbin_reader *reader, uint8_t *ret_type) {
    const uint8_t *start = reader->at;
    int64_t index;
    *ret_type = TW_WASM_REF;
    if (start < reader->end && (*start & 0xc0) == 0x40) {
        uint8_t byte = *reader->at++;
        if (byte == TW_WASM_FUNCREF || byte == TW_WASM_EXTERNREF)
            *ret_type = byte;
        return is_heap_kind(byte) || no_type(reader, "what a reference refers to", byte);
    }
    if (!wasmbin_read_signed(reader, 33, &index))
        return false;
    return index >= 0 ||
           wasmbin_bad(reader, start, "expected what a reference refers to, found %" PRId64, index);
}

// valtype ::= one byte | 0x63 heaptype, which may be null | 0x64 heaptype
bool wasmbin_read_valtype(struct wasmbin_reader *reader, uint8_t *ret_type) {
    uint8_t byte;
    if (!wasmbin_read_byte(reader, "a value type", &byte))
        return false;
    *ret_type = byte;
    if (wasmbin_is_numeric(byte) || byte == TW_WASM_FUNCREF || byte == TW_WASM_EXTERNREF)
        return true;
    if (byte == 0x63)
        return wasmbin_read_heaptype(reader, ret_type);
    if (byte == 0x64 && !wasmbin_read_heaptype(reader, ret_type))
        return false;
    *ret_type = TW_WASM_REF;
    return byte == 0x64 || is_heap_kind(byte) || no_type(reader, "a value type", byte);
}

bool wasmbin_read_storage(struct wasmbin_reader *reader) {
    uint8_t type;
    if (reader->at < reader->end &&
        (*reader->at == WASMBIN_STORAGE_I16 || *reader->at == WASMBIN_STORAGE_I8)) {
        reader->at++;
        return true;
    }
    return wasmbin_read_valtype(reader, &type);
}

bool wasmbin_read_reftype(struct wasmbin_reader *reader, uint8_t *ret_type) {
    const uint8_t *start = reader->at;
    uint8_t type;
    if (!wasmbin_read_valtype(reader, &type))
        return false;
    if (wasmbin_is_numeric(type))
        return wasmbin_bad(reader, start, "expected a reference type, found 0x%02x", type);
    *ret_type = type;
    return true;
}

bool wasmbin_check_index(const struct wasmbin_reader *reader, const uint8_t *at, const char *what,
                         uint32_t index, uint32_t count) {
    return index < count || wasmbin_bad(reader, at, "%s %u does not exist, there are %u", what, index, count);
}
