// SPDX-License-Identifier: Apache-2.0
//
// Growing typed arrays with a maximum, for plain structs:
//
//     struct { struct item *items; size_t count, capacity; } list = {};
//     if (!TW_VEC_PUSH(&list, item, MAX_ITEMS)) …   // full or out of memory: nothing changed
//     free(list.items);
#pragma once

#include "base/port.h"

// Makes room for one more element; `items` is the address of the array pointer. False at `max` or without
// memory.
[[nodiscard]] bool tw_vec_grow(void *items, size_t *capacity, size_t count, size_t element_size, size_t max);

#define TW_VEC_PUSH(vec, element, max)                                                                       \
    (tw_vec_grow(&(vec)->items, &(vec)->capacity, (vec)->count, sizeof(*(vec)->items), (max))                \
         ? ((vec)->items[(vec)->count++] = (element), true)                                                  \
         : false)
