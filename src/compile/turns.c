// SPDX-License-Identifier: Apache-2.0
//
// Who may use a compiler process next. Requests wait in the order in which they came; a process that becomes free is
// for the one whose tenant has fewest processes now, among equals the least time of compilers behind it, and
// what nobody waits for comes last. So a tenant with hundreds of modules delays another's one by no more than what
// is running already.
//
// Time is counted as in fair queueing: who comes back after a pause begins where the tenant stands that was served
// last, so nobody saves up turns.

#include "compile/internal.h"

// ---- tenants ----

static bool is_used(const struct compile_share *share) {
    return share->waiting || share->held;
}

// The place of a tenant that is not there yet: a new one, or that of a tenant which does nothing, the least time first.
// There is one: the array is larger than all that can wait and run.
static struct compile_share *place_locked(struct compile_turns *turns) {
    if (turns->share_count < COMPILE_MAX_SHARES)
        return &turns->shares[turns->share_count++];
    struct compile_share *place = NULL;
    for (unsigned i = 0; i < COMPILE_MAX_SHARES; i++) {
        struct compile_share *share = &turns->shares[i];
        if (!is_used(share) && (!place || share->used_ns < place->used_ns))
            place = share;
    }
    TW_ASSERT(place);
    return place;
}

static struct compile_share *share_locked(struct compile_turns *turns,
                                          const struct tw_compile_request *request) {
    uint64_t tenant = request->tenant;
    struct compile_share *share = NULL;
    if (request->background) {
        turns->background.is_last = true;
        return &turns->background;
    }
    for (unsigned i = 0; i < turns->share_count && !share; i++) {
        if (turns->shares[i].tenant == tenant)
            share = &turns->shares[i];
    }
    if (!share) {
        share = place_locked(turns);
        *share = (struct compile_share){.tenant = tenant};
    }
    if (!is_used(share) && share->used_ns < turns->virtual_ns)
        share->used_ns = turns->virtual_ns;
    return share;
}

// ---- the order ----

static bool goes_before(const struct compile_share *a, const struct compile_share *b) {
    if (a->is_last != b->is_last)
        return b->is_last;
    return a->held != b->held ? a->held < b->held : a->used_ns < b->used_ns;
}

// Of equals the one that came first.
static struct compile_turn *next_locked(const struct compile_turns *turns) {
    struct compile_turn *best = NULL;
    for (struct compile_turn *turn = turns->first; turn; turn = turn->next) {
        if (!best || goes_before(turn->share, best->share))
            best = turn;
    }
    return best;
}

static void leave_locked(struct compile_turns *turns, struct compile_turn *turn) {
    struct compile_turn **link = &turns->first, *before = NULL;
    for (; *link != turn; link = &before->next)
        before = *link;
    *link = turn->next;
    if (turns->last == turn)
        turns->last = before;
    turn->is_waiting = false;
    turn->share->waiting--;
    turns->waiting--;
}

// ---- processes ----

// An idle process, a running one rather than one to start; NULL when all are busy, or when one will be there sooner
// than another could be started.
static struct compile_process *find_idle_locked(struct tw_compiler *compiler) {
    struct compile_process *found = NULL;
    for (unsigned i = 0; i < compiler->options.processes; i++) {
        struct compile_process *process = &compiler->processes[i];
        if (process->busy)
            continue;
        if (process->alive)
            return process;
        if (!found && !compiler->is_starting)
            found = process;
    }
    return found;
}

void compile_turns_serve_locked(struct tw_compiler *compiler) {
    struct compile_turns *turns = &compiler->turns;
    struct compile_process *process;
    while (turns->first && (process = find_idle_locked(compiler))) {
        struct compile_turn *turn = next_locked(turns);
        leave_locked(turns, turn);
        process->busy = true;
        turn->process = process;
        turn->share->held++;
        if (!turn->share->is_last && turn->share->used_ns > turns->virtual_ns)
            turns->virtual_ns = turn->share->used_ns;
        tw_cond_wake_one(&turn->changed);
    }
}

// ---- waiting ----

// When as many wait as may: the newest request of the tenant that has most gives way, unless that is this one.
static bool make_room_locked(struct compile_turns *turns, const struct compile_share *share) {
    if (turns->waiting < COMPILE_MAX_WAITING)
        return true;
    struct compile_turn *newest = NULL;
    for (struct compile_turn *turn = turns->first; turn; turn = turn->next) {
        if (!newest || turn->share->waiting >= newest->share->waiting)
            newest = turn;
    }
    if (newest->share->waiting <= share->waiting + 1)
        return false;
    leave_locked(turns, newest);
    newest->is_refused = true;
    tw_cond_wake_one(&newest->changed);
    return true;
}

static bool refuse(struct tw_error *err) {
    return tw_fail(err, TW_ERR_CAPACITY,
                   "%d compilations wait already, the most there may be; try again later",
                   COMPILE_MAX_WAITING);
}

static void join_locked(struct compile_turns *turns, struct compile_turn *turn) {
    *(turns->last ? &turns->last->next : &turns->first) = turn;
    turns->last = turn;
    turn->is_waiting = true;
    turn->share->waiting++;
    turns->waiting++;
}

static bool wait_locked(struct tw_compiler *compiler, struct compile_turn *turn, int64_t deadline_ns,
                        struct tw_error *err) {
    compile_turns_serve_locked(compiler);
    for (bool in_time = true; turn->is_waiting && in_time;)
        in_time = tw_cond_wait(&turn->changed, &compiler->lock, deadline_ns);
    if (turn->process)
        return true;
    if (turn->is_refused)
        return refuse(err);
    leave_locked(&compiler->turns, turn);
    return tw_fail(err, TW_ERR_TIMEOUT,
                   "no compiler process became free before the deadline; try again later");
}

bool compile_turn_take(struct tw_compiler *compiler, struct compile_turn *turn,
                       const struct tw_compile_request *request, int64_t deadline_ns, struct tw_error *err) {
    TW_LOCK_SCOPE(&compiler->lock);
    struct compile_share *share = share_locked(&compiler->turns, request);
    if (!make_room_locked(&compiler->turns, share))
        return refuse(err);
    *turn = (struct compile_turn){.share = share};
    tw_cond_init(&turn->changed);
    join_locked(&compiler->turns, turn);
    bool ok = wait_locked(compiler, turn, deadline_ns, err);
    turn->began_ns = tw_clock_ns();
    tw_cond_done(&turn->changed);
    return ok;
}

void compile_turn_give(struct tw_compiler *compiler, struct compile_turn *turn) {
    TW_LOCK_SCOPE(&compiler->lock);
    turn->process->busy = false;
    turn->share->held--;
    turn->share->used_ns +=
        tw_clock_ns() - turn->began_ns + 1; // no turn is for nothing, however coarse the clock
    compile_turns_serve_locked(compiler);
}

void compile_turn_share_locked(struct tw_compiler *compiler, struct compile_turn *turn,
                               const struct tw_compile_request *request) {
    if (!turn->is_waiting)
        return;
    struct compile_share *share = share_locked(&compiler->turns, request);
    if (goes_before(turn->share, share) ||
        (!goes_before(share, turn->share) && share->waiting + 1 >= turn->share->waiting))
        return; // among equals it goes to whom fewer requests stand before
    turn->share->waiting--;
    turn->share = share;
    share->waiting++;
}
