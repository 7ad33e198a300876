// SPDX-License-Identifier: Apache-2.0
//
// `deploy`, `functions list|get|delete|prewarm`, `devices`, `version`: what the server has, from the command line.

#include <unistd.h>

#include "cli/internal.h"

static void print_function(const struct tw_json *function) {
    struct tw_str name = tw_json_str(tw_json_get(function, "name")),
                  id = tw_json_str(tw_json_get(function, "id"));
    struct tw_str digest = tw_json_str(tw_json_get(function, "digest"));
    printf("%-32.*s version %-4" PRId64 " %-28.*s sha256:%.12s  %" PRId64 " bytes\n", TW_STR_ARG(name),
           tw_json_int(tw_json_get(function, "version")), TW_STR_ARG(id), digest.data,
           tw_json_int(tw_json_get(function, "size_bytes")));
}

static void print_whole(const struct tw_json *function) {
    print_function(function);
    const struct tw_json *exports = tw_json_get(function, "exports");
    for (size_t i = 0; i < tw_json_count(exports); i++) {
        const struct tw_json *export = tw_json_at(exports, i), *params = tw_json_get(export, "params");
        printf("  export %.*s(", TW_STR_ARG(tw_json_str(tw_json_get(export, "name"))));
        for (size_t p = 0; p < tw_json_count(params); p++)
            printf("%s%.*s", p ? ", " : "", TW_STR_ARG(tw_json_str(tw_json_at(params, p))));
        const struct tw_json *results = tw_json_get(export, "results");
        printf(")%s", tw_json_count(results) ? " -> " : "");
        for (size_t r = 0; r < tw_json_count(results); r++)
            printf("%s%.*s", r ? ", " : "", TW_STR_ARG(tw_json_str(tw_json_at(results, r))));
        putchar('\n');
    }
}

static int show_function(const struct cli *cli, const struct tw_buf *body) {
    return cli_show(cli, body, print_whole);
}

// The file's name without folder and ending: what `deploy` calls the function when nothing else was said.
static struct tw_str name_of_file(const char *path) {
    const char *slash = strrchr(path, '/');
    struct tw_str name = tw_str_from(slash ? slash + 1 : path);
    const char *dot = memchr(name.data, '.', name.len);
    return dot && dot > name.data ? tw_str_of(name.data, (size_t)(dot - name.data)) : name;
}

static bool deploy_body(struct tw_buf *body, struct tw_str name, const struct tw_buf *wasm,
                        const char *config) {
    struct tw_json_writer writer;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf base64;
    tw_buf_init(&base64, CLI_BODY_MAX);
    tw_buf_init(body, CLI_BODY_MAX);
    tw_json_write_init(&writer, body);
    tw_json_write_object(&writer);
    tw_json_write_key(&writer, "name");
    tw_json_write_str(&writer, name);
    if (!tw_base64_append(&base64, tw_buf_span(wasm)))
        return false;
    tw_json_write_key(&writer, "wasm_b64");
    tw_json_write_str(&writer, tw_buf_str(&base64));
    if (config) {
        tw_json_write_key(&writer, "config");
        tw_json_write_raw(&writer, tw_str_from(config));
    }
    tw_json_write_end(&writer, '}');
    return tw_json_write_done(&writer);
}

static int deploy(const struct cli *cli, struct tw_str name, const struct tw_buf *wasm) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf path = {}, body = {}, answer = {};
    char name_text[TW_FUNCTION_NAME_MAX + 2];
    bool replace = cli_value(cli, "replace");
    snprintf(name_text, sizeof name_text, "%.*s", TW_STR_ARG(name));
    if (!cli_function_path(&path, name_text, ""))
        return CLI_USAGE;
    if (!deploy_body(&body, name, wasm, cli_value(cli, "config"))) {
        cli_message("the module is too large");
        return CLI_USAGE;
    }
    struct cli_request request = {.method = replace ? "PUT" : "POST",
                                  .path = replace ? (const char *)path.data : "/functions",
                                  .content_type = "application/json",
                                  .body = tw_buf_span(&body),
                                  .show_progress = true};
    int status;
    return cli_call(cli, &request, &answer, &status) ? show_function(cli, &answer) : status;
}

int cli_deploy(int argc, char **argv) {
    static const struct cli_option options[] = {
        {"name", "NAME", "the function's name (default: the file's)"},
        {"config", "JSON", "settings: memory_bytes, timeout_ms, env, args"},
        {"replace", NULL, "make a new version when the function exists"},
        {}};
    struct cli cli;
    int status;
    if (!cli_parse(&cli, cli_deploy, options, argc, argv, 1, 1, &status))
        return status;
    struct tw_str name =
        cli_value(&cli, "name") ? tw_str_from(cli_value(&cli, "name")) : name_of_file(cli.args[0]);
    struct tw_error err = {};
    struct tw_json *config = NULL;
    if (cli_value(&cli, "config") &&
        !(config =
              tw_json_parse(tw_span_of(cli_value(&cli, "config"), strlen(cli_value(&cli, "config"))), &err)))
        return cli_usage("--config: %s", err.message);
    tw_json_free(config);
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf wasm;
    tw_buf_init(&wasm, CLI_BODY_MAX);
    return cli_read_file(cli.args[0], &wasm) ? deploy(&cli, name, &wasm) : CLI_USAGE;
}

int cli_functions_list(int argc, char **argv) {
    static const struct cli_option options[] = {{}};
    struct cli cli;
    int status;
    if (!cli_parse(&cli, cli_functions_list, options, argc, argv, 0, 0, &status))
        return status;
    return cli_list(&cli, "/functions", "functions", print_function);
}

static int call_function(int (*command)(int, char **), const char *method, int argc, char **argv) {
    static const struct cli_option options[] = {{}};
    struct cli cli;
    int status;
    if (!cli_parse(&cli, command, options, argc, argv, 1, 1, &status))
        return status;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf path = {};
    if (!cli_function_path(&path, cli.args[0], ""))
        return CLI_USAGE;
    return cli_ask(&cli, method, (const char *)path.data, show_function);
}

int cli_functions_get(int argc, char **argv) {
    return call_function(cli_functions_get, "GET", argc, argv);
}

int cli_functions_delete(int argc, char **argv) {
    return call_function(cli_functions_delete, "DELETE", argc, argv);
}

static void print_warm(const struct tw_json *answer) {
    printf("%" PRId64 "\n", tw_json_int(tw_json_get(answer, "warm")));
}

int cli_functions_prewarm(int argc, char **argv) {
    static const struct cli_option options[] = {{}};
    struct cli cli;
    int status;
    uint64_t count;
    if (!cli_parse(&cli, cli_functions_prewarm, options, argc, argv, 2, 2, &status))
        return status;
    if (!tw_str_u64(tw_str_from(cli.args[1]), &count) || count > UINT32_MAX)
        return cli_usage("how many instances are to be warm is a whole number, not '%s'", cli.args[1]);
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf path = {}, answer = {};
    char body[48];
    int len = snprintf(body, sizeof body, "{\"count\":%" PRIu64 "}", count);
    if (!cli_function_path(&path, cli.args[0], "/prewarm"))
        return CLI_USAGE;
    struct cli_request request = {.method = "POST",
                                  .path = (const char *)path.data,
                                  .content_type = "application/json",
                                  .body = tw_span_of(body, (size_t)len)};
    if (!cli_call(&cli, &request, &answer, &status))
        return status;
    return cli_show(&cli, &answer, print_warm);
}

static void print_devices(const struct tw_json *devices) {
    const struct tw_json *list = tw_json_get(devices, "devices");
    for (size_t i = 0; i < tw_json_count(list); i++) {
        const char *key;
        const struct tw_json *value;
        printf("device %zu\n", i);
        for (void *iter = NULL; tw_json_next(tw_json_at(list, i), &iter, &key, &value);) {
            [[gnu::cleanup(tw_buf_done)]] struct tw_buf text;
            tw_buf_init(&text, 1 << 20);
            if (tw_json_append(&text, value))
                printf("  %-24s %s\n", key, (const char *)text.data);
        }
    }
}

int cli_devices(int argc, char **argv) {
    static const struct cli_option options[] = {{}};
    struct cli cli;
    int status;
    if (!cli_parse(&cli, cli_devices, options, argc, argv, 0, 0, &status))
        return status;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf answer = {};
    if (!cli_call(&cli, &(struct cli_request){.method = "GET", .path = "/devices"}, &answer, &status))
        return status;
    return cli_show(&cli, &answer, print_devices);
}

int cli_version(int argc, char **argv) {
    static const struct cli_option options[] = {{}};
    struct cli cli;
    int status;
    if (!cli_parse(&cli, cli_version, options, argc, argv, 0, 0, &status))
        return status;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf out;
    tw_buf_init(&out, 4096);
    if (!tw_version_json(&out))
        return CLI_FAILED;
    if (cli.is_json)
        return cli_show_json(&out);
    printf("tensor-wasm %s\n", TW_VERSION);
    return CLI_OK;
}
