// SPDX-License-Identifier: Apache-2.0
//
// See kernel_run.h. The loader copies the sections that are to be loaded behind one another and applies the
// few relocations there are.

#include "kernel_run.h"

#include <elf.h>
#include <sys/mman.h>

#include "harness/test.h"
#include "ptx/ptx.h"

void rig_init(struct rig *rig) {
    struct tw_error err = {};
    static bool ready;
    if (!ready)
        tw_assert_ok(tw_jit_init(&err), &err);
    ready = true;
    *rig = (struct rig){.next = 4096};
    rig->base = mmap(NULL, RIG_BYTES + RIG_GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(rig->base, MAP_FAILED);
    ck_assert_int_eq(mprotect(rig->base + 4096, RIG_BYTES - 4096, PROT_READ | PROT_WRITE), 0);
    rig->spill_bytes = 16 << 20;
    rig->spill = mmap(NULL, rig->spill_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(rig->spill, MAP_FAILED);
}

uint64_t rig_alloc(struct rig *rig, size_t bytes) {
    uint64_t at = tw_align_up(rig->next, 1024);
    rig->next = at + bytes;
    ck_assert_uint_lt(rig->next, RIG_BYTES);
    return at;
}

void *rig_at(const struct rig *rig, uint64_t offset) {
    return rig->base + offset;
}

char *ptx_from_cu(const char *file) {
    char command[512];
    snprintf(command, sizeof command,
             "%s -x cuda --cuda-device-only --cuda-gpu-arch=sm_80 --cuda-feature=+ptx78 -nocudainc "
             "-nocudalib -O3 -S "
             "%s/golden/ptx/%s -o - 2>&1",
             TW_TEST_CLANG, TW_TEST_SOURCE_DIR, file);
    FILE *pipe = popen(command, "r");
    ck_assert_ptr_nonnull(pipe);
    char *text = calloc(1, 1 << 20);
    size_t len = fread(text, 1, (1 << 20) - 1, pipe);
    ck_assert_msg(pclose(pipe) == 0 && len > 0, "clang failed on %s: %.300s", file, text);
    return text;
}

// Confined: an object being loaded.
struct loading {
    const uint8_t *object;
    const Elf64_Shdr *sections;
    unsigned count;
    uint64_t place[64];
    uint8_t *memory;
};

static size_t place_sections(struct loading *l) {
    size_t end = 0;
    for (unsigned i = 0; i < l->count; i++) {
        if (!(l->sections[i].sh_flags & SHF_ALLOC) || l->sections[i].sh_type == SHT_NOBITS)
            continue;
        end = tw_align_up(end, l->sections[i].sh_addralign > 64 ? l->sections[i].sh_addralign : 64);
        l->place[i] = end;
        end += l->sections[i].sh_size;
    }
    return end;
}

static Elf64_Sym symbol_of(const struct loading *l, const Elf64_Shdr *table, uint64_t index) {
    Elf64_Sym symbol;
    memcpy(&symbol, l->object + table->sh_offset + index * sizeof symbol, sizeof symbol);
    return symbol;
}

static void relocate(const struct loading *l, const Elf64_Shdr *section) {
    if (!(l->sections[section->sh_info].sh_flags & SHF_ALLOC))
        return;
    for (uint64_t i = 0; i < section->sh_size / sizeof(Elf64_Rela); i++) {
        Elf64_Rela rela;
        memcpy(&rela, l->object + section->sh_offset + i * sizeof rela, sizeof rela);
        Elf64_Sym symbol = symbol_of(l, &l->sections[section->sh_link], ELF64_R_SYM(rela.r_info));
        ck_assert_uint_ne(symbol.st_shndx, SHN_UNDEF);
        uint8_t *at = l->memory + l->place[section->sh_info] + rela.r_offset;
        int64_t value = (int64_t)(l->place[symbol.st_shndx] + symbol.st_value) + rela.r_addend;
        int64_t pc = value - (int64_t)(l->place[section->sh_info] + rela.r_offset);
        uint32_t type = ELF64_R_TYPE(rela.r_info);
        int32_t pc32 = (int32_t)pc;
        int64_t absolute = value + (int64_t)(intptr_t)l->memory;
        if (type == R_X86_64_PC32 || type == R_X86_64_PLT32)
            memcpy(at, &pc32, sizeof pc32);
        else if (type == R_X86_64_PC64)
            memcpy(at, &pc, sizeof pc);
        else if (type == R_X86_64_64)
            memcpy(at, &absolute, sizeof absolute);
        else
            ck_abort_msg("relocation type %u", type);
    }
}

// The object's code, closed; its one global function is `ret_entry`.
static void *load(struct tw_span object, size_t *ret_bytes, tw_kernel_entry *ret_entry) {
    const Elf64_Ehdr *header = (const void *)object.data;
    struct loading l = {.object = object.data,
                        .sections = (const void *)(object.data + header->e_shoff),
                        .count = header->e_shnum};
    ck_assert_uint_le(l.count, TW_COUNT(l.place));
    *ret_entry = NULL;
    *ret_bytes = place_sections(&l);
    l.memory = mmap(NULL, *ret_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(l.memory, MAP_FAILED);
    for (unsigned i = 0; i < l.count; i++)
        if (l.sections[i].sh_flags & SHF_ALLOC && l.sections[i].sh_type != SHT_NOBITS)
            memcpy(l.memory + l.place[i], object.data + l.sections[i].sh_offset, l.sections[i].sh_size);
    for (unsigned i = 0; i < l.count; i++) {
        if (l.sections[i].sh_type == SHT_RELA)
            relocate(&l, &l.sections[i]);
        for (uint64_t s = 0;
             l.sections[i].sh_type == SHT_SYMTAB && s < l.sections[i].sh_size / sizeof(Elf64_Sym); s++) {
            Elf64_Sym symbol = symbol_of(&l, &l.sections[i], s);
            if (ELF64_ST_BIND(symbol.st_info) == STB_GLOBAL && ELF64_ST_TYPE(symbol.st_info) == STT_FUNC)
                *ret_entry =
                    (tw_kernel_entry)(uintptr_t)(l.memory + l.place[symbol.st_shndx] + symbol.st_value);
        }
    }
    ck_assert_int_eq(mprotect(l.memory, *ret_bytes, PROT_READ | PROT_EXEC), 0);
    ck_assert(*ret_entry != NULL);
    return l.memory;
}

static void place_globals(struct rig *rig, struct kernel *k, const struct tw_kernel_artifact *artifact) {
    if (!k->info.globals_bytes)
        return;
    k->globals = rig_alloc(rig, k->info.globals_bytes);
    uint8_t *at = rig_at(rig, k->globals);
    if (artifact->globals.len)
        memcpy(at, artifact->globals.data, artifact->globals.len);
    for (uint32_t i = 0; i < artifact->global_reloc_count; i++) {
        uint64_t value;
        memcpy(&value, at + artifact->global_relocs[i], sizeof value);
        value += k->globals;
        memcpy(at + artifact->global_relocs[i], &value, sizeof value);
    }
}

// With TW_TEST_INTERPRETED in the environment what a test wants as light code is interpreted, where it can be.
static bool kernel_interpreted(struct rig *rig, struct kernel *k, struct tw_kir_module *module,
                               const char *entry) {
    struct tw_error err = {};
    struct tw_kernel_variant variant = {.opt_level = TW_KERNEL_INTERPRETED};
    struct tw_jit_result result = {};
    struct tw_kernel_artifact artifact;
    if (rig->opt_level != TW_KERNEL_INTERPRETED &&
        (rig->opt_level != TW_KERNEL_LIGHT || !getenv("TW_TEST_INTERPRETED")))
        return false;
    tw_assert_ok(tw_jit_compile(module, entry, &variant, TW_JIT_OBJECT, &result, &err), &err);
    tw_assert_ok(tw_kernel_artifact_decode(tw_buf_span(&result.bytes), &artifact, &err), &err);
    *k = (struct kernel){.info = artifact.info};
    bool is_program = artifact.info.variant.opt_level == TW_KERNEL_INTERPRETED;
    if (is_program) {
        tw_assert_ok(tw_interp_load(artifact.object, &artifact.info, &k->program, &err), &err);
        k->entry = tw_interp_run;
        place_globals(rig, k, &artifact);
    }
    tw_jit_result_done(&result);
    return is_program;
}

void kernel_from_module(struct rig *rig, struct kernel *k, struct tw_kir_module *module, const char *entry,
                        unsigned lanes, unsigned x_multiple) {
    struct tw_error err = {};
    if (kernel_interpreted(rig, k, module, entry))
        return;
    int level = rig->opt_level == TW_KERNEL_INTERPRETED ? TW_KERNEL_LIGHT : rig->opt_level; // no program
    struct tw_kernel_variant variant = {
        .lanes = (uint16_t)lanes, .x_multiple = (uint16_t)x_multiple, .opt_level = (uint16_t)level};
    struct tw_jit_result result = {};
    struct tw_kernel_artifact artifact;
    tw_assert_ok(tw_jit_compile(module, entry, &variant, TW_JIT_OBJECT, &result, &err), &err);
    tw_assert_ok(tw_kernel_artifact_decode(tw_buf_span(&result.bytes), &artifact, &err), &err);
    *k = (struct kernel){.info = artifact.info};
    k->code = load(artifact.object, &k->code_bytes, &k->entry);
    place_globals(rig, k, &artifact);
    tw_jit_result_done(&result);
    if (!k->info.guesses)
        return;
    tw_kernel_entry exact;
    variant = k->info.variant;
    variant.opt_level = TW_KERNEL_EXACT;
    tw_assert_ok(tw_jit_compile(module, entry, &variant, TW_JIT_OBJECT, &result, &err), &err);
    tw_assert_ok(tw_kernel_artifact_decode(tw_buf_span(&result.bytes), &artifact, &err), &err);
    ck_assert_uint_eq(artifact.info.spill_bytes, k->info.spill_bytes);
    k->exact_code = load(artifact.object, &k->exact_bytes, &exact);
    k->exact = (tw_kernel_exact)(uintptr_t)exact;
    tw_jit_result_done(&result);
}

void kernel_from_ptx(struct rig *rig, struct kernel *k, const char *ptx, const char *entry, unsigned lanes,
                     unsigned x_multiple) {
    struct tw_arena arena;
    struct tw_error err = {};
    struct tw_kir_module *module;
    tw_arena_init(&arena, 256 << 20);
    tw_assert_ok(tw_ptx_parse(&arena, tw_str_from(ptx), &module, &err), &err);
    kernel_from_module(rig, k, module, entry, lanes, x_multiple);
    tw_arena_done(&arena);
}

static bool compiles(const char *ptx, const char *entry, struct tw_kernel_variant variant,
                     enum tw_jit_stage stage, struct tw_error *err) {
    struct tw_arena arena;
    struct tw_kir_module *module;
    struct tw_jit_result result = {};
    tw_arena_init(&arena, 256 << 20);
    bool ok = tw_ptx_parse(&arena, tw_str_from(ptx), &module, err) &&
              tw_jit_compile(module, entry, &variant, stage, &result, err);
    if (ok)
        tw_jit_result_done(&result);
    tw_arena_done(&arena);
    return ok;
}

void kernel_program(struct rig *rig, struct kernel *k, const char *ptx) {
    rig->opt_level = TW_KERNEL_INTERPRETED;
    kernel_from_ptx(rig, k, ptx, "k", TW_INTERP_LANES, 1);
    ck_assert_int_eq(k->info.variant.opt_level, TW_KERNEL_INTERPRETED);
}

bool kernel_try(const char *ptx, const char *entry, unsigned lanes, unsigned x_multiple,
                struct tw_error *err) {
    struct tw_kernel_variant variant = {.lanes = (uint16_t)lanes, .x_multiple = (uint16_t)x_multiple};
    return compiles(ptx, entry, variant, TW_JIT_OBJECT, err);
}

bool kernel_has_program(const char *ptx, const char *entry, struct tw_error *err) {
    return compiles(ptx, entry, (struct tw_kernel_variant){}, TW_JIT_PROGRAM, err);
}

char *kernel_llvm(const char *ptx, const char *entry, unsigned lanes, unsigned x_multiple) {
    struct tw_arena arena;
    struct tw_kir_module *module;
    struct tw_jit_result result = {};
    struct tw_error err = {};
    struct tw_kernel_variant variant = {
        .lanes = (uint16_t)lanes, .x_multiple = (uint16_t)x_multiple, .opt_level = TW_KERNEL_FULL};
    tw_arena_init(&arena, 256 << 20);
    bool ok = tw_ptx_parse(&arena, tw_str_from(ptx), &module, &err) &&
              tw_jit_compile(module, entry, &variant, TW_JIT_LLVM, &result, &err);
    ck_assert_msg(ok, "%s", err.message);
    struct tw_span bytes = tw_buf_span(&result.bytes);
    char *text = strndup((const char *)bytes.data, bytes.len);
    ck_assert_ptr_nonnull(text);
    tw_jit_result_done(&result);
    tw_arena_done(&arena);
    return text;
}

void kernel_from_cu(struct rig *rig, struct kernel *k, const char *file, const char *entry, unsigned lanes,
                    unsigned x_multiple) {
    char *ptx = ptx_from_cu(file);
    kernel_from_ptx(rig, k, ptx, entry, lanes, x_multiple);
    free(ptx);
}

void kernel_done(struct kernel *k) {
    tw_interp_program_done(k->program);
    if (k->code)
        munmap(k->code, k->code_bytes);
    if (k->exact_code)
        munmap(k->exact_code, k->exact_bytes);
}

static uint32_t run_blocks(struct rig *rig, const struct kernel *k, struct tw_kernel_frame *frame) {
    uint64_t blocks = (uint64_t)frame->grid[0] * frame->grid[1] * frame->grid[2];
    uint64_t chunk = rig->chunk ? rig->chunk : blocks;
    uint32_t status = TW_KERNEL_OK;
    for (uint64_t first = rig->first; first < blocks && status == TW_KERNEL_OK; first += chunk)
        status = k->entry(frame, first, chunk < blocks - first ? chunk : blocks - first);
    rig->fault_site = frame->fault_site;
    rig->again = frame->again;
    return status;
}

uint32_t rig_launch(struct rig *rig, const struct kernel *k, const uint32_t grid[3], const uint32_t block[3],
                    uint32_t dynamic_shared, const void *params, size_t param_bytes) {
    static _Alignas(64) uint8_t param_block[4096 + 64];
    uint64_t kept = rig->next, threads = (uint64_t)block[0] * block[1] * block[2];
    uint64_t warps = (threads + k->info.variant.lanes - 1) / k->info.variant.lanes;
    ck_assert_uint_ge(param_bytes, k->info.param_bytes);
    ck_assert_uint_le(param_bytes, 4096);
    ck_assert_uint_le(warps * (k->info.spill_bytes + 64), rig->spill_bytes);
    memcpy(param_block, params, param_bytes);
    uint64_t shared = k->info.dynamic_shared_offset + dynamic_shared;
    struct tw_kernel_frame frame = {.alone = rig->alone,
                                    .arena_base = rig->base,
                                    .arena_mask = RIG_BYTES - 1,
                                    .params = param_block,
                                    .shared_base = rig_alloc(rig, shared),
                                    .local_base = rig_alloc(rig, threads * k->info.local_bytes + 64),
                                    .global_base = k->globals,
                                    .spill = rig->spill,
                                    .prints = &rig->prints,
                                    .exact = k->exact,
                                    .program = k->program,
                                    .better = rig->better,
                                    .time_ns = 1'000,
                                    .time_scale = UINT64_C(1) << 31,
                                    .dynamic_shared = dynamic_shared,
                                    .worker_count = 1,
                                    .shared_limit = shared};
    if (k->info.needs_param_copy) {
        frame.param_base = rig_alloc(rig, param_bytes);
        memcpy(rig_at(rig, frame.param_base), params, param_bytes);
    }
    memcpy(frame.grid, grid, sizeof frame.grid);
    memcpy(frame.block, block, sizeof frame.block);
    uint32_t status = run_blocks(rig, k, &frame);
    rig->next = kept;
    return status;
}

void rig_done(struct rig *rig) {
    munmap(rig->base, RIG_BYTES + RIG_GUARD);
    munmap(rig->spill, rig->spill_bytes);
}
