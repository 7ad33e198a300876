// SPDX-License-Identifier: Apache-2.0
//
// Files and standard streams of the commands. Regular files and pipes alike; every failure is told
// here.

#include <fcntl.h>
#include <unistd.h>

#include "cli/internal.h"

static bool read_all(int fd, const char *path, struct tw_buf *out) {
    for (;;) {
        uint8_t *at = tw_buf_reserve(out, 65536);
        if (!at) {
            cli_message("%s is larger than %zu bytes", path, out->max);
            return false;
        }
        ssize_t got = read(fd, at, 65536);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            cli_message("cannot read %s: %s", path, strerror(errno));
        if (got <= 0)
            return got == 0;
        tw_buf_commit(out, (size_t)got);
    }
}

bool cli_read_file(const char *path, struct tw_buf *out) {
    if (strcmp(path, "-") == 0)
        return read_all(STDIN_FILENO, "standard input", out);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        cli_message("cannot open %s: %s", path, strerror(errno));
        return false;
    }
    bool ok = read_all(fd, path, out);
    close(fd);
    return ok;
}

bool cli_write_out(struct tw_span data) {
    if ((!data.len || fwrite(data.data, 1, data.len, stdout) == data.len) && fflush(stdout) == 0)
        return true;
    cli_message("cannot write to standard output: %s", strerror(errno));
    return false;
}

bool cli_write_file(const char *path, struct tw_span data) {
    if (strcmp(path, "-") == 0)
        return cli_write_out(data);
    FILE *file = fopen(path, "wbe");
    bool ok = file && (!data.len || fwrite(data.data, 1, data.len, file) == data.len);
    int error_number = errno;
    if (file && fclose(file) != 0 && ok) {
        error_number = errno;
        ok = false;
    }
    if (!ok)
        cli_message("cannot write %s: %s", path, strerror(error_number));
    return ok;
}

const struct tw_json *cli_result(const struct tw_json *answer) {
    const struct tw_json *result = tw_json_get(answer, "result");
    return result && tw_json_type(result) != TW_JSON_NULL ? result : NULL;
}

bool cli_write_output(const struct tw_json *answer) {
    struct tw_str text = tw_json_str(tw_json_get(answer, "output"));
    struct tw_str coded = tw_json_str(tw_json_get(answer, "output_b64"));
    struct tw_error err = {};
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf bytes;
    tw_buf_init(&bytes, CLI_BODY_MAX);
    if (coded.len && !tw_base64_parse(coded, &bytes, &err)) {
        cli_fail(&err);
        return false;
    }
    return cli_write_out(coded.len ? tw_buf_span(&bytes) : tw_span_of(text.data, text.len));
}

bool cli_args_check(const char *args) {
    struct tw_error err = {};
    struct tw_json *array = tw_json_parse(tw_span_of(args, strlen(args)), &err);
    bool ok = array && tw_json_type(array) == TW_JSON_ARRAY;
    if (!ok)
        cli_usage("--args takes a JSON array, such as '[2, 3]'%s%s", array ? "" : ": ",
                  array ? "" : err.message);
    tw_json_free(array);
    return ok;
}

int cli_show_json(const struct tw_buf *body) {
    return cli_write_out(tw_buf_span(body)) && cli_write_out(tw_span_of("\n", 1)) ? CLI_OK : CLI_FAILED;
}

int cli_show(const struct cli *cli, const struct tw_buf *body, void (*print)(const struct tw_json *object)) {
    struct tw_error err = {};
    if (cli->is_json)
        return cli_show_json(body);
    struct tw_json *root = tw_json_parse(tw_buf_span(body), &err);
    if (!root)
        return cli_fail(&err);
    print(root);
    tw_json_free(root);
    return fflush(stdout) == 0 && !ferror(stdout) ? CLI_OK : CLI_FAILED;
}

int cli_print_answer(const struct cli *cli, const struct tw_buf *body) {
    (void)cli;
    bool has_end = body->len && body->data[body->len - 1] == '\n';
    return cli_write_out(tw_buf_span(body)) && cli_write_out(tw_span_of("\n", !has_end)) ? CLI_OK
                                                                                         : CLI_FAILED;
}
