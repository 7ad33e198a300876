// SPDX-License-Identifier: Apache-2.0
//
// Shared by the parts of the IR reader: parse.c (lines, declarations), parse_inst.c (instructions) and
// parse_text.c (words, numbers, names).
#pragma once

#include "internal.h"

// Confined: one reading.
struct ir_reader {
    struct tw_kir_module *module;
    struct tw_str text; // what is left
    struct tw_str rest; // of the current line
    uint32_t line;
    struct tw_map functions, variables, regs, labels;
    uint32_t function, block;
    bool in_function;
    struct tw_error *err;
};

[[gnu::format(printf, 2, 3)]] bool kernel_parse_fail(struct ir_reader *r, const char *format, ...);
bool kernel_parse_memory(struct ir_reader *r);
struct tw_str kernel_parse_word(struct ir_reader *r); // up to the next space; empty at the end of the line
[[nodiscard]] bool kernel_parse_number(struct ir_reader *r, uint64_t max, uint64_t *ret_value);
[[nodiscard]] bool kernel_parse_signed(struct ir_reader *r, struct tw_str word, int64_t *ret_value);
[[nodiscard]] bool kernel_parse_name_put(struct ir_reader *r, struct tw_map *map, struct tw_str name,
                                         uint32_t index);
[[nodiscard]] bool kernel_parse_name_find(struct ir_reader *r, const struct tw_map *map, struct tw_str name,
                                          const char *what, uint32_t *ret_index);
[[nodiscard]] bool kernel_parse_instruction(struct ir_reader *r);
static inline struct tw_kir_function *kernel_parse_function(struct ir_reader *r) {
    return &r->module->functions[r->function];
}
