// SPDX-License-Identifier: Apache-2.0
//
// How a row of an alu_*.def table becomes a handler. A row reads
//
//     ALU2(op, type, type2, how, D, A, B, expression in a and b)
//
// op, type and type2 are the key's (without TW_KIR_; type2 PRED where the operation has one type), `how` the rest of it:
// PLAIN, or fields such as .cmp = TW_KIR_LT; D, A, B name element types of the rows. `imm` is the instruction's. Names of
// handlers carry the line of the table, so each row stands on a line of its own.
//
//     ROW2(op, type, type2, how, D, A, B, function)
//
// is one whose lanes are no expression each: function(d, a, b, imm) computes the row.
#pragma once

#include "level.h"

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
__extension__ typedef unsigned __int128 u128;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef float f32;
typedef double f64;
typedef int8_t pred; // 0 or -1

// What an expression is stored as, and what a source is read as: predicates are 0 or 1 in expressions.
#define PUT_u8(v)   (u8)(v)
#define PUT_u16(v)  (u16)(v)
#define PUT_u32(v)  (u32)(v)
#define PUT_u64(v)  (u64)(v)
#define PUT_u128(v) (u128)(v)
#define PUT_s8(v)   (s8)(v)
#define PUT_s16(v)  (s16)(v)
#define PUT_s32(v)  (s32)(v)
#define PUT_s64(v)  (s64)(v)
#define PUT_f32(v)  (f32)(v)
#define PUT_f64(v)  (f64)(v)
#define PUT_pred(v) (pred) - ((v) ? 1 : 0)
#define GET_u8(v)   (v)
#define GET_u16(v)  (v)
#define GET_u32(v)  (v)
#define GET_u64(v)  (v)
#define GET_u128(v) (v)
#define GET_s8(v)   (v)
#define GET_s16(v)  (v)
#define GET_s32(v)  (v)
#define GET_s64(v)  (v)
#define GET_f32(v)  (v)
#define GET_f64(v)  (v)
#define GET_pred(v) ((v) < 0)

#define ALU_JOIN(a, b) a##b
#define ALU_NAME(line) ALU_JOIN(alu_, line)
#define ALU_BEGIN(D)                                                                                         \
    static const struct interp_step *ALU_NAME(__LINE__)(struct interp_warp * warp,                           \
                                                        const struct interp_step *step) {                    \
        [[maybe_unused]] const uint64_t imm = step->imm;                                                     \
        D *restrict_d = interp_row(warp, step, 0);
#define ALU_SOURCE(A, row, index) const A *row = interp_row(warp, step, index);
#define ALU_READ(A, name, row)    [[maybe_unused]] const A name = (A)GET_##A(row[i]);
#define ALU_END(D, expr)                                                                                     \
    restrict_d[i] = PUT_##D(expr);                                                                           \
    }                                                                                                        \
    return step + 1;                                                                                         \
    }
#define ALU1(op, type, type2, how, D, A, expr)                                                               \
    ALU_BEGIN(D) ALU_SOURCE(A, row_a, 1) EACH_LANE(i) {                                                      \
        ALU_READ(A, a, row_a)                                                                                \
        ALU_END(D, expr)
#define ALU2(op, type, type2, how, D, A, B, expr)                                                            \
    ALU_BEGIN(D) ALU_SOURCE(A, row_a, 1) ALU_SOURCE(B, row_b, 2) EACH_LANE(i) {                              \
        ALU_READ(A, a, row_a) ALU_READ(B, b, row_b) ALU_END(D, expr)
#define ALU3(op, type, type2, how, D, A, B, C, expr)                                                         \
    ALU_BEGIN(D) ALU_SOURCE(A, row_a, 1) ALU_SOURCE(B, row_b, 2) ALU_SOURCE(C, row_c, 3) EACH_LANE(i) {      \
        ALU_READ(A, a, row_a) ALU_READ(B, b, row_b) ALU_READ(C, c, row_c) ALU_END(D, expr)
#define ALU4(op, type, type2, how, D, A, B, C, E, expr)                                                      \
    ALU_BEGIN(D)                                                                                             \
    ALU_SOURCE(A, row_a, 1)                                                                                  \
    ALU_SOURCE(B, row_b, 2) ALU_SOURCE(C, row_c, 3) ALU_SOURCE(E, row_e, 4) EACH_LANE(i) {                   \
        ALU_READ(A, a, row_a)                                                                                \
        ALU_READ(B, b, row_b) ALU_READ(C, c, row_c) ALU_READ(E, e, row_e) ALU_END(D, expr)
#define ROW1(op, type, type2, how, D, A, function)                                                           \
    ALU_BEGIN(D) ALU_SOURCE(A, row_a, 1) function(restrict_d, row_a, imm);                                   \
    return step + 1;                                                                                         \
    }
#define ROW2(op, type, type2, how, D, A, B, function)                                                        \
    ALU_BEGIN(D)                                                                                             \
    ALU_SOURCE(A, row_a, 1) ALU_SOURCE(B, row_b, 2) function(restrict_d, row_a, row_b, imm);                 \
    return step + 1;                                                                                         \
    }
#define ROW3(op, type, type2, how, D, A, B, C, function)                                                     \
    ALU_BEGIN(D)                                                                                             \
    ALU_SOURCE(A, row_a, 1)                                                                                  \
    ALU_SOURCE(B, row_b, 2) ALU_SOURCE(C, row_c, 3) function(restrict_d, row_a, row_b, row_c, imm);          \
    return step + 1;                                                                                         \
    }
