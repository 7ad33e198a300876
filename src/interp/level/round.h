// SPDX-License-Identifier: Apache-2.0
//
// Arithmetic rounded toward zero, down or up: MXCSR has the direction while a row is computed. Whoever leaves that in between
// (a launch that is stopped) has to set it back.
#pragma once

#include "float.h"

// imm: as in MXCSR, 1 down, 2 up, 3 toward zero. Arithmetic stays between the two: it needs what is read behind the first and
// written before the second.
static inline void set_direction(u64 imm) {
    u32 word = 0x1f80 | (u32)(imm & 3) << 13;
    __asm__ volatile("vldmxcsr %0" : : "m"(word) : "memory");
}

#define DIRECTED_LOOP(expr)                                                                                  \
    set_direction(imm);                                                                                      \
    EACH_LANE(i)                                                                                             \
    d[i] = expr;                                                                                             \
    set_direction(0);
#define DIRECTED1(name, type, expr)                                                                          \
    static inline void name(type *d, const type *a, u64 imm) {                                               \
        DIRECTED_LOOP(expr)                                                                                  \
    }
#define DIRECTED2(name, type, expr)                                                                          \
    static inline void name(type *d, const type *a, const type *b, u64 imm) {                                \
        DIRECTED_LOOP(expr)                                                                                  \
    }
#define DIRECTED3(name, type, expr)                                                                          \
    static inline void name(type *d, const type *a, const type *b, const type *c, u64 imm) {                 \
        DIRECTED_LOOP(expr)                                                                                  \
    }
DIRECTED2(directed_add_f32, f32, add_f32(a[i], b[i]))
DIRECTED2(directed_add_f64, f64, add_f64(a[i], b[i]))
DIRECTED2(directed_sub_f32, f32, a[i] - b[i])
DIRECTED2(directed_sub_f64, f64, a[i] - b[i])
DIRECTED2(directed_mul_f32, f32, mul_f32(a[i], b[i]))
DIRECTED2(directed_mul_f64, f64, mul_f64(a[i], b[i]))
DIRECTED2(directed_div_f32, f32, a[i] / b[i])
DIRECTED2(directed_div_f64, f64, a[i] / b[i])
DIRECTED1(directed_sqrt_f32, f32, __builtin_sqrtf(a[i]))
DIRECTED1(directed_sqrt_f64, f64, __builtin_sqrt(a[i]))
DIRECTED3(directed_fma_f32, f32, fused_f32(a[i], b[i], c[i]))
DIRECTED3(directed_fma_f64, f64, fused_f64(a[i], b[i], c[i]))
