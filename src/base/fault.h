// SPDX-License-Identifier: Apache-2.0
//
// Fault injection: TW_FAULT=alloc:n|io:n|cuda:n|reset:n makes the n-th call of that kind fail, so that the fault
// suite can walk every failure path of the shipped binary. Costs one predictable branch when off. Any thread.
#pragma once

#include "base/port.h"

enum tw_fault_kind { TW_FAULT_ALLOC, TW_FAULT_IO, TW_FAULT_CUDA, TW_FAULT_RESET, TW_FAULT_KIND_COUNT };

void tw_fault_configure(
    const char *text); // "io:3"; NULL or empty: off. Unknown text is ignored with a message on stderr.
bool tw_fault_strikes(enum tw_fault_kind kind); // true: the caller must fail now
// malloc/calloc/realloc that obey TW_FAULT; NULL on failure. Free with free().
[[nodiscard]] void *tw_alloc(size_t size);
[[nodiscard]] void *tw_alloc_zero(size_t count, size_t size);
[[nodiscard]] void *tw_realloc(void *old, size_t size);
