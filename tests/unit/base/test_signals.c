// SPDX-License-Identifier: Apache-2.0
//
// The fault chain: ours first, then the handler that was there before, then death by the right signal.

#include <setjmp.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/test.h"

static sigjmp_buf escape;
static volatile sig_atomic_t first_asked, second_asked, older_asked;
static char *closed_page;

static bool refuse(int number, siginfo_t *info, void *ucontext) {
    (void)number, (void)info, (void)ucontext;
    first_asked++;
    return false;
}

static bool leave_by_jump(int number, siginfo_t *info, void *ucontext) {
    (void)number, (void)ucontext;
    second_asked++;
    if (info->si_addr == closed_page)
        siglongjmp(escape, 1);
    return false;
}

static bool open_page(int number, siginfo_t *info, void *ucontext) {
    (void)number, (void)info, (void)ucontext;
    second_asked++;
    return mprotect(closed_page, 4096, PROT_READ | PROT_WRITE) == 0;
}

static void older_opens_page(int number, siginfo_t *info, void *ucontext) {
    (void)number, (void)info, (void)ucontext;
    older_asked++;
    mprotect(closed_page, 4096, PROT_READ | PROT_WRITE);
}

static void make_page(void) {
    closed_page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(closed_page, MAP_FAILED);
}

static void touch(void) {
    *(volatile char *)closed_page = 1;
}

static void install(void) {
    struct tw_error err = {};
    tw_assert_ok(tw_signals_install(&err), &err);
    tw_assert_ok(tw_signals_thread(&err), &err);
    tw_assert_ok(tw_signals_thread(&err), &err);
}

TW_TEST("handlers are asked in order, and one may leave by jumping, again and again") {
    make_page();
    ck_assert(tw_signals_add_fault(refuse));
    ck_assert(tw_signals_add_fault(leave_by_jump));
    install();
    for (volatile int round = 1; round <= 100; round++) {
        if (sigsetjmp(escape, 0) == 0) {
            touch();
            ck_abort_msg("the fault did not leave");
        }
        ck_assert_int_eq(first_asked, round);
        ck_assert_int_eq(second_asked, round);
    }
}

TW_TEST("a handler that mended the cause lets the instruction run again") {
    make_page();
    ck_assert(tw_signals_add_fault(open_page));
    install();
    errno = 55;
    touch();
    ck_assert_int_eq(second_asked, 1);
    ck_assert_int_eq(errno, 55);
}

static void install_older(void (*handler)(int, siginfo_t *, void *)) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    ck_assert_int_eq(sigaction(SIGSEGV, &action, NULL), 0);
}

TW_TEST("what ours refuse goes to the handler that was installed before") {
    make_page();
    install_older(older_opens_page);
    ck_assert(tw_signals_add_fault(refuse));
    install();
    install(); // not displaced: nothing changes
    touch();
    ck_assert_int_eq(first_asked, 1);
    ck_assert_int_eq(older_asked, 1);
}

static struct sigaction displaced;

// As Wasmtime does: what is not its own goes to whoever it displaced.
static void hand_back(int number, siginfo_t *info, void *ucontext) {
    older_asked++;
    displaced.sa_sigaction(number, info, ucontext);
}

TW_TEST("a displaced handler that is put back does not run in a circle") {
    make_page();
    install_older(older_opens_page);
    ck_assert(tw_signals_add_fault(refuse));
    install();
    struct sigaction action = {.sa_sigaction = hand_back, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    ck_assert_int_eq(sigaction(SIGSEGV, &action, &displaced), 0);
    install();
    touch(); // ours → hand_back → ours again → older_opens_page
    ck_assert_int_eq(first_asked, 1);
    ck_assert_int_eq(older_asked, 2);
}

// Runs `die` in a child and returns its wait status.
static int status_of(void (*die)(void)) {
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL); // a sanitizer's handler would report instead of dying by the signal
        signal(SIGILL, SIG_DFL);
        signal(SIGFPE, SIG_DFL);
        struct tw_error err = {};
        if (!tw_signals_add_fault(refuse) || !tw_signals_install(&err))
            _exit(99);
        die();
        _exit(98);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return status;
}

static void die_by_fault(void) {
    touch();
}

static void die_by_trap(void) {
    __builtin_trap();
}

static void die_by_kill(void) {
    raise(SIGFPE);
}

TW_TEST("a fault nobody deals with kills by its own signal, also one that was sent") {
    make_page();
    int status = status_of(die_by_fault);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    status = status_of(die_by_trap);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGILL);
    status = status_of(die_by_kill);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGFPE);
}

TW_TEST("the table of handlers has its maximum") {
    for (unsigned i = 0; i < TW_FAULT_HANDLERS_MAX; i++)
        ck_assert(tw_signals_add_fault(refuse));
    ck_assert(!tw_signals_add_fault(refuse));
}

static struct tw_state spinning;
static _Thread_local struct tw_flag
    stopped; // an atomic, so that ThreadSanitizer, which delays signals, delivers this one

static void stop_loop(siginfo_t *info, void *ucontext) {
    (void)info, (void)ucontext;
    tw_flag_raise(&stopped);
}

static void spin(void *context) {
    struct tw_error err = {};
    if (!tw_signals_thread(&err))
        return;
    tw_state_set(&spinning, 1);
    tw_state_wake(&spinning);
    while (!tw_flag_is_raised(&stopped))
        ;
    tw_counter_add(context, 1);
}

TW_TEST("the stop signal reaches the thread it was sent to") {
    struct tw_counter ended = {};
    struct tw_error err = {};
    pthread_t thread;
    tw_signals_set_stop(stop_loop);
    install();
    raise(SIGUSR2);
    ck_assert(tw_flag_is_raised(&stopped));
    tw_assert_ok(tw_thread_start(&thread, "spin", spin, &ended, &err), &err);
    while (tw_state_get(&spinning) == 0)
        tw_state_wait(&spinning, 0, -1);
    ck_assert_int_eq(pthread_kill(thread, SIGUSR2), 0);
    tw_thread_join(thread);
    ck_assert_int_eq(tw_counter_get(&ended), 1);
    tw_signals_set_stop(NULL);
    raise(SIGUSR2); // ignored
}
