// SPDX-License-Identifier: Apache-2.0
//
// Floats, element by element.

#include "alu.h"

#include "interp/alu_float.def"
#undef ALU1
#undef ALU2
#undef ALU3
#undef ALU4

#include "alu_list.h"

extern interp_handler *const INTERP_NAME(alu_float)[];
interp_handler *const INTERP_NAME(alu_float)[] = {
#include "interp/alu_float.def"
};
