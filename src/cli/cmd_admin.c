// SPDX-License-Identifier: Apache-2.0
//
// `admin tenant list|get|set`, `admin token new`, `admin audit verify`: what operators do. The token is made
// here, without a server; only its sha256 goes into the tokens file.

#include "cli/internal.h"

enum { TOKEN_BYTES = 32 };

// ---- tenants ----

static void print_limit(const char *name, const struct tw_json *limit, const struct tw_json *use) {
    char text[24] = "unlimited";
    if (tw_json_type(limit) == TW_JSON_INT)
        snprintf(text, sizeof text, "%" PRId64, tw_json_int(limit));
    printf("  %-24s %-20s", name, text);
    if (tw_json_get(use, "now"))
        printf(" now %" PRId64 ", peak %" PRId64, tw_json_int(tw_json_get(use, "now")),
               tw_json_int(tw_json_get(use, "peak")));
    if (use)
        printf("%s refused %" PRId64, tw_json_get(use, "now") ? "," : "",
               tw_json_int(tw_json_get(use, "refused")));
    putchar('\n');
}

static void print_tenant(const struct tw_json *tenant) {
    const struct tw_json *limits = tw_json_get(tenant, "limits"), *use = tw_json_get(tenant, "use"), *value;
    const char *key;
    printf("tenant %.*s '%.*s' weight %" PRId64 "\n", TW_STR_ARG(tw_json_str(tw_json_get(tenant, "id"))),
           TW_STR_ARG(tw_json_str(tw_json_get(tenant, "name"))), tw_json_int(tw_json_get(tenant, "weight")));
    for (void *iter = NULL; tw_json_next(limits, &iter, &key, &value);)
        print_limit(key, value, tw_json_get(use, key));
}

// One tenant, or a page of them.
static void print_tenants(const struct tw_json *answer) {
    const struct tw_json *tenants = tw_json_get(answer, "tenants"), *next = tw_json_get(answer, "next");
    if (!tenants)
        print_tenant(answer);
    for (size_t i = 0; i < tw_json_count(tenants); i++)
        print_tenant(tw_json_at(tenants, i));
    if (next && tw_json_type(next) == TW_JSON_STRING)
        cli_message("there are more: --after %.*s", TW_STR_ARG(tw_json_str(next)));
}

static int ask(const struct cli *cli, const char *method, const char *path, struct tw_span body) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf answer = {};
    struct cli_request request = {
        .method = method, .path = path, .content_type = body.len ? "application/json" : NULL, .body = body};
    int status;
    return cli_call(cli, &request, &answer, &status) ? cli_show(cli, &answer, print_tenants) : status;
}

int cli_tenant_list(int argc, char **argv) {
    static const struct cli_option options[] = {{"after", "TENANT", "those with greater numbers"}, {}};
    struct cli cli;
    int status;
    uint64_t after;
    char path[64] = "/tenants?limit=1000";
    if (!cli_parse(&cli, cli_tenant_list, options, argc, argv, 0, 0, &status))
        return status;
    if (!cli_number(&cli, "after", 0, 0, UINT64_MAX, &after))
        return CLI_USAGE;
    if (cli_value(&cli, "after"))
        snprintf(path, sizeof path, "/tenants?limit=1000&cursor=%" PRIu64, after);
    return ask(&cli, "GET", path, (struct tw_span){});
}

static bool tenant_path(const struct cli *cli, char ret_path[48]) {
    uint64_t tenant;
    if (!tw_str_u64(tw_str_from(cli->args[0]), &tenant)) {
        cli_usage("a tenant is a number from 0 to %" PRIu64 ", not '%s'", UINT64_MAX, cli->args[0]);
        return false;
    }
    snprintf(ret_path, 48, "/tenants/%" PRIu64, tenant);
    return true;
}

int cli_tenant_get(int argc, char **argv) {
    struct cli cli;
    int status;
    char path[48];
    if (!cli_parse(&cli, cli_tenant_get, NULL, argc, argv, 1, 1, &status))
        return status;
    return tenant_path(&cli, path) ? ask(&cli, "GET", path, (struct tw_span){}) : CLI_USAGE;
}

// NAME=N|unlimited|default. The server knows the names.
static bool write_limit(struct tw_json_writer *writer, const char *argument) {
    char name[64];
    uint64_t number;
    struct tw_str value = tw_str_from(argument), key = tw_str_cut(&value, '=');
    snprintf(name, sizeof name, "%.*s", TW_STR_ARG(key));
    tw_json_write_key(writer, name);
    if (tw_str_equal(value, TW_STR("unlimited")))
        tw_json_write_null(writer);
    else if (tw_str_equal(value, TW_STR("default")))
        tw_json_write_str(writer, value);
    else if (tw_str_u64(value, &number))
        tw_json_write_u64(writer, number);
    else
        return cli_usage("limits are given as NAME=N, NAME=unlimited or NAME=default, not '%s'", argument) ==
               CLI_OK;
    return true;
}

int cli_tenant_set(int argc, char **argv) {
    static const struct cli_option options[] = {
        {"name", "NAME", "what people call it"}, {"weight", "N", "1 to 1000; kept for fair scheduling"}, {}};
    struct cli cli;
    int status;
    uint64_t weight;
    char path[48];
    if (!cli_parse(&cli, cli_tenant_set, options, argc, argv, 1, 32, &status))
        return status;
    if (!tenant_path(&cli, path) || !cli_number(&cli, "weight", 1, 1, 1000, &weight))
        return CLI_USAGE;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf body;
    struct tw_json_writer writer;
    tw_buf_init(&body, 65536);
    tw_json_write_init(&writer, &body);
    tw_json_write_object(&writer);
    if (cli_value(&cli, "name")) {
        tw_json_write_key(&writer, "name");
        tw_json_write_str(&writer, tw_str_from(cli_value(&cli, "name")));
    }
    if (cli_value(&cli, "weight")) {
        tw_json_write_key(&writer, "weight");
        tw_json_write_u64(&writer, weight);
    }
    tw_json_write_key(&writer, "limits");
    tw_json_write_object(&writer);
    for (int i = 1; i < cli.arg_count; i++)
        if (!write_limit(&writer, cli.args[i]))
            return CLI_USAGE;
    tw_json_write_end(&writer, '}');
    tw_json_write_end(&writer, '}');
    if (!tw_json_write_done(&writer))
        return cli_usage("the settings are too long");
    return ask(&cli, "PUT", path, tw_buf_span(&body));
}

// ---- tokens ----

// A day of a form that was checked, so that text compares as days do.
static bool is_past(const char *day) {
    char today[16];
    time_t seconds = (time_t)(tw_clock_wall_ns() / TW_NS_PER_S);
    struct tm parts;
    gmtime_r(&seconds, &parts);
    strftime(today, sizeof today, "%Y-%m-%d", &parts);
    return strcmp(day, today) <= 0;
}

int cli_token_new(int argc, char **argv) {
    static const struct cli_option options[] = {
        {"role", "ROLE", "invoke (default), deploy or admin"},
        {"expires", "YYYY-MM-DD", "the day from which on it is refused, in UTC (default: never)"},
        {}};
    struct cli cli;
    int status;
    if (!cli_parse(&cli, cli_token_new, options, argc, argv, 0, 0, &status))
        return status;
    uint8_t bytes[TOKEN_BYTES];
    char token[2 * TOKEN_BYTES + 1], digest_text[TW_DIGEST_HEX_SIZE], line[8192];
    tw_random(bytes, sizeof bytes);
    tw_hex(tw_span_of(bytes, sizeof bytes), token);
    struct tw_digest digest = tw_sha256(tw_span_of(token, sizeof token - 1));
    tw_digest_hex(&digest, digest_text);
    const char *role = cli_value(&cli, "role"), *expires = cli_value(&cli, "expires");
    int len =
        snprintf(line, sizeof line, "%s:tenant=%s:role=%s%s%s", digest_text, cli.tenant ? cli.tenant : "0",
                 role ? role : "invoke", expires ? ":expires=" : "", expires ? expires : "");
    struct tw_error err = {};
    if ((size_t)len >= sizeof line || strchr(line, '#') || strchr(line, '\n') ||
        !tw_tokens_line_check(tw_str_from(line), &err))
        return cli_usage("%s", err.code ? err.message : "--tenant, --role or --expires is not of their form");
    if (expires && is_past(expires))
        return cli_usage("--expires %s: from that day on the token is refused, so it would never be of use",
                         expires);
    if (cli.is_json)
        printf("{\"token\":\"%s\",\"line\":\"%s\"}\n", token, line);
    else
        printf("%s\n%s\n", token, line);
    if (!cli.is_json)
        cli_message("the first line is the token, shown this once; the second belongs into the tokens file");
    return CLI_OK;
}

// ---- the audit log ----

int cli_audit_verify(int argc, char **argv) {
    struct cli cli;
    int status;
    if (!cli_parse(&cli, cli_audit_verify, NULL, argc, argv, 1, 1, &status))
        return status;
    struct tw_audit_report report;
    struct tw_error err = {};
    if (!tw_audit_verify(cli.args[0], &report, &err))
        return cli_fail(&err);
    printf(cli.is_json ? "{\"lines\":%" PRIu64 ",\"lost\":%" PRIu64
                         ",\"first_prev\":\"%s\",\"last\":\"%s\"}\n"
                       : "%" PRIu64 " lines, whole; %" PRIu64 " events lost; follows %s; ends with %s\n",
           report.lines, report.lost, report.first_prev, report.last);
    return CLI_OK;
}
