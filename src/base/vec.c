// SPDX-License-Identifier: Apache-2.0
//
// The one growth rule of typed arrays: double, from 8, never past the maximum.

#include "base/vec.h"

#include "base/fault.h"

enum { FIRST_CAPACITY = 8 };

bool tw_vec_grow(void *items, size_t *capacity, size_t count, size_t element_size, size_t max) {
    if (count >= max)
        return false;
    if (count < *capacity)
        return true;
    size_t wanted = *capacity < FIRST_CAPACITY / 2 ? FIRST_CAPACITY : *capacity * 2;
    if (wanted > max || wanted <= *capacity)
        wanted = max;
    size_t bytes;
    if (__builtin_mul_overflow(wanted, element_size, &bytes))
        return false;
    // `items` points at a pointer of some element type; its bytes are copied, since reading it as void *
    // would break aliasing.
    void *old;
    memcpy(&old, items, sizeof(old));
    void *grown = tw_realloc(old, bytes);
    if (!grown)
        return false;
    memcpy(items, &grown, sizeof(grown));
    *capacity = wanted;
    return true;
}
