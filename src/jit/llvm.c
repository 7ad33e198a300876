// SPDX-License-Identifier: Apache-2.0
//
// LLVM's side: which CPU code is made for, the passes, and getting an object, assembly or text out of a
// module. Two pipelines, neither with LLVM's loop optimisers: a light one for the first launch of a kernel (and for
// exact versions), a fuller one for kernels that stay hot.

#include "emit.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>

// Frozen after tw_jit_init.
static struct {
    LLVMTargetRef target;
    char cpu[64], features[4096];
    char *triple;
    char name[160];
    bool avx512;
} host;

static bool has_feature(const char *feature) {
    return strstr(host.features, feature) != NULL;
}

static const char *level_name(void) {
    return host.avx512 ? "x86-64-v4" : "x86-64-v3";
}

// A machine's first compile makes the tables of its CPU, which takes 1.5 ms: the next compile of the same level finds
// them. One spare a level is kept, made before the compiler process forks.
static struct {
    struct tw_lock lock;
    LLVMTargetMachineRef spare[2]; // by whether it is full
} machines;

static LLVMTargetMachineRef machine_take(bool full) {
    {
        TW_LOCK_SCOPE(&machines.lock);
        LLVMTargetMachineRef machine = machines.spare[full];
        machines.spare[full] = NULL;
        if (machine)
            return machine;
    }
    return LLVMCreateTargetMachine(host.target, host.triple, host.cpu, host.features,
                                   full ? LLVMCodeGenLevelDefault : LLVMCodeGenLevelNone, LLVMRelocPIC,
                                   LLVMCodeModelSmall);
}

static void machine_give(LLVMTargetMachineRef machine, bool full) {
    LLVMTargetMachineRef more;
    {
        TW_LOCK_SCOPE(&machines.lock);
        more = machines.spare[full];
        machines.spare[full] = machine;
    }
    if (more)
        LLVMDisposeTargetMachine(more);
}

static void machines_drop(void) {
    for (unsigned i = 0; i < TW_COUNT(machines.spare); i++) {
        if (machines.spare[i])
            LLVMDisposeTargetMachine(machines.spare[i]);
        machines.spare[i] = NULL;
    }
}

void jit_set_cpu(const char *cpu, const char *features) {
    machines_drop();
    snprintf(host.cpu, sizeof host.cpu, "%s", cpu);
    snprintf(host.features, sizeof host.features, "%s", features);
    host.avx512 = has_feature("+avx512f") && has_feature("+avx512vl") && has_feature("+avx512bw") &&
                  has_feature("+avx512dq");
}

static void use_this_cpu(void) {
    char *cpu = LLVMGetHostCPUName(), *features = LLVMGetHostCPUFeatures();
    jit_set_cpu(cpu, features);
    LLVMDisposeMessage(cpu);
    LLVMDisposeMessage(features);
}

bool tw_jit_init(struct tw_error *err) {
    char *message = NULL;
    unsigned major, minor, patch;
    tw_lock_init(&machines.lock);
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
    host.triple = LLVMGetDefaultTargetTriple();
    if (LLVMGetTargetFromTriple(host.triple, &host.target, &message)) {
        (void)tw_fail(err, TW_ERR_INTERNAL, "LLVM knows no target %.60s: %.120s", host.triple, message);
        LLVMDisposeMessage(message);
        return false;
    }
    use_this_cpu();
    if (!has_feature("+avx2") || !has_feature("+fma") || !has_feature("+f16c"))
        return tw_fail(err, TW_ERR_CUDA_NOT_AVAILABLE,
                       "kernels on the CPU need AVX2, FMA and F16C (x86-64-v3), which this CPU (%.60s) lacks",
                       host.cpu);
    LLVMGetVersion(&major, &minor, &patch);
    // CPUs of one name differ where a hypervisor hides features.
    uint32_t features = tw_crc32(0, tw_span_of(host.features, strlen(host.features)));
    snprintf(host.name, sizeof host.name, "%s:%.60s:%08x:llvm%u.%u.%u:tw%d", level_name(), host.cpu, features,
             major, minor, patch, TW_KERNEL_ABI);
    return true;
}

const char *tw_jit_target(void) {
    return host.name;
}

bool jit_has_avx512(void) {
    return host.avx512;
}

static void attribute(LLVMContextRef context, LLVMValueRef function, const char *key, const char *value) {
    LLVMAttributeRef a =
        LLVMCreateStringAttribute(context, key, (unsigned)strlen(key), value, (unsigned)strlen(value));
    LLVMAddAttributeAtIndex(function, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, a);
}

void jit_function_attributes(LLVMContextRef context, LLVMValueRef function) {
    attribute(context, function, "target-cpu", host.cpu);
    attribute(context, function, "target-features", host.features);
    attribute(context, function, "frame-pointer", "none");
    attribute(context, function, "no-builtins", "");
    attribute(context, function, "probe-stack",
              "inline-asm"); // a large frame must not step over the guard page
    if (host.avx512)
        attribute(context, function, "prefer-vector-width", "512");
    unsigned nounwind = LLVMGetEnumAttributeKindForName("nounwind", 8);
    LLVMAddAttributeAtIndex(function, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                            LLVMCreateEnumAttribute(context, nounwind, 0));
}

void jit_set_target(LLVMModuleRef module) {
    LLVMSetTarget(module, host.triple);
}

static bool verify(LLVMModuleRef module, struct tw_error *err) {
    char *message = NULL;
    bool broken = LLVMVerifyModule(module, LLVMReturnStatusAction, &message);
    if (broken)
        (void)tw_fail(err, TW_ERR_INTERNAL, "the kernel compiler made invalid code: %.180s", message);
    LLVMDisposeMessage(message);
    return !broken;
}

// The vectorising is ours already, so LLVM's loop passes have little to gain. The light pipeline makes values of slots and
// drops what is there twice, which saves the code generator as much time as it takes; nothing else that was tried did. The
// full one adds what moves and merges loads and addresses; default<O2> took half as long again and gave no faster code in any of the 8 kernels compared.
static const char light_passes[] = "function(mem2reg,early-cse)";
static const char full_passes[] =
    "function(sroa,early-cse<memssa>,instcombine<no-verify-fixpoint>,simplifycfg,loop-mssa(loop-rotate,licm),"
    "gvn,instcombine<no-verify-fixpoint>,simplifycfg,sink)";

static const char sparse_passes[] = "function(instcombine<no-verify-fixpoint>,sink)";

static bool run_passes(LLVMModuleRef module, LLVMTargetMachineRef machine, const char *passes,
                       struct tw_error *err) {
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMPassBuilderOptionsSetLoopVectorization(options, false);
    LLVMPassBuilderOptionsSetSLPVectorization(options, false);
    LLVMErrorRef failed = LLVMRunPasses(module, passes, machine, options);
    LLVMDisposePassBuilderOptions(options);
    if (!failed)
        return true;
    char *message = LLVMGetErrorMessage(failed);
    (void)tw_fail(err, TW_ERR_INTERNAL, "LLVM's passes failed: %.180s", message);
    LLVMDisposeErrorMessage(message);
    return false;
}

static bool append(struct tw_buf *out, const void *data, size_t len, struct tw_error *err) {
    return tw_buf_append(out, data, len) ||
           tw_fail(err, TW_ERR_CUDA_QUOTA, "the compiled kernel is larger than %zu bytes; split it",
                   out->max);
}

static bool emit_file(LLVMModuleRef module, LLVMTargetMachineRef machine, enum tw_jit_stage stage,
                      struct tw_buf *out, struct tw_error *err) {
    char *message = NULL;
    LLVMMemoryBufferRef memory = NULL;
    LLVMCodeGenFileType type = stage == TW_JIT_ASM ? LLVMAssemblyFile : LLVMObjectFile;
    if (LLVMTargetMachineEmitToMemoryBuffer(machine, module, type, &message, &memory)) {
        (void)tw_fail(err, TW_ERR_INTERNAL, "LLVM made no code: %.180s", message);
        LLVMDisposeMessage(message);
        return false;
    }
    bool ok = append(out, LLVMGetBufferStart(memory), LLVMGetBufferSize(memory), err);
    LLVMDisposeMemoryBuffer(memory);
    return ok;
}

static bool print_module(LLVMModuleRef module, struct tw_buf *out, struct tw_error *err) {
    char *text = LLVMPrintModuleToString(module);
    bool ok = append(out, text, strlen(text), err);
    LLVMDisposeMessage(text);
    return ok;
}

// A kernel with a block that was cut more often has its code generated as for the light tier: the full code generator
// joins the pieces again and needs time that grows with their square.
enum { CUTS_FULL_MAX = 1 };

bool jit_finish(LLVMModuleRef module, struct jit_output output, struct tw_buf *out, struct tw_error *err) {
    // A launch waits for light code, and what is wrong with it is wrong with full code too.
    bool full = output.tier == TW_KERNEL_FULL, urgent = !full && output.stage == TW_JIT_OBJECT;
    if (!urgent && !verify(module, err))
        return false;
    LLVMTargetMachineRef machine = machine_take(full);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
    LLVMSetModuleDataLayout(module, layout);
    LLVMDisposeTargetData(layout);
    int64_t begin_ns = tw_clock_ns();
    bool ok = run_passes(module, machine, full ? full_passes : light_passes, err);
    bool changed = ok && full && jit_store_sparse(module);
    changed |= ok && full && jit_fold_lanes(module);
    if (changed)
        ok = run_passes(module, machine, sparse_passes, err);
    if (ok && full && host.avx512) {
        jit_blend_floats(module);
        jit_take_words(module);
    }
    if (ok && host.avx512)
        jit_fence_logic(module);
    if (ok && jit_split_blocks(module) > CUTS_FULL_MAX && full) {
        machine_give(machine, full);
        full = false;
        machine = machine_take(full);
    }
    int64_t passes_ns = tw_clock_ns();
    output.times->passes_ns = passes_ns - begin_ns;
    if (ok)
        ok = output.stage == TW_JIT_LLVM ? print_module(module, out, err)
                                         : emit_file(module, machine, output.stage, out, err);
    output.times->code_ns = tw_clock_ns() - passes_ns;
    machine_give(machine, full);
    return ok;
}
