// SPDX-License-Identifier: Apache-2.0
//
// Loads and stores by where the lanes' places lie: all at one, side by side, or anywhere. Stores go element by element, of
// each the lanes in their order: where lanes meet the highest wins, as in compiled code.

#include "memory.h"

#define LOAD(bits, type)                                                                                     \
    static INTERP_RACES void load_##bits(const struct places *places, uint32_t bytes_behind, bool same,      \
                                         bool aligned, type *d) {                                            \
        const uint8_t *base = places->base + bytes_behind;                                                   \
        if (same) {                                                                                          \
            type value = *(const loose_##bits *)(base + places->at[0]);                                      \
            EACH_LANE(i)                                                                                     \
            d[i] = value;                                                                                    \
        } else if (aligned) {                                                                                \
            const loose_##bits *row = (const loose_##bits *)(base + places->at[0]);                          \
            EACH_LANE(i)                                                                                     \
            d[i] = row[i];                                                                                   \
        } else {                                                                                             \
            for (unsigned i = 0; i < TW_INTERP_LANES; i++)                                                   \
                d[i] = *(const loose_##bits *)(base + places->at[i]);                                        \
        }                                                                                                    \
    }                                                                                                        \
    INTERP_RACES INTERP_HANDLER(LD_##bits) {                                                                 \
        struct places places;                                                                                \
        uint32_t count = step->operands[1];                                                                  \
        if (!warp->active)                                                                                   \
            return step + 1;                                                                                 \
        places_find(warp, interp_row(warp, step, 0), (int64_t)step->imm, &places);                           \
        bool same = places_apart(&places, 0);                                                                \
        bool aligned = count == 1 && places_apart(&places, sizeof(type));                                    \
        for (uint32_t k = 0; k < count; k++)                                                                 \
            load_##bits(&places, k *(uint32_t)sizeof(type), same, aligned, interp_row(warp, step, 2 + k));   \
        return step + 1;                                                                                     \
    }

LOAD(8, uint8_t)
LOAD(16, uint16_t)
LOAD(32, uint32_t)
LOAD(64, uint64_t)
LOAD(128, uint128)

#define STORE(bits, type)                                                                                    \
    static INTERP_RACES void store_##bits(const struct places *places, uint32_t bytes_behind, bool aligned,  \
                                          uint32_t lanes, const type *v) {                                   \
        uint8_t *base = places->base + bytes_behind;                                                         \
        if (aligned) {                                                                                       \
            loose_##bits *row = (loose_##bits *)(base + places->at[0]);                                      \
            EACH_LANE(i)                                                                                     \
            row[i] = v[i];                                                                                   \
        } else {                                                                                             \
            for (uint32_t left = lanes; left; left &= left - 1) {                                            \
                unsigned i = (unsigned)__builtin_ctz(left);                                                  \
                *(loose_##bits *)(base + places->at[i]) = v[i];                                              \
            }                                                                                                \
        }                                                                                                    \
    }                                                                                                        \
    INTERP_RACES INTERP_HANDLER(ST_##bits) {                                                                 \
        struct places places;                                                                                \
        uint32_t count = step->operands[1], lanes = warp->active;                                            \
        if (!lanes)                                                                                          \
            return step + 1;                                                                                 \
        places_find(warp, interp_row(warp, step, 0), (int64_t)step->imm, &places);                           \
        places_note_stored(warp, &places, count * sizeof(type));                                             \
        if (places_apart(&places, 0))                                                                        \
            lanes = 0x80000000U >> __builtin_clz(lanes);                                                     \
        bool aligned = count == 1 && lanes == UINT32_MAX && places_apart(&places, sizeof(type));             \
        for (uint32_t k = 0; k < count; k++)                                                                 \
            store_##bits(&places, k *(uint32_t)sizeof(type), aligned, lanes, interp_row(warp, step, 2 + k)); \
        return step + 1;                                                                                     \
    }

STORE(8, uint8_t)
STORE(16, uint16_t)
STORE(32, uint32_t)
STORE(64, uint64_t)
STORE(128, uint128)
