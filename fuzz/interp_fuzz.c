// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a program (interp/interp.h). What the loader accepts is run: on an arena between pages that nobody may touch, with
// registers on the heap, as many bytes as a device would make them, so that a sanitizer sees what lies outside. Faults in the arena and
// its guards are a kernel's own business, and one that does not end is left, both as a device does it.

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "interp/interp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
[[gnu::weak]] size_t LLVMFuzzerMutate(uint8_t *data, size_t size,
                                      size_t max_size); // libFuzzer's, where it is there

enum {
    ARENA_BYTES = 1 << 20,
    GUARD_BYTES = 1 << 20,
    PARAM_BYTES = 128,
    SHARED_BYTES = 16 << 10,
    RUN_US = 4'000
};

static struct {
    uint8_t *arena;
    sigjmp_buf jump;
} fuzz;
static _Thread_local volatile sig_atomic_t
    running; // libFuzzer has a thread that the timer's signal may come to

// Shapes of blocks, whole warps and partial ones.
static const uint32_t shapes[][3] = {{32, 1, 1}, {1, 1, 1}, {70, 1, 1}, {5, 7, 3}, {256, 1, 1}};

static void on_fault(int number, siginfo_t *info, [[maybe_unused]] void *context) {
    uintptr_t offset = (uintptr_t)info->si_addr - ((uintptr_t)fuzz.arena - GUARD_BYTES);
    bool ours = running && (info->si_code == SI_KERNEL || offset < ARENA_BYTES + 2 * (uintptr_t)GUARD_BYTES);
    if (ours) {
        running = 0;
        siglongjmp(fuzz.jump, 1);
    }
    signal(number, SIG_DFL); // it comes again, and ends the program
}

static void on_time([[maybe_unused]] int number) {
    if (!running)
        return;
    running = 0;
    siglongjmp(fuzz.jump, 1);
}

static void set_up(void) {
    const int faults[] = {SIGSEGV, SIGBUS};
    uint8_t *all = mmap(NULL, ARENA_BYTES + 2 * GUARD_BYTES, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    TW_ASSERT(all != MAP_FAILED);
    fuzz.arena = all + GUARD_BYTES;
    TW_ASSERT(mprotect(fuzz.arena + 4'096, ARENA_BYTES - 4'096, PROT_READ | PROT_WRITE) == 0);
    for (unsigned i = 0; i < TW_COUNT(faults); i++) {
        struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
        TW_ASSERT(sigaction(faults[i], &action, NULL) == 0);
    }
    struct sigaction action = {.sa_handler = on_time};
    TW_ASSERT(sigaction(SIGVTALRM, &action, NULL) == 0);
}

static void set_timer(suseconds_t us) {
    const struct itimerval timer = {.it_value = {.tv_usec = us}, .it_interval = {.tv_usec = us}};
    TW_ASSERT(setitimer(ITIMER_VIRTUAL, &timer, NULL) == 0);
}

// What all programs are run with: a kernel that has everything.
static struct tw_kernel_info info_for(struct tw_span program) {
    struct tw_interp_header header = {};
    struct tw_kernel_info info = {
        .variant = {.lanes = TW_INTERP_LANES, .x_multiple = 1, .opt_level = TW_KERNEL_INTERPRETED},
        .param_bytes = PARAM_BYTES,
        .local_bytes = 64,
        .uses_warp_ops = true,
        .uses_barriers = true,
        .uses_atomics = true,
        .needs_param_copy = true,
        .prints = true,
        .tells_time = true};
    if (program.len >= sizeof header)
        memcpy(&header, program.data, sizeof header);
    info.spill_bytes =
        header.reg_bytes < TW_INTERP_REG_BYTES_MAX ? header.reg_bytes : TW_INTERP_REG_BYTES_MAX;
    return info;
}

static void run(struct tw_kernel_frame *frame) {
    if (sigsetjmp(fuzz.jump, 1) == 0) {
        set_timer(RUN_US);
        running = 1;
        (void)tw_interp_run(frame, 0, 2);
        running = 0;
    }
    set_timer(0);
}

static void launch(const struct tw_interp_program *program, const struct tw_kernel_info *info,
                   const uint32_t block[3]) {
    uint32_t warps = (block[0] * block[1] * block[2] + TW_INTERP_LANES - 1) / TW_INTERP_LANES;
    size_t spill_bytes = (size_t)warps * (info->spill_bytes + 64);
    uint8_t *params = aligned_alloc(64, PARAM_BYTES),
            *spill = aligned_alloc(64, tw_align_up(spill_bytes, 64));
    struct tw_kernel_prints *prints = tw_alloc(sizeof *prints);
    TW_ASSERT(params && spill && prints);
    prints->count = TW_KERNEL_PRINTS_MAX - 2;
    prints->lost = 0;
    uint64_t buffer = ARENA_BYTES / 2; // arguments are mostly this address, and small numbers
    for (unsigned i = 0; i < PARAM_BYTES / sizeof buffer; i++)
        memcpy(params + i * sizeof buffer, i % 4 == 3 ? &(uint64_t){100} : &buffer, sizeof buffer);
    struct tw_kernel_frame frame = {.arena_base = fuzz.arena,
                                    .arena_mask = ARENA_BYTES - 1,
                                    .params = params,
                                    .param_base = 4'096,
                                    .shared_base = 64 << 10,
                                    .local_base = 128 << 10,
                                    .global_base = 256 << 10,
                                    .spill = spill,
                                    .grid = {2, 1, 1},
                                    .block = {block[0], block[1], block[2]},
                                    .worker_count = 1,
                                    .shared_limit = SHARED_BYTES,
                                    .prints = prints,
                                    .program = program};
    run(&frame);
    free(params);
    free(spill);
    free(prints);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tw_error err = {};
    struct tw_interp_program *program;
    struct tw_span bytes = tw_span_of(data, size);
    struct tw_kernel_info info = info_for(bytes);
    if (!fuzz.arena)
        set_up();
    if (!tw_interp_load(bytes, &info, &program, &err)) {
        TW_ASSERT(err.code == TW_ERR_INTERNAL && err.message[0]);
        return 0;
    }
    const uint32_t *shape = shapes[tw_crc32(0, bytes) % TW_COUNT(shapes)];
    launch(program, &info, shape);
    tw_interp_program_done(program);
    return 0;
}

// ---- changes that leave a program a program ----

// Confined: a program that is changed in place.
struct change {
    const struct tw_interp_header *header;
    struct tw_interp_inst *insts;
    uint32_t *operands;
    uint64_t state;
};

static uint32_t pick(struct change *c, uint32_t n) {
    c->state = c->state * 6'364'136'223'846'793'005U + 1'442'695'040'888'963'407U;
    return (uint32_t)(c->state >> 33) % n;
}

// False: its parts are not all there.
static bool read_program(struct change *c, uint8_t *data, size_t size) {
    c->header = (const void *)data;
    if (size < sizeof *c->header || c->header->inst_count == 0)
        return false;
    c->insts = (void *)(data + sizeof *c->header);
    uint64_t at = sizeof *c->header + (uint64_t)c->header->inst_count * sizeof *c->insts +
                  (uint64_t)c->header->constant_count * sizeof(struct tw_interp_constant) +
                  (uint64_t)c->header->zero_count * sizeof(struct tw_interp_zero);
    uint64_t end = at + (uint64_t)c->header->operand_count * sizeof *c->operands;
    c->operands = (void *)(data + (end <= size ? at : 0));
    return end <= size;
}

// Another operation with the same operands.
static void change_op(struct change *c, struct tw_interp_inst *inst) {
    const char *letters = tw_interp_operands(inst->op), *other;
    for (unsigned tries = 0; letters && tries < 1'000; tries++) {
        uint16_t op = (uint16_t)pick(c, TW_INTERP_ALU + 2'000);
        other = tw_interp_operands(op);
        if (other && strcmp(other, letters) == 0) {
            inst->op = op;
            return;
        }
    }
}

// Another instruction's row of the same size.
static void change_row(struct change *c, const struct tw_interp_inst *inst) {
    const struct tw_interp_inst *from = &c->insts[pick(c, c->header->inst_count)];
    const char *letters = tw_interp_operands(inst->op), *others = tw_interp_operands(from->op);
    uint32_t count = letters ? (uint32_t)strcspn(letters, "*") : 0;
    uint32_t other_count = others ? (uint32_t)strcspn(others, "*") : 0;
    if (!count || !other_count)
        return;
    uint32_t to = pick(c, count), at = pick(c, other_count);
    if (letters[to] == others[at] && to < inst->operand_count && at < from->operand_count &&
        (uint64_t)inst->operands + to < c->header->operand_count &&
        (uint64_t)from->operands + at < c->header->operand_count)
        c->operands[inst->operands + to] = c->operands[from->operands + at];
}

static void change_imm(struct change *c, struct tw_interp_inst *inst) {
    switch (pick(c, 4)) {
    case 0:
        inst->imm = pick(c, 64);
        return;
    case 1:
        inst->imm ^= UINT64_C(1) << pick(c, 64);
        return;
    case 2:
        inst->imm = (uint64_t)pick(c, UINT32_MAX) << 32 | pick(c, UINT32_MAX);
        return;
    default:
        inst->imm = c->insts[pick(c, c->header->inst_count)].imm;
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
    struct change c = {.state = seed};
    if ((pick(&c, 4) == 0 || !read_program(&c, data, size)) && LLVMFuzzerMutate)
        return LLVMFuzzerMutate(data, size, max_size);
    for (uint32_t n = read_program(&c, data, size) ? 1 + pick(&c, 6) : 0; n > 0; n--) {
        struct tw_interp_inst *inst = &c.insts[pick(&c, c.header->inst_count)];
        switch (pick(&c, 3)) {
        case 0:
            change_op(&c, inst);
            break;
        case 1:
            change_row(&c, inst);
            break;
        default:
            change_imm(&c, inst);
        }
    }
    return size;
}
