// SPDX-License-Identifier: Apache-2.0
//
// The process's fault handler. A fault goes down a chain:
//
//     signal → our handlers, in the order they were added → whoever was installed before (Wasmtime) → the
//     default action
//
// The default action is taken by restoring it and returning: the faulting instruction runs again and the
// process dies with the right signal, address and core. SA_NODEFER leaves the signal open, since our handlers
// may leave by siglongjmp, which would otherwise keep it blocked. Wasmtime may in turn hand over to us when
// it was installed later; `handing_over` breaks that circle.

#include "base/signals.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

enum { ALT_STACK_BYTES = 64 << 10 }; // Wasmtime keeps a thread's own stack from this size on

static const int fault_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};

// Frozen once threads start.
static tw_fault_handler handlers[TW_FAULT_HANDLERS_MAX];
static unsigned handler_count;
static struct sigaction previous[TW_COUNT(fault_signals)];
// What was there before our first installation: below Wasmtime, however often the two displaced each other.
static struct sigaction original[TW_COUNT(fault_signals)];
static bool installed_before;

static void (*_Atomic stop_handler)(siginfo_t *info, void *ucontext);

// The fault that this thread hands over now, and where its frame is. A nested call for the same fault lies
// deeper on the stack; a later fault (after a siglongjmp) begins at the same depth again.
static _Thread_local struct {
    const void *ucontext;
    const char *frame;
} handing_over;

static void take_default(int signal_number, const siginfo_t *info) {
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigemptyset(&action.sa_mask);
    sigaction(signal_number, &action, NULL);
    // A signal that somebody sent (kill) does not come again by returning.
    if (info->si_code <= 0)
        raise(signal_number);
}

static void hand_to(const struct sigaction *action, int signal_number, siginfo_t *info, void *ucontext) {
    if (action->sa_flags & SA_SIGINFO) {
        action->sa_sigaction(signal_number, info, ucontext);
    } else if (action->sa_handler == SIG_DFL) {
        take_default(signal_number, info);
    } else if (action->sa_handler == SIG_IGN) {
        if (info->si_code > 0)
            take_default(signal_number, info); // ignoring a fault would repeat it for ever
    } else {
        action->sa_handler(signal_number);
    }
}

// Opens the signals that were open before the fault. The kernel has left them open (SA_NODEFER), but
// ThreadSanitizer installs a handler of its own in front of ours that blocks them all, and who leaves by
// siglongjmp would never get one again.
static void restore_mask(const void *ucontext) {
    const ucontext_t *context = ucontext;
    pthread_sigmask(SIG_SETMASK, &context->uc_sigmask, NULL);
}

static size_t index_of(int signal_number) {
    size_t index = 0;
    while (index + 1 < TW_COUNT(fault_signals) && fault_signals[index] != signal_number)
        index++;
    return index;
}

static void on_fault(int signal_number, siginfo_t *info, void *ucontext) {
    int saved_errno = errno;
    size_t index = index_of(signal_number);
    const char *frame = __builtin_frame_address(0);
    restore_mask(ucontext);
    if (handing_over.ucontext == ucontext && frame < handing_over.frame) {
        hand_to(&original[index], signal_number, info, ucontext);
        return;
    }
    for (unsigned i = 0; i < handler_count; i++) {
        if (handlers[i](signal_number, info, ucontext)) {
            errno = saved_errno;
            return;
        }
    }
    handing_over.ucontext = ucontext;
    handing_over.frame = frame;
    hand_to(&previous[index], signal_number, info, ucontext);
    handing_over.ucontext = NULL;
    errno = saved_errno;
}

static void on_stop(int signal_number, siginfo_t *info, void *ucontext) {
    (void)signal_number;
    int saved_errno = errno;
    restore_mask(ucontext);
    void (*handler)(siginfo_t *, void *) = atomic_load_explicit(&stop_handler, memory_order_acquire);
    if (handler)
        handler(info, ucontext);
    errno = saved_errno;
}

bool tw_signals_add_fault(tw_fault_handler handler) {
    if (handler_count == TW_FAULT_HANDLERS_MAX)
        return false;
    handlers[handler_count++] = handler;
    return true;
}

static bool install(int signal_number, void (*handler)(int, siginfo_t *, void *),
                    struct sigaction *ret_before, struct tw_error *err) {
    struct sigaction now;
    if (sigaction(signal_number, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) &&
        now.sa_sigaction == handler)
        return true;
    struct sigaction action = {.sa_sigaction = handler,
                               .sa_flags = SA_ONSTACK | SA_SIGINFO | SA_NODEFER | SA_RESTART};
    sigemptyset(&action.sa_mask);
    // The old action is stored first: another thread may fault as soon as ours is in place.
    if (ret_before)
        *ret_before = now;
    if (sigaction(signal_number, &action, NULL) != 0)
        return tw_fail_errno(err, TW_ERR_INTERNAL, errno, "the handler of signal %d could not be installed",
                             signal_number);
    return true;
}

bool tw_signals_install(struct tw_error *err) {
    for (size_t i = 0; i < TW_COUNT(fault_signals); i++) {
        if (!installed_before)
            sigaction(fault_signals[i], NULL, &original[i]);
        if (!install(fault_signals[i], on_fault, &previous[i], err))
            return false;
    }
    installed_before = true;
    return install(SIGUSR2, on_stop, NULL, err);
}

void tw_signals_set_stop(void (*on_stop_signal)(siginfo_t *info, void *ucontext)) {
    atomic_store_explicit(&stop_handler, on_stop_signal, memory_order_release);
}

// ---- alternate stacks ----

static pthread_key_t stack_key;
static bool stack_key_made;

static size_t page_size(void) {
    return (size_t)sysconf(_SC_PAGESIZE);
}

static void stack_free(void *mapping) {
    stack_t none = {.ss_flags = SS_DISABLE};
    sigaltstack(&none, NULL);
    munmap(mapping, ALT_STACK_BYTES + page_size());
}

static void stack_key_make(void) {
    stack_key_made = pthread_key_create(&stack_key, stack_free) == 0;
}

bool tw_signals_thread(struct tw_error *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, stack_key_make);
    stack_t now;
    if (sigaltstack(NULL, &now) == 0 && !(now.ss_flags & SS_DISABLE))
        return true;
    if (!stack_key_made)
        return tw_fail(err, TW_ERR_CAPACITY, "no thread key is left for alternate signal stacks");
    // The lowest page stays closed, so that a handler that overruns its stack faults instead of writing over
    // a neighbour.
    size_t guard = page_size();
    char *mapping = mmap(NULL, ALT_STACK_BYTES + guard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED)
        return tw_fail_errno(err, TW_ERR_CAPACITY, errno, "no memory for an alternate signal stack");
    stack_t stack = {.ss_sp = mapping + guard, .ss_size = ALT_STACK_BYTES};
    if (mprotect(mapping + guard, ALT_STACK_BYTES, PROT_READ | PROT_WRITE) == 0 &&
        sigaltstack(&stack, NULL) == 0 && pthread_setspecific(stack_key, mapping) == 0)
        return true;
    int error_number = errno;
    stack_free(mapping);
    return tw_fail_errno(err, TW_ERR_CAPACITY, error_number, "the alternate signal stack could not be set");
}
