// SPDX-License-Identifier: Apache-2.0
//
// See small_float.h.

#include "small_float.h"

#include <math.h>

const struct small_float small_half = {10, 5, 15, 0x7bff, false, 0x7fff},
                         small_bfloat = {7, 8, 127, 0x7f7f, false, 0x7fff},
                         small_e4m3 = {3, 4, 7, 0x7e, true, 0x7f}, small_e5m2 = {2, 5, 15, 0x7b, true, 0x7f};

long double small_value(const struct small_float *s, uint32_t code) {
    uint32_t exponent = code >> s->fraction, fraction = code & ((1u << s->fraction) - 1);
    long double whole = exponent ? fraction + (1u << s->fraction) : fraction;
    return ldexpl(whole, (int)(exponent ? exponent : 1) - (int)(s->bias + s->fraction));
}

uint32_t small_rounded(const struct small_float *s, enum small_direction direction, long double x) {
    uint32_t sign = signbit(x) ? 1u << (s->fraction + s->exponent) : 0, low = 0, high = s->most;
    long double size = fabsl(x);
    if (isnan(x))
        return s->nan;
    if (isinf(x) || size >= small_value(s, s->most + 1) * 2)
        size = small_value(s, s->most + 1) * 2; // more than anything
    while (low < high) {                        // the greatest that is not above
        uint32_t middle = (low + high + 1) / 2;
        if (small_value(s, middle) <= size)
            low = middle;
        else
            high = middle - 1;
    }
    long double below = size - small_value(s, low), above = small_value(s, low + 1) - size;
    bool up = direction == SMALL_NEAREST ? above < below || (above == below && (low & 1))
                                         : below > 0 && direction == (sign ? SMALL_DOWN : SMALL_UP);
    if (isinf(x))
        up = true;
    low += up ? 1 : 0;
    return sign | (s->saturates && low > s->most ? s->most : low);
}
