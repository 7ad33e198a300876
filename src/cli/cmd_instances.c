// SPDX-License-Identifier: Apache-2.0
//
// `instances create|list|get|delete` and `admin instance list|terminate`: instances that keep their state between
// calls. `instances invoke` stands in cmd_invoke.c.

#include "cli/internal.h"

void cli_print_instance(const struct tw_json *instance) {
    struct tw_str id = tw_json_str(tw_json_get(instance, "id")),
                  state = tw_json_str(tw_json_get(instance, "state")),
                  function = tw_json_str(tw_json_get(instance, "function")),
                  used = tw_json_str(tw_json_get(instance, "used_at")),
                  reason = tw_json_str(tw_json_get(instance, "reason"));
    printf("%.*s %-7.*s %.*s version %" PRId64 " calls %" PRId64 " used %.*s%s%.*s\n", TW_STR_ARG(id),
           TW_STR_ARG(state), TW_STR_ARG(function), tw_json_int(tw_json_get(instance, "version")),
           tw_json_int(tw_json_get(instance, "calls")), TW_STR_ARG(used), reason.len ? ": " : "",
           TW_STR_ARG(reason));
}

static int show_instance(const struct cli *cli, const struct tw_buf *body) {
    return cli_show(cli, body, cli_print_instance);
}

static bool create_body(struct tw_buf *body, const char *function, uint64_t idle_ms) {
    struct tw_json_writer writer;
    tw_buf_init(body, CLI_BODY_MAX);
    tw_json_write_init(&writer, body);
    tw_json_write_object(&writer);
    tw_json_write_key(&writer, "function");
    tw_json_write_str(&writer, tw_str_from(function));
    if (idle_ms) {
        tw_json_write_key(&writer, "idle_ms");
        tw_json_write_u64(&writer, idle_ms);
    }
    tw_json_write_end(&writer, '}');
    return tw_json_write_done(&writer);
}

int cli_instances_create(int argc, char **argv) {
    static const struct cli_option options[] = {
        {"idle-ms", "N", "end it after so long without a call (default, and longest: the server's)"}, {}};
    struct cli cli;
    int status;
    uint64_t idle_ms;
    if (!cli_parse(&cli, cli_instances_create, options, argc, argv, 1, 1, &status))
        return status;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf body = {}, answer = {};
    if (!cli_number(&cli, "idle-ms", 0, 1, UINT32_MAX, &idle_ms) || !create_body(&body, cli.args[0], idle_ms))
        return CLI_USAGE;
    struct cli_request request = {.method = "POST",
                                  .path = "/instances",
                                  .content_type = "application/json",
                                  .body = tw_buf_span(&body)};
    return cli_call(&cli, &request, &answer, &status) ? show_instance(&cli, &answer) : status;
}

static int list(int (*command)(int, char **), bool wants_tenant, int argc, char **argv) {
    static const struct cli_option options[] = {{}};
    struct cli cli;
    int status;
    if (!cli_parse(&cli, command, options, argc, argv, 0, 0, &status))
        return status;
    if (wants_tenant && !cli.tenant)
        return cli_usage("say whose instances: --tenant N");
    return cli_list(&cli, "/instances", "instances", cli_print_instance);
}

static int ask(int (*command)(int, char **), const char *method, int argc, char **argv) {
    static const struct cli_option options[] = {{}};
    struct cli cli;
    int status;
    if (!cli_parse(&cli, command, options, argc, argv, 1, 1, &status))
        return status;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf path = {};
    if (!cli_path(&path, "/instances/", cli.args[0], ""))
        return CLI_USAGE;
    return cli_ask(&cli, method, (const char *)path.data, show_instance);
}

int cli_instances_list(int argc, char **argv) {
    return list(cli_instances_list, false, argc, argv);
}

int cli_instances_get(int argc, char **argv) {
    return ask(cli_instances_get, "GET", argc, argv);
}

int cli_instances_delete(int argc, char **argv) {
    return ask(cli_instances_delete, "DELETE", argc, argv);
}

int cli_admin_instances(int argc, char **argv) {
    return list(cli_admin_instances, true, argc, argv);
}

int cli_admin_terminate(int argc, char **argv) {
    return ask(cli_admin_terminate, "DELETE", argc, argv);
}
