// SPDX-License-Identifier: Apache-2.0
//
// This level's handlers by number.

#include "level.h"

#define INTERP_OP(op, name, sizes, flags) interp_handler INTERP_NAME(op);
#include "interp/ops.def"
#undef INTERP_OP

INTERP_HANDLER(NONE) {
    return step + 1;
}

static interp_handler *const special[] = {
#define INTERP_OP(op, name, sizes, flags) INTERP_NAME(op),
#include "interp/ops.def"
#undef INTERP_OP
};

extern interp_handler *const INTERP_NAME(alu_int)[], *const INTERP_NAME(alu_float)[],
                                                         *const INTERP_NAME(alu_convert)[];
const struct interp_level OF_LEVEL(interp_level) = {
    .special = special,
    .alu = {INTERP_NAME(alu_int), INTERP_NAME(alu_float), INTERP_NAME(alu_convert)},
};
