// SPDX-License-Identifier: Apache-2.0
//
// `run FILE`: a module in this process, without a server. Standard input is the guest's input, its output
// goes to standard output.

#include <unistd.h>

#include "cli/internal.h"

// A call and the way to wait for it.
struct waiting_call {
    struct tw_service_call call;
    struct tw_state is_done;
};

static void on_done(struct tw_service_call *call) {
    struct waiting_call *waiting = call->context;
    tw_state_set(&waiting->is_done, 1);
    tw_state_wake(&waiting->is_done);
}

static void tell_guest_problem(const struct tw_service_call *call) {
    cli_fail(&call->error);
    struct tw_error ignored = {};
    struct tw_json *trace =
        call->invoke.backtrace.len ? tw_json_parse(tw_buf_span(&call->invoke.backtrace), &ignored) : NULL;
    cli_tell_frames(trace);
    tw_json_free(trace);
}

static int finish(struct waiting_call *waiting) {
    struct tw_service_call *call = &waiting->call;
    struct tw_str text = tw_buf_str(&call->invoke.stderr_text);
    fprintf(stderr, "%.*s", TW_STR_ARG(text));
    if (call->error.code != TW_OK) {
        tell_guest_problem(call);
        bool ours = call->error.code == TW_ERR_INVALID_ARGS || call->error.code == TW_ERR_MISSING_EXPORT ||
                    call->error.code == TW_ERR_INVALID_JSON || call->error.code == TW_ERR_INVALID_REQUEST;
        return ours ? CLI_USAGE : CLI_FAILED;
    }
    if (!call->is_json)
        return cli_write_out(tw_buf_span(&call->body_out)) ? CLI_OK : CLI_FAILED;
    struct tw_error err = {};
    struct tw_json *root = tw_json_parse(tw_buf_span(&call->body_out), &err);
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf result;
    tw_buf_init(&result, CLI_BODY_MAX);
    struct tw_str output = tw_json_str(tw_json_get(root, "output"));
    bool ok = root && cli_write_out(tw_span_of(output.data, output.len)) &&
              tw_json_append(&result, tw_json_get(root, "result")) && tw_buf_append_byte(&result, '\n') &&
              cli_write_out(tw_buf_span(&result));
    tw_json_free(root);
    return ok ? CLI_OK : CLI_FAILED;
}

static int call_and_wait(struct tw_service *service, const struct tw_caller *caller, const struct cli *cli,
                         struct tw_span body) {
    struct waiting_call waiting = {.call = {.function = TW_STR("run"),
                                            .is_json = cli_value(cli, "args"),
                                            .body = body,
                                            .export = tw_str_from(cli_value(cli, "export")),
                                            .done = on_done}};
    waiting.call.context = &waiting;
    struct tw_error err = {};
    if (!tw_service_invoke(service, caller, &waiting.call, &err)) {
        cli_fail(&err);
        return CLI_USAGE;
    }
    while (tw_state_get(&waiting.is_done) == 0)
        tw_state_wait(&waiting.is_done, 0, -1);
    int status = finish(&waiting);
    tw_service_call_done(&waiting.call);
    return status;
}

// {"args": […], "env": {…}}: a function's settings, as when it is deployed.
static bool config_json(const struct cli *cli, struct tw_buf *out) {
    struct tw_json_writer writer;
    const char *value;
    tw_json_write_init(&writer, out);
    tw_json_write_object(&writer);
    tw_json_write_key(&writer, "args");
    tw_json_write_array(&writer);
    for (size_t position = 0; (value = cli_next_value(cli, "arg", &position));)
        tw_json_write_str(&writer, tw_str_from(value));
    tw_json_write_end(&writer, ']');
    tw_json_write_key(&writer, "env");
    tw_json_write_object(&writer);
    for (size_t position = 0; (value = cli_next_value(cli, "env", &position));) {
        struct tw_str rest = tw_str_from(value), name = tw_str_cut(&rest, '=');
        char *key = tw_str_dup(name);
        tw_json_write_key(&writer, key ? key : "");
        tw_json_write_str(&writer, rest);
        free(key);
    }
    tw_json_write_end(&writer, '}');
    tw_json_write_end(&writer, '}');
    return tw_json_write_done(&writer);
}

// NULL when it was told what is wrong.
static struct tw_json *read_config(const struct cli *cli) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf text;
    struct tw_error err = {};
    const char *value;
    for (size_t position = 0; (value = cli_next_value(cli, "env", &position));) {
        if (!strchr(value, '=')) {
            cli_usage("--env takes NAME=VALUE, not '%s'", value);
            return NULL;
        }
    }
    tw_buf_init(&text, CLI_BODY_MAX);
    struct tw_json *config = config_json(cli, &text) ? tw_json_parse(tw_buf_span(&text), &err) : NULL;
    if (!config)
        cli_usage("--arg and --env: %s", err.code ? err.message : "too long");
    return config;
}

static int run_module(const struct cli *cli, const struct tw_buf *wasm, const struct tw_json *config,
                      struct tw_span body) {
    static const struct tw_caller caller = {.role = TW_ROLE_ADMIN, .token_id = "local"};
    struct tw_error err = {};
    struct tw_service *service = cli_local_service(NULL, cli_value(cli, "device"),
                                                   cli_value(cli, "memory-backend"), TW_GPU_TIER_AUTO, &err);
    if (!service)
        return cli_fail(&err);
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf answer;
    tw_buf_init(&answer, CLI_BODY_MAX);
    struct tw_deploy deploy = {.name = TW_STR("run"), .wasm = tw_buf_span(wasm), .config = config};
    int status;
    if (tw_service_deploy(service, &caller, &deploy, &answer, &err)) {
        status = call_and_wait(service, &caller, cli, body);
    } else {
        cli_fail(&err);
        status = CLI_USAGE;
    }
    (void)tw_service_drain(service, tw_clock_ns() + TW_NS_PER_S);
    tw_service_free(service);
    return status;
}

// {"export"?, "args"}: what the invoke route takes.
static bool json_body(const struct cli *cli, struct tw_buf *out) {
    struct tw_json_writer writer;
    tw_json_write_init(&writer, out);
    tw_json_write_object(&writer);
    if (cli_value(cli, "export")) {
        tw_json_write_key(&writer, "export");
        tw_json_write_str(&writer, tw_str_from(cli_value(cli, "export")));
    }
    tw_json_write_key(&writer, "args");
    tw_json_write_raw(&writer, tw_str_from(cli_value(cli, "args")));
    tw_json_write_end(&writer, '}');
    return tw_json_write_done(&writer);
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
    int status;
    if (!cli_parse(&cli, cli_run, options, argc, argv, 1, 1, &status))
        return status;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf wasm, body;
    tw_buf_init(&wasm, CLI_BODY_MAX);
    tw_buf_init(&body, CLI_BODY_MAX);
    if (!cli_read_file(cli.args[0], &wasm))
        return CLI_USAGE;
    if (cli_value(&cli, "args")) {
        if (!json_body(&cli, &body))
            return cli_usage("--args is too long");
    } else if (!isatty(STDIN_FILENO) && !cli_read_file("-", &body)) {
        return CLI_USAGE;
    }
    struct tw_json *config = read_config(&cli);
    if (!config)
        return CLI_USAGE;
    status = run_module(&cli, &wasm, config, tw_buf_span(&body));
    tw_json_free(config);
    return status;
}
