// SPDX-License-Identifier: Apache-2.0
//
// From the first SIGTERM to the end:
//
//     /readyz 503 ──grace──▶ no new connections, goodbyes ──all closed──▶ jobs end ──▶ stopped
//           └───────────────────────────┴── drain time over, or a second signal ──▶ all is cancelled
//
// A third signal ends the process where it stands.

#include "cli/stop.h"

#include <unistd.h>

enum { SLICE_MS = 20, CANCEL_MS = 10000 };

// A further SIGTERM or SIGINT; a SIGHUP now is of no use.
static bool asked_again(const sigset_t *signals) {
    int found = sigtimedwait(signals, NULL, &(struct timespec){});
    return found > 0 && found != SIGHUP;
}

static int64_t slice_end(int64_t until_ns) {
    int64_t end_ns = tw_clock_ns() + SLICE_MS * TW_NS_PER_MS;
    return end_ns < until_ns ? end_ns : until_ns;
}

enum wait_result { WAIT_OVER, WAIT_EMPTY, WAIT_ASKED };

// Until `is_empty` says so, the time is over or a signal asks for more haste.
static enum wait_result wait_for(bool (*is_empty)(void *what, int64_t until_ns), void *what, int64_t until_ns,
                                 const sigset_t *signals) {
    for (;;) {
        if (is_empty(what, slice_end(until_ns)))
            return WAIT_EMPTY;
        if (asked_again(signals))
            return WAIT_ASKED;
        if (tw_clock_ns() >= until_ns)
            return WAIT_OVER;
    }
}

static bool pause_only(void *what, int64_t until_ns) {
    (void)what;
    int64_t left_ns = until_ns - tw_clock_ns();
    if (left_ns > 0)
        nanosleep(&(struct timespec){.tv_sec = left_ns / TW_NS_PER_S, .tv_nsec = left_ns % TW_NS_PER_S},
                  NULL);
    return false;
}

static bool http_is_empty(void *http, int64_t until_ns) {
    return tw_http_wait(http, until_ns);
}

static bool service_is_empty(void *service, int64_t until_ns) {
    return tw_service_drain(service, until_ns);
}

static enum wait_result drain(struct tw_http *http, struct tw_service *service, const struct config *config,
                              const sigset_t *signals) {
    int64_t grace_end_ns = tw_clock_ns() + (int64_t)config->numbers[CONFIG_DRAIN_GRACE] * TW_NS_PER_MS;
    int64_t end_ns = grace_end_ns + (int64_t)config->numbers[CONFIG_DRAIN] * TW_NS_PER_MS;
    tw_http_announce(http);
    if (wait_for(pause_only, NULL, grace_end_ns, signals) == WAIT_ASKED)
        return WAIT_ASKED;
    tw_http_drain(http);
    enum wait_result result = wait_for(http_is_empty, http, end_ns, signals);
    return result == WAIT_EMPTY ? wait_for(service_is_empty, service, end_ns, signals) : result;
}

bool cli_serve_stop(struct tw_http *http, struct tw_service *service, const struct config *config,
                    const sigset_t *signals) {
    tw_log(TW_LOG_INFO, "cli", "draining", NULL);
    enum wait_result result = drain(http, service, config, signals);
    if (result != WAIT_EMPTY) {
        tw_log(TW_LOG_WARN, "cli",
               result == WAIT_ASKED ? "a second signal: running calls are cancelled"
                                    : "the time to drain is over: running calls are cancelled",
               NULL);
        tw_http_drain(http);
        tw_http_close(http);
        tw_service_cancel_jobs(service);
        int64_t end_ns = tw_clock_ns() + CANCEL_MS * TW_NS_PER_MS;
        if (wait_for(service_is_empty, service, end_ns, signals) != WAIT_EMPTY) {
            tw_log(TW_LOG_ERROR, "cli", "calls do not end; the process ends without them", NULL);
            tw_log_stop();
            _exit(CLI_FAILED);
        }
    }
    tw_log(TW_LOG_INFO, "cli", "stopped", NULL);
    return result != WAIT_ASKED;
}
