// SPDX-License-Identifier: Apache-2.0
//
// `invoke`, `instances invoke`: calls a function, on a fresh instance or on one that keeps its state, with JSON
// arguments or with bytes, and waits for it or not.

#include "cli/internal.h"

// {"export","args"}
static bool invoke_body(struct tw_buf *body, const char *export, const char *args) {
    struct tw_json_writer writer;
    tw_buf_init(body, CLI_BODY_MAX);
    tw_json_write_init(&writer, body);
    tw_json_write_object(&writer);
    if (export) {
        tw_json_write_key(&writer, "export");
        tw_json_write_str(&writer, tw_str_from(export));
    }
    if (args) {
        tw_json_write_key(&writer, "args");
        tw_json_write_raw(&writer, tw_str_from(args));
    }
    tw_json_write_end(&writer, '}');
    return tw_json_write_done(&writer);
}

// What the guest wrote, then what its export returned if that is anything.
static void print_result(const struct tw_json *answer) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf text;
    tw_buf_init(&text, CLI_BODY_MAX);
    cli_tell_stderr(answer);
    cli_write_output(answer);
    const struct tw_json *result = cli_result(answer);
    if (result && tw_json_append(&text, result))
        printf("%s\n", (const char *)text.data);
}

static int invoke_raw(const struct cli *cli, struct tw_buf *path, const char *input, uint64_t deadline_ms) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf body, answer = {};
    tw_buf_init(&body, CLI_BODY_MAX);
    if (!cli_read_file(input, &body))
        return CLI_USAGE;
    const char *export = cli_value(cli, "export");
    if (export &&
        !(tw_buf_append_str(path, TW_STR("?export=")) && cli_path_append(path, tw_str_from(export))))
        return cli_usage("the export's name is too long");
    struct cli_request request = {.method = "POST",
                                  .path = (const char *)path->data,
                                  .content_type = "application/octet-stream",
                                  .body = tw_buf_span(&body),
                                  .show_progress = true,
                                  .deadline_ms = deadline_ms};
    int status;
    if (!cli_call(cli, &request, &answer, &status))
        return status;
    if (cli_value(cli, "async"))
        return cli_show_job(cli, &answer);
    return cli_write_out(tw_buf_span(&answer)) ? CLI_OK : CLI_FAILED;
}

static int invoke(const struct cli *cli, const char *collection) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf path = {}, body = {}, answer = {};
    const char *input = cli_value(cli, "input"), *args = cli_value(cli, "args");
    int status;
    uint64_t deadline_ms;
    if (!cli_number(cli, "deadline-ms", 0, 1, UINT32_MAX, &deadline_ms))
        return CLI_USAGE;
    if (input && args)
        return cli_usage("--args and --input exclude one another");
    if (!cli_path(&path, collection, cli->args[0], cli_value(cli, "async") ? "/invoke-async" : "/invoke"))
        return CLI_USAGE;
    if (input)
        return invoke_raw(cli, &path, input, deadline_ms);
    if ((args && !cli_args_check(args)) || !invoke_body(&body, cli_value(cli, "export"), args))
        return CLI_USAGE;
    struct cli_request request = {.method = "POST",
                                  .path = (const char *)path.data,
                                  .content_type = "application/json",
                                  .body = tw_buf_span(&body),
                                  .deadline_ms = deadline_ms};
    if (!cli_call(cli, &request, &answer, &status))
        return status;
    return cli_value(cli, "async") ? cli_show_job(cli, &answer) : cli_show(cli, &answer, print_result);
}

#define CALL_OPTIONS                                                                                         \
    {"export", "NAME", "the export to call (default: _start, then main)"},                                   \
        {"args", "JSON", "an array of arguments"},                                                           \
        {"input", "FILE",                                                                                    \
         "bytes for the function's standard input (-: ours); its output is printed as it is"},               \
        {"deadline-ms", "N", "end the call after so many milliseconds, where its time limit is longer"}

int cli_invoke(int argc, char **argv) {
    static const struct cli_option options[] = {
        CALL_OPTIONS, {"async", NULL, "do not wait: print the job, for `jobs get`"}, {}};
    struct cli cli;
    int status;
    return cli_parse(&cli, cli_invoke, options, argc, argv, 1, 1, &status) ? invoke(&cli, "/functions/")
                                                                           : status;
}

int cli_instances_invoke(int argc, char **argv) {
    static const struct cli_option options[] = {CALL_OPTIONS, {}};
    struct cli cli;
    int status;
    return cli_parse(&cli, cli_instances_invoke, options, argc, argv, 1, 1, &status)
               ? invoke(&cli, "/instances/")
               : status;
}
