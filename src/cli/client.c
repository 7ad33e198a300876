// SPDX-License-Identifier: Apache-2.0
//
// One HTTP request to the server, through libcurl. What the server says of a failure is shown in its own
// words.

#include <curl/curl.h>
#include <unistd.h>

#include "cli/internal.h"

static size_t take_body(char *data, size_t size, size_t count, void *context) {
    return tw_buf_append(context, data, size * count) ? size * count : 0;
}

static struct curl_slist *add_header(struct curl_slist *list, const char *name, const char *value) {
    char line[1024];
    snprintf(line, sizeof line, "%s: %s", name, value);
    return curl_slist_append(list, line);
}

static struct curl_slist *headers_of(const struct cli *cli, const struct cli_request *request) {
    struct curl_slist *list = NULL;
    char bearer[600], number[24];
    if (cli->token && *cli->token) {
        snprintf(bearer, sizeof bearer, "Bearer %s", cli->token);
        list = add_header(list, "Authorization", bearer);
    }
    if (cli->tenant)
        list = add_header(list, "X-TensorWasm-Tenant", cli->tenant);
    if (request->content_type)
        list = add_header(list, "Content-Type", request->content_type);
    if (request->deadline_ms) {
        snprintf(number, sizeof number, "%" PRIu64, request->deadline_ms);
        list = add_header(list, "X-TensorWasm-Deadline-Ms", number);
    }
    return add_header(list, "Expect", "");
}

static void set_options(CURL *curl, const struct cli *cli, const struct cli_request *request, const char *url,
                        struct curl_slist *headers, struct tw_buf *out) {
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 10L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    if (cli->ca_cert)
        curl_easy_setopt(curl, CURLOPT_CAINFO, cli->ca_cert);
    if (request->content_type) {
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body.len ? (const char *)request->body.data : "");
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    }
    bool show = request->show_progress && isatty(STDERR_FILENO) && request->body.len > (1 << 20);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, show ? 0L : 1L);
}

void cli_tell_stderr(const struct tw_json *answer) {
    struct tw_str text = tw_json_str(tw_json_get(answer, "stderr"));
    fprintf(stderr, "%.*s", TW_STR_ARG(text));
}

void cli_tell_frames(const struct tw_json *trace) {
    for (size_t i = 0; i < tw_json_count(trace); i++) {
        const struct tw_json *frame = tw_json_at(trace, i);
        struct tw_str name = tw_json_str(tw_json_get(frame, "function"));
        fprintf(stderr, "    at %.*s%sfunction %" PRId64 "%s\n", TW_STR_ARG(name), name.len ? " (" : "",
                tw_json_int(tw_json_get(frame, "index")), name.len ? ")" : "");
    }
}

// {"error":{"kind","message",…}} as one line, and the backtrace below it.
static void tell_problem(long status, const struct tw_buf *body) {
    struct tw_error err = {};
    struct tw_json *root = tw_json_parse(tw_buf_span(body), &err);
    const struct tw_json *error = tw_json_get(root, "error");
    struct tw_str kind = tw_json_str(tw_json_get(error, "kind")),
                  message = tw_json_str(tw_json_get(error, "message"));
    const char *hint = status == 401 ? " (the token is taken from TENSOR_WASM_TOKEN)" : "";
    if (kind.len)
        cli_message("%.*s: %.*s%s", TW_STR_ARG(kind), TW_STR_ARG(message), hint);
    else
        cli_message("the server answered with status %ld", status);
    struct tw_str source = tw_json_str(tw_json_get(error, "source")),
                  caret = tw_json_str(tw_json_get(error, "caret"));
    if (caret.len)
        fprintf(stderr, "%.*s\n%.*s\n", TW_STR_ARG(source), TW_STR_ARG(caret));
    cli_tell_frames(tw_json_get(error, "backtrace"));
    struct tw_str text = tw_json_str(tw_json_get(error, "stderr"));
    if (text.len)
        fprintf(stderr, "the function's standard error:\n%.*s\n", TW_STR_ARG(text));
    tw_json_free(root);
}

static int status_of(long http_status) {
    if (http_status >= 200 && http_status < 300)
        return CLI_OK;
    return http_status == 501 || http_status == 405 ? CLI_NOT_OFFERED : CLI_FAILED;
}

bool cli_call(const struct cli *cli, const struct cli_request *request, struct tw_buf *out, int *ret_status) {
    tw_buf_init(out, CLI_BODY_MAX);
    *ret_status = CLI_FAILED;
    CURL *curl = curl_easy_init();
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf url;
    tw_buf_init(&url, 65536);
    struct tw_str server = tw_str_from(cli->server);
    while (server.len && server.data[server.len - 1] == '/')
        server.len--;
    if (!curl || !tw_buf_append_str(&url, server) || !tw_buf_append_str(&url, tw_str_from(request->path))) {
        cli_message("out of memory");
        curl_easy_cleanup(curl);
        return false;
    }
    struct curl_slist *headers = headers_of(cli, request);
    set_options(curl, cli, request, (const char *)url.data, headers, out);
    char reason[CURL_ERROR_SIZE] = "";
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
    CURLcode result = curl_easy_perform(curl);
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (result != CURLE_OK)
        cli_message("cannot reach %s: %s; is the server running?", cli->server,
                    reason[0] ? reason : curl_easy_strerror(result));
    else if ((*ret_status = status_of(status)) != CLI_OK)
        tell_problem(status, out);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return result == CURLE_OK && *ret_status == CLI_OK;
}

int cli_ask(const struct cli *cli, const char *method, const char *path,
            int (*show)(const struct cli *cli, const struct tw_buf *body)) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf answer = {};
    int status;
    if (!cli_call(cli, &(struct cli_request){.method = method, .path = path}, &answer, &status))
        return status;
    return answer.len ? show(cli, &answer) : CLI_OK;
}

// Prints one page; the cursor of the next is left in `cursor`, empty at the end.
static int list_page(const struct cli *cli, const char *path, const char *member,
                     void (*print)(const struct tw_json *item), bool *first, char *cursor,
                     size_t cursor_size) {
    int status;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf page, answer = {};
    tw_buf_init(&page, 4096);
    if (!tw_buf_printf(&page, "%s?cursor=", path) || !cli_path_append(&page, tw_str_from(cursor)))
        return CLI_FAILED;
    if (!cli_call(cli, &(struct cli_request){.method = "GET", .path = (const char *)page.data}, &answer,
                  &status))
        return status;
    struct tw_error err = {};
    struct tw_json *root = tw_json_parse(tw_buf_span(&answer), &err);
    if (!root)
        return cli_fail(&err);
    const struct tw_json *list = tw_json_get(root, member);
    for (size_t i = 0; i < tw_json_count(list); i++, *first = false) {
        [[gnu::cleanup(tw_buf_done)]] struct tw_buf text;
        tw_buf_init(&text, CLI_BODY_MAX);
        if (!cli->is_json)
            print(tw_json_at(list, i));
        else if (tw_json_append(&text, tw_json_at(list, i)))
            printf("%s%s", *first ? "[" : ",", (const char *)text.data);
    }
    snprintf(cursor, cursor_size, "%.*s", TW_STR_ARG(tw_json_str(tw_json_get(root, "next"))));
    tw_json_free(root);
    return CLI_OK;
}

int cli_list(const struct cli *cli, const char *path, const char *member,
             void (*print)(const struct tw_json *item)) {
    char cursor[TW_FUNCTION_NAME_MAX + TW_KERNEL_VERSION_MAX + 2] = ""; // the longest: a kernel's
    bool first = true;
    int status;
    do {
        status = list_page(cli, path, member, print, &first, cursor, sizeof cursor);
    } while (status == CLI_OK && cursor[0]);
    if (cli->is_json && status == CLI_OK)
        puts(first ? "[]" : "]");
    return status;
}
