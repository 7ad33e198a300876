// SPDX-License-Identifier: Apache-2.0
//
// Who gets a compiler process next, seen on one process that the test itself holds until everybody waits.

#include "compile/internal.h"
#include "fake.h"

enum { BACKGROUND = 1'000 }; // added to a caller's tenant: nobody waits for it

static struct tw_compiler *compiler;
static struct compile_turn held;
static struct tw_lock order_lock;
static unsigned order[64], order_len; // tenants as they were served

struct caller {
    unsigned tenant;
    struct compile_turn turn;
    struct tw_error error;
    pthread_t thread;
};

static struct tw_compile_request request_by(unsigned tenant) {
    return (struct tw_compile_request){
        .kind = TW_COMPILE_PTX, .tenant = tenant % BACKGROUND, .background = tenant >= BACKGROUND};
}

static void begin(void) {
    struct tw_error err = {};
    struct tw_compile_request request = request_by(99);
    compiler = compiler_new(NULL, 1);
    tw_lock_init(&order_lock);
    order_len = 0;
    tw_assert_ok(compile_turn_take(compiler, &held, &request, TW_NO_DEADLINE, &err), &err);
}

static unsigned waiting(void) {
    TW_LOCK_SCOPE(&compiler->lock);
    return compiler->turns.waiting;
}

static void wait_for(unsigned count) {
    while (waiting() != count)
        usleep(100);
}

static void be_served(void *context) {
    struct caller *caller = context;
    struct tw_compile_request request = request_by(caller->tenant);
    if (!compile_turn_take(compiler, &caller->turn, &request, TW_NO_DEADLINE, &caller->error))
        return;
    {
        TW_LOCK_SCOPE(&order_lock);
        if (order_len < TW_COUNT(order))
            order[order_len++] = caller->tenant;
    }
    compile_turn_give(compiler, &caller->turn);
}

// All wait when this returns, in this order.
static void come(struct caller *callers, const unsigned *tenants, unsigned count) {
    for (unsigned i = 0, before = waiting(); i < count; i++) {
        struct tw_error err = {};
        callers[i] = (struct caller){.tenant = tenants[i]};
        tw_assert_ok(tw_thread_start(&callers[i].thread, "caller", be_served, &callers[i], &err), &err);
        wait_for(before + i + 1);
    }
}

static void go(struct caller *callers, unsigned count) {
    compile_turn_give(compiler, &held);
    for (unsigned i = 0; i < count; i++)
        tw_thread_join(callers[i].thread);
    ck_assert_uint_eq(waiting(), 0);
}

#define ASSERT_ORDER(...)                                                                                    \
    do {                                                                                                     \
        const unsigned wanted[] = {__VA_ARGS__};                                                             \
        ck_assert_uint_eq(order_len, TW_COUNT(wanted));                                                      \
        ck_assert_mem_eq(order, wanted, sizeof wanted);                                                      \
    } while (0)

TW_TEST("a tenant with many requests is served once before those who came later with one") {
    struct caller callers[8];
    begin();
    come(callers, (const unsigned[]){1, 1, 1, 1, 1, 2, 3, 1}, 8);
    go(callers, 8);
    ASSERT_ORDER(1, 2, 3, 1, 1, 1, 1, 1);
    tw_compiler_free(compiler);
}

TW_TEST(
    "who has had the compilers for longer waits for who had them for less, and a pause saves nothing up") {
    const int64_t hour_ns = 3600 * TW_NS_PER_S;
    struct caller callers[6];
    begin();
    {
        TW_LOCK_SCOPE(&compiler->lock);
        compiler->turns.virtual_ns = hour_ns; // others have been served for so long
    }
    come(callers, (const unsigned[]){1, 2, 1, 2, 1, 2}, 6);
    {
        TW_LOCK_SCOPE(&compiler->lock);
        ck_assert_int_eq(callers[0].turn.share->used_ns, hour_ns);
        ck_assert_int_eq(callers[1].turn.share->used_ns, hour_ns);
        callers[0].turn.share->used_ns += hour_ns;
    }
    go(callers, 6);
    ASSERT_ORDER(2, 2, 2, 1, 1, 1);
    tw_compiler_free(compiler);
}

TW_TEST("what nobody waits for comes last, until somebody does") {
    struct caller callers[5];
    begin();
    come(callers, (const unsigned[]){BACKGROUND, BACKGROUND, 1, 2, 1}, 5);
    struct tw_compile_request request = request_by(3);
    {
        TW_LOCK_SCOPE(&compiler->lock);
        compile_turn_share_locked(compiler, &callers[1].turn, &request);
    }
    go(callers, 5);
    ASSERT_ORDER(BACKGROUND, 1, 2, 1, BACKGROUND);
    tw_compiler_free(compiler);
}

TW_TEST("what ran in the background for long does not move where tenants begin") {
    enum { LONG_NS = 1'000'000'000 };
    struct caller callers[1];
    begin();
    int64_t before_ns = compiler->turns.virtual_ns;
    compiler->turns.background.used_ns = before_ns + 1000LL * LONG_NS;
    come(callers, (const unsigned[]){BACKGROUND}, 1);
    go(callers, 1);
    ck_assert_int_eq(compiler->turns.virtual_ns, before_ns);
    tw_compiler_free(compiler);
}

TW_TEST("where no more may wait, the tenant that has most waiting gives way") {
    enum { ALL = COMPILE_MAX_WAITING };
    static struct caller callers[ALL], other;
    unsigned tenants[ALL];
    for (unsigned i = 0; i < ALL; i++)
        tenants[i] = 1 + (i >= ALL - 2); // the last two are another's
    begin();
    come(callers, tenants, ALL);
    struct tw_compile_request request = request_by(1);
    struct tw_error err = {};
    struct compile_turn turn;
    ck_assert(!compile_turn_take(compiler, &turn, &request, TW_NO_DEADLINE, &err));
    ck_assert_int_eq(err.code, TW_ERR_CAPACITY);
    other.tenant = 3;
    tw_assert_ok(tw_thread_start(&other.thread, "caller", be_served, &other, &err), &err);
    tw_thread_join(callers[ALL - 3].thread); // the newest of tenant 1
    ck_assert_int_eq(callers[ALL - 3].error.code, TW_ERR_CAPACITY);
    wait_for(ALL);
    compile_turn_give(compiler, &held);
    for (unsigned i = 0; i < ALL; i++) {
        if (i != ALL - 3) {
            tw_thread_join(callers[i].thread);
            ck_assert_int_eq(callers[i].error.code, TW_OK);
        }
    }
    tw_thread_join(other.thread);
    ck_assert_uint_eq(order[0], 1);
    ck_assert_uint_eq(order[1] + order[2], 2 + 3);
    tw_compiler_free(compiler);
}

TW_TEST("a deadline ends the wait, and the next one is served") {
    struct caller callers[1];
    begin();
    struct tw_compile_request request = request_by(1);
    struct tw_error err = {};
    struct compile_turn turn;
    ck_assert(!compile_turn_take(compiler, &turn, &request, tw_clock_ns() + TW_NS_PER_MS, &err));
    ck_assert_int_eq(err.code, TW_ERR_TIMEOUT);
    ck_assert_uint_eq(waiting(), 0);
    come(callers, (const unsigned[]){2}, 1);
    go(callers, 1);
    ASSERT_ORDER(2);
    tw_compiler_free(compiler);
}

TW_TEST("more tenants than are remembered take their turns") {
    struct tw_error err = {};
    begin();
    compile_turn_give(compiler, &held);
    for (unsigned i = 0; i < 2 * COMPILE_MAX_SHARES; i++) {
        struct tw_compile_request request = request_by(i % 999);
        tw_assert_ok(compile_turn_take(compiler, &held, &request, TW_NO_DEADLINE, &err), &err);
        compile_turn_give(compiler, &held);
    }
    ck_assert_uint_eq(compiler->turns.share_count, COMPILE_MAX_SHARES);
    tw_compiler_free(compiler);
}

// ---- whole requests ----

struct asker {
    struct tw_compile_request request;
    struct tw_artifact *artifact;
    struct tw_error error;
    pthread_t thread;
};

static void ask(void *context) {
    struct asker *asker = context;
    asker->artifact = tw_compile(compiler, &asker->request, &asker->error);
}

// The tenant whose turn the last of those who wait is.
static uint64_t last_tenant(void) {
    TW_LOCK_SCOPE(&compiler->lock);
    return compiler->turns.last->share->tenant;
}

TW_TEST("who asks for what another tenant's long queue has last brings it forward") {
    enum { ASKERS = 6 };
    struct asker askers[ASKERS + 1] = {};
    char texts[ASKERS][16];
    begin();
    compile_turn_give(compiler, &held);
    struct tw_compile_request first = request_of("say first");
    tw_artifact_unref(compile(compiler, &first)); // the target is known from now on
    struct tw_compile_request request = request_by(99);
    struct tw_error err = {};
    tw_assert_ok(compile_turn_take(compiler, &held, &request, TW_NO_DEADLINE, &err), &err);
    for (unsigned i = 0; i <= ASKERS; i++) {
        bool is_last = i == ASKERS;
        if (!is_last)
            snprintf(texts[i], sizeof texts[i], "say %u", i);
        askers[i].request = request_of(texts[is_last ? ASKERS - 1 : i]);
        askers[i].request.tenant = is_last ? 2 : 1;
        tw_assert_ok(tw_thread_start(&askers[i].thread, "asker", ask, &askers[i], &err), &err);
        if (!is_last)
            wait_for(i + 1);
    }
    while (last_tenant() != 2)
        usleep(100);
    ck_assert_uint_eq(waiting(), ASKERS);
    compile_turn_give(compiler, &held);
    for (unsigned i = 0; i <= ASKERS; i++) {
        tw_thread_join(askers[i].thread);
        tw_assert_ok(askers[i].artifact, &askers[i].error);
        tw_artifact_unref(askers[i].artifact);
    }
    ck_assert_ptr_eq(askers[ASKERS].artifact, askers[ASKERS - 1].artifact);
    tw_compiler_free(compiler);
}
