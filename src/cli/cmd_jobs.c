// SPDX-License-Identifier: Apache-2.0
//
// `jobs list|get|cancel`: calls whose caller does not wait.

#include "cli/internal.h"

enum { POLL_MS = 200 }; // --wait asks this often

static void print_job(const struct tw_json *job) {
    struct tw_str id = tw_json_str(tw_json_get(job, "job_id")),
                  state = tw_json_str(tw_json_get(job, "state"));
    struct tw_str function = tw_json_str(tw_json_get(job, "function")),
                  created = tw_json_str(tw_json_get(job, "created_at"));
    printf("%.*s %.*s %.*s %.*s\n", TW_STR_ARG(id), TW_STR_ARG(state), TW_STR_ARG(function),
           TW_STR_ARG(created));
}

static void print_member(const struct tw_json *job, const char *key) {
    const struct tw_json *value = tw_json_get(job, key);
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf text;
    tw_buf_init(&text, CLI_BODY_MAX);
    if (value && tw_json_append(&text, value))
        printf("%s\n", (const char *)text.data);
}

static void print_whole(const struct tw_json *job) {
    print_job(job);
    print_member(job, "result");
    print_member(job, "error");
    cli_tell_stderr(job);
    cli_write_output(job);
}

int cli_show_job(const struct cli *cli, const struct tw_buf *body) {
    return cli_show(cli, body, print_whole);
}

static bool job_path(struct tw_buf *path, const char *id) {
    return cli_path(path, "/jobs/", id, "");
}

static bool has_ended(const struct tw_buf *body) {
    struct tw_error err = {};
    struct tw_json *job = tw_json_parse(tw_buf_span(body), &err);
    struct tw_str state = tw_json_str(tw_json_get(job, "state"));
    bool ended = !tw_str_equal(state, TW_STR("queued")) && !tw_str_equal(state, TW_STR("running"));
    tw_json_free(job);
    return ended;
}

int cli_jobs_get(int argc, char **argv) {
    static const struct cli_option options[] = {{"wait", NULL, "until the job has ended"}, {}};
    struct cli cli;
    int status;
    if (!cli_parse(&cli, cli_jobs_get, options, argc, argv, 1, 1, &status))
        return status;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf path = {};
    if (!job_path(&path, cli.args[0]))
        return CLI_USAGE;
    for (;;) {
        [[gnu::cleanup(tw_buf_done)]] struct tw_buf answer = {};
        if (!cli_call(&cli, &(struct cli_request){.method = "GET", .path = (const char *)path.data}, &answer,
                      &status))
            return status;
        if (!cli_value(&cli, "wait") || has_ended(&answer))
            return cli_show_job(&cli, &answer);
        nanosleep(&(struct timespec){.tv_nsec = POLL_MS * TW_NS_PER_MS}, NULL);
    }
}

int cli_jobs_cancel(int argc, char **argv) {
    static const struct cli_option options[] = {{}};
    struct cli cli;
    int status;
    if (!cli_parse(&cli, cli_jobs_cancel, options, argc, argv, 1, 1, &status))
        return status;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf path = {}, answer = {};
    if (!job_path(&path, cli.args[0]))
        return CLI_USAGE;
    struct cli_request request = {.method = "DELETE", .path = (const char *)path.data};
    return cli_call(&cli, &request, &answer, &status) ? CLI_OK : status;
}

int cli_jobs_list(int argc, char **argv) {
    static const struct cli_option options[] = {{}};
    struct cli cli;
    int status;
    if (!cli_parse(&cli, cli_jobs_list, options, argc, argv, 0, 0, &status))
        return status;
    return cli_list(&cli, "/jobs", "jobs", print_job);
}
