// SPDX-License-Identifier: Apache-2.0
//
// The watcher: ends what runs or waits for too long. Kernels hold no locks and do not look at clocks; the
// watcher looks at the threads that are inside one every 2 ms, sets the job's stop reason when its time is
// up, and signals the thread until it has left. While nothing runs the watcher sleeps without a timeout:
//
//     ASLEEP ── a runner enters, a job waits ──▶ AWAKE ── nothing for 100 ms ──▶ ASLEEP
//
// No wake-up is lost: the watcher writes ASLEEP and then looks at every runner once more under that runner's
// lock; a runner enters under the same lock and then looks for ASLEEP. One of the two sees the other.
//
// Runners are the process's: a thread that has run a kernel once stays registered until it ends.

#include "gpu/internal.h"

#include <signal.h>
#include <sys/mman.h>

enum { ASLEEP, AWAKE, POKED, CLOSING };

#define TICK_NS     (2 * TW_NS_PER_MS)
#define RETRY_NS    (TW_NS_PER_MS / 4) // a signal that came before the thread was inside is sent again
#define LINGER_NS   (100 * TW_NS_PER_MS)
#define GUARD_BYTES (1ULL << 20) // catches what steps over a page

struct gpu_watch {
    struct tw_gpu *gpu;
    struct tw_state state;
    pthread_t thread;
};

// ---- runners ----

static struct tw_lock registry_lock = {.mutex = PTHREAD_MUTEX_INITIALIZER};
static struct gpu_runner *registry;
static _Thread_local struct gpu_runner *mine;
static pthread_key_t runner_key;
static bool runner_key_made;

static void runner_free(void *argument) {
    struct gpu_runner *runner = argument;
    {
        TW_LOCK_SCOPE(&registry_lock);
        if (runner->previous)
            runner->previous->next = runner->next;
        else
            registry = runner->next;
        if (runner->next)
            runner->next->previous = runner->previous;
    }
    munmap(runner->stack, runner->stack_bytes);
    free(runner->spill);
    tw_lock_done(&runner->lock);
    free(runner);
    mine = NULL;
}

static void runner_key_make(void) {
    runner_key_made = pthread_key_create(&runner_key, runner_free) == 0;
}

static uint8_t *stack_map(void) {
    uint8_t *stack = mmap(NULL, GUARD_BYTES + GPU_STACK_BYTES, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED)
        return NULL;
    if (mprotect(stack + GUARD_BYTES, GPU_STACK_BYTES, PROT_READ | PROT_WRITE) == 0)
        return stack;
    munmap(stack, GUARD_BYTES + GPU_STACK_BYTES);
    return NULL;
}

static struct gpu_runner *runner_new(void) {
    struct gpu_runner *runner = tw_alloc_zero(1, sizeof(*runner));
    if (!runner)
        return NULL;
    runner->stack = stack_map();
    if (!runner->stack || pthread_setspecific(runner_key, runner) != 0) {
        if (runner->stack)
            munmap(runner->stack, GUARD_BYTES + GPU_STACK_BYTES);
        free(runner);
        return NULL;
    }
    runner->stack_bytes = GUARD_BYTES + GPU_STACK_BYTES;
    runner->guard_bytes = GUARD_BYTES;
    runner->thread = pthread_self();
    tw_lock_init(&runner->lock);
    TW_LOCK_SCOPE(&registry_lock);
    runner->next = registry;
    if (registry)
        registry->previous = runner;
    registry = runner;
    return runner;
}

struct gpu_runner *gpu_runner_mine(struct tw_error *err) {
    if (mine)
        return mine;
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, runner_key_make);
    if (!tw_signals_thread(err))
        return NULL;
    struct gpu_runner *runner = runner_key_made ? runner_new() : NULL;
    if (!runner) {
        tw_fail(err, TW_ERR_CAPACITY, "no memory for a kernel stack of this thread");
        return NULL;
    }
    mine = runner;
    return runner;
}

// ---- the watcher's thread ----

static void look_at_locked(const struct gpu_watch *watch, struct gpu_runner *runner, int64_t now_ns,
                           int64_t *next_ns) {
    struct gpu_job *job = runner->job;
    if (!job || job->context->gpu != watch->gpu)
        return;
    if (job->limit_ns <= now_ns)
        gpu_job_stop(job, job->limit_ns < job->deadline_ns ? GPU_STOP_TIME_LIMIT : GPU_STOP_DEADLINE);
    if (job->successor && !tw_counter_get(&job->changed_ns))
        gpu_successor_waits(job->successor, job->context->tenant->id, now_ns - job->started_ns);
    int64_t again_ns = job->limit_ns;
    if (tw_state_get(&job->stop) != GPU_STOP_NONE) {
        pthread_kill(runner->thread, SIGUSR2);
        again_ns = now_ns + RETRY_NS;
    }
    if (again_ns < *next_ns)
        *next_ns = again_ns;
}

// When to look again at the latest; TW_NO_DEADLINE when nothing runs and nothing waits.
static int64_t look(struct gpu_watch *watch, int64_t now_ns) {
    struct tw_gpu *gpu = watch->gpu;
    int64_t next_ns = TW_NO_DEADLINE;
    {
        TW_LOCK_SCOPE(&registry_lock);
        for (struct gpu_runner *runner = registry; runner; runner = runner->next) {
            tw_lock_take(&runner->lock);
            look_at_locked(watch, runner, now_ns, &next_ns);
            tw_lock_give(&runner->lock);
        }
    }
    struct gpu_job *expired;
    while ((expired = gpu_permit_expired(gpu->permits, now_ns))) {
        gpu_job_stop(expired, GPU_STOP_DEADLINE);
        gpu_job_end(expired);
    }
    uint32_t used, max, waiting;
    gpu_permits_state(gpu->permits, &used, &max, &waiting);
    bool waits = waiting > 0;
    for (unsigned i = 0; i < gpu->device_count; i++)
        waits |= gpu->devices[i].hooks->tick(&gpu->devices[i], now_ns);
    if (waits && next_ns > now_ns + TICK_NS)
        next_ns = now_ns + TICK_NS;
    return next_ns;
}

static void sleep_until_woken(struct gpu_watch *watch) {
    if (!tw_state_change(&watch->state, AWAKE, ASLEEP))
        return;
    if (look(watch, tw_clock_ns()) == TW_NO_DEADLINE)
        tw_state_wait(&watch->state, ASLEEP, -1);
    tw_state_change(&watch->state, ASLEEP, AWAKE);
}

static void watch_main(void *argument) {
    struct gpu_watch *watch = argument;
    int64_t busy_ns = 0;
    while (tw_state_get(&watch->state) != CLOSING) {
        tw_state_change(&watch->state, POKED, AWAKE);
        int64_t now_ns = tw_clock_ns();
        int64_t next_ns = look(watch, now_ns);
        if (next_ns != TW_NO_DEADLINE)
            busy_ns = now_ns;
        if (now_ns - busy_ns > LINGER_NS) {
            sleep_until_woken(watch);
            busy_ns = tw_clock_ns();
            continue;
        }
        int64_t pause_ns = next_ns == TW_NO_DEADLINE ? TICK_NS : next_ns - now_ns;
        pause_ns = pause_ns > TICK_NS ? TICK_NS : pause_ns < RETRY_NS ? RETRY_NS : pause_ns;
        tw_state_wait(&watch->state, AWAKE, pause_ns);
    }
}

struct gpu_watch *gpu_watch_new(struct tw_gpu *gpu, struct tw_error *err) {
    struct gpu_watch *watch = tw_alloc_zero(1, sizeof(*watch));
    if (!watch) {
        tw_fail(err, TW_ERR_CAPACITY, "no memory for the kernel watcher");
        return NULL;
    }
    watch->gpu = gpu;
    tw_state_set(&watch->state, AWAKE);
    if (!tw_thread_start(&watch->thread, "gpu-watch", watch_main, watch, err)) {
        free(watch);
        return NULL;
    }
    return watch;
}

void gpu_watch_free(struct gpu_watch *watch) {
    if (!watch)
        return;
    tw_state_set(&watch->state, CLOSING);
    tw_state_wake(&watch->state);
    tw_thread_join(watch->thread);
    free(watch);
}

void gpu_watch_wake(struct gpu_watch *watch) {
    if (tw_state_get(&watch->state) == ASLEEP && tw_state_change(&watch->state, ASLEEP, AWAKE))
        tw_state_wake(&watch->state);
}

void gpu_watch_now(struct gpu_watch *watch) {
    if (tw_state_change(&watch->state, AWAKE, POKED) || tw_state_change(&watch->state, ASLEEP, POKED))
        tw_state_wake(&watch->state);
}

void gpu_watch_enter(struct gpu_watch *watch, struct gpu_runner *runner, struct gpu_job *job) {
    {
        TW_LOCK_SCOPE(&runner->lock);
        runner->job = job;
    }
    gpu_watch_wake(watch);
}

void gpu_watch_leave(struct gpu_runner *runner) {
    TW_LOCK_SCOPE(&runner->lock);
    runner->job = NULL;
}
