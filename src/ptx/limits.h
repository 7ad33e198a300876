// SPDX-License-Identifier: Apache-2.0
//
// The maxima of the PTX reader, each with its reason. Instructions, registers, blocks and parameters are
// limited by kernel/limits.h.
#pragma once

enum {
    // `{ }` in function bodies: call sequences and inlined assembly nest two or three deep.
    PTX_MAX_SCOPES = 64,
    // Braces of an initialiser: the dimensions of an array.
    PTX_MAX_INIT_DEPTH = 8,
    // Parentheses and operators of a constant expression; bounds the recursion.
    PTX_MAX_EXPRESSION_DEPTH = 64,
    // Longest instruction names have eight modifiers (ld with cache levels).
    PTX_MAX_MODIFIERS = 16,
    // Elements of { }: eight for .v8, sixteen leaves room for matrix fragments.
    PTX_MAX_ELEMENTS = 8,
    // Operands of any instruction.
    PTX_MAX_OPERANDS = 6,
    // Arguments and results of a call; kernel/ops.def has the same.
    PTX_MAX_ARGUMENTS = 128,
    PTX_MAX_RESULTS = 8,
    // What alloca has in each function: as much as recursion has (kernel/recursion.c).
    PTX_STACK_BYTES = 16 << 10,
    // An identifier; nvcc's mangled names stay below 4,096 but messages and listings must carry them.
    PTX_MAX_IDENTIFIER = 1'024,
};
