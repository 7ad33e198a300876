// SPDX-License-Identifier: Apache-2.0
//
// CRC-32 of IEEE 802.3 (reflected polynomial 0xEDB88320), eight bytes a step: table k gives the effect of a
// byte that has k more bytes after it in the step (Kounavis and Berry, "Novel table lookup-based algorithms
// for high-performance CRC generation", 2008).

#include <pthread.h>

#include "base/hash.h"

enum { STEP = 8 };

// Frozen after make_tables.
static uint32_t tables[STEP][256];

static void make_tables(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t value = byte;
        for (unsigned bit = 0; bit < 8; bit++)
            value = value >> 1 ^ (value & 1 ? 0xEDB88320 : 0);
        tables[0][byte] = value;
    }
    for (unsigned k = 1; k < STEP; k++) {
        for (uint32_t byte = 0; byte < 256; byte++)
            tables[k][byte] = tables[k - 1][byte] >> 8 ^ tables[0][tables[k - 1][byte] & 0xFF];
    }
}

uint32_t tw_crc32(uint32_t seed, struct tw_span data) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_tables);
    uint32_t crc = ~seed;
    size_t at = 0;
    for (; data.len - at >= STEP; at += STEP) {
        uint32_t low, high;
        memcpy(&low, data.data + at, sizeof(low));
        memcpy(&high, data.data + at + sizeof(low), sizeof(high));
        low ^= crc;
        crc = tables[7][low & 0xFF] ^ tables[6][low >> 8 & 0xFF] ^ tables[5][low >> 16 & 0xFF] ^
              tables[4][low >> 24] ^ tables[3][high & 0xFF] ^ tables[2][high >> 8 & 0xFF] ^
              tables[1][high >> 16 & 0xFF] ^ tables[0][high >> 24];
    }
    for (; at < data.len; at++)
        crc = crc >> 8 ^ tables[0][(crc ^ data.data[at]) & 0xFF];
    return ~crc;
}
