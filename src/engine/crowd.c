// SPDX-License-Identifier: Apache-2.0
//
// Who is let in. A queue that a burst fills and that soon runs dry again does no harm; one that always stands makes
// every call late and serves not one more. So a tenant's calls are let in freely until some of them have had to
// wait without a break for the whole time that a burst may take (K. Nichols and V. Jacobson, Controlling Queue
// Delay, 2012, whose numbers are the defaults). From then on a new call is refused at once when it would have to
// wait for longer than the target:
//
//     wait = calls of the tenant that are ahead × time between two of them that leave
//
// That time is measured here, in the tenant's own queue, so it holds whatever the calls cost and however many other
// tenants have their turns. As many calls as can run at once, and four times as many that wait, are always let in: a
// queue this short only keeps the cores busy. Each tenant has a queue, hence one that floods has only its own
// calls refused.

#include "engine/internal.h"

static uint32_t room_of(const struct engine_fair *fair, const struct engine_share *share) {
    uint64_t all = fair->present_weight, own = share->crowd.weight ? share->crowd.weight : share->weight;
    if (!share->crowd.weight)
        all += own;
    uint64_t room = all ? fair->places * own / all : fair->places;
    return room ? (uint32_t)room : 1;
}

void engine_crowd_join(struct engine_fair *fair, struct engine_share *share, int64_t now_ns) {
    struct engine_crowd *crowd = &share->crowd;
    if (crowd->load++ == 0) {
        crowd->weight = share->weight;
        fair->present_weight += crowd->weight;
    }
    if (!crowd->since_ns && crowd->load > 1 && crowd->load > room_of(fair, share))
        crowd->since_ns = now_ns;
}

void engine_crowd_drop(struct engine_fair *fair, struct engine_share *share) {
    struct engine_crowd *crowd = &share->crowd;
    if (--crowd->load <= 1 || crowd->load <= room_of(fair, share))
        crowd->since_ns = 0;
    if (!crowd->load) {
        fair->present_weight -= crowd->weight;
        crowd->weight = 0;
    }
}

void engine_crowd_leave(struct engine_fair *fair, struct engine_share *share, int64_t now_ns) {
    struct engine_crowd *crowd = &share->crowd;
    if (!crowd->load)
        return; // it had no memory for a share of its own when it came
    if (crowd->since_ns) {
        int64_t from_ns = crowd->left_ns > crowd->since_ns ? crowd->left_ns : crowd->since_ns;
        int64_t gap_ns = now_ns - from_ns;
        crowd->gap_ns += crowd->gap_ns ? (gap_ns - crowd->gap_ns) / ENGINE_GAP_SAMPLES : gap_ns;
    }
    crowd->left_ns = now_ns;
    engine_crowd_drop(fair, share);
}

// Have some of its calls always had to wait for so long that this is no burst?
static bool is_overloaded(const struct engine_patience *patience, const struct engine_crowd *crowd,
                          uint32_t room, int64_t now_ns) {
    if (now_ns < crowd->until_ns)
        return true;
    // Calls that take long are given the time that some of them take.
    int64_t burst_ns = 2 * crowd->gap_ns * room;
    if (burst_ns < patience->burst_ns)
        burst_ns = patience->burst_ns;
    return crowd->since_ns && crowd->gap_ns && now_ns - crowd->since_ns >= burst_ns;
}

bool engine_crowd_admits(const struct engine_fair *fair, struct engine_share *share,
                         const struct engine_patience *patience, int64_t now_ns, int64_t *ret_wait_ns) {
    struct engine_crowd *crowd = &share->crowd;
    if (!patience->target_ns || crowd->load < 2)
        return true; // the usual case
    uint32_t room = room_of(fair, share);
    if (crowd->load <= ENGINE_CROWD_FREE * room || !is_overloaded(patience, crowd, room, now_ns))
        return true;
    bool is_short = crowd->gap_ns * room < ENGINE_TICK_NS;
    int64_t wait_ns = (int64_t)(crowd->load + 1 - room) * crowd->gap_ns;
    if (wait_ns < patience->target_ns * (is_short ? ENGINE_SHORT_TARGETS : 1))
        return true;
    crowd->until_ns = now_ns + ENGINE_CALM_BURSTS * patience->burst_ns;
    *ret_wait_ns = wait_ns;
    return false;
}

bool engine_crowd_refuse(const struct engine_fair *fair, struct engine_share *share, int64_t wait_ns,
                         struct tw_error *err) {
    bool is_alone = fair->present_weight == share->crowd.weight;
    tw_metric_add(TW_METRIC_QUEUE_REFUSALS, (struct tw_labels){.values = {is_alone ? "server" : "tenant"}},
                  1);
    tw_fail(err, is_alone ? TW_ERR_CAPACITY : TW_ERR_CONCURRENCY,
            "the queue%s has stood for too long: %" PRIu32
            " calls are ahead, a wait of %.3g ms; send less, or try again later",
            is_alone ? "" : " of this tenant", share->crowd.load, (double)wait_ns / (double)TW_NS_PER_MS);
    int64_t max_ns = ENGINE_RETRY_MAX_S * TW_NS_PER_S;
    return tw_retry_after(err, wait_ns < max_ns ? wait_ns : max_ns);
}
