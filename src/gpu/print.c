// SPDX-License-Identifier: Apache-2.0
//
// What kernels print. A worker formats its records after each run of a kernel and appends them to the context's
// log, from where whoever launched takes it. A format and the strings for %s are taken from the initial bytes
// of the module's variables: that is where compilers put constants, and it is memory that a kernel cannot take
// away.
//
//     conversion = "%" {"-" | "+" | " " | "#" | "0"} [width | "*"] ["." [precision | "*"]] {"h" | "l" | "j" |
//                  "z" | "t" | "L"} letter

#include "gpu/internal.h"

enum { FIELD_MAX = 512, WIDTH_MAX = 256, PRECISION_MAX = 64 };

// One conversion. Confined.
struct conversion {
    bool left, plus, space, alternate, zeros, wide, has_precision;
    unsigned width, precision;
    char letter;
};

// A record's arguments, and where the next one lies. Confined.
struct arguments {
    const uint8_t *bytes;
    size_t at;
};

// Small arguments are passed as 4 bytes, the others as 8, each aligned to its size; zeros behind the end.
static uint64_t next_argument(struct arguments *args, bool wide) {
    size_t size = wide ? 8 : 4, at = tw_align_up(args->at, size);
    uint64_t value = 0;
    args->at = at + size;
    if (args->at <= TW_KERNEL_PRINT_ARGS)
        memcpy(&value, args->bytes + at, size);
    return value;
}

// The text at an address of the module's variables, to its end; empty: it is not there.
static struct tw_str text_at(const struct gpu_job *job, uint64_t address) {
    const struct gpu_globals *globals = job->loaded->globals;
    struct tw_span image = job->code->parts.globals;
    if (!globals || address - globals->address >= image.len)
        return (struct tw_str){};
    const char *text = (const char *)image.data + (address - globals->address);
    size_t left = image.len - (address - globals->address);
    const char *end = memchr(text, 0, left);
    return tw_str_of(text, end ? (size_t)(end - text) : left);
}

static bool repeat(struct tw_buf *out, char c, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        if (!tw_buf_append_byte(out, (uint8_t)c))
            return false;
    return true;
}

// Sign and digits at the wanted width.
static bool put_field(struct tw_buf *out, const struct conversion *c, const char *sign, struct tw_str text,
                      bool may_zero) {
    size_t len = strlen(sign) + text.len;
    unsigned fill = c->width > len ? c->width - (unsigned)len : 0;
    bool zeros = c->zeros && !c->left && may_zero;
    return (c->left || zeros || repeat(out, ' ', fill)) && tw_buf_append_str(out, tw_str_from(sign)) &&
           (!zeros || repeat(out, '0', fill)) && tw_buf_append_str(out, text) &&
           (!c->left || repeat(out, ' ', fill));
}

static const char *sign_of(const struct conversion *c, bool negative) {
    return negative ? "-" : c->plus ? "+" : c->space ? " " : "";
}

static bool put_integer(struct tw_buf *out, const struct conversion *c, uint64_t bits) {
    char digits[FIELD_MAX], whole[FIELD_MAX];
    bool is_signed = c->letter == 'd' || c->letter == 'i';
    int64_t value = c->wide ? (int64_t)bits : (int32_t)(uint32_t)bits;
    uint64_t size = is_signed && value < 0 ? 0 - (uint64_t)value : is_signed ? (uint64_t)value : bits;
    int len = c->letter == 'x'   ? snprintf(digits, sizeof digits, "%" PRIx64, size)
              : c->letter == 'X' ? snprintf(digits, sizeof digits, "%" PRIX64, size)
              : c->letter == 'o' ? snprintf(digits, sizeof digits, "%" PRIo64, size)
                                 : snprintf(digits, sizeof digits, "%" PRIu64, size);
    if (c->has_precision && c->precision == 0 && size == 0)
        len = 0;
    unsigned zeros = c->has_precision && c->precision > (unsigned)len ? c->precision - (unsigned)len : 0;
    memset(whole, '0', zeros);
    memcpy(whole + zeros, digits, (size_t)len);
    const char *sign = is_signed ? sign_of(c, value < 0) : "";
    if (c->alternate && size)
        sign = c->letter == 'x' ? "0x" : c->letter == 'X' ? "0X" : c->letter == 'o' ? "0" : sign;
    return put_field(out, c, sign, tw_str_of(whole, zeros + (size_t)len), !c->has_precision);
}

static bool put_double(struct tw_buf *out, const struct conversion *c, uint64_t bits) {
    char text[FIELD_MAX];
    double value;
    memcpy(&value, &bits, sizeof value);
    int precision = c->has_precision ? (int)c->precision : c->letter == 'a' || c->letter == 'A' ? -1 : 6;
    bool negative = bits >> 63 != 0, finite = value - value == 0;
    double size = negative ? -value : value;
    int len;
    switch (c->letter) {
    case 'f':
    case 'F':
        len = snprintf(text, sizeof text, "%.*f", precision, size);
        break;
    case 'e':
        len = snprintf(text, sizeof text, "%.*e", precision, size);
        break;
    case 'E':
        len = snprintf(text, sizeof text, "%.*E", precision, size);
        break;
    case 'g':
        len = snprintf(text, sizeof text, "%.*g", precision, size);
        break;
    case 'G':
        len = snprintf(text, sizeof text, "%.*G", precision, size);
        break;
    default:
        len = snprintf(text, sizeof text, "%.*a", precision, size);
        break;
    }
    return put_field(out, c, sign_of(c, negative), tw_str_of(text, (size_t)len), finite);
}

static bool put_string(struct tw_buf *out, const struct conversion *c, struct tw_str text) {
    if (c->has_precision && c->precision < text.len)
        text.len = c->precision;
    return put_field(out, c, "", text, false);
}

static bool put_conversion(struct tw_buf *out, const struct gpu_job *job, const struct conversion *c,
                           struct arguments *args) {
    char text[32];
    switch (c->letter) {
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o':
        return put_integer(out, c, next_argument(args, c->wide));
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G':
    case 'a':
    case 'A':
        return put_double(out, c, next_argument(args, true));
    case 'c':
        text[0] = (char)next_argument(args, false);
        return put_field(out, c, "", tw_str_of(text, 1), false);
    case 'p':
        snprintf(text, sizeof text, "0x%" PRIx64, next_argument(args, true));
        return put_field(out, c, "", tw_str_from(text), false);
    case 's': {
        uint64_t address = next_argument(args, true);
        struct tw_str found = text_at(job, address);
        return put_string(out, c, found.data ? found : TW_STR("(a string outside the module)"));
    }
    default: // not a conversion: what stands there
        text[0] = '%';
        text[1] = c->letter;
        return tw_buf_append(out, text, c->letter ? 2 : 1);
    }
}

// A number, or '*' for the next argument.
static unsigned read_number(struct tw_str *format, struct arguments *args, unsigned most,
                            bool *ret_negative) {
    unsigned value = 0;
    if (format->len && format->data[0] == '*') {
        int32_t given = (int32_t)(uint32_t)next_argument(args, false);
        *ret_negative = given < 0;
        value = given < 0 ? 0 - (unsigned)given : (unsigned)given;
        format->data++;
        format->len--;
    }
    for (; format->len && format->data[0] >= '0' && format->data[0] <= '9'; format->data++, format->len--)
        value = value > most ? value : value * 10 + (unsigned)(format->data[0] - '0');
    return value < most ? value : most;
}

static bool take_char(struct tw_str *format, char c) {
    if (!format->len || format->data[0] != c)
        return false;
    format->data++;
    format->len--;
    return true;
}

// What follows a '%'.
static struct conversion read_conversion(struct tw_str *format, struct arguments *args) {
    struct conversion c = {};
    bool negative = false;
    for (bool more = true; more;) {
        bool left = take_char(format, '-'), plus = take_char(format, '+'), space = take_char(format, ' '),
             alternate = take_char(format, '#'), zeros = take_char(format, '0');
        c.left |= left;
        c.plus |= plus;
        c.space |= space;
        c.alternate |= alternate;
        c.zeros |= zeros;
        more = left || plus || space || alternate || zeros;
    }
    c.width = read_number(format, args, WIDTH_MAX, &negative);
    c.left |= negative;
    negative = false;
    if (take_char(format, '.')) {
        c.precision = read_number(format, args, PRECISION_MAX, &negative);
        c.has_precision = !negative;
    }
    while (format->len && strchr("hljztL", format->data[0])) {
        c.wide |= format->data[0] != 'h';
        format->data++;
        format->len--;
    }
    if (format->len) {
        c.letter = format->data[0];
        format->data++;
        format->len--;
    }
    return c;
}

static bool put_record(struct tw_buf *out, const struct gpu_job *job, const struct tw_kernel_print *record) {
    struct arguments args = {.bytes = record->args};
    struct tw_str format = text_at(job, record->format);
    if (!format.data)
        return tw_buf_printf(out, "(a format outside the module)\n");
    while (format.len) {
        const char *percent = memchr(format.data, '%', format.len);
        size_t plain = percent ? (size_t)(percent - format.data) : format.len;
        if (!tw_buf_append(out, format.data, plain))
            return false;
        format.data += plain;
        format.len -= plain;
        if (!take_char(&format, '%'))
            continue;
        if (take_char(&format, '%')) {
            if (!tw_buf_append_byte(out, '%'))
                return false;
            continue;
        }
        struct conversion c = read_conversion(&format, &args);
        if (!put_conversion(out, job, &c, &args))
            return false;
    }
    return true;
}

void gpu_prints_collect(const struct gpu_job *job, struct tw_kernel_prints *prints) {
    struct tw_gpu_context *context = job->context;
    if (prints->count == 0 && prints->lost == 0)
        return;
    TW_LOCK_SCOPE(&context->lock);
    if (!context->log.max)
        tw_buf_init(&context->log, GPU_LOG_MAX_BYTES);
    bool room = true;
    for (uint32_t i = 0; room && i < prints->count && i < TW_KERNEL_PRINTS_MAX; i++) {
        size_t before = context->log.len;
        room = put_record(&context->log, job, &prints->items[i]);
        if (!room)
            context->log.len = before; // whole records only
    }
    if (prints->lost && !tw_buf_printf(&context->log, "(%" PRIu32 " more lines were lost)\n", prints->lost))
        room = false;
    prints->count = prints->lost = 0;
}

void tw_gpu_log_take(struct tw_gpu_context *context, struct tw_buf *out) {
    TW_LOCK_SCOPE(&context->lock);
    size_t left = out->max - out->len;
    size_t len = context->log.len < left ? context->log.len : left;
    if (len && !tw_buf_append(out, context->log.data, len))
        return; // no memory: it stays
    tw_buf_reset(&context->log);
}
