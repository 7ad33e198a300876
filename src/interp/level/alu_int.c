// SPDX-License-Identifier: Apache-2.0
//
// Integers and predicates, element by element.

#include "int.h"

#include "interp/alu_int.def"

#include "alu_list.h"

extern interp_handler *const INTERP_NAME(alu_int)[];
interp_handler *const INTERP_NAME(alu_int)[] = {
#include "interp/alu_int.def"
};
