// SPDX-License-Identifier: Apache-2.0
//
// Checks one PTX instruction against a C function over awkward values, in the three ways the compiler treats
// it: on vectors, on scalars (all lanes have the same operands), and under a guard that only some lanes pass.
//
//     static uint64_t want_shl(uint64_t a, uint64_t b, uint64_t c) { … }
//     op_check("shl.b32 d, a, b;", B32, (enum op_width[]){B32, B32}, 2, B32, want_shl);
#pragma once

#include "kernel_run.h"

enum op_width { OP_B16, OP_B32, OP_B64, OP_PRED };
typedef uint64_t (*op_reference)(uint64_t a, uint64_t b, uint64_t c);
// Whether a result is good enough; NULL: bit for bit.
typedef bool (*op_accepts)(uint64_t got, uint64_t a, uint64_t b, uint64_t c);

struct op_case {
    const char *text; // PTX with registers d (result) and a, b, c, or p for a predicate as result
    enum op_width dst, src[3];
    unsigned count; // of sources
    op_reference want;
    op_accepts accepts; // instead of `want`
    bool floats;        // awkward floats rather than integers
};
void op_check(const struct op_case *op);
