// SPDX-License-Identifier: Apache-2.0
//
// One instruction at a time, from the table in opcodes.def: the opcode says which immediates follow, and a
// switch over their kinds reads them.

#include "wasmbin/internal.h"

enum {
    CODES_FB = 0x1f,
    CODES_FC = 0x12, // the codes after each prefix that the table can hold
    CODES_FD = 0x114,
};

static const uint8_t plain_immediates[256] = {
#define WASMBIN_OP(byte, immediates, id, text) [byte] = WASMBIN_IMM_##immediates,
#define WASMBIN_REFUSED(byte, proposal, text)  [byte] = WASMBIN_IMM_REFUSED,
#define WASMBIN_FB(code, immediates, id, text)
#define WASMBIN_FC(code, immediates, id, text)
#define WASMBIN_FD(code, immediates, id, text)
#include "wasmbin/opcodes.def"
#undef WASMBIN_OP
#undef WASMBIN_FB
#undef WASMBIN_REFUSED
};

static const uint8_t fb_immediates[CODES_FB] = {
#define WASMBIN_OP(byte, immediates, id, text)
#define WASMBIN_REFUSED(byte, proposal, text)
#define WASMBIN_FB(code, immediates, id, text) [code] = WASMBIN_IMM_##immediates,
#include "wasmbin/opcodes.def"
#undef WASMBIN_FB
#undef WASMBIN_FC
};

static const uint8_t fc_immediates[CODES_FC] = {
#define WASMBIN_FB(code, immediates, id, text)
#define WASMBIN_FC(code, immediates, id, text) [code] = WASMBIN_IMM_##immediates,
#include "wasmbin/opcodes.def"
#undef WASMBIN_FC
#undef WASMBIN_FD
};

static const uint8_t fd_immediates[CODES_FD] = {
#define WASMBIN_FC(code, immediates, id, text)
#define WASMBIN_FD(code, immediates, id, text) [code] = WASMBIN_IMM_##immediates,
#include "wasmbin/opcodes.def"
#undef WASMBIN_FD
#undef WASMBIN_REFUSED
};

static const char LEGACY_EXCEPTIONS[] = "the exceptions of before WebAssembly 3.0 are";
static const char THREADS[] = "threads are";

// Confined; frozen. Why a byte is refused.
struct refusal {
    const char *text, *proposal;
};
static const struct refusal refusals[256] = {
#define WASMBIN_FD(code, immediates, id, text)
#define WASMBIN_REFUSED(byte, proposal, text) [byte] = {text, proposal},
#include "wasmbin/opcodes.def"
#undef WASMBIN_OP
#undef WASMBIN_FB
#undef WASMBIN_FC
#undef WASMBIN_FD
#undef WASMBIN_REFUSED
};

// blocktype ::= 0x40 | valtype | s33 ≥ 0, a type index
static bool read_block(struct wasmbin_reader *reader, struct wasmbin_op *op) {
    op->a = UINT32_MAX;
    const uint8_t *start = reader->at;
    if (start < reader->end && *start == 0x40) {
        reader->at++;
        return true;
    }
    if (start < reader->end && (*start & 0xc0) == 0x40) { // one byte, negative
        uint8_t type;
        return wasmbin_read_valtype(reader, &type);
    }
    int64_t index;
    if (!wasmbin_read_signed(reader, 33, &index))
        return false;
    if (index < 0)
        return wasmbin_bad(reader, start, "expected a block type, found %" PRId64, index);
    op->a = (uint32_t)index;
    return true;
}

// br_table: vec(labelidx) labelidx
static bool read_labels(struct wasmbin_reader *reader, struct wasmbin_op *op) {
    uint32_t count;
    if (!wasmbin_read_count(reader, "labels", WASMBIN_MAX_BODY_BYTES, &count))
        return false;
    op->a = count + 1;
    op->b = 0;
    op->labels = reader->at;
    for (uint32_t i = 0; i <= count; i++) {
        uint32_t label;
        if (!wasmbin_read_u32(reader, "a label", &label))
            return false;
        if (label > op->b)
            op->b = label;
    }
    return true;
}

// memarg ::= align:u32 [memory:u32, when bit 6 of align is set] offset:u32
static bool read_memarg(struct wasmbin_reader *reader, struct wasmbin_op *op) {
    const uint8_t *start = reader->at;
    uint32_t flags, offset;
    if (!wasmbin_read_u32(reader, "an alignment", &flags))
        return false;
    op->a = 0;
    if (flags >= 0x80 || (flags & 0x3f) > 4)
        return wasmbin_bad(reader, start, "an alignment of 2^%u, the largest is 2^4", flags & ~0x40u);
    if ((flags & 0x40) && !wasmbin_read_u32(reader, "a memory index", &op->a))
        return false;
    return wasmbin_read_u32(reader, "a memory offset", &offset);
}

// select t*: exactly one type is valid today.
static bool read_types(struct wasmbin_reader *reader) {
    const uint8_t *start = reader->at;
    uint32_t count;
    uint8_t type;
    if (!wasmbin_read_u32(reader, "a count of types", &count))
        return false;
    if (count != 1)
        return wasmbin_bad(reader, start, "a select of %u types, only one is allowed", count);
    return wasmbin_read_valtype(reader, &type);
}

static bool read_heap(struct wasmbin_reader *reader, struct wasmbin_op *op) {
    uint8_t type;
    if (!wasmbin_read_heaptype(reader, &type))
        return false;
    op->a = type;
    return true;
}

// castflags labelidx heaptype heaptype; the flags: 1 the first may be null, 2 the second may
static bool read_cast(struct wasmbin_reader *reader, struct wasmbin_op *op) {
    uint8_t flags, type;
    if (!wasmbin_read_byte(reader, "the flags of a cast", &flags))
        return false;
    if (flags > 3)
        return wasmbin_bad(reader, reader->at - 1, "unknown flags 0x%02x of a cast", flags);
    return wasmbin_read_u32(reader, "a label", &op->a) && wasmbin_read_heaptype(reader, &type) &&
           wasmbin_read_heaptype(reader, &type);
}

// catch ::= 0 tag label | 1 tag label | 2 label | 3 label; odd ones also give the exception itself
bool wasmbin_read_catch(struct wasmbin_reader *reader, struct wasmbin_catch *ret_catch) {
    uint8_t kind;
    if (!wasmbin_read_byte(reader, "a catch clause", &kind))
        return false;
    if (kind > 3)
        return wasmbin_bad(reader, reader->at - 1, "unknown catch clause 0x%02x", kind);
    ret_catch->tag = UINT32_MAX;
    if (kind < 2 && !wasmbin_read_u32(reader, "a tag", &ret_catch->tag))
        return false;
    return wasmbin_read_u32(reader, "a label", &ret_catch->label);
}

// try_table: blocktype vec(catch)
static bool read_try(struct wasmbin_reader *reader, struct wasmbin_op *op) {
    struct wasmbin_catch ignored;
    if (!read_block(reader, op) || !wasmbin_read_count(reader, "catch clauses", WASMBIN_MAX_CATCHES, &op->b))
        return false;
    op->labels = reader->at;
    for (uint32_t i = 0; i < op->b; i++)
        if (!wasmbin_read_catch(reader, &ignored))
            return false;
    return true;
}

static bool read_fixed(struct wasmbin_reader *reader, size_t len) {
    struct tw_span bytes;
    return wasmbin_read_bytes(reader, "an instruction's constant", len, &bytes);
}

static bool read_immediates(struct wasmbin_reader *reader, struct wasmbin_op *op) {
    switch (op->immediates) {
    case WASMBIN_IMM_UNKNOWN:
    case WASMBIN_IMM_REFUSED:
        return false; // wasmbin_next has reported it
    case WASMBIN_IMM_NONE:
        return true;
    case WASMBIN_IMM_BLOCK:
        return read_block(reader, op);
    case WASMBIN_IMM_LABELS:
        return read_labels(reader, op);
    case WASMBIN_IMM_TYPES:
        return read_types(reader);
    case WASMBIN_IMM_TRY:
        return read_try(reader, op);
    case WASMBIN_IMM_CAST_LABEL:
        return read_cast(reader, op);
    case WASMBIN_IMM_LABEL:
    case WASMBIN_IMM_FUNC:
    case WASMBIN_IMM_TAG:
    case WASMBIN_IMM_TYPE:
    case WASMBIN_IMM_LOCAL:
    case WASMBIN_IMM_GLOBAL:
    case WASMBIN_IMM_TABLE:
    case WASMBIN_IMM_ELEM:
    case WASMBIN_IMM_DATA:
    case WASMBIN_IMM_MEMORY:
        return wasmbin_read_u32(reader, "an index", &op->a);
    case WASMBIN_IMM_TYPE_TYPE:
    case WASMBIN_IMM_TYPE_NUMBER:
    case WASMBIN_IMM_TYPE_DATA:
    case WASMBIN_IMM_TYPE_ELEM:
    case WASMBIN_IMM_TYPE_TABLE:
    case WASMBIN_IMM_TABLE_TABLE:
    case WASMBIN_IMM_ELEM_TABLE:
    case WASMBIN_IMM_DATA_MEMORY:
    case WASMBIN_IMM_MEMORY_MEMORY:
        return wasmbin_read_u32(reader, "an index", &op->a) && wasmbin_read_u32(reader, "an index", &op->b);
    case WASMBIN_IMM_MEMARG:
        return read_memarg(reader, op);
    case WASMBIN_IMM_MEMARG_LANE:
        return read_memarg(reader, op) && read_fixed(reader, 1);
    case WASMBIN_IMM_LANE:
        return read_fixed(reader, 1);
    case WASMBIN_IMM_HEAP:
        return read_heap(reader, op);
    case WASMBIN_IMM_S32:
        return wasmbin_read_signed(reader, 32, &op->value);
    case WASMBIN_IMM_S64:
        return wasmbin_read_signed(reader, 64, &op->value);
    case WASMBIN_IMM_BYTES4:
        return read_fixed(reader, 4);
    case WASMBIN_IMM_BYTES8:
        return read_fixed(reader, 8);
    case WASMBIN_IMM_BYTES16:
        return read_fixed(reader, 16);
    }
    return false;
}

// What follows the instruction `code` after `prefix`.
static uint8_t prefixed_immediates(uint32_t prefix, uint32_t code) {
    if (prefix == 0xfb)
        return code < CODES_FB ? fb_immediates[code] : WASMBIN_IMM_UNKNOWN;
    if (prefix == 0xfc)
        return code < CODES_FC ? fc_immediates[code] : WASMBIN_IMM_UNKNOWN;
    return code < CODES_FD ? fd_immediates[code] : WASMBIN_IMM_UNKNOWN;
}

// After the prefix 0xfb, 0xfc or 0xfd.
static bool read_prefixed(struct wasmbin_reader *reader, struct wasmbin_op *op) {
    uint32_t code;
    if (!wasmbin_read_u32(reader, "an instruction", &code))
        return false;
    uint8_t immediates = prefixed_immediates(op->code, code);
    if (immediates == WASMBIN_IMM_UNKNOWN)
        return wasmbin_bad(reader, op->at, "unknown instruction 0x%02x 0x%02x", op->code, code);
    op->code = op->code << 12 | code;
    op->immediates = immediates;
    return read_immediates(reader, op);
}

bool wasmbin_next(struct wasmbin_reader *reader, struct wasmbin_op *ret_op) {
    ret_op->at = reader->at;
    if (reader->at == reader->end)
        return wasmbin_bad(reader, reader->at, "expected an instruction, found the end; an `end` is missing");
    uint8_t byte = *reader->at++;
    ret_op->code = byte;
    if (byte >= 0xfb && byte <= 0xfd)
        return read_prefixed(reader, ret_op);
    ret_op->immediates = plain_immediates[byte];
    if (ret_op->immediates == WASMBIN_IMM_REFUSED)
        return wasmbin_refused(reader, ret_op->at, refusals[byte].text, refusals[byte].proposal);
    if (ret_op->immediates == WASMBIN_IMM_UNKNOWN)
        return wasmbin_bad(reader, ret_op->at, "unknown instruction 0x%02x", byte);
    return read_immediates(reader, ret_op);
}
