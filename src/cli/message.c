// SPDX-License-Identifier: Apache-2.0
//
// What the commands tell on standard error.

#include <stdarg.h>

#include "cli/internal.h"

void cli_message(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("tensor-wasm: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

int cli_fail(const struct tw_error *err) {
    cli_message("%s: %s", tw_code_name(err->code), err->message);
    return CLI_FAILED;
}

int cli_fail_at(struct tw_str source, const struct tw_error *err) {
    struct tw_source_mark mark;
    cli_fail(err);
    if (tw_source_mark_find(source, err->message, &mark))
        fprintf(stderr, "%s\n%s\n", mark.text, mark.caret);
    return CLI_FAILED;
}

int cli_usage(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("tensor-wasm: ", stderr);
    vfprintf(stderr, format, args);
    fputs(" (--help shows how)\n", stderr);
    va_end(args);
    return CLI_USAGE;
}
