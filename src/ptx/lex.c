// SPDX-License-Identifier: Apache-2.0
//
// Characters to tokens. A name is [A-Za-z_$%][A-Za-z0-9_$]*; a dot and a name (with `::` inside) is one
// token; numbers are decimal, 0x, 0b, 0 octal with an optional U, floats are decimal or 0f/0d with the bits
// in hex. Comments are // and /* */.

#include "internal.h"

enum { START = 1, PART = 2, DIGIT = 4, HEX = 8, SPACE = 16 };

static const uint8_t classes[256] = {
    ['a' ... 'f'] = START | PART | HEX,
    ['A' ... 'F'] = START | PART | HEX,
    ['g' ... 'z'] = START | PART,
    ['G' ... 'Z'] = START | PART,
    ['0' ... '9'] = PART | DIGIT | HEX,
    ['_'] = START | PART,
    ['$'] = START | PART,
    ['%'] = START,
    [' '] = SPACE,
    ['\t'] = SPACE,
    ['\r'] = SPACE,
    ['\v'] = SPACE,
    ['\f'] = SPACE,
};

static bool is_class(const struct ptx_parser *parser, const char *at, unsigned class_bits) {
    return at < parser->end && (classes[(uint8_t)*at] & class_bits) != 0;
}

void ptx_message(char *out, size_t size, const char *format, va_list args) {
    vsnprintf(out, size, format, args);
    for (char *at = out; *at; at++)
        if ((uint8_t)*at < ' ')
            *at = ' ';
}

[[gnu::format(printf, 4, 0)]] static bool fail_at(struct ptx_parser *parser, enum tw_code code,
                                                  const struct ptx_token *at, const char *format,
                                                  va_list args) {
    char text[200];
    ptx_message(text, sizeof text, format, args);
    return tw_fail(parser->err, code, "line %u, column %u: %s", at->line, at->column, text);
}

bool ptx_fail(struct ptx_parser *parser, const struct ptx_token *at, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fail_at(parser, TW_ERR_CUDA_MALFORMED_PTX, at, format, args);
    va_end(args);
    return false;
}

bool ptx_fail_quota(struct ptx_parser *parser, const struct ptx_token *at, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fail_at(parser, TW_ERR_CUDA_QUOTA, at, format, args);
    va_end(args);
    return false;
}

bool ptx_fail_memory(struct ptx_parser *parser) {
    return ptx_fail_quota(parser, &parser->token, "the kernel needs more memory than a compilation may use");
}

bool ptx_fail_expected(struct ptx_parser *parser, const char *expected) {
    const struct ptx_token *token = &parser->token;
    if (token->kind == PTX_END)
        return ptx_fail(parser, token, "expected %s, found the end of the text", expected);
    return ptx_fail(parser, token, "expected %s, found '%s%.*s'", expected, token->kind == PTX_DOT ? "." : "",
                    (int)(token->text.len > 60 ? 60 : token->text.len), token->text.data);
}

bool ptx_expect(struct ptx_parser *parser, char punct) {
    if (ptx_is(parser, punct))
        return ptx_next(parser);
    return ptx_fail_expected(parser, (char[]){'\'', punct, '\'', 0});
}

bool ptx_accept(struct ptx_parser *parser, char punct, bool *ret_accepted) {
    *ret_accepted = ptx_is(parser, punct);
    return !*ret_accepted || ptx_next(parser);
}

static void mark(struct ptx_parser *parser) {
    parser->token.line = parser->line;
    parser->token.column = (uint32_t)(parser->cursor - parser->line_start) + 1;
    parser->token.text = tw_str_of(parser->cursor, 0);
}

static void newline(struct ptx_parser *parser) {
    parser->cursor++;
    parser->line++;
    parser->line_start = parser->cursor;
}

static bool block_comment(struct ptx_parser *parser) {
    mark(parser);
    struct ptx_token start = parser->token;
    for (parser->cursor += 2; parser->cursor < parser->end;) {
        if (*parser->cursor == '*' && parser->cursor + 1 < parser->end && parser->cursor[1] == '/') {
            parser->cursor += 2;
            return true;
        }
        if (*parser->cursor == '\n')
            newline(parser);
        else
            parser->cursor++;
    }
    return ptx_fail(parser, &start, "the comment that begins here has no end; add */");
}

static void to_line_end(struct ptx_parser *parser) {
    const char *end = memchr(parser->cursor, '\n', (size_t)(parser->end - parser->cursor));
    parser->cursor = end ? end : parser->end;
}

static bool skip_space(struct ptx_parser *parser) {
    for (; parser->cursor < parser->end;) {
        char c = *parser->cursor;
        char next = parser->cursor + 1 < parser->end ? parser->cursor[1] : 0;
        if (c == '\n')
            newline(parser);
        else if (is_class(parser, parser->cursor, SPACE))
            parser->cursor++;
        else if (c == '/' && next == '/')
            to_line_end(parser);
        else if (c == '/' && next == '*') {
            if (!block_comment(parser))
                return false;
        } else if (c == '@' && next == '@') // @@DWARF lines of old tool chains
            to_line_end(parser);
        else
            break;
    }
    return true;
}

static void take(struct ptx_parser *parser, enum ptx_token_kind kind, const char *start) {
    parser->token.kind = kind;
    parser->token.text = tw_str_of(start, (size_t)(parser->cursor - start));
}

static bool lex_name(struct ptx_parser *parser) {
    const char *start = parser->cursor++;
    while (is_class(parser, parser->cursor, PART))
        parser->cursor++;
    take(parser, PTX_WORD, start);
    if (parser->token.text.len > PTX_MAX_IDENTIFIER)
        return ptx_fail_quota(parser, &parser->token, "an identifier of %zu characters; the limit is %d",
                              parser->token.text.len, PTX_MAX_IDENTIFIER);
    return parser->token.text.len > 1 || *start != '%' ||
           ptx_fail(parser, &parser->token, "expected a register name after '%%'");
}

// A dot and what follows it. `.L1::evict_last` and `.shared::cta` are one token.
static bool lex_dotted(struct ptx_parser *parser) {
    const char *start = ++parser->cursor;
    for (;;) {
        while (is_class(parser, parser->cursor, PART))
            parser->cursor++;
        if (parser->end - parser->cursor < 3 || parser->cursor[0] != ':' || parser->cursor[1] != ':' ||
            !is_class(parser, parser->cursor + 2, PART))
            break;
        parser->cursor += 2;
    }
    take(parser, PTX_DOT, start);
    if (parser->token.text.len > PTX_MAX_IDENTIFIER)
        return ptx_fail_quota(parser, &parser->token, "a name of %zu characters; the limit is %d",
                              parser->token.text.len, PTX_MAX_IDENTIFIER);
    return parser->token.text.len > 0 || ptx_fail(parser, &parser->token, "expected a name after '.'");
}

// 0f and 8, 0d and 16 hex digits.
static bool lex_float_bits(struct ptx_parser *parser, unsigned digits) {
    const char *start = parser->cursor;
    parser->cursor += 2;
    uint64_t value = 0;
    for (unsigned i = 0; i < digits; i++, parser->cursor++) {
        if (!is_class(parser, parser->cursor, HEX))
            return ptx_fail(parser, &parser->token, "0%c needs %u hexadecimal digits, found %u", start[1],
                            digits, i);
        char c = *parser->cursor;
        value = value << 4 | (unsigned)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    }
    if (is_class(parser, parser->cursor, PART))
        return ptx_fail(parser, &parser->token, "0%c takes %u hexadecimal digits, here are more", start[1],
                        digits);
    take(parser, PTX_FLOAT, start);
    parser->token.value = value;
    parser->token.is_single = digits == 8;
    return true;
}

static bool lex_decimal_float(struct ptx_parser *parser, const char *start) {
    char text[80];
    size_t len = (size_t)(parser->cursor - start);
    take(parser, PTX_FLOAT, start);
    if (len >= sizeof text)
        return ptx_fail(parser, &parser->token, "a number of %zu characters; the limit is %zu", len,
                        sizeof text - 1);
    memcpy(text, start, len);
    text[len] = 0;
    double value = strtod(text, NULL);
    memcpy(&parser->token.value, &value, sizeof value);
    parser->token.is_single = false;
    return true;
}

static bool lex_digits(struct ptx_parser *parser, const char *start, unsigned base) {
    const char *digits = parser->cursor;
    uint64_t value = 0;
    bool wrapped = false;
    for (; is_class(parser, parser->cursor, HEX); parser->cursor++) {
        char c = *parser->cursor;
        unsigned digit = (unsigned)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
        if (digit >= base)
            break;
        wrapped |= __builtin_mul_overflow(value, (uint64_t)base, &value);
        wrapped |= __builtin_add_overflow(value, (uint64_t)digit, &value);
    }
    bool some = parser->cursor > digits;
    if (some && parser->cursor < parser->end && *parser->cursor == 'U')
        parser->cursor++;
    bool more = is_class(parser, parser->cursor, PART);
    while (is_class(parser, parser->cursor, PART))
        parser->cursor++;
    take(parser, PTX_NUMBER, start);
    parser->token.value = value;
    if (!some || more)
        return ptx_fail(parser, &parser->token, "'%.*s' is not a number of base %u",
                        (int)(parser->token.text.len > 60 ? 60 : parser->token.text.len), start, base);
    return !wrapped || ptx_fail(parser, &parser->token, "the number does not fit 64 bits");
}

static bool lex_number(struct ptx_parser *parser) {
    const char *start = parser->cursor, *end = parser->end;
    char mark_char = end - start > 1 && *start == '0' ? (char)(start[1] | 32) : 0;
    if (mark_char == 'f' || mark_char == 'd')
        return lex_float_bits(parser, mark_char == 'f' ? 8 : 16);
    if (mark_char == 'x' || mark_char == 'b') {
        parser->cursor += 2;
        return lex_digits(parser, start, mark_char == 'x' ? 16 : 2);
    }
    const char *at = start;
    while (is_class(parser, at, DIGIT))
        at++;
    bool point = at < end && *at == '.' && (at + 1 == end || !is_class(parser, at + 1, START));
    if (point)
        for (at++; is_class(parser, at, DIGIT);)
            at++;
    const char *exponent = at;
    if (at < end && (*at | 32) == 'e') {
        at++;
        if (at < end && (*at == '+' || *at == '-'))
            at++;
        if (!is_class(parser, at, DIGIT))
            at = exponent;
        while (is_class(parser, at, DIGIT))
            at++;
    }
    if (point || at != exponent) {
        parser->cursor = at;
        return lex_decimal_float(parser, start);
    }
    bool octal = *start == '0' && is_class(parser, start + 1, DIGIT);
    return lex_digits(parser, start, octal ? 8 : 10);
}

static bool lex_string(struct ptx_parser *parser) {
    const char *start = ++parser->cursor;
    while (parser->cursor < parser->end && *parser->cursor != '"' && *parser->cursor != '\n') {
        if (*parser->cursor == '\\' && parser->cursor + 1 < parser->end && parser->cursor[1] != '\n')
            parser->cursor++;
        parser->cursor++;
    }
    if (parser->cursor == parser->end || *parser->cursor != '"')
        return ptx_fail(parser, &parser->token, "the string that begins here has no closing quote");
    take(parser, PTX_STRING, start);
    parser->cursor++;
    return true;
}

bool ptx_next(struct ptx_parser *parser) {
    const char *before = parser->cursor;
    if (!skip_space(parser))
        return false;
    mark(parser);
    parser->token.spaced = parser->cursor != before;
    if (parser->cursor == parser->end) {
        parser->token.kind = PTX_END;
        return true;
    }
    char c = *parser->cursor;
    if (is_class(parser, parser->cursor, START))
        return lex_name(parser);
    if (is_class(parser, parser->cursor, DIGIT))
        return lex_number(parser);
    if (c == '.')
        return lex_dotted(parser);
    if (c == '"')
        return lex_string(parser);
    if ((uint8_t)c < 32 || (uint8_t)c >= 127)
        return ptx_fail(parser, &parser->token,
                        "byte 0x%02x is not PTX text; is this a binary (cubin, fatbin)?", (uint8_t)c);
    const char *start = parser->cursor++;
    take(parser, PTX_PUNCT, start);
    return true;
}

bool ptx_skip_line(struct ptx_parser *parser) {
    uint32_t line = parser->token.line;
    if (parser->line == line)
        to_line_end(parser);
    while (parser->token.line == line && parser->token.kind != PTX_END)
        if (!ptx_next(parser))
            return false;
    return true;
}

bool ptx_lex_init(struct ptx_parser *parser, struct tw_str text) {
    parser->cursor = parser->line_start = text.data;
    parser->end = text.data + text.len;
    parser->line = 1;
    return ptx_next(parser);
}

struct ptx_place ptx_place_get(const struct ptx_parser *parser) {
    return (struct ptx_place){parser->cursor, parser->line_start, parser->line, parser->token};
}

void ptx_place_set(struct ptx_parser *parser, const struct ptx_place *place) {
    parser->cursor = place->cursor;
    parser->line_start = place->line_start;
    parser->line = place->line;
    parser->token = place->token;
}
