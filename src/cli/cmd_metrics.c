// SPDX-License-Identifier: Apache-2.0
//
// `metrics`: the server's numbers, as Prometheus reads them or, with --output json, as JSON:
//
//     [{"name", "type", "help", "samples": [{"name", "labels": {…}, "value"}]}]
//
// A value that is no number (NaN, Inf) is null.

#include <math.h>

#include "cli/internal.h"

// A line's first word.
static struct tw_str word(struct tw_str *line) {
    return tw_str_cut(line, ' ');
}

// The text between quotes, of which `rest` is what follows the first one: \\, \" and \n stand for what they mean.
static bool write_label(struct tw_json_writer *writer, struct tw_str name, struct tw_str *rest) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf value, key;
    tw_buf_init(&value, CLI_BODY_MAX);
    tw_buf_init(&key, CLI_BODY_MAX);
    size_t i = 0;
    for (; i < rest->len && rest->data[i] != '"'; i++) {
        bool escaped = rest->data[i] == '\\' && i + 1 < rest->len;
        char c = rest->data[i += escaped];
        if (!tw_buf_append(&value, escaped && c == 'n' ? "\n" : &c, 1))
            return false;
    }
    if (i == rest->len || !tw_buf_append_str(&key, name) || !tw_buf_append(&key, "", 1))
        return false;
    *rest = tw_str_of(rest->data + i + 1, rest->len - i - 1);
    tw_json_write_text(writer, (const char *)key.data, tw_str_of((const char *)value.data, value.len));
    return true;
}

// a="b",c="d"} and what follows.
static bool write_labels(struct tw_json_writer *writer, struct tw_str *rest) {
    while (rest->len && rest->data[0] != '}') {
        struct tw_str name = tw_str_cut(rest, '=');
        if (name.len && name.data[0] == ',')
            name = tw_str_of(name.data + 1, name.len - 1);
        if (!rest->len || rest->data[0] != '"')
            return false;
        *rest = tw_str_of(rest->data + 1, rest->len - 1);
        if (!write_label(writer, name, rest))
            return false;
    }
    if (rest->len)
        *rest = tw_str_of(rest->data + 1, rest->len - 1);
    return true;
}

// name{a="b"} 1.5
static bool write_sample(struct tw_json_writer *writer, struct tw_str line) {
    size_t end = 0;
    while (end < line.len && line.data[end] != '{' && line.data[end] != ' ')
        end++;
    if (end == line.len)
        return false;
    struct tw_str rest = tw_str_of(line.data + end + 1, line.len - end - 1);
    tw_json_write_object(writer);
    tw_json_write_text(writer, "name", tw_str_of(line.data, end));
    tw_json_write_key(writer, "labels");
    tw_json_write_object(writer);
    if (line.data[end] == '{' && !write_labels(writer, &rest))
        return false;
    tw_json_write_end(writer, '}');
    tw_json_write_key(writer, "value");
    double value = strtod(rest.data, NULL); // a line's end ends it
    if (isfinite(value))
        tw_json_write_real(writer, value);
    else
        tw_json_write_null(writer);
    tw_json_write_end(writer, '}');
    return true;
}

static void end_family(struct tw_json_writer *writer, bool *open) {
    if (*open) {
        tw_json_write_end(writer, ']');
        tw_json_write_end(writer, '}');
    }
    *open = false;
}

// "# HELP name text" begins a family, "# TYPE name type" follows.
static void write_comment(struct tw_json_writer *writer, struct tw_str line, bool *open) {
    (void)word(&line);
    struct tw_str kind = word(&line), name = word(&line);
    if (tw_str_equal(kind, TW_STR("HELP"))) {
        end_family(writer, open);
        tw_json_write_object(writer);
        tw_json_write_text(writer, "name", name);
        tw_json_write_text(writer, "help", line);
    } else if (tw_str_equal(kind, TW_STR("TYPE"))) {
        tw_json_write_text(writer, "type", line);
        tw_json_write_key(writer, "samples");
        tw_json_write_array(writer);
        *open = true;
    }
}

static bool write_metrics(struct tw_json_writer *writer, struct tw_str text) {
    bool open = false;
    tw_json_write_array(writer);
    while (text.len) {
        struct tw_str line = tw_str_cut(&text, '\n');
        if (line.len && line.data[0] == '#')
            write_comment(writer, line, &open);
        else if (line.len && (!open || !write_sample(writer, line)))
            return false;
    }
    end_family(writer, &open);
    tw_json_write_end(writer, ']');
    return tw_json_write_done(writer);
}

static int print_metrics(const struct cli *cli, const struct tw_buf *body) {
    if (!cli->is_json)
        return cli_print_answer(cli, body);
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf out;
    struct tw_json_writer writer;
    struct tw_error err = {};
    tw_buf_init(&out, CLI_BODY_MAX);
    tw_json_write_init(&writer, &out);
    if (write_metrics(&writer, tw_str_of((const char *)body->data, body->len)))
        return cli_print_answer(cli, &out);
    tw_fail(&err, TW_ERR_INTERNAL,
            "the server's /metrics is not text as Prometheus reads it; is it a TensorWasm server?");
    return cli_fail(&err);
}

int cli_metrics(int argc, char **argv) {
    struct cli cli;
    int status;
    if (!cli_parse(&cli, cli_metrics, NULL, argc, argv, 0, 0, &status))
        return status;
    return cli_ask(&cli, "GET", "/metrics", print_metrics);
}
