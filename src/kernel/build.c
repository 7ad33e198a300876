// SPDX-License-Identifier: Apache-2.0
//
// Building IR: modules, functions, registers, blocks, variables and instructions grow in the module's arena.
// Arrays double, so pointers into them (functions, blocks, instructions) hold only until the next one of
// their kind is added; the arrays an instruction points to never move.

#include "internal.h"

static bool no_memory(struct tw_error *err) {
    return tw_fail(err, TW_ERR_CUDA_QUOTA,
                   "the kernel needs more memory than a compilation may use; make it smaller");
}

static bool too_many(struct tw_error *err, const char *what, unsigned limit) {
    return tw_fail(err, TW_ERR_CUDA_QUOTA, "more than %u %s; split the kernel", limit, what);
}

// A bigger copy of an array in the arena; the old one stays behind unused.
static void *grow(struct tw_arena *arena, const void *items, uint32_t count, uint32_t *capacity,
                  size_t size) {
    uint32_t bigger = *capacity ? *capacity * 2 : 8;
    void *copy = tw_arena_alloc_array(arena, bigger, size, _Alignof(max_align_t));
    if (!copy)
        return NULL;
    if (count)
        memcpy(copy, items, count * size);
    *capacity = bigger;
    return copy;
}

struct tw_kir_module *tw_kir_module_new(struct tw_arena *arena, struct tw_error *err) {
    struct tw_kir_module *module = TW_ARENA_NEW(arena, struct tw_kir_module);
    if (!module) {
        no_memory(err);
        return NULL;
    }
    module->arena = arena;
    return module;
}

struct tw_kir_function *tw_kir_function_add(struct tw_kir_module *module, const char *name,
                                            struct tw_error *err) {
    if (module->function_count == TW_KIR_MAX_FUNCTIONS) {
        too_many(err, "functions", TW_KIR_MAX_FUNCTIONS);
        return NULL;
    }
    if (module->function_count == module->function_capacity) {
        void *bigger = grow(module->arena, module->functions, module->function_count,
                            &module->function_capacity, sizeof(*module->functions));
        if (!bigger) {
            no_memory(err);
            return NULL;
        }
        module->functions = bigger;
    }
    struct tw_kir_function *function = &module->functions[module->function_count++];
    *function = (struct tw_kir_function){.name = name};
    return function;
}

uint32_t tw_kir_reg_add(struct tw_kir_module *module, struct tw_kir_function *function, const char *name,
                        unsigned bits, struct tw_error *err) {
    if (function->reg_count == TW_KIR_MAX_REGS) {
        too_many(err, "registers in one function", TW_KIR_MAX_REGS);
        return TW_KIR_NO_REG;
    }
    if (!name && !(name = tw_arena_printf(module->arena, "%%.%u", function->reg_count))) {
        no_memory(err);
        return TW_KIR_NO_REG;
    }
    if (function->reg_count == function->reg_capacity) {
        void *bigger = grow(module->arena, function->regs, function->reg_count, &function->reg_capacity,
                            sizeof(*function->regs));
        if (!bigger) {
            no_memory(err);
            return TW_KIR_NO_REG;
        }
        function->regs = bigger;
    }
    function->regs[function->reg_count] = (struct tw_kir_reg){.name = name, .bits = (uint16_t)bits};
    return function->reg_count++;
}

uint32_t tw_kir_block_add(struct tw_kir_module *module, struct tw_kir_function *function, const char *label,
                          struct tw_error *err) {
    if (function->block_count == TW_KIR_MAX_BLOCKS) {
        too_many(err, "basic blocks in one function", TW_KIR_MAX_BLOCKS);
        return TW_KIR_NO_REG;
    }
    if (!label && !(label = tw_arena_printf(module->arena, ".%u", function->block_count))) {
        no_memory(err);
        return TW_KIR_NO_REG;
    }
    if (function->block_count == function->block_capacity) {
        void *bigger = grow(module->arena, function->blocks, function->block_count, &function->block_capacity,
                            sizeof(*function->blocks));
        if (!bigger) {
            no_memory(err);
            return TW_KIR_NO_REG;
        }
        function->blocks = bigger;
    }
    function->blocks[function->block_count] = (struct tw_kir_block){.label = label};
    return function->block_count++;
}

uint32_t tw_kir_variable_add(struct tw_kir_module *module, const struct tw_kir_variable *variable,
                             struct tw_error *err) {
    if (module->variable_count == TW_KIR_MAX_VARIABLES) {
        too_many(err, "variables", TW_KIR_MAX_VARIABLES);
        return TW_KIR_NO_REG;
    }
    if (module->variable_count == module->variable_capacity) {
        void *bigger = grow(module->arena, module->variables, module->variable_count,
                            &module->variable_capacity, sizeof(*module->variables));
        if (!bigger) {
            no_memory(err);
            return TW_KIR_NO_REG;
        }
        module->variables = bigger;
    }
    module->variables[module->variable_count] = *variable;
    return module->variable_count++;
}

// One piece of the arena for the three lists of an instruction: operands first, for their alignment.
static bool lists_new(struct tw_arena *arena, struct tw_kir_inst *inst) {
    size_t words = (size_t)inst->dst_count + inst->target_count;
    size_t bytes = inst->src_count * sizeof(struct tw_kir_operand) + words * sizeof(uint32_t);
    if (bytes == 0)
        return true;
    uint8_t *lists = tw_arena_alloc(arena, bytes, _Alignof(struct tw_kir_operand));
    if (!lists)
        return false;
    inst->src = (struct tw_kir_operand *)(void *)lists;
    inst->dst = (uint32_t *)(void *)(lists + inst->src_count * sizeof(struct tw_kir_operand));
    inst->targets = inst->dst + inst->dst_count;
    return true;
}

struct tw_kir_inst *tw_kir_inst_add(struct tw_kir_module *module, struct tw_kir_block *block,
                                    enum tw_kir_op op, enum tw_kir_type type, unsigned dsts, unsigned srcs,
                                    unsigned targets, struct tw_error *err) {
    if (module->inst_count == TW_KIR_MAX_INSTS) {
        too_many(err, "instructions", TW_KIR_MAX_INSTS);
        return NULL;
    }
    if (dsts > TW_KIR_MAX_TARGETS || srcs > TW_KIR_MAX_TARGETS || targets > TW_KIR_MAX_TARGETS) {
        too_many(err, "operands or branch targets of one instruction", TW_KIR_MAX_TARGETS);
        return NULL;
    }
    struct tw_kir_inst inst = {
        .op = (uint8_t)op,
        .type = (uint8_t)type,
        .dst_count = (uint8_t)dsts,
        .src_count = (uint8_t)srcs,
        .target_count = (uint8_t)targets,
        .guard = TW_KIR_NO_REG,
        .vec = 1,
    };
    if (!lists_new(module->arena, &inst)) {
        no_memory(err);
        return NULL;
    }
    if (block->count == block->capacity) {
        void *bigger =
            grow(module->arena, block->insts, block->count, &block->capacity, sizeof(*block->insts));
        if (!bigger) {
            no_memory(err);
            return NULL;
        }
        block->insts = bigger;
    }
    module->inst_count++;
    block->insts[block->count] = inst;
    return &block->insts[block->count++];
}

struct tw_kir_function *tw_kir_function_find(const struct tw_kir_module *module, const char *name) {
    for (uint32_t i = 0; i < module->function_count; i++)
        if (strcmp(module->functions[i].name, name) == 0)
            return &module->functions[i];
    return NULL;
}
