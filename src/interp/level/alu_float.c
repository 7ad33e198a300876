// SPDX-License-Identifier: Apache-2.0
//
// Floats, element by element.

#include "approx.h"
#include "round.h"

#include "interp/alu_float.def"

#include "alu_list.h"

extern interp_handler *const INTERP_NAME(alu_float)[];
interp_handler *const INTERP_NAME(alu_float)[] = {
#include "interp/alu_float.def"
};
