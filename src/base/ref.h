// SPDX-License-Identifier: Apache-2.0
//
// Reference counts for what threads share: compiled module, loaded kernel, tenant record. Embed a `struct
// tw_ref`.
#pragma once

#include "base/port.h"

// Atomic; starts at 1.
struct tw_ref {
    _Atomic uint32_t count;
};

void tw_ref_init(struct tw_ref *ref);
void tw_ref_up(struct tw_ref *ref);
bool tw_ref_is_shared(const struct tw_ref *ref); // somebody beside the asker, a holder, has one
bool tw_ref_down(struct tw_ref *ref);            // true: this was the last one, free the object
