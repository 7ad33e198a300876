// SPDX-License-Identifier: Apache-2.0
//
// See warp_forms.h.

#include "warp_forms.h"

static bool has(const char *text, const char *part) {
    return strstr(text, part) != NULL;
}

// The manual's pseudo-code.
static struct warp_out shuffled(const char *text, const struct warp_in *warp, unsigned lane) {
    int self = (int)lane, b = (int)(warp[lane].b & 31), segment = (int)(warp[lane].c >> 8 & 31),
        clamp = (int)(warp[lane].c & 31), most = (self & segment) | (clamp & ~segment),
        least = self & segment;
    int from = has(text, ".up")     ? self - b
               : has(text, ".down") ? self + b
               : has(text, ".bfly") ? self ^ b
                                    : least | (b & ~segment);
    bool in_range = has(text, ".up") ? from >= most : from <= most;
    if (!in_range)
        from = self;
    bool is_member = from >= 0 && from < 32 && warp[lane].members >> from & 1;
    return (struct warp_out){is_member ? warp[from].a : 0, in_range, !is_member};
}

static struct warp_out voted(const char *text, const struct warp_in *warp, unsigned lane) {
    uint32_t members = warp[lane].members, ballot = 0;
    for (unsigned i = 0; i < 32; i++)
        if (members >> i & 1)
            ballot |= (warp[i].s & 1) << i;
    if (has(text, "ballot"))
        return (struct warp_out){ballot, 0, false};
    bool all = ballot == members, any = ballot != 0;
    return (struct warp_out){0, has(text, ".all") ? all : has(text, ".any") ? any : all || !any, false};
}

// Of 64 bits: s and a, or s twice.
static uint64_t value_of(const char *text, const struct warp_in *in) {
    return !has(text, "b64") ? in->s : (uint64_t)(in->s & 2 ? in->s : in->a) << 32 | in->s;
}

static struct warp_out matched(const char *text, const struct warp_in *warp, unsigned lane) {
    uint32_t members = warp[lane].members, same = 0;
    for (unsigned i = 0; i < 32; i++)
        if (members >> i & 1)
            same |= (uint32_t)(value_of(text, &warp[i]) == value_of(text, &warp[lane])) << i;
    if (has(text, ".any"))
        return (struct warp_out){same, 0, false};
    return (struct warp_out){same == members ? members : 0, same == members, false};
}

static uint32_t joined(const char *text, uint32_t x, uint32_t y) {
    bool is_signed = has(text, ".s32"), is_less = is_signed ? (int32_t)x < (int32_t)y : x < y;
    if (has(text, ".add"))
        return x + y;
    if (has(text, ".min"))
        return is_less ? x : y;
    if (has(text, ".max"))
        return is_less ? y : x;
    return has(text, ".and") ? x & y : has(text, ".xor") ? x ^ y : x | y;
}

static struct warp_out reduced(const char *text, const struct warp_in *warp, unsigned lane) {
    uint32_t members = warp[lane].members, result = 0;
    bool is_first = true;
    for (unsigned i = 0; i < 32; i++)
        if (members >> i & 1) {
            result = is_first ? warp[i].a : joined(text, result, warp[i].a);
            is_first = false;
        }
    return (struct warp_out){result, 0, false};
}

struct warp_out warp_compute(const char *text, const struct warp_in *warp, unsigned lane) {
    uint32_t members = warp[lane].members;
    unsigned first =
        members ? (unsigned)__builtin_ctz(members) : 0; // which one is elected is the device's choice
    if (has(text, "shfl"))
        return shuffled(text, warp, lane);
    if (has(text, "vote"))
        return voted(text, warp, lane);
    if (has(text, "match"))
        return matched(text, warp, lane);
    if (has(text, "redux"))
        return reduced(text, warp, lane);
    if (has(text, "elect"))
        return (struct warp_out){first, lane == first, false};
    return (struct warp_out){members, 0, false};
}
