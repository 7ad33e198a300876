// SPDX-License-Identifier: Apache-2.0
//
// Floats: see lower.h.

#include "lower.h"

bool jit_lower_float(struct jit_lower *l, const struct tw_kir_inst *inst) {
    (void)l;
    (void)inst;
    return false;
}
