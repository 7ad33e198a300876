// SPDX-License-Identifier: Apache-2.0
//
// A thread that writes log lines, so that whoever reads standard error may be slow, or stop reading, and nobody
// who logs has to wait: two buffers change places.
//
//     tw_log ─▶ filling ─swap─▶ being written, line by line ─▶ standard error
//
// While the reader takes nothing, the one being written waits and the other one fills; further lines are
// dropped and counted, and a line says how many when there is room again. Without the thread (commands, tests,
// the compiler processes) whoever logs writes.

#include <signal.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "base/internal.h"
#include "base/log.h"
#include "base/thread.h"

enum {
    QUEUE_BYTES = 256 << 10, // some thousand lines: a burst at the level debug
    STOP_S = 2,              // how long the end of the process waits for a reader that reads nothing
};

enum state { OFF, ON, ENDED };

// Guarded by `lock`, but for `state`, `lost` and the buffer that is being written.
static struct {
    struct tw_lock lock;
    struct tw_cond changed;
    struct tw_state state; // enum state
    struct tw_counter lost;
    uint64_t told; // of those that were lost
    char lines[2][QUEUE_BYTES];
    size_t len[2];
    unsigned filling;
    bool stopping;
    pthread_t thread;
} writer;

void base_log_write(const char *line, size_t len) {
    int saved_errno = errno;
    while (len) {
        ssize_t count = write(STDERR_FILENO, line, len);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            break; // nobody can be told
        line += count;
        len -= (size_t)count;
    }
    errno = saved_errno;
}

bool base_log_post(const char *line, size_t len) {
    if (tw_state_get(&writer.state) != ON)
        return false;
    TW_LOCK_SCOPE(&writer.lock);
    if (tw_state_get(&writer.state) != ON)
        return false; // it has just ended
    size_t *at = &writer.len[writer.filling];
    if (len > QUEUE_BYTES - *at) {
        tw_counter_add(&writer.lost, 1);
        return true;
    }
    if (*at == 0)
        tw_cond_wake_all(&writer.changed);
    memcpy(writer.lines[writer.filling] + *at, line, len);
    *at += len;
    return true;
}

uint64_t tw_log_lost(void) {
    return (uint64_t)tw_counter_get(&writer.lost);
}

// Takes the lines that there are; false: there are none, and there will be none.
static bool take(unsigned *ret_full, uint64_t *ret_lost) {
    TW_LOCK_SCOPE(&writer.lock);
    while (!writer.len[writer.filling] && !writer.stopping)
        tw_cond_wait(&writer.changed, &writer.lock, TW_NO_DEADLINE);
    if (!writer.len[writer.filling]) {
        tw_state_set(&writer.state, ENDED);
        tw_cond_wake_all(&writer.changed);
        return false;
    }
    *ret_full = writer.filling;
    writer.filling = 1 - writer.filling;
    writer.len[writer.filling] = 0;
    uint64_t lost = (uint64_t)tw_counter_get(&writer.lost);
    *ret_lost = lost - writer.told;
    writer.told = lost;
    return true;
}

// A line a write(2), which a pipe takes whole: other processes may write there too.
static void write_lines(const char *lines, size_t len) {
    while (len) {
        const char *end = memchr(lines, '\n', len);
        size_t line = end ? (size_t)(end - lines) + 1 : len;
        base_log_write(lines, line);
        lines += line;
        len -= line;
    }
}

static void run(void *context) {
    (void)context;
    unsigned full;
    uint64_t lost;
    while (take(&full, &lost)) {
        if (lost) {
            char count[24];
            snprintf(count, sizeof count, "%" PRIu64, lost);
            tw_log(TW_LOG_WARN, "base", "log lines were lost, because nobody took them", "count", count,
                   NULL);
        }
        write_lines(writer.lines[full], writer.len[full]);
    }
}

bool tw_log_start(struct tw_error *err) {
    tw_lock_init(&writer.lock);
    tw_cond_init(&writer.changed);
    writer.stopping = false;
    tw_state_set(&writer.state, ON);
    if (tw_thread_start(&writer.thread, "tw-log", run, NULL, err))
        return true;
    tw_state_set(&writer.state, OFF);
    return false;
}

void tw_log_stop(void) {
    if (tw_state_get(&writer.state) != ON)
        return;
    int64_t deadline_ns = tw_clock_ns() + STOP_S * TW_NS_PER_S;
    {
        TW_LOCK_SCOPE(&writer.lock);
        writer.stopping = true;
        tw_cond_wake_all(&writer.changed);
        while (tw_state_get(&writer.state) != ENDED &&
               tw_cond_wait(&writer.changed, &writer.lock, deadline_ns))
            ;
        if (tw_state_get(&writer.state) != ENDED) {
            pthread_detach(writer.thread); // it hangs in a write until the process ends
            return;                        // and what is logged meanwhile finds no room
        }
    }
    tw_thread_join(writer.thread);
    tw_state_set(&writer.state, OFF);
}
