// SPDX-License-Identifier: Apache-2.0
//
// A module in this process and calls of it, without a server: what `run` and `bench` share.

#include <unistd.h>

#include "cli/internal.h"

static const struct tw_caller caller = {.role = TW_ROLE_ADMIN, .token_id = "local"};

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
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf text = {};
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

static bool read_input(const struct cli *cli, struct cli_local *local) {
    const char *file = cli_value(cli, "input");
    if (!cli_value(cli, "args"))
        return file ? cli_read_file(file, &local->body)
                    : isatty(STDIN_FILENO) || cli_read_file("-", &local->body);
    if (file) {
        cli_usage("--args and --input exclude each other");
        return false;
    }
    if (!cli_args_check(cli_value(cli, "args")))
        return false;
    if (json_body(cli, &local->body))
        return true;
    cli_usage("--args is too long");
    return false;
}

static bool deploy(const struct cli *cli, struct cli_local *local, int *ret_status) {
    struct tw_error err = {};
    struct tw_json *config = read_config(cli);
    *ret_status = CLI_USAGE;
    if (!config)
        return false;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf answer;
    tw_buf_init(&answer, CLI_BODY_MAX);
    struct tw_deploy deploy = {.name = TW_STR("run"), .wasm = tw_buf_span(&local->wasm), .config = config};
    int64_t began_ns = tw_clock_ns();
    bool ok = tw_service_deploy(local->service, &caller, &deploy, &answer, &err);
    local->deploy_ns = tw_clock_ns() - began_ns;
    tw_deploy_done(&deploy);
    tw_json_free(config);
    if (!ok)
        cli_fail(&err);
    return ok;
}

bool cli_local_open(struct cli_local *local, const struct cli *cli, int *ret_status) {
    *local = (struct cli_local){.is_json = cli_value(cli, "args"),
                                .export = tw_str_from(cli_value(cli, "export"))};
    tw_buf_init(&local->wasm, CLI_BODY_MAX);
    tw_buf_init(&local->body, CLI_BODY_MAX);
    *ret_status = CLI_USAGE;
    if (!cli_read_file(cli->args[0], &local->wasm) || !read_input(cli, local))
        return false;
    struct tw_error err = {};
    local->service =
        cli_local_service(&(struct cli_local_options){.device = cli_value(cli, "device"),
                                                      .memory_backend = cli_value(cli, "memory-backend")},
                          &err);
    if (local->service)
        return deploy(cli, local, ret_status);
    *ret_status = cli_fail(&err);
    return false;
}

void cli_local_close(struct cli_local *local) {
    if (local->service) {
        (void)tw_service_drain(local->service, tw_clock_ns() + TW_NS_PER_S);
        tw_service_free(local->service);
    }
    tw_buf_done(&local->wasm);
    tw_buf_done(&local->body);
}

static void on_done(struct tw_service_call *call) {
    struct tw_state *is_done = call->context;
    tw_state_set(is_done, 1);
    tw_state_wake(is_done);
}

bool cli_local_call(struct cli_local *local, struct tw_service_call *call, struct tw_error *err) {
    struct tw_state is_done = {};
    tw_service_call_init(call);
    call->function = TW_STR("run");
    call->is_json = local->is_json;
    call->body = tw_buf_span(&local->body);
    call->export = local->export;
    call->done = on_done;
    call->context = &is_done;
    call->is_patient = true;
    if (!tw_service_invoke(local->service, &caller, call, err))
        return false;
    while (tw_state_get(&is_done) == 0)
        tw_state_wait(&is_done, 0, -1);
    return true;
}

void cli_tell_call(const struct tw_service_call *call) {
    struct tw_error ignored = {};
    struct tw_json *trace =
        call->invoke.backtrace.len ? tw_json_parse(tw_buf_span(&call->invoke.backtrace), &ignored) : NULL;
    cli_fail(&call->error);
    cli_tell_frames(trace);
    tw_json_free(trace);
}
