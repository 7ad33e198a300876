// SPDX-License-Identifier: Apache-2.0
//
// `run FILE`: a module in this process, without a server. Standard input is the guest's input, its output
// goes to standard output.

#include "cli/internal.h"

// What a JSON call answers: the guest's own output, then its result if it has one.
static bool show_answer(const struct tw_service_call *call) {
    struct tw_error err = {};
    struct tw_json *root = tw_json_parse(tw_buf_span(&call->body_out), &err);
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf result;
    tw_buf_init(&result, CLI_BODY_MAX);
    const struct tw_json *value = cli_result(root);
    bool ok = root && cli_write_output(root) &&
              (!value || (tw_json_append(&result, value) && tw_buf_append_byte(&result, '\n') &&
                          cli_write_out(tw_buf_span(&result))));
    tw_json_free(root);
    return ok;
}

static int show(const struct tw_service_call *call) {
    struct tw_str text = tw_buf_str(&call->invoke.stderr_text);
    fprintf(stderr, "%.*s", TW_STR_ARG(text));
    if (call->error.code != TW_OK) {
        cli_tell_call(call);
        bool ours = call->error.code == TW_ERR_INVALID_ARGS || call->error.code == TW_ERR_MISSING_EXPORT ||
                    call->error.code == TW_ERR_INVALID_JSON || call->error.code == TW_ERR_INVALID_REQUEST;
        return ours ? CLI_USAGE : CLI_FAILED;
    }
    bool ok = call->is_json ? show_answer(call) : cli_write_out(tw_buf_span(&call->body_out));
    return ok ? CLI_OK : CLI_FAILED;
}

static int call_once(struct cli_local *local) {
    struct tw_service_call call;
    struct tw_error err = {};
    if (!cli_local_call(local, &call, &err)) {
        cli_fail(&err);
        return CLI_USAGE;
    }
    int status = show(&call);
    tw_service_call_done(&call);
    return status;
}

int cli_run(int argc, char **argv) {
    static const struct cli_option options[] = {
        {"export", "NAME", "the export to call (default: _start, then main)"},
        {"args", "JSON", "an array of arguments; the result is printed as JSON"},
        {"arg", "TEXT", "a WASI argument, after the name; may be repeated"},
        {"env", "NAME=VALUE", "a variable of the WASI environment; may be repeated"},
        {"device", "NAME", "auto, cpu or cuda"},
        {"memory-backend", "NAME", "owned or pooling: where the instance has its memory"},
        {}};
    struct cli cli;
    struct cli_local local;
    int status;
    if (!cli_parse(&cli, cli_run, options, argc, argv, 1, 1, &status))
        return status;
    if (cli_local_open(&local, &cli, &status))
        status = call_once(&local);
    cli_local_close(&local);
    return status;
}
