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

static void show_place(struct tw_str source, const char *message) {
    struct tw_source_mark mark;
    if (tw_source_mark_find(source, message, &mark))
        fprintf(stderr, "%s\n%s\n", mark.text, mark.caret);
}

int cli_fail_at(struct tw_str source, const struct tw_error *err) {
    cli_fail(err);
    show_place(source, err->message);
    return CLI_FAILED;
}

void cli_warn_at(struct tw_str source, struct tw_str entry, struct tw_str refusal) {
    char message[TW_ERROR_MESSAGE_MAX];
    snprintf(message, sizeof message, "%.*s", TW_STR_ARG(refusal));
    cli_message("warning: kernel '%.*s' is refused: %s", TW_STR_ARG(entry), message);
    show_place(source, message);
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
