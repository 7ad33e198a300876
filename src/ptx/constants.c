// SPDX-License-Identifier: Apache-2.0
//
// Constant expressions of 64-bit integers with C's operators and precedence, and literals as the bits of a
// type.
//
//     constant = unary {operator unary} ["?" constant ":" constant]
//     unary    = ("-" | "~" | "!" | "+") unary | "(" constant ")" | "(" (".s64"|".u64") ")" unary | number |
//     float | WARP_SZ

#include "internal.h"

struct value {
    uint64_t bits;
    bool is_unsigned;
    enum ptx_form form; // PTX_INTEGER, or a lone float
};

static bool conditional(struct ptx_parser *parser, unsigned depth, struct value *ret_value);
static bool unary(struct ptx_parser *parser, unsigned depth, struct value *ret_value);

static bool too_deep(struct ptx_parser *parser) {
    return ptx_fail(parser, &parser->token, "a constant expression nests deeper than %d",
                    PTX_MAX_EXPRESSION_DEPTH);
}

static bool parenthesis(struct ptx_parser *parser, unsigned depth, struct value *ret_value) {
    if (!ptx_next(parser))
        return false;
    bool to_signed = ptx_is_dot(parser, "s64"), to_unsigned = ptx_is_dot(parser, "u64");
    if (!to_signed && !to_unsigned)
        return conditional(parser, depth + 1, ret_value) && ptx_expect(parser, ')');
    if (!ptx_next(parser) || !ptx_expect(parser, ')') || !unary(parser, depth + 1, ret_value))
        return false;
    ret_value->is_unsigned = to_unsigned;
    return true;
}

static bool unary(struct ptx_parser *parser, unsigned depth, struct value *ret_value) {
    if (depth > PTX_MAX_EXPRESSION_DEPTH)
        return too_deep(parser);
    const struct ptx_token token = parser->token;
    if (token.kind == PTX_NUMBER) {
        bool suffix = token.text.data[token.text.len - 1] == 'U';
        *ret_value = (struct value){token.value, suffix || token.value > INT64_MAX, PTX_INTEGER};
        return ptx_next(parser);
    }
    if (token.kind == PTX_FLOAT) {
        *ret_value = (struct value){token.value, false, token.is_single ? PTX_SINGLE : PTX_DOUBLE};
        return ptx_next(parser);
    }
    if (token.kind == PTX_WORD && ptx_text_is(token.text, "WARP_SZ")) {
        *ret_value = (struct value){32, false, PTX_INTEGER};
        return ptx_next(parser);
    }
    char sign = token.kind == PTX_PUNCT ? token.text.data[0] : 0;
    if (sign == '(')
        return parenthesis(parser, depth, ret_value);
    if (!sign || !strchr("-~!+", sign))
        return ptx_fail_expected(parser, "a constant");
    if (!ptx_next(parser) || !unary(parser, depth + 1, ret_value))
        return false;
    if (ret_value->form != PTX_INTEGER) {
        if (sign == '-')
            ret_value->bits ^= ret_value->form == PTX_SINGLE ? 1ULL << 31 : 1ULL << 63;
        return sign == '-' || sign == '+' || ptx_fail(parser, &token, "'%c' goes before integers only", sign);
    }
    if (sign == '-')
        ret_value->bits = -ret_value->bits;
    else if (sign == '~')
        ret_value->bits = ~ret_value->bits;
    else if (sign == '!')
        ret_value->bits = !ret_value->bits;
    return true;
}

// The operators, loosest first; two characters as two tokens without space between.
static const struct {
    char text[3];
    uint8_t level;
} operators[] = {{"||", 1}, {"&&", 2}, {"==", 6}, {"!=", 6}, {"<=", 7}, {">=", 7},
                 {"<<", 8}, {">>", 8}, {"|", 3},  {"^", 4},  {"&", 5},  {"<", 7},
                 {">", 7},  {"+", 9},  {"-", 9},  {"*", 10}, {"/", 10}, {"%", 10}};

// The operator at the token; -1: none.
static int operator_at(const struct ptx_parser *parser) {
    if (parser->token.kind != PTX_PUNCT)
        return -1;
    char first = parser->token.text.data[0], second = parser->cursor < parser->end ? *parser->cursor : 0;
    for (size_t i = 0; i < TW_COUNT(operators); i++)
        if (operators[i].text[0] == first && (operators[i].text[1] == 0 || operators[i].text[1] == second))
            return (int)i;
    return -1;
}

static bool divide(struct ptx_parser *parser, const struct ptx_token *at, char sign, struct value *left,
                   struct value right) {
    if (right.bits == 0)
        return ptx_fail(parser, at, "a constant expression divides by zero");
    int64_t a = (int64_t)left->bits, b = (int64_t)right.bits;
    if (left->is_unsigned)
        left->bits = sign == '/' ? left->bits / right.bits : left->bits % right.bits;
    else if (b == -1)
        left->bits = sign == '/' ? -left->bits : 0;
    else
        left->bits = (uint64_t)(sign == '/' ? a / b : a % b);
    return true;
}

static bool apply(struct ptx_parser *parser, const struct ptx_token *at, unsigned op, struct value *left,
                  struct value right) {
    if (left->form != PTX_INTEGER || right.form != PTX_INTEGER)
        return ptx_fail(parser, at, "constant expressions are made of integers");
    uint64_t a = left->bits, b = right.bits;
    bool both = left->is_unsigned || right.is_unsigned;
    bool less = both ? a < b : (int64_t)a < (int64_t)b;
    char sign = operators[op].text[0];
    bool pair = operators[op].text[1] != 0;
    uint64_t shift_in = left->is_unsigned || (int64_t)a >= 0 ? 0 : UINT64_MAX;
    left->is_unsigned = both;
    if (sign == '/' || sign == '%')
        return divide(parser, at, sign, left, right);
    if (sign == '+' || sign == '-' || sign == '*')
        left->bits = sign == '+' ? a + b : sign == '-' ? a - b : a * b;
    else if (sign == '|')
        left->bits = pair ? a || b : a | b;
    else if (sign == '&')
        left->bits = pair ? a && b : a & b;
    else if (sign == '^')
        left->bits = a ^ b;
    else if (sign == '=' || sign == '!')
        left->bits = (sign == '=') == (a == b);
    else if (pair && operators[op].text[1] == '=')
        left->bits = sign == '<' ? less || a == b : !less;
    else if (pair && sign == '<')
        left->bits = b < 64 ? a << b : 0;
    else if (pair)
        left->bits = b >= 64 ? shift_in : b == 0 ? a : a >> b | (shift_in << (64 - b));
    else
        left->bits = sign == '<' ? less : !less && a != b;
    return true;
}

static bool binary(struct ptx_parser *parser, unsigned depth, unsigned level, struct value *ret_value) {
    if (!unary(parser, depth, ret_value))
        return false;
    for (;;) {
        int op = operator_at(parser);
        if (op < 0 || operators[op].level < level)
            return true;
        struct ptx_token at = parser->token;
        struct value right;
        if (!ptx_next(parser) || (operators[op].text[1] && !ptx_next(parser)) ||
            !binary(parser, depth + 1, operators[op].level + 1u, &right) ||
            !apply(parser, &at, (unsigned)op, ret_value, right))
            return false;
    }
}

static bool conditional(struct ptx_parser *parser, unsigned depth, struct value *ret_value) {
    if (depth > PTX_MAX_EXPRESSION_DEPTH)
        return too_deep(parser);
    bool asks;
    struct value yes, no;
    if (!binary(parser, depth, 1, ret_value) || !ptx_accept(parser, '?', &asks))
        return false;
    if (!asks)
        return true;
    if (!conditional(parser, depth + 1, &yes) || !ptx_expect(parser, ':') ||
        !conditional(parser, depth + 1, &no))
        return false;
    *ret_value = ret_value->bits ? yes : no;
    return true;
}

bool ptx_constant(struct ptx_parser *parser, struct ptx_scalar *ret_value) {
    *ret_value = (struct ptx_scalar){.token = parser->token};
    struct value value;
    if (!conditional(parser, 0, &value))
        return false;
    ret_value->form = value.form;
    ret_value->bits = value.bits;
    return true;
}

bool ptx_integer(struct ptx_parser *parser, int64_t min, int64_t max, const char *what, int64_t *ret_value) {
    struct ptx_scalar value;
    if (!ptx_constant(parser, &value))
        return false;
    if (value.form != PTX_INTEGER)
        return ptx_fail(parser, &value.token, "%s is an integer", what);
    *ret_value = (int64_t)value.bits;
    if (*ret_value < min || *ret_value > max)
        return ptx_fail(parser, &value.token, "%s is %" PRId64 "; %" PRId64 " to %" PRId64 " is possible",
                        what, *ret_value, min, max);
    return true;
}

// A literal is a float in a float instruction, and the same bits where LLVM's untyped .b32 and .b64 hold
// floats.
bool ptx_literal_bits(struct ptx_parser *parser, const struct ptx_scalar *literal, uint8_t type,
                      uint64_t *ret_bits) {
    unsigned width = tw_kir_type_bits(type);
    bool wide = type == TW_KIR_F64 || type == TW_KIR_B64;
    bool narrow = type == TW_KIR_F32 || type == TW_KIR_B32;
    if (literal->form == PTX_INTEGER) {
        if (type == TW_KIR_F32 || type == TW_KIR_F64)
            return ptx_fail(parser, &literal->token,
                            "expected a float literal for type .%s, found an integer",
                            tw_kir_type_name(type));
        *ret_bits = width >= 64 ? literal->bits : literal->bits & ((1ULL << width) - 1);
        return true;
    }
    if (!wide && !narrow)
        return ptx_fail(parser, &literal->token, "a float literal cannot stand for type .%s",
                        tw_kir_type_name(type));
    float single;
    double full;
    *ret_bits = literal->bits;
    if (literal->form == PTX_SINGLE && wide) {
        memcpy(&single, &(uint32_t){(uint32_t)literal->bits}, sizeof single);
        full = (double)single;
        memcpy(ret_bits, &full, sizeof full);
    } else if (literal->form == PTX_DOUBLE && narrow) {
        memcpy(&full, &literal->bits, sizeof full);
        single = (float)full;
        uint32_t bits;
        memcpy(&bits, &single, sizeof bits);
        *ret_bits = bits;
    }
    return true;
}
