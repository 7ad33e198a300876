// SPDX-License-Identifier: Apache-2.0
//
// Loads and stores by where the lanes' places lie: all at one, side by side, or anywhere. Stores go element by element, of
// each the lanes in their order: where lanes meet the highest wins, as in compiled code.

#include "memory.h"

// Where lanes lie side by side, each with 1, 2 or 4 elements; false: they do not.
static bool find_row(const struct interp_warp *warp, const struct interp_step *step, uint64_t element_bytes,
                     uint8_t **ret_row) {
    uint32_t count = step->operands[1];
    return (count == 1 || count == 2 || count == 4) &&
           places_find_row(warp, interp_row(warp, step, 0), (int64_t)step->imm, count * element_bytes,
                           ret_row);
}

// The one of the functions name_1, name_2, name_4 that takes so many elements a lane.
#define ROW_OF(name, count) ((count) == 1 ? name##_1 : (count) == 2 ? name##_2 : name##_4)

// Lanes side by side, each with `count` elements. What a lane gets that takes no part is nobody's.
#define LOAD_ROW(bits, type, count)                                                                          \
    static INTERP_RACES void load_row_##bits##_##count(const uint8_t *from, const struct interp_warp *warp,  \
                                                       const struct interp_step *step) {                     \
        const loose_##bits *row = (const loose_##bits *)from;                                                \
        uint32_t active = warp->active;                                                                      \
        for (unsigned k = 0; k < count; k++) {                                                               \
            type *d = interp_row(warp, step, 2 + k);                                                         \
            if (active == UINT32_MAX) {                                                                      \
                EACH_LANE(i)                                                                                 \
                d[i] = row[i * count + k];                                                                   \
            } else {                                                                                         \
                EACH_LANE(i)                                                                                 \
                d[i] = active >> i & 1 ? row[i * count + k] : 0;                                             \
            }                                                                                                \
        }                                                                                                    \
    }

// Few lanes or none, each by itself: vectors would have to leave out most of what they read, and may meet pages there that
// nobody has.
#define LOAD_FEW(bits, type)                                                                                 \
    static INTERP_RACES void load_few_##bits(const struct interp_warp *warp, const struct interp_step *step, \
                                             uint32_t count) {                                               \
        const uint64_t *addresses = interp_row(warp, step, 0);                                               \
        for (uint32_t left = warp->active; left; left &= left - 1) {                                         \
            unsigned i = (unsigned)__builtin_ctz(left);                                                      \
            const loose_##bits *from =                                                                       \
                (const loose_##bits *)places_find_one(warp, addresses[i], (int64_t)step->imm);               \
            type values[TW_INTERP_ELEMENTS_MAX];                                                             \
            for (uint32_t k = 0; k < count; k++)                                                             \
                values[k] = from[k];                                                                         \
            for (uint32_t k = 0; k < count; k++)                                                             \
                ((type *)interp_row(warp, step, 2 + k))[i] = values[k];                                      \
        }                                                                                                    \
    }

#define LOAD(bits, type)                                                                                     \
    LOAD_FEW(bits, type)                                                                                     \
    LOAD_ROW(bits, type, 1)                                                                                  \
    LOAD_ROW(bits, type, 2)                                                                                  \
    LOAD_ROW(bits, type, 4)                                                                                  \
    static INTERP_RACES void load_##bits(const struct places *places, uint32_t bytes_behind, bool same,      \
                                         type *d) {                                                          \
        const uint8_t *base = places->base + bytes_behind;                                                   \
        if (same) {                                                                                          \
            type value = *(const loose_##bits *)(base + places->at[0]);                                      \
            EACH_LANE(i)                                                                                     \
            d[i] = value;                                                                                    \
        } else {                                                                                             \
            for (unsigned i = 0; i < TW_INTERP_LANES; i++)                                                   \
                d[i] = *(const loose_##bits *)(base + places->at[i]);                                        \
        }                                                                                                    \
    }                                                                                                        \
    INTERP_RACES INTERP_HANDLER(LD_##bits) {                                                                 \
        struct places places;                                                                                \
        uint32_t count = step->operands[1];                                                                  \
        if (places_are_few(warp)) {                                                                          \
            load_few_##bits(warp, step, count);                                                              \
            return step + 1;                                                                                 \
        }                                                                                                    \
        uint8_t *row;                                                                                        \
        if (find_row(warp, step, sizeof(type), &row)) {                                                      \
            ROW_OF(load_row_##bits, count)(row, warp, step);                                                 \
            return step + 1;                                                                                 \
        }                                                                                                    \
        places_find(warp, interp_row(warp, step, 0), (int64_t)step->imm, &places);                           \
        bool same = places_apart(&places, 0);                                                                \
        for (uint32_t k = 0; k < count; k++)                                                                 \
            load_##bits(&places, k *(uint32_t)sizeof(type), same, interp_row(warp, step, 2 + k));            \
        return step + 1;                                                                                     \
    }

LOAD(8, uint8_t)
LOAD(16, uint16_t)
LOAD(32, uint32_t)
LOAD(64, uint64_t)
LOAD(128, uint128)

#define STORE_ROW(bits, type, count)                                                                         \
    static INTERP_RACES void store_row_##bits##_##count(uint8_t *to, const struct interp_warp *warp,         \
                                                        const struct interp_step *step) {                    \
        loose_##bits *row = (loose_##bits *)to;                                                              \
        uint32_t active = warp->active;                                                                      \
        for (unsigned k = 0; k < count; k++) {                                                               \
            const type *v = interp_row(warp, step, 2 + k);                                                   \
            if (active == UINT32_MAX) {                                                                      \
                EACH_LANE(i)                                                                                 \
                row[i * count + k] = v[i];                                                                   \
            } else {                                                                                         \
                EACH_LANE(i)                                                                                 \
                if (active >> i & 1)                                                                         \
                    row[i * count + k] = v[i];                                                               \
            }                                                                                                \
        }                                                                                                    \
    }

// Element by element, of each the lanes in their order.
#define STORE_FEW(bits, type)                                                                                \
    static INTERP_RACES void store_few_##bits(struct interp_warp *warp, const struct interp_step *step,      \
                                              uint32_t count) {                                              \
        const uint64_t *addresses = interp_row(warp, step, 0);                                               \
        for (uint32_t k = 0; k < count; k++) {                                                               \
            const type *v = interp_row(warp, step, 2 + k);                                                   \
            for (uint32_t left = warp->active; left; left &= left - 1) {                                     \
                unsigned i = (unsigned)__builtin_ctz(left);                                                  \
                loose_##bits *to = (loose_##bits *)places_find_one(warp, addresses[i], (int64_t)step->imm);  \
                if (k == 0)                                                                                  \
                    places_note_one_stored(warp, (const uint8_t *)to, count * sizeof(type));                 \
                to[k] = v[i];                                                                                \
            }                                                                                                \
        }                                                                                                    \
    }

#define STORE(bits, type)                                                                                    \
    STORE_FEW(bits, type)                                                                                    \
    STORE_ROW(bits, type, 1)                                                                                 \
    STORE_ROW(bits, type, 2)                                                                                 \
    STORE_ROW(bits, type, 4)                                                                                 \
    static INTERP_RACES void store_##bits(const struct places *places, uint32_t bytes_behind,                \
                                          uint32_t lanes, const type *v) {                                   \
        uint8_t *base = places->base + bytes_behind;                                                         \
        for (uint32_t left = lanes; left; left &= left - 1) {                                                \
            unsigned i = (unsigned)__builtin_ctz(left);                                                      \
            *(loose_##bits *)(base + places->at[i]) = v[i];                                                  \
        }                                                                                                    \
    }                                                                                                        \
    INTERP_RACES INTERP_HANDLER(ST_##bits) {                                                                 \
        struct places places;                                                                                \
        uint32_t count = step->operands[1], lanes = warp->active;                                            \
        if (places_are_few(warp)) {                                                                          \
            store_few_##bits(warp, step, count);                                                             \
            return step + 1;                                                                                 \
        }                                                                                                    \
        uint8_t *row;                                                                                        \
        if (find_row(warp, step, sizeof(type), &row)) {                                                      \
            places_note_row_stored(warp, row, count * sizeof(type));                                         \
            ROW_OF(store_row_##bits, count)(row, warp, step);                                                \
            return step + 1;                                                                                 \
        }                                                                                                    \
        places_find(warp, interp_row(warp, step, 0), (int64_t)step->imm, &places);                           \
        places_note_stored(warp, &places, count * sizeof(type));                                             \
        if (places_apart(&places, 0))                                                                        \
            lanes = 0x80000000U >> __builtin_clz(lanes);                                                     \
        for (uint32_t k = 0; k < count; k++)                                                                 \
            store_##bits(&places, k *(uint32_t)sizeof(type), lanes, interp_row(warp, step, 2 + k));          \
        return step + 1;                                                                                     \
    }

STORE(8, uint8_t)
STORE(16, uint16_t)
STORE(32, uint32_t)
STORE(64, uint64_t)
STORE(128, uint128)
