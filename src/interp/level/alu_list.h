// SPDX-License-Identifier: Apache-2.0
//
// What a row of an alu_*.def table is in a list of handlers: the one that alu.h made of the same line.
#pragma once

#undef ALU1
#undef ALU2
#undef ALU3
#undef ALU4
#undef ROW1
#undef ROW2
#undef ROW3

#define ALU1(op, type, type2, how, D, A, expr)           ALU_NAME(__LINE__),
#define ALU2(op, type, type2, how, D, A, B, expr)        ALU_NAME(__LINE__),
#define ALU3(op, type, type2, how, D, A, B, C, expr)     ALU_NAME(__LINE__),
#define ALU4(op, type, type2, how, D, A, B, C, E, expr)  ALU_NAME(__LINE__),
#define ROW1(op, type, type2, how, D, A, function)       ALU_NAME(__LINE__),
#define ROW2(op, type, type2, how, D, A, B, function)    ALU_NAME(__LINE__),
#define ROW3(op, type, type2, how, D, A, B, C, function) ALU_NAME(__LINE__),
