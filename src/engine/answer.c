// SPDX-License-Identifier: Apache-2.0
//
// Who has a call's invoke: the engine from its submission to its answer, and of the engine the thread that runs the
// guest. There is one thing that a guest can be in for long and that nothing can stop: Wasmtime's collector, while it
// lets a long list go or fills a long array. A call that was stopped meanwhile is answered all the same. Its invoke is
// taken away from its guest, and a worker answers it; the guest goes on with another one, the rest, which nobody
// waits for, until the collector has ended and its next poll, or host function, ends it.
//
//                     host function                      stopped, and goes on
//     HELD ◀───────────────────────────▶ LOOSE ─────────────────────────────▶ ANSWERED
//       its thread may use the invoke     guest            the watch           the call has the rest for an invoke
//
// The rest holds all that the guest needs or has taken: module, account, kept instance, and the tenant's permit for the
// call, so that nobody has more guests than permits. Outside a guest the watch does not look at a call, so there its
// thread may use the invoke, whichever it has.

#include "engine/internal.h"

// An invoke is LIVE from its submission to its end; whoever cancels it keeps the end waiting meanwhile.
enum { INVOKE_OVER, INVOKE_LIVE, INVOKE_CANCELLING };

void engine_invoke_go_live(struct tw_invoke *invoke, struct engine_call *call) {
    invoke->engine_state = call;
    tw_state_set(&invoke->engine_hold, INVOKE_LIVE);
}

void tw_invoke_cancel(struct tw_invoke *invoke) {
    if (!tw_state_change(&invoke->engine_hold, INVOKE_LIVE, INVOKE_CANCELLING))
        return;
    struct engine_call *call = invoke->engine_state;
    struct engine_timers *timers = &call->engine->timers;
    tw_state_publish(&call->cancelled, 1);
    engine_runner_kick(&call->engine->sched, call);
    tw_lock_take(&timers->lock);
    engine_timer_hurry_locked(timers, &call->deadline, 0);
    tw_lock_give(&timers->lock);
    tw_state_set(&invoke->engine_hold, INVOKE_LIVE);
    tw_state_wake(&invoke->engine_hold);
}

void tw_invoke_resume(struct tw_invoke *invoke) {
    // When it is being cancelled at this moment it ends anyway.
    if (!tw_state_change(&invoke->engine_hold, INVOKE_LIVE, INVOKE_CANCELLING))
        return;
    struct engine_call *call = invoke->engine_state;
    if (engine_timer_take(&call->engine->timers, &call->sleep))
        engine_call_wake(call);
    tw_state_set(&invoke->engine_hold, INVOKE_LIVE);
    tw_state_wake(&invoke->engine_hold);
}

void engine_invoke_part(struct tw_invoke *invoke) {
    while (!tw_state_change(&invoke->engine_hold, INVOKE_LIVE, INVOKE_OVER))
        tw_state_wait(&invoke->engine_hold, INVOKE_CANCELLING, -1);
}

// ---- guests that go on ----

// The guest has ended at last.
static void end_rest(struct tw_invoke *rest) {
    if (rest->has_permit)
        tw_account_give(rest->account, TW_RESOURCE_CONCURRENT, 1);
    tw_account_unref(rest->account);
    tw_buf_done(&rest->stderr_text);
    free(rest);
}

static void become_rest(struct tw_invoke *rest, struct engine_call *call) {
    const struct tw_invoke *invoke = call->invoke;
    *rest = (struct tw_invoke){.module = invoke->module,
                               .instance = invoke->instance,
                               .tenant = invoke->tenant,
                               .account = tw_account_ref(invoke->account),
                               .queued_ns = invoke->queued_ns,
                               .deadline_ns = invoke->deadline_ns,
                               .has_permit = invoke->has_permit,
                               .done = end_rest,
                               .times = invoke->times};
    tw_buf_init(&rest->stderr_text, ENGINE_STDERR_MAX); // of kernels that print
    engine_outcome_stopped(rest, call->stop_code);
    engine_invoke_go_live(rest, call);
}

// The call is its guest's no longer.
static void part_from_guest(struct engine_call *call, struct engine_call *answer, struct tw_invoke *rest) {
    struct tw_invoke *invoke = call->invoke;
    engine_call_gather(call);
    invoke->goes_on = true;
    *answer = (struct engine_call){.engine = call->engine,
                                   .invoke = invoke,
                                   .stop_code = call->stop_code,
                                   .output_counted = call->output_counted,
                                   .is_answer = true};
    call->output_counted = 0;
    become_rest(rest, call);
    if (rest->instance)
        engine_kept_answer(call, rest);
    else
        call->invoke = rest;
    engine_invoke_part(invoke);
}

bool engine_call_answer(struct engine_call *call) {
    if (!call->may_go_on || tw_state_get(&call->hold) != ENGINE_LOOSE)
        return false;
    struct engine_call *answer = tw_alloc(sizeof(*answer));
    struct tw_invoke *rest = tw_alloc(sizeof(*rest));
    if (!answer || !rest || !tw_state_change(&call->hold, ENGINE_LOOSE, ENGINE_ANSWERED)) {
        free(answer);
        free(rest);
        return false;
    }
    part_from_guest(call, answer, rest);
    tw_metric_add(TW_METRIC_ANSWERED_AHEAD, tw_labels(), 1);
    engine_sched_answer(&call->engine->sched, answer);
    return true;
}

void engine_answer_give(struct engine_call *answer) {
    struct tw_invoke *invoke = answer->invoke;
    (void)engine_output_count(answer, 0); // giving back is never refused
    engine_outcome_stopped(invoke, answer->stop_code);
    invoke->times.ended_ns = tw_clock_ns();
    if (invoke->done)
        invoke->done(invoke); // the invoke may be gone afterwards
    free(answer);
}
