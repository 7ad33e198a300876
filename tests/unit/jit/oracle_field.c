// SPDX-License-Identifier: Apache-2.0
//
// See oracle_parts.h: integer operations of 32 bits that look at fields, bytes or pairs of words.

#include "oracle_parts.h"

static uint64_t insert(uint64_t a, uint64_t b, uint64_t at, uint64_t len) {
    for (unsigned i = 0; i < (len & 255) && (at & 255) + i < 32; i++) {
        unsigned to = (unsigned)(at & 255) + i;
        b = (b & ~(UINT64_C(1) << to)) | (a >> i & 1) << to;
    }
    return b;
}

static uint64_t find(uint64_t a, bool is_signed, bool wants_amount) {
    uint32_t word = (uint32_t)a;
    if (is_signed && word >> 31)
        word = ~word;
    for (unsigned i = 32; i-- > 0;)
        if (word >> i & 1)
            return wants_amount ? 31 - i : i;
    return UINT32_MAX;
}

static uint64_t funnel(uint64_t low, uint64_t high, uint64_t amount, bool left, bool wraps) {
    uint64_t pair = high << 32 | low;
    unsigned n = wraps ? (unsigned)amount & 31 : amount > 32 ? 32 : (unsigned)amount;
    return left ? (pair << n) >> 32 : pair >> n;
}

static uint64_t mask(uint64_t at, uint64_t len, bool wraps) {
    uint64_t result = 0;
    at = wraps ? at & 31 : at;
    len = wraps ? len & 31 : len;
    for (unsigned i = 0; i < 32; i++)
        result |= (uint64_t)(i >= at && i - at < len) << i;
    return result;
}

static uint64_t extended(uint64_t a, uint64_t len, bool wraps, bool is_signed) {
    unsigned n = wraps ? (unsigned)len & 31 : len > 32 ? 32 : (unsigned)len;
    uint64_t low = n ? a & (UINT64_MAX >> (64 - n)) : 0;
    return is_signed && n && low >> (n - 1) & 1 ? low | UINT64_MAX << n : low;
}

static uint64_t dot(const struct tw_kir_inst *inst, uint64_t a, uint64_t b, uint64_t c) {
    bool signs[2] = {tw_kir_type_is_signed((enum tw_kir_type)inst->type),
                     tw_kir_type_is_signed((enum tw_kir_type)inst->type2)};
    int64_t sum = (int64_t)c;
    for (unsigned i = 0; i < 4; i++) {
        int64_t x = (int64_t)(a >> (8 * i) & 255), y = (int64_t)(b >> (8 * i) & 255);
        sum += (signs[0] && x > 127 ? x - 256 : x) * (signs[1] && y > 127 ? y - 256 : y);
    }
    return (uint64_t)sum;
}

static uint64_t lop3(uint64_t a, uint64_t b, uint64_t c, int64_t table) {
    uint64_t result = 0;
    for (unsigned i = 0; i < 32; i++) {
        unsigned row = (unsigned)((a >> i & 1) << 2 | (b >> i & 1) << 1 | (c >> i & 1));
        result |= (uint64_t)(table >> row & 1) << i;
    }
    return result;
}

static uint64_t permute(uint64_t a, uint64_t b, uint64_t selector) {
    uint64_t bytes = b << 32 | a, result = 0;
    for (unsigned i = 0; i < 4; i++) {
        unsigned nibble = selector >> (4 * i) & 15;
        uint64_t byte = bytes >> (8 * (nibble & 7)) & 255;
        if (nibble & 8)
            byte = byte & 128 ? 255 : 0;
        result |= byte << (8 * i);
    }
    return result;
}

bool oracle_field(const struct tw_kir_inst *inst, bool is_signed, const uint64_t s[4], uint64_t *ret_value) {
    bool wraps = inst->mods & TW_KIR_WRAP;
    switch (inst->op) {
    case TW_KIR_BFI:
        *ret_value = insert(s[0], s[1], s[2], s[3]);
        return true;
    case TW_KIR_BFIND:
        *ret_value = find(s[0], is_signed, inst->mods & TW_KIR_SHIFTAMT);
        return true;
    case TW_KIR_SHFL_L:
    case TW_KIR_SHFL_R:
        *ret_value = funnel(s[0], s[1], s[2], inst->op == TW_KIR_SHFL_L, wraps);
        return true;
    case TW_KIR_BMSK:
        *ret_value = mask(s[0], s[1], wraps);
        return true;
    case TW_KIR_SZEXT:
        *ret_value = extended(s[0], s[1], wraps, is_signed);
        return true;
    case TW_KIR_DP4A:
        *ret_value = dot(inst, s[0], s[1], s[2]);
        return true;
    case TW_KIR_LOP3:
        *ret_value = lop3(s[0], s[1], s[2], inst->offset);
        return true;
    case TW_KIR_PRMT:
        *ret_value = permute(s[0], s[1], s[2]);
        return true;
    case TW_KIR_CNOT:
        *ret_value = s[0] == 0;
        return true;
    default:
        return false;
    }
}
