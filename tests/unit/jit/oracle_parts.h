// SPDX-License-Identifier: Apache-2.0
//
// What oracle.c is made of besides itself: operations by their definition, on values of 64 bits.
#pragma once

#include "oracle.h"

// Integer operations on fields, bytes and pairs of words. False: this is none of them.
bool oracle_field(const struct tw_kir_inst *inst, bool is_signed, const uint64_t s[4], uint64_t *ret_value);

// f16 and bf16 operations, rounded once. False: this is none of them.
bool oracle_small(const struct tw_kir_inst *inst, const uint64_t s[3], uint64_t *ret_value);

// Conversions from or to floats of 16 and 8 bits. False: this is none of them.
bool oracle_small_convert(const struct tw_kir_inst *inst, const uint64_t s[2], uint64_t *ret_value);
