// SPDX-License-Identifier: Apache-2.0
//
// Conversions, element by element.

#include "convert.h"

#include "interp/alu_convert.def"

#include "alu_list.h"

extern interp_handler *const INTERP_NAME(alu_convert)[];
interp_handler *const INTERP_NAME(alu_convert)[] = {
#include "interp/alu_convert.def"
};
