// SPDX-License-Identifier: Apache-2.0
//
// What the lanes of a warp exchange: shuffles, votes, matches, reductions. Those that take part are the active ones; an
// instruction's member mask, a word a lane, leaves some of them out, so that groups of lanes may do it side by side.
//
// Results are put together aside: a result's row may be that of a source.

#include "level.h"

enum { LANES = TW_INTERP_LANES };

// The lowest lane; 0 of none.
static unsigned first_lane(uint32_t lanes) {
    return lanes ? (unsigned)__builtin_ctz(lanes) : 0;
}

// (d, in range) of (a, b, c): every lane reads from another one, as the PTX manual spells it out.
#define SHUFFLE(op, source, is_in_range)                                                                     \
    INTERP_HANDLER(op) {                                                                                     \
        const uint32_t *a = interp_row(warp, step, 2), *b = interp_row(warp, step, 3),                       \
                       *c = interp_row(warp, step, 4);                                                       \
        uint32_t from[LANES], found[LANES];                                                                  \
        int8_t reaches[LANES];                                                                               \
        EACH_LANE(i) {                                                                                       \
            int lane = (int)i, by = (int)(b[i] & 31), segment = (int)(c[i] >> 8 & 31);                       \
            [[maybe_unused]] int least = lane & segment, most = least | ((int)(c[i] & 31) & ~segment);       \
            int other = source;                                                                              \
            bool in_range = is_in_range;                                                                     \
            from[i] = (uint32_t)(in_range ? other : lane) & 31;                                              \
            reaches[i] = (int8_t)(in_range ? -1 : 0);                                                        \
        }                                                                                                    \
        EACH_LANE(i)                                                                                         \
        found[i] = a[from[i]];                                                                               \
        memcpy(interp_row(warp, step, 0), found, sizeof found);                                              \
        memcpy(interp_row(warp, step, 1), reaches, sizeof reaches);                                          \
        return step + 1;                                                                                     \
    }

SHUFFLE(SHFL_UP, lane - by, other >= most)
SHUFFLE(SHFL_DOWN, lane + by, other <= most)
SHUFFLE(SHFL_BFLY, lane ^ by, other <= most)
SHUFFLE(SHFL_IDX, least | (by & ~segment), other <= most)

// (d) of (p, members).
#define VOTE(op, value)                                                                                      \
    INTERP_HANDLER(op) {                                                                                     \
        const uint32_t votes = interp_lanes(interp_row(warp, step, 1)), active = warp->active;               \
        const uint32_t *members = interp_row(warp, step, 2);                                                 \
        int8_t found[LANES];                                                                                 \
        EACH_LANE(i) {                                                                                       \
            uint32_t who = active & members[i], yes = votes & who;                                           \
            found[i] = (int8_t)((value) ? -1 : 0);                                                           \
        }                                                                                                    \
        memcpy(interp_row(warp, step, 0), found, sizeof found);                                              \
        return step + 1;                                                                                     \
    }

VOTE(VOTE_ALL, yes == who)
VOTE(VOTE_ANY, yes != 0)
VOTE(VOTE_UNI, yes == who || yes == 0)

INTERP_HANDLER(VOTE_BALLOT) {
    const uint32_t votes = interp_lanes(interp_row(warp, step, 1)) & warp->active;
    const uint32_t *members = interp_row(warp, step, 2);
    uint32_t *d = interp_row(warp, step, 0);
    EACH_LANE(i)
    d[i] = votes & members[i];
    return step + 1;
}

// match.any: (d) of (a, members), the lanes with the same value. match.all: (d, p), all lanes or none.
#define MATCH(any, all, type)                                                                                \
    static uint32_t lanes_of_##any(const type *a, type value) {                                              \
        uint32_t lanes = 0;                                                                                  \
        for (unsigned i = 0; i < LANES; i++)                                                                 \
            lanes |= (uint32_t)(a[i] == value) << i;                                                         \
        return lanes;                                                                                        \
    }                                                                                                        \
    INTERP_HANDLER(any) {                                                                                    \
        const type *a = interp_row(warp, step, 1);                                                           \
        const uint32_t *members = interp_row(warp, step, 2);                                                 \
        const uint32_t active = warp->active;                                                                \
        uint32_t found[LANES];                                                                               \
        for (unsigned i = 0; i < LANES; i++)                                                                 \
            found[i] = lanes_of_##any(a, a[i]) & (active & members[i]);                                      \
        memcpy(interp_row(warp, step, 0), found, sizeof found);                                              \
        return step + 1;                                                                                     \
    }                                                                                                        \
    INTERP_HANDLER(all) {                                                                                    \
        const type *a = interp_row(warp, step, 2);                                                           \
        const uint32_t *members = interp_row(warp, step, 3);                                                 \
        const uint32_t active = warp->active;                                                                \
        uint32_t found[LANES];                                                                               \
        int8_t agree[LANES];                                                                                 \
        for (unsigned i = 0; i < LANES; i++) {                                                               \
            uint32_t who = active & members[i];                                                              \
            uint32_t same = lanes_of_##any(a, step->imm ? a[i] : a[first_lane(who)]) & who;                  \
            found[i] = same == who ? who : 0;                                                                \
            agree[i] = (int8_t)(same == who ? -1 : 0);                                                       \
        }                                                                                                    \
        memcpy(interp_row(warp, step, 0), found, sizeof found);                                              \
        memcpy(interp_row(warp, step, 1), agree, sizeof agree);                                              \
        return step + 1;                                                                                     \
    }

MATCH(MATCH_ANY_32, MATCH_ALL_32, uint32_t)
MATCH(MATCH_ANY_64, MATCH_ALL_64, uint64_t)

// (d) of (a, members). Mostly all lanes name the same ones: what is known of the lane before is kept.
#define REDUX(op, type, neutral, join)                                                                       \
    static uint32_t join_##op(const type *a, uint32_t who) {                                                 \
        type x = neutral;                                                                                    \
        for (unsigned i = 0; i < LANES; i++) {                                                               \
            type y = who >> i & 1 ? a[i] : (type)neutral;                                                    \
            x = join;                                                                                        \
        }                                                                                                    \
        return (uint32_t)x;                                                                                  \
    }                                                                                                        \
    INTERP_HANDLER(op) {                                                                                     \
        const type *a = interp_row(warp, step, 1);                                                           \
        const uint32_t *members = interp_row(warp, step, 2);                                                 \
        const uint32_t active = warp->active;                                                                \
        uint32_t found[LANES], last = active & members[0], value = join_##op(a, last);                       \
        for (unsigned i = 0; i < LANES; i++) {                                                               \
            uint32_t who = active & members[i];                                                              \
            if (who != last)                                                                                 \
                value = join_##op(a, who);                                                                   \
            last = who;                                                                                      \
            found[i] = value;                                                                                \
        }                                                                                                    \
        memcpy(interp_row(warp, step, 0), found, sizeof found);                                              \
        return step + 1;                                                                                     \
    }

REDUX(REDUX_ADD, uint32_t, 0, x + y)
REDUX(REDUX_MIN_U, uint32_t, UINT32_MAX, x < y ? x : y)
REDUX(REDUX_MIN_S, int32_t, INT32_MAX, x < y ? x : y)
REDUX(REDUX_MAX_U, uint32_t, 0, x > y ? x : y)
REDUX(REDUX_MAX_S, int32_t, INT32_MIN, x > y ? x : y)
REDUX(REDUX_AND, uint32_t, UINT32_MAX, (x & y))
REDUX(REDUX_OR, uint32_t, 0, (x | y))
REDUX(REDUX_XOR, uint32_t, 0, (x ^ y))

INTERP_HANDLER(ACTIVEMASK) {
    uint32_t *d = interp_row(warp, step, 0), active = warp->active;
    EACH_LANE(i)
    d[i] = active;
    return step + 1;
}

// (leader, is leader) of (members).
INTERP_HANDLER(ELECT) {
    const uint32_t *members = interp_row(warp, step, 2), active = warp->active;
    uint32_t leader[LANES];
    int8_t is_leader[LANES];
    for (unsigned i = 0; i < LANES; i++) {
        leader[i] = first_lane(active & members[i]);
        is_leader[i] = (int8_t)(leader[i] == i ? -1 : 0);
    }
    memcpy(interp_row(warp, step, 0), leader, sizeof leader);
    memcpy(interp_row(warp, step, 1), is_leader, sizeof is_leader);
    return step + 1;
}
