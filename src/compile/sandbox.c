// SPDX-License-Identifier: Apache-2.0
//
// What a child may do while it has a tenant's input in its hands: compute, take memory, write to its two
// descriptors, end. The list of system calls is made once in the fork server and put in force after the fork:
//
//   allowed   memory without files and without code (Wasmtime alone turns finished code readable-executable,
//   never writable), futex, time,
//             signals of its own, reading and writing of descriptors that are open
//   refused   what libraries try and can do without: files (EACCES), threads and processes (EPERM), terminals
//   (ENOTTY) noticed   tgkill, by which abort() ends: the handler below says whether memory was the reason
//   deadly    everything else
//
// rlimits bound what is left: address space, CPU time, bytes written, no new descriptors, no core file.

#include <seccomp.h>

#include "compile/internal.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/seccomp.h>

// A filter is some 150 instructions; the kernel takes 4,096.
enum { FILTER_MAX = 4'096, SIGNAL_STACK = 64 << 10, STACK_SLACK = 64 << 10, CPU_HARD_SLACK_S = 5 };

struct compile_sandbox {
    struct program {
        struct sock_filter *code;
        unsigned short count;
    } programs[2]; // [1]: for Wasm
};

// ---- the system-call filter ----

static const int allowed[] = {SCMP_SYS(brk),
                              SCMP_SYS(munmap),
                              SCMP_SYS(mremap),
                              SCMP_SYS(madvise),
                              SCMP_SYS(futex),
                              SCMP_SYS(exit),
                              SCMP_SYS(exit_group),
                              SCMP_SYS(clock_gettime),
                              SCMP_SYS(clock_getres),
                              SCMP_SYS(clock_nanosleep),
                              SCMP_SYS(nanosleep),
                              SCMP_SYS(gettimeofday),
                              SCMP_SYS(time),
                              SCMP_SYS(sched_yield),
                              SCMP_SYS(sched_getaffinity),
                              SCMP_SYS(getrandom),
                              SCMP_SYS(sigaltstack),
                              SCMP_SYS(rt_sigaction),
                              SCMP_SYS(rt_sigprocmask),
                              SCMP_SYS(rt_sigreturn),
                              SCMP_SYS(getpid),
                              SCMP_SYS(gettid),
                              SCMP_SYS(getrusage),
                              SCMP_SYS(getrlimit),
                              SCMP_SYS(close),
                              SCMP_SYS(read),
                              SCMP_SYS(write),
                              SCMP_SYS(lseek),
                              SCMP_SYS(fstat),
                              SCMP_SYS(rseq),
                              SCMP_SYS(set_robust_list),
                              SCMP_SYS(sysinfo),
                              SCMP_SYS(uname)};

static const int no_files[] = {
    SCMP_SYS(open),       SCMP_SYS(openat), SCMP_SYS(access),     SCMP_SYS(faccessat), SCMP_SYS(faccessat2),
    SCMP_SYS(stat),       SCMP_SYS(lstat),  SCMP_SYS(newfstatat), SCMP_SYS(statx),     SCMP_SYS(readlink),
    SCMP_SYS(readlinkat), SCMP_SYS(getcwd), SCMP_SYS(unlink)};

static const int not_permitted[] = {SCMP_SYS(clone), SCMP_SYS(fork),       SCMP_SYS(vfork),
                                    SCMP_SYS(prctl), SCMP_SYS(membarrier), SCMP_SYS(sched_setaffinity),
                                    SCMP_SYS(fcntl)};

static bool add_all(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (seccomp_rule_add(filter, action, calls[i], 0) != 0)
            return false;
    }
    return true;
}

// Memory: anonymous mappings only; executable never, but for what Wasmtime publishes when it has finished
// (which nobody runs here).
static bool add_memory(scmp_filter_ctx filter, bool publishes) {
    const struct scmp_arg_cmp anonymous = SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS);
    const struct scmp_arg_cmp data = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
    bool ok = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2, data, anonymous) == 0 &&
              seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(mmap), 1,
                               SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC)) == 0 &&
              seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(mmap), 1,
                               SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, 0)) == 0 &&
              seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, data) == 0;
    const int code = PROT_READ | PROT_EXEC;
    if (ok && publishes)
        ok = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, UINT64_MAX, (scmp_datum_t)code)) == 0;
    else if (ok)
        ok = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(mprotect), 1,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC)) == 0;
    return ok;
}

static bool add_rules(scmp_filter_ctx filter, bool publishes) {
    return add_all(filter, SCMP_ACT_ALLOW, allowed, TW_COUNT(allowed)) &&
           add_all(filter, SCMP_ACT_ERRNO(EACCES), no_files, TW_COUNT(no_files)) &&
           add_all(filter, SCMP_ACT_ERRNO(EPERM), not_permitted, TW_COUNT(not_permitted)) &&
           seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) == 0 &&
           seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOTTY), SCMP_SYS(ioctl), 0) == 0 &&
           // Reading a limit, not setting one: the third argument is the new value.
           seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2,
                            SCMP_A0(SCMP_CMP_MASKED_EQ, UINT64_MAX, 0),
                            SCMP_A2(SCMP_CMP_MASKED_EQ, UINT64_MAX, 0)) == 0 &&
           seccomp_rule_add(filter, SCMP_ACT_TRAP, SCMP_SYS(tgkill), 0) == 0 && add_memory(filter, publishes);
}

// libseccomp writes the finished program to a descriptor.
static bool export_program(scmp_filter_ctx filter, struct program *ret_program) {
    int fd = memfd_create("tw-seccomp", MFD_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = seccomp_export_bpf(filter, fd) == 0;
    off_t size = ok ? lseek(fd, 0, SEEK_END) : -1;
    ok = size > 0 && (size_t)size <= FILTER_MAX * sizeof(struct sock_filter);
    struct sock_filter *code = ok ? tw_alloc((size_t)size) : NULL;
    ok = code && pread(fd, code, (size_t)size, 0) == size;
    close(fd);
    if (!ok) {
        free(code);
        return false;
    }
    *ret_program = (struct program){.code = code, .count = (unsigned short)((size_t)size / sizeof(*code))};
    return true;
}

static bool make_program(bool publishes, struct program *ret_program) {
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    // A tree of comparisons in place of a list: the kernel tries the filter on every call there is when a child enters.
    bool ok = filter && seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2) == 0 &&
              add_rules(filter, publishes) && export_program(filter, ret_program);
    if (filter)
        seccomp_release(filter);
    return ok;
}

struct compile_sandbox *compile_sandbox_new(struct tw_error *err) {
    struct compile_sandbox *sandbox = tw_alloc_zero(1, sizeof(*sandbox));
    if (sandbox && make_program(false, &sandbox->programs[0]) && make_program(true, &sandbox->programs[1]))
        return sandbox;
    compile_sandbox_free(sandbox);
    tw_fail(err, TW_ERR_INTERNAL, "the system-call filter could not be made");
    return NULL;
}

void compile_sandbox_free(struct compile_sandbox *sandbox) {
    if (!sandbox)
        return;
    for (size_t i = 0; i < TW_COUNT(sandbox->programs); i++)
        free(sandbox->programs[i].code);
    free(sandbox);
}

// ---- why a child ends ----

// Libraries answer a refused allocation with abort() or a null pointer. errno is zero when a compilation
// begins, so ENOMEM means that the last thing that failed was an allocation; the probe finds an address space
// that is full.
static bool memory_is_out(void) {
    if (errno == ENOMEM)
        return true;
    void *probe = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (probe == MAP_FAILED)
        return true;
    munmap(probe, 1 << 20);
    return false;
}

// A fault near the stack pointer is the guard below the stack.
static bool is_stack(const siginfo_t *info, const void *context) {
    const ucontext_t *at = context;
    uintptr_t stack = (uintptr_t)at->uc_mcontext.gregs[REG_RSP], fault = (uintptr_t)info->si_addr;
    return fault + STACK_SLACK > stack && fault < stack + STACK_SLACK;
}

static void on_end(int signal_number, siginfo_t *info, void *context) {
    if (signal_number == SIGSYS || signal_number == SIGABRT)
        _exit(memory_is_out() ? COMPILE_EXIT_MEMORY : COMPILE_EXIT_ABORT);
    if (signal_number == SIGSEGV && is_stack(info, context))
        _exit(COMPILE_EXIT_STACK);
    if (memory_is_out())
        _exit(COMPILE_EXIT_MEMORY);
    signal(signal_number, SIG_DFL); // and the instruction runs again
}

static bool install_handlers(void) {
    static uint8_t stack[SIGNAL_STACK];
    static const int signals[] = {SIGSYS, SIGABRT, SIGSEGV, SIGBUS};
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};
    bool ok = sigaltstack(&alternate, NULL) == 0;
    for (size_t i = 0; ok && i < TW_COUNT(signals); i++) {
        struct sigaction action = {.sa_sigaction = on_end, .sa_flags = SA_SIGINFO | SA_ONSTACK};
        ok = sigaction(signals[i], &action, NULL) == 0;
    }
    return ok;
}

// ---- limits ----

// The address space in use, in bytes; 0 when it cannot be read.
static uint64_t address_space(void) {
    char text[64];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t len = read(fd, text, sizeof(text));
    close(fd);
    uint64_t pages = 0;
    struct tw_str rest = tw_str_of(text, len > 0 ? (size_t)len : 0);
    if (!tw_str_u64(tw_str_cut(&rest, ' '), &pages))
        return 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static bool set_limit(int which, uint64_t soft, uint64_t hard) {
    struct rlimit before, limit = {.rlim_cur = soft, .rlim_max = hard};
    if (getrlimit((__rlimit_resource_t)which, &before) != 0)
        return false;
    // What the operator set lower stays.
    if (limit.rlim_max > before.rlim_max)
        limit.rlim_max = before.rlim_max;
    if (limit.rlim_cur > limit.rlim_max)
        limit.rlim_cur = limit.rlim_max;
    return setrlimit((__rlimit_resource_t)which, &limit) == 0;
}

static bool set_limits(const struct compile_job *job) {
    uint64_t used = address_space();
    if (!used)
        return false;
    uint64_t memory = used + job->memory_bytes;
    return set_limit(RLIMIT_AS, memory, memory) &&
           set_limit(RLIMIT_CPU, job->cpu_seconds, job->cpu_seconds + CPU_HARD_SLACK_S) &&
           set_limit(RLIMIT_FSIZE, COMPILE_MAX_ARTIFACT, COMPILE_MAX_ARTIFACT) &&
           set_limit(RLIMIT_CORE, 0, 0) && set_limit(RLIMIT_MEMLOCK, 0, 0) && set_limit(RLIMIT_NOFILE, 0, 0);
}

bool compile_sandbox_enter(const struct compile_sandbox *sandbox, const struct compile_job *job) {
    const struct program *program = &sandbox->programs[job->kind == TW_COMPILE_WASM];
    struct sock_fprog filter = {.len = program->count, .filter = program->code};
    if (!install_handlers() || !set_limits(job) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return false;
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0)
        return false;
    errno = 0;
    return true;
}
