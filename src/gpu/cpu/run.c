// SPDX-License-Identifier: Apache-2.0
//
// Runs blocks of a kernel on this thread, and gets out of it whatever happens. Kernel code holds no lock and
// calls nothing outside itself, so it may be left at any instruction. So may the interpreter, which is ours: while a program
// runs, the whole of this thread is in the kernel's code, wherever its program counter is.
//
//     cpu_run: sigsetjmp, note where we are in `inside`, switch to the kernel stack, call
//       ├ returns                                       → its status
//       ├ SIGSEGV/BUS/FPE/ILL in its code, at an address of the arena → siglongjmp, CPU_FAULT
//       └ SIGUSR2 in its code while the job is to stop  → siglongjmp, CPU_STOPPED
//
// Kernel code calls one thing that is ours: cpu_exact, when a guess proved wrong and the exact version is not there
// yet. It is left by returning only.
//
// A fault is ours only when the program counter lies in the kernel's code and the address in its arena (or in
// the guard of its stack); anything else is a bug of ours or another's fault and is passed on. Kernels get a
// stack of their own, since the launching thread may be deep in a guest's.

#include "gpu/cpu/internal.h"

#include <setjmp.h>
#include <ucontext.h>

enum { EXACT_STACK_BYTES = 256 << 10 };

// What this thread runs now. On the stack of cpu_run.
struct inside {
    sigjmp_buf jump;
    const struct gpu_runner *runner;
    struct gpu_job *job;
    struct gpu_code *code;
    struct cpu_fault fault;
};
static _Thread_local struct inside *volatile inside;

// cpu_enter(frame, first, count, entry, stack_top): calls entry(frame, first, count) on another stack.
uint32_t cpu_enter(struct tw_kernel_frame *frame, uint64_t first, uint64_t count, tw_kernel_entry entry,
                   void *stack_top);
__asm__(".pushsection .text\n"
        ".type cpu_enter, @function\n"
        ".hidden cpu_enter\n"
        ".globl cpu_enter\n"
        "cpu_enter:\n"
        "    pushq %rbp\n"
        "    movq %rsp, %rbp\n"
        "    movq %r8, %rsp\n"
        "    callq *%rcx\n"
        "    movq %rbp, %rsp\n"
        "    popq %rbp\n"
        "    retq\n"
        ".size cpu_enter, . - cpu_enter\n"
        ".popsection\n");

static bool is_in(const struct gpu_text *text, uintptr_t pc) {
    return pc - (uintptr_t)text->mapping < text->code_bytes;
}

static bool is_in_code(const struct inside *here, const void *context) {
    const ucontext_t *machine = context;
    uintptr_t pc = (uintptr_t)machine->uc_mcontext.gregs[REG_RIP];
    const struct gpu_code *code = here->code, *exact = gpu_code_exact(code);
    return code->program || is_in(&code->text, pc) || (exact && is_in(&exact->text, pc));
}

// Whose fault it is. False: not the kernel's. The interpreter, whatever it interprets, faults at addresses of the arena only.
static bool classify(struct inside *here, int signal_number, const siginfo_t *info) {
    here->fault = (struct cpu_fault){.signal = signal_number, .kind = CPU_FAULT_OTHER};
    if (signal_number == SIGFPE || signal_number == SIGILL)
        return info->si_code > 0 && !here->code->program;
    // A general protection fault has no address; in masked code it is a vector access that is not aligned.
    if (info->si_code == SI_KERNEL) {
        here->fault.kind = CPU_FAULT_ALIGN;
        return !here->code->program;
    }
    if (info->si_code <= 0)
        return false;
    uintptr_t address = (uintptr_t)info->si_addr;
    uint64_t offset = address - (uintptr_t)here->job->context->arena->base;
    if (offset < TW_ARENA_BYTES + TW_ARENA_LOW_GUARD) {
        here->fault.kind = CPU_FAULT_ARENA;
        here->fault.offset = offset;
        return true;
    }
    here->fault.kind = CPU_FAULT_STACK;
    return !here->code->program && address - (uintptr_t)here->runner->stack < here->runner->guard_bytes;
}

static bool on_fault(int signal_number, siginfo_t *info, void *context) {
    struct inside *here = inside;
    if (!here || !is_in_code(here, context) || !classify(here, signal_number, info))
        return false;
    inside = NULL;
    siglongjmp(here->jump, CPU_FAULT);
}

static void on_stop(siginfo_t *info, void *context) {
    (void)info;
    struct inside *here = inside;
    if (!here || !is_in_code(here, context) || tw_state_get(&here->job->stop) == GPU_STOP_NONE)
        return;
    inside = NULL;
    siglongjmp(here->jump, CPU_STOPPED);
}

static bool handler_added;
static void add_handler(void) {
    handler_added = tw_signals_add_fault(on_fault);
}

bool cpu_run_install(struct tw_error *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, add_handler);
    if (!handler_added)
        return tw_fail(err, TW_ERR_INTERNAL, "no place is left for the kernels' fault handler");
    tw_signals_set_stop(on_stop);
    return tw_signals_install(err);
}

// The kernel's stack, with whatever was left on it, is as new; AddressSanitizer, where it is, has to hear of that.
[[gnu::weak]] void __asan_unpoison_memory_region(const volatile void *address, size_t size);
static void forget_stack(const struct gpu_runner *runner) {
    if (__asan_unpoison_memory_region)
        __asan_unpoison_memory_region(runner->stack + runner->guard_bytes,
                                      runner->stack_bytes - runner->guard_bytes);
}

enum cpu_outcome cpu_run(struct gpu_runner *runner, struct gpu_job *job, struct gpu_code *code,
                         struct tw_kernel_frame *frame, uint64_t first, uint64_t count,
                         struct cpu_fault *ret_fault) {
    struct inside here;
    here.runner = runner;
    here.job = job;
    here.code = code;
    const uint32_t rounding = __builtin_ia32_stmxcsr();
    // The mask is not saved: our handlers leave their signals open (SA_NODEFER), and saving it is a system
    // call.
    int left = sigsetjmp(here.jump, 0);
    if (left != 0) { // perhaps in the middle of an operation that rounds in another direction
        __builtin_ia32_ldmxcsr(rounding);
        forget_stack(runner);
        *ret_fault = here.fault;
        return (enum cpu_outcome)left;
    }
    inside = &here;
    uint32_t status =
        cpu_enter(frame, first, count, gpu_code_entry(code), runner->stack + runner->stack_bytes);
    inside = NULL;
    switch ((enum tw_kernel_status)status) {
    case TW_KERNEL_OK:
        return CPU_OK;
    case TW_KERNEL_TRAP:
        return CPU_TRAP;
    case TW_KERNEL_DEADLOCK:
        return CPU_DEADLOCK;
    case TW_KERNEL_AGAIN:
        if (code->program && frame->again - first < count)
            return CPU_AGAIN;
        break;
    }
    return CPU_TRAP; // not one of ours
}

static void stack_overflow(const char *name, struct tw_error *ret_error) {
    tw_fail(ret_error, TW_ERR_CUDA_LAUNCH_FAILED,
            "kernel '%.64s': stack overflow: its code keeps more than %llu KiB of values at a time; split "
            "it, or have fewer "
            "of them alive at once",
            name, GPU_STACK_BYTES >> 10);
}

// On the kernel's stack, of which it needs tens of KiB.
uint32_t cpu_exact(struct tw_kernel_frame *frame, uint32_t ctaid_x, uint32_t ctaid_y, uint32_t ctaid_z,
                   uint32_t warp, uint32_t tid_x, uint32_t tid_y, uint32_t tid_z, uint32_t state) {
    const struct gpu_runner *runner = inside->runner;
    struct gpu_job *job = inside->job;
    struct gpu_code *code = inside->code;
    struct tw_error error = {};
    const struct gpu_code *exact = NULL;
    if ((uintptr_t)__builtin_frame_address(0) - (uintptr_t)runner->stack <
        runner->guard_bytes + EXACT_STACK_BYTES)
        stack_overflow(job->code->parts.info.name, &error);
    else
        exact = gpu_kernel_exact(job->context->gpu->kernels, job->loaded->kernel, job->context->tenant->id,
                                 code, job->limit_ns, &error);
    if (!exact && gpu_job_stop(job, GPU_STOP_FAULT))
        job->error = error;
    if (tw_state_get(&job->stop) != GPU_STOP_NONE)
        return TW_KERNEL_EXACT_FAILED + TW_KERNEL_TRAP;
    frame->exact = gpu_exact_entry(exact);
    return frame->exact(frame, ctaid_x, ctaid_y, ctaid_z, warp, tid_x, tid_y, tid_z, state);
}

static void describe_address(const struct gpu_job *job, const struct cpu_fault *fault,
                             struct tw_error *ret_error) {
    const char *name = job->code->parts.info.name;
    if (fault->offset >= TW_ARENA_MEMORY_OFFSET && fault->offset < TW_ARENA_BYTES)
        tw_fail(ret_error, TW_ERR_CUDA_LAUNCH_FAILED,
                "kernel '%.64s': illegal address 0x%" PRIx64 " (arena offset; byte %" PRIu64
                " of guest memory, which lies outside it)",
                name, fault->offset, (uint64_t)(fault->offset - TW_ARENA_MEMORY_OFFSET));
    else
        tw_fail(ret_error, TW_ERR_CUDA_LAUNCH_FAILED,
                "kernel '%.64s': illegal address 0x%" PRIx64 " (arena offset; %s)", name, fault->offset,
                fault->offset < TW_ARENA_LOW_GUARD ? "a null pointer, or near it"
                                                   : "outside every allocation");
}

void cpu_describe_fault(const struct gpu_job *job, enum cpu_outcome outcome, const struct cpu_fault *fault,
                        uint64_t line, struct tw_error *ret_error) {
    const char *name = job->code->parts.info.name;
    switch (outcome) {
    case CPU_OK:
    case CPU_AGAIN:
    case CPU_STOPPED:
        return;
    case CPU_TRAP:
        tw_fail(ret_error, TW_ERR_CUDA_LAUNCH_FAILED, "kernel '%.64s': trap at line %" PRIu64 " of the PTX",
                name, line);
        return;
    case CPU_DEADLOCK:
        tw_fail(ret_error, TW_ERR_CUDA_LAUNCH_FAILED,
                "kernel '%.64s': deadlock: threads of a block wait for others that never come, at the "
                "barrier in line %" PRIu64 " of the PTX",
                name, line);
        return;
    case CPU_FAULT:
        break;
    }
    switch (fault->kind) {
    case CPU_FAULT_ARENA:
        describe_address(job, fault, ret_error);
        return;
    case CPU_FAULT_ALIGN:
        tw_fail(ret_error, TW_ERR_CUDA_LAUNCH_FAILED, "kernel '%.64s': misaligned address", name);
        return;
    case CPU_FAULT_STACK:
        stack_overflow(name, ret_error);
        return;
    case CPU_FAULT_OTHER:
        tw_fail(ret_error, TW_ERR_CUDA_LAUNCH_FAILED, "kernel '%.64s': %s", name,
                fault->signal == SIGFPE ? "arithmetic fault (integer division)" : "illegal instruction");
        return;
    }
}
