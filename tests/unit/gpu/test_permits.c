// SPDX-License-Identifier: Apache-2.0
//
// Permits: how many, to whom, in which order, and what becomes of those who wait too long.

#include "unit/gpu/fixture.h"

struct player {
    struct tw_gpu_context context;
    struct gpu_job jobs[40];
};

static struct player *make_player_of(struct gpu_permits *permits, uint64_t tenant,
                                     struct tw_account *account) {
    struct tw_error err = {};
    struct player *player = aligned_alloc(64, tw_align_up(sizeof(*player), 64));
    memset(player, 0, sizeof(*player));
    player->context.tenant = gpu_tenant_take(permits, tenant, account, &err);
    tw_assert_ok(player->context.tenant, &err);
    for (size_t i = 0; i < TW_COUNT(player->jobs); i++) {
        player->jobs[i].context = &player->context;
        player->jobs[i].deadline_ns = TW_NO_DEADLINE;
    }
    return player;
}

static struct player *make_player(struct gpu_permits *permits, uint64_t tenant) {
    return make_player_of(permits, tenant, NULL);
}

static void free_player(struct gpu_permits *permits, struct player *player) {
    gpu_tenant_give(permits, player->context.tenant);
    free(player);
}

TW_TEST("no more permits than there are, and no tenant holds more than three quarters") {
    struct tw_error err = {};
    struct gpu_permits *permits = gpu_permits_new(8, &err);
    struct player *a = make_player(permits, 1), *b = make_player(permits, 2);
    uint32_t used, max, waiting;
    for (int i = 0; i < 6; i++)
        ck_assert_int_eq(gpu_permit_ask(permits, &a->jobs[i]), GPU_PERMIT_GRANTED);
    ck_assert_int_eq(gpu_permit_ask(permits, &a->jobs[6]), GPU_PERMIT_QUEUED);
    ck_assert_int_eq(gpu_permit_ask(permits, &b->jobs[0]), GPU_PERMIT_GRANTED);
    ck_assert_int_eq(gpu_permit_ask(permits, &b->jobs[1]), GPU_PERMIT_GRANTED);
    ck_assert_int_eq(gpu_permit_ask(permits, &b->jobs[2]), GPU_PERMIT_QUEUED);
    gpu_permits_state(permits, &used, &max, &waiting);
    ck_assert_uint_eq(used, 8);
    ck_assert_uint_eq(max, 8);
    ck_assert_uint_eq(waiting, 2);
    // b gives one back: a waits longer but holds all it may.
    ck_assert_ptr_eq(gpu_permit_return(permits, b->context.tenant), &b->jobs[2]);
    ck_assert_ptr_eq(gpu_permit_return(permits, a->context.tenant), &a->jobs[6]);
    for (int i = 0; i < 6; i++)
        ck_assert_ptr_null(gpu_permit_return(permits, a->context.tenant));
    for (int i = 0; i < 2; i++)
        ck_assert_ptr_null(gpu_permit_return(permits, b->context.tenant));
    free_player(permits, a), free_player(permits, b);
    gpu_permits_free(permits);
}

TW_TEST("permits that come back are shared by weight") {
    enum { PERMITS = 8, ROUNDS = 60 };
    static const uint32_t weights[3] = {1, 2, 3}; // none reaches three quarters
    struct tw_error err = {};
    struct gpu_permits *permits = gpu_permits_new(PERMITS, &err);
    struct tw_account *accounts[3];
    struct player *players[3];
    struct gpu_job *running[PERMITS + ROUNDS];
    size_t head = 0, tail = 0, granted[3] = {}, next_of[3] = {};
    for (uint64_t i = 0; i < 3; i++) {
        accounts[i] = tw_account_new(i, &err);
        tw_assert_ok(accounts[i], &err);
        tw_account_set_weight(accounts[i], weights[i]);
        players[i] = make_player_of(permits, i, accounts[i]);
    }
    for (int i = 0; i < 40; i++)
        for (int p = 0; p < 3; p++)
            if (gpu_permit_ask(permits, &players[p]->jobs[i]) == GPU_PERMIT_GRANTED) {
                running[tail++] = &players[p]->jobs[i];
                next_of[p]++;
            }
    ck_assert_uint_eq(tail, PERMITS);
    for (int round = 0; round < ROUNDS; round++) {
        struct gpu_job *job = gpu_permit_return(permits, running[head++]->context->tenant);
        ck_assert_ptr_nonnull(job);
        size_t p = 0;
        while (job->context != &players[p]->context)
            p++;
        ck_assert_ptr_eq(job, &players[p]->jobs[next_of[p]++]); // first in, first out
        granted[p]++;
        running[tail++] = job;
    }
    for (size_t p = 0; p < 3; p++) { // 10, 20, 30
        size_t share = ROUNDS / 6 * weights[p];
        ck_assert_uint_ge(granted[p] + 1, share);
        ck_assert_uint_le(granted[p], share + 1);
    }
    while (head < tail) {
        struct gpu_job *job = gpu_permit_return(permits, running[head++]->context->tenant);
        if (job)
            running[--head] = job; // in the place of the one that ended
    }
    for (size_t p = 0; p < 3; p++) {
        free_player(permits, players[p]);
        tw_account_unref(accounts[p]);
    }
    gpu_permits_free(permits);
}

TW_TEST("permits go round the tenants that wait, however long one's queue is") {
    struct tw_error err = {};
    struct gpu_permits *permits = gpu_permits_new(4, &err);
    struct player *players[4];
    for (uint64_t i = 0; i < 4; i++)
        players[i] = make_player(permits, i);
    struct gpu_job *running[64];
    size_t head = 0, tail = 0, granted[4] = {};
    // Player 0 asks for 40, the others for 5 each.
    for (int i = 0; i < 40; i++) {
        if (gpu_permit_ask(permits, &players[0]->jobs[i]) == GPU_PERMIT_GRANTED)
            running[tail++] = &players[0]->jobs[i];
    }
    ck_assert_uint_eq(tail, 3);
    for (int p = 1; p < 4; p++) {
        for (int i = 0; i < 5; i++) {
            if (gpu_permit_ask(permits, &players[p]->jobs[i]) == GPU_PERMIT_GRANTED)
                running[tail++] = &players[p]->jobs[i];
        }
    }
    ck_assert_uint_eq(tail, 4);
    size_t next_of[4] = {3, 1, 0, 0};
    for (int turn = 0; turn < 15; turn++) {
        struct gpu_job *job = gpu_permit_return(permits, running[head++]->context->tenant);
        ck_assert_ptr_nonnull(job);
        ck_assert(job->has_permit);
        size_t p = 0;
        while (job->context != &players[p]->context)
            p++;
        ck_assert_ptr_eq(job, &players[p]->jobs[next_of[p]++]); // first in, first out
        granted[p]++;
        running[tail++] = job;
    }
    // 15 turns among 4: the long queue got no more than its share, 4, though the others' total is 14.
    ck_assert_uint_eq(granted[0], 4);
    for (int p = 1; p < 4; p++)
        ck_assert_uint_ge(granted[p], 3);
    size_t left = 40 + 15 - 4 - 15;
    while (head < tail) {
        struct gpu_job *job = gpu_permit_return(permits, running[head++]->context->tenant);
        if (job) {
            running[tail % 64] = job, tail++;
            left--;
        }
        if (tail > 64)
            break;
    }
    // The rest, in a ring.
    for (size_t i = head; i < tail; i++) {
        struct gpu_job *job = gpu_permit_return(permits, running[i % 64]->context->tenant);
        if (job) {
            running[tail % 64] = job, tail++;
            left--;
        }
    }
    ck_assert_uint_eq(left, 0);
    for (int i = 0; i < 4; i++)
        free_player(permits, players[i]);
    gpu_permits_free(permits);
}

TW_TEST("waiting jobs expire wherever they stand, and the others keep their order") {
    struct tw_error err = {};
    struct gpu_permits *permits = gpu_permits_new(1, &err);
    struct player *a = make_player(permits, 1), *b = make_player(permits, 2);
    ck_assert_int_eq(gpu_permit_ask(permits, &a->jobs[0]), GPU_PERMIT_GRANTED);
    for (int i = 1; i < 6; i++) {
        a->jobs[i].deadline_ns = i % 2 ? 100 : TW_NO_DEADLINE;
        ck_assert_int_eq(gpu_permit_ask(permits, &a->jobs[i]), GPU_PERMIT_QUEUED);
    }
    b->jobs[0].deadline_ns = 100;
    ck_assert_int_eq(gpu_permit_ask(permits, &b->jobs[0]), GPU_PERMIT_QUEUED);
    ck_assert_ptr_null(gpu_permit_expired(permits, 99));
    ck_assert_ptr_eq(gpu_permit_expired(permits, 100), &a->jobs[1]);
    ck_assert_ptr_eq(gpu_permit_expired(permits, 100), &a->jobs[3]);
    ck_assert_ptr_eq(gpu_permit_expired(permits, 100), &a->jobs[5]);
    ck_assert_ptr_eq(gpu_permit_expired(permits, 100), &b->jobs[0]);
    ck_assert_ptr_null(gpu_permit_expired(permits, 100));
    gpu_job_stop(&a->jobs[2], GPU_STOP_CANCEL);
    ck_assert_ptr_eq(gpu_permit_expired(permits, 100), &a->jobs[2]);
    ck_assert_int_eq(gpu_permit_ask(permits, &a->jobs[6]), GPU_PERMIT_QUEUED);
    ck_assert_ptr_eq(gpu_permit_return(permits, a->context.tenant), &a->jobs[4]);
    ck_assert_ptr_eq(gpu_permit_return(permits, a->context.tenant), &a->jobs[6]);
    ck_assert_ptr_null(gpu_permit_return(permits, a->context.tenant));
    free_player(permits, a), free_player(permits, b);
    gpu_permits_free(permits);
}

static const char gate_kernel[] =
    "KERNEL(k) { while (!AT(u64, PARAM(u64, 0))) __builtin_ia32_pause(); return 0; }";

TW_TEST("a launch that finds no permit waits until its deadline and fails with quota_exceeded") {
    struct tw_gpu_options options = {.device = "cpu", .cpu_threads = 2, .permits = 1, .max_arenas = 8};
    struct fixture fixture;
    fixture_open(&fixture, &options);
    int64_t gate = load_kernel(fixture.context, gate_kernel, 1, 0),
            quick = load_kernel(fixture.context, "KERNEL(k) { return 0; }", 0, 0);
    int64_t stream;
    uint64_t cell;
    tw_assert_ok(tw_gpu_stream_new(fixture.context, &stream, &fixture.err), &fixture.err);
    tw_assert_ok(tw_gpu_alloc(fixture.context, 8, &cell, &fixture.err), &fixture.err);
    struct args args = {};
    put_buffer(&args, cell, 0);
    struct tw_gpu_launch holder = make_launch(gate, 1, 1, &args), launch = make_launch(quick, 1, 1, NULL);
    holder.stream = stream;
    ck_assert(tw_gpu_launch_async(fixture.context, &holder, &fixture.err));
    struct tw_buf text;
    tw_buf_init(&text, 1 << 20);
    tw_assert_ok(tw_metrics_write(&text, false), &fixture.err);
    ck_assert_ptr_nonnull(strstr((const char *)text.data, "tensor_wasm_backpressure_permits_used 1\n"));
    ck_assert_ptr_nonnull(strstr((const char *)text.data, "tensor_wasm_backpressure_permits_available 0\n"));
    tw_buf_done(&text);
    int64_t began_ns = tw_clock_ns();
    launch.deadline_ns = began_ns + 300 * TW_NS_PER_MS;
    ck_assert_int_eq(tw_gpu_launch(fixture.context, &launch, NULL, &fixture.err), TW_GPU_FAILED);
    ck_assert_int_eq(fixture.err.code, TW_ERR_CUDA_QUOTA);
    ck_assert_ptr_nonnull(strstr(fixture.err.message, "deadline passed while the launch waited"));
    ck_assert_int_ge(tw_clock_ns() - began_ns, 300 * TW_NS_PER_MS);
    // With the permit back everything goes on.
    *(volatile uint64_t *)(fixture.arena->base +
                           ((struct gpu_buffer *)gpu_handle_find(&fixture.context->buffers, cell))->address) =
        1;
    ck_assert_int_eq(tw_gpu_sync(fixture.context, -1, NULL, &fixture.err), TW_GPU_DONE);
    launch.deadline_ns = TW_NO_DEADLINE;
    ck_assert_int_eq(tw_gpu_launch(fixture.context, &launch, NULL, &fixture.err), TW_GPU_DONE);
    fixture_close(&fixture);
}

struct other {
    struct fixture *fixture;
    uint64_t tenant;
    enum tw_gpu_progress progress;
};

static void launch_beside(void *argument) {
    struct other *other = argument;
    struct tw_error err = {};
    struct tw_gpu_arena *arena = tw_gpu_arena_take(other->fixture->gpu, &err);
    struct tw_gpu_context *context =
        tw_gpu_context_new(tw_gpu_device_default(other->fixture->gpu), arena, other->tenant, NULL, &err);
    int64_t kernel = load_kernel(context, "KERNEL(k) { return 0; }", 0, 0);
    struct tw_gpu_launch launch = make_launch(kernel, 100'000, 64, NULL);
    other->progress =
        tw_gpu_launch_async(context, &launch, &err) ? tw_gpu_sync(context, -1, NULL, &err) : TW_GPU_FAILED;
    tw_gpu_context_free(context);
    tw_gpu_arena_give(other->fixture->gpu, arena);
}

// A launch of that tenant ends while another instance's kernels, the fixture's, hold every thread for ever.
static void launch_beside_loops(uint64_t tenant) {
    struct tw_gpu_options options = {
        .device = "cpu", .cpu_threads = 2, .kernel_timeout_ms = 3'600'000, .max_arenas = 8};
    struct fixture fixture;
    fixture_open(&fixture, &options);
    int64_t spin = load_kernel(fixture.context, "KERNEL(k) { for (;;) __asm__ volatile(\"\"); }", 0, 0);
    for (int i = 0; i < 10; i++) {
        int64_t stream;
        tw_assert_ok(tw_gpu_stream_new(fixture.context, &stream, &fixture.err), &fixture.err);
        struct tw_gpu_launch launch = make_launch(spin, 10, 1, NULL);
        launch.stream = stream;
        ck_assert(tw_gpu_launch_async(fixture.context, &launch, &fixture.err));
    }
    struct other other = {.fixture = &fixture, .tenant = tenant};
    pthread_t thread;
    tw_assert_ok(tw_thread_start(&thread, "other", launch_beside, &other, &fixture.err), &fixture.err);
    tw_thread_join(thread);
    ck_assert_int_eq(other.progress, TW_GPU_DONE); // it did not wait for the others, which spin on
    fixture_close(&fixture);
}

TW_TEST("a tenant whose kernels loop on every thread does not starve another") {
    if (can_stop_kernels())
        launch_beside_loops(8);
}

TW_TEST("an instance whose kernels loop on every thread does not starve another of its tenant") {
    if (can_stop_kernels())
        launch_beside_loops(7); // the fixture's
}

TW_TEST("a tenant's own limit makes its launches wait, and others go on") {
    struct tw_error err = {};
    struct gpu_permits *permits = gpu_permits_new(8, &err);
    struct tw_account *account = tw_account_new(1, &err);
    tw_account_set_limit(account, TW_RESOURCE_LAUNCHES, 2);
    struct player *a = make_player_of(permits, 1, account), *b = make_player(permits, 2);
    ck_assert_int_eq(gpu_permit_ask(permits, &a->jobs[0]), GPU_PERMIT_GRANTED);
    ck_assert_int_eq(gpu_permit_ask(permits, &a->jobs[1]), GPU_PERMIT_GRANTED);
    ck_assert_int_eq(gpu_permit_ask(permits, &a->jobs[2]), GPU_PERMIT_QUEUED);
    ck_assert_int_eq(gpu_permit_ask(permits, &b->jobs[0]), GPU_PERMIT_GRANTED);
    ck_assert_ptr_null(gpu_permit_return(permits, b->context.tenant));
    ck_assert_ptr_eq(gpu_permit_return(permits, a->context.tenant), &a->jobs[2]);
    ck_assert_uint_eq(tw_account_use(account, TW_RESOURCE_LAUNCHES).now, 2);
    ck_assert_uint_eq(tw_account_use(account, TW_RESOURCE_LAUNCHES).peak, 2);
    ck_assert_ptr_null(gpu_permit_return(permits, a->context.tenant));
    ck_assert_ptr_null(gpu_permit_return(permits, a->context.tenant));
    ck_assert_uint_eq(tw_account_use(account, TW_RESOURCE_LAUNCHES).now, 0);
    tw_account_set_limit(account, TW_RESOURCE_LAUNCHES, 0); // would wait for ever
    ck_assert_int_eq(gpu_permit_ask(permits, &a->jobs[3]), GPU_PERMIT_REFUSED);
    free_player(permits, a), free_player(permits, b);
    ck_assert(!tw_account_is_shared(account));
    tw_account_unref(account);
    gpu_permits_free(permits);
}
