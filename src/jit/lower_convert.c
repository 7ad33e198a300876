// SPDX-License-Identifier: Apache-2.0
//
// Conversions: see lower.h.

#include "lower.h"

bool jit_lower_convert(struct jit_lower *l, const struct tw_kir_inst *inst) {
    (void)l;
    (void)inst;
    return false;
}
