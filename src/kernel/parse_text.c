// SPDX-License-Identifier: Apache-2.0
//
// What the reader of IR makes of a line: words, numbers, names, and messages that name the line.

#include <stdarg.h>

#include "parse.h"

bool kernel_parse_fail(struct ir_reader *r, const char *format, ...) {
    char text[180];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return tw_fail(r->err, TW_ERR_CUDA_MALFORMED_PTX, "line %u of the IR: %s", r->line, text);
}

bool kernel_parse_memory(struct ir_reader *r) {
    return tw_fail(r->err, TW_ERR_CUDA_QUOTA, "no memory left for reading IR");
}

struct tw_str kernel_parse_word(struct ir_reader *r) {
    while (r->rest.len && r->rest.data[0] == ' ') {
        r->rest.data++;
        r->rest.len--;
    }
    return tw_str_cut(&r->rest, ' ');
}

bool kernel_parse_number(struct ir_reader *r, uint64_t max, uint64_t *ret_value) {
    struct tw_str word = kernel_parse_word(r);
    if (!tw_str_u64(word, ret_value) || *ret_value > max)
        return kernel_parse_fail(r, "expected a number up to %" PRIu64 ", found '%.*s'", max,
                                 TW_STR_ARG(word));
    return true;
}

bool kernel_parse_signed(struct ir_reader *r, struct tw_str word, int64_t *ret_value) {
    uint64_t value;
    bool minus = word.len && word.data[0] == '-';
    struct tw_str digits = word;
    if (word.len && (word.data[0] == '+' || word.data[0] == '-')) {
        digits.data++;
        digits.len--;
    }
    if (!tw_str_u64(digits, &value) || value > (uint64_t)INT64_MAX + minus)
        return kernel_parse_fail(r, "expected an offset, found '%.*s'", TW_STR_ARG(word));
    *ret_value = (int64_t)(minus ? -value : value);
    return true;
}

// ---- names: maps from text to index + 1 ----

bool kernel_parse_name_put(struct ir_reader *r, struct tw_map *map, struct tw_str name, uint32_t index) {
    if (tw_map_find(map, tw_key_str(name)))
        return kernel_parse_fail(r, "'%.*s' is there twice", TW_STR_ARG(name));
    return tw_map_put(map, tw_key_str(name), (void *)(uintptr_t)(index + 1)) || kernel_parse_memory(r);
}

bool kernel_parse_name_find(struct ir_reader *r, const struct tw_map *map, struct tw_str name,
                            const char *what, uint32_t *ret_index) {
    uintptr_t found = (uintptr_t)tw_map_find(map, tw_key_str(name));
    if (!found)
        return kernel_parse_fail(r, "there is no %s '%.*s'", what, TW_STR_ARG(name));
    *ret_index = (uint32_t)(found - 1);
    return true;
}
