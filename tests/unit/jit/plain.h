// SPDX-License-Identifier: Apache-2.0
//
// PTX instructions whose result depends on their operands alone, in plain C, by their text and the PTX manual: what the
// code of test_values.c is compared with. Shares nothing with the compiler but the C library.
//
//     struct plain_inst inst;
//     if (plain_parse("add.sat.s32", &inst))   // false: an instruction of memory, warps, matrices, control
//         value = plain_compute(&inst, (uint64_t[4]){1, 2});
#pragma once

#include "base/base.h"

enum { PLAIN_MODS = 12 };

struct plain_type {
    char kind;      // p(redicate), b, u, s, f, g (bf16), t (tf32), e (e4m3), m (e5m2)
    unsigned bits;  // of a lane
    unsigned lanes; // 2 for f16x2 and the like
};

struct plain_inst {
    const struct plain_row *row;
    char text[64], name[16], mods[PLAIN_MODS][16]; // the modifiers; types too
    unsigned mod_count, type_count;
    struct plain_type types[4];
    const char *shape; // results = sources, a letter each: h 16, r 32, x 64 bits, p predicate
};

// A result: bits to the last one, or any number near enough.
struct plain_value {
    uint64_t bits, second;     // second: of d|p, and the carry
    bool is_any;               // the manual leaves it open
    struct plain_type type;    // of `bits`; of floats any NaN will do for a NaN
    double relative, absolute; // how far off it may be; zeros: not at all
    long double near[2];       // the lanes' exact values, where it may be
};

typedef struct plain_value (*plain_function)(const struct plain_inst *inst, const uint64_t in[4]);
struct plain_row {
    const char *name,
        *shape; // t: the first type's width, v: the second's, w: twice the first's, d: the same or twice for .wide
    plain_function compute;
};

bool plain_parse(const char *text, struct plain_inst *ret_inst);
bool plain_has(const struct plain_inst *inst, const char *mod);
struct plain_value plain_compute(const struct plain_inst *inst, const uint64_t in[4]);
bool plain_same(const struct plain_value *want, uint64_t got);

// ---- for the files that hold the functions ----

extern const struct plain_row plain_integers[], plain_floats[], plain_compares[], plain_converts[],
    plain_videos[];

__extension__ typedef __int128 plain_wide;

// The whole number that these bits are; the bits of one.
plain_wide plain_number(struct plain_type type, uint64_t bits);
uint64_t plain_low(plain_wide value, unsigned bits);
plain_wide plain_clamped(struct plain_type type, plain_wide value);

// One lane of a float: its value, exactly; a value that was worked out with a sticky last bit as the nearest number, or that in
// the direction ("rn", "rz", "rm", "rp"); whether its bits are a NaN's.
long double plain_float(struct plain_type type, uint64_t bits);
uint64_t plain_rounded(struct plain_type type, const char *direction, long double value);
bool plain_is_nan(struct plain_type type, uint64_t bits);
uint64_t plain_flushed(struct plain_type type, uint64_t bits); // subnormal numbers to zeros of their sign
const char *plain_direction(const struct plain_inst *inst);    // "rn" where none stands
uint64_t plain_lane(struct plain_type type, uint64_t bits, unsigned lane);
bool plain_compare(const struct plain_inst *inst, struct plain_type type, uint64_t a, uint64_t b);

static inline struct plain_value plain_bits(plain_wide value, unsigned bits) {
    return (struct plain_value){.bits = plain_low(value, bits), .type = {'b', bits, 1}};
}
