// SPDX-License-Identifier: Apache-2.0
//
// `snapshot save|list|get|restore|delete|verify|inspect`: kept instances as files. verify and inspect need no server.

#include "cli/internal.h"
#include "snapshot/snapshot.h"

static void print_snapshot(const struct tw_json *snapshot) {
    struct tw_str digest = tw_json_str(tw_json_get(snapshot, "digest")),
                  function = tw_json_str(tw_json_get(snapshot, "function")),
                  instance = tw_json_str(tw_json_get(snapshot, "instance_id")),
                  captured = tw_json_str(tw_json_get(snapshot, "captured_at"));
    printf("%.*s %.*s version %" PRId64 " of %.*s, %" PRId64 " bytes, %s, %.*s\n", TW_STR_ARG(digest),
           TW_STR_ARG(function), tw_json_int(tw_json_get(snapshot, "version")),
           TW_STR_ARG(instance.len ? instance : TW_STR("the function")),
           tw_json_int(tw_json_get(snapshot, "size_bytes")),
           tw_json_bool(tw_json_get(snapshot, "signed")) ? "signed" : "not signed", TW_STR_ARG(captured));
}

static int show_snapshot(const struct cli *cli, const struct tw_buf *body) {
    return cli_show(cli, body, print_snapshot);
}

static bool write_text(struct tw_json_writer *writer, const char *key, const char *text) {
    if (text)
        tw_json_write_text(writer, key, tw_str_from(text));
    return text;
}

// ---- with a server ----

// The file goes to `path`; what came is what its name says, or nothing is written.
static int download(const struct cli *cli, const char *digest, const char *path) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf target = {}, file = {};
    int status;
    if (!cli_path(&target, "/snapshots/", digest, ""))
        return CLI_USAGE;
    if (!cli_call(
            cli,
            &(struct cli_request){.method = "GET", .path = (const char *)target.data, .show_progress = true},
            &file, &status))
        return status;
    struct tw_digest found = tw_sha256(tw_buf_span(&file)), wanted;
    if (!tw_digest_parse(tw_str_from(digest), &wanted) || !tw_digest_equal(&found, &wanted)) {
        cli_message("what the server sent is not the snapshot %s: its sha256 is another", digest);
        return CLI_FAILED;
    }
    return cli_write_file(path, tw_buf_span(&file)) ? CLI_OK : CLI_FAILED;
}

// With --out: the snapshot that was just taken, from the answer about it.
static int download_taken(const struct cli *cli, const struct tw_buf *answer, const char *path) {
    struct tw_error err = {};
    struct tw_json *root = tw_json_parse(tw_buf_span(answer), &err);
    char *digest = root ? tw_str_dup(tw_json_str(tw_json_get(root, "digest"))) : NULL;
    int status = digest ? download(cli, digest, path) : cli_fail(&err);
    free(digest);
    tw_json_free(root);
    return status;
}

int cli_snapshot_save(int argc, char **argv) {
    static const struct cli_option options[] = {
        {"function", "FUNCTION", "a function as its instances begin, instead of an instance"},
        {"out", "FILE", "download it, too"},
        {}};
    struct cli cli;
    int status;
    if (!cli_parse(&cli, cli_snapshot_save, options, argc, argv, 0, 1, &status))
        return status;
    const char *function = cli_value(&cli, "function"), *out = cli_value(&cli, "out");
    if (!function == (cli.arg_count == 0))
        return cli_usage("name an instance, or a function with --function");
    struct tw_json_writer writer;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf body, answer = {};
    tw_buf_init(&body, CLI_BODY_MAX);
    tw_json_write_init(&writer, &body);
    tw_json_write_object(&writer);
    if (!write_text(&writer, "function_id", function))
        write_text(&writer, "instance_id", cli.args[0]);
    tw_json_write_end(&writer, '}');
    if (!tw_json_write_done(&writer))
        return cli_usage("the name is too long");
    struct cli_request request = {.method = "POST",
                                  .path = "/snapshot/save",
                                  .content_type = "application/json",
                                  .body = tw_buf_span(&body)};
    if (!cli_call(&cli, &request, &answer, &status))
        return status;
    status = show_snapshot(&cli, &answer);
    return out && status == CLI_OK ? download_taken(&cli, &answer, out) : status;
}

int cli_snapshot_list(int argc, char **argv) {
    static const struct cli_option options[] = {{}};
    struct cli cli;
    int status;
    if (!cli_parse(&cli, cli_snapshot_list, options, argc, argv, 0, 0, &status))
        return status;
    return cli_list(&cli, "/snapshots", "snapshots", print_snapshot);
}

int cli_snapshot_get(int argc, char **argv) {
    static const struct cli_option options[] = {{"out", "FILE", "where it goes (-: standard output)"}, {}};
    struct cli cli;
    int status;
    if (!cli_parse(&cli, cli_snapshot_get, options, argc, argv, 1, 1, &status))
        return status;
    if (!cli_value(&cli, "out"))
        return cli_usage("say where it goes: --out FILE");
    return download(&cli, cli.args[0], cli_value(&cli, "out"));
}

int cli_snapshot_delete(int argc, char **argv) {
    static const struct cli_option options[] = {{}};
    struct cli cli;
    int status;
    if (!cli_parse(&cli, cli_snapshot_delete, options, argc, argv, 1, 1, &status))
        return status;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf path = {};
    if (!cli_path(&path, "/snapshots/", cli.args[0], ""))
        return CLI_USAGE;
    return cli_ask(&cli, "DELETE", (const char *)path.data, cli_print_answer);
}

// From a snapshot that the server keeps.
static bool kept_request(const struct cli *cli, uint64_t idle_ms, struct tw_buf *path, struct tw_buf *body,
                         struct cli_request *request) {
    struct tw_json_writer writer;
    tw_json_write_init(&writer, body);
    tw_json_write_object(&writer);
    write_text(&writer, "digest", cli->args[0]);
    write_text(&writer, "as_instance", cli_value(cli, "as-instance"));
    if (idle_ms)
        tw_json_write_number(&writer, "idle_ms", idle_ms);
    tw_json_write_end(&writer, '}');
    *request = (struct cli_request){.method = "POST", .content_type = "application/json"};
    return tw_json_write_done(&writer) && tw_buf_append_str(path, TW_STR("/instances/restore"));
}

// From a file of ours.
static bool file_request(const struct cli *cli, uint64_t idle_ms, struct tw_buf *path, struct tw_buf *body,
                         struct cli_request *request) {
    const char *id = cli_value(cli, "as-instance");
    *request = (struct cli_request){
        .method = "POST", .content_type = "application/octet-stream", .show_progress = true};
    return cli_read_file(cli_value(cli, "input"), body) &&
           tw_buf_printf(path, "/snapshot/restore?idle_ms=%" PRIu64, idle_ms) &&
           (!id ||
            (tw_buf_append_str(path, TW_STR("&as_instance=")) && cli_path_append(path, tw_str_from(id))));
}

int cli_snapshot_restore(int argc, char **argv) {
    static const struct cli_option options[] = {
        {"input", "FILE", "a file that `get` or `save --out` wrote, instead of a digest (-: standard input)"},
        {"as-instance", "ID", "the new instance's id (default: a new one)"},
        {"idle-ms", "N", "end it after so long without a call (default, and longest: the server's)"},
        {}};
    struct cli cli;
    int status;
    uint64_t idle_ms;
    if (!cli_parse(&cli, cli_snapshot_restore, options, argc, argv, 0, 1, &status))
        return status;
    if (!cli_value(&cli, "input") == (cli.arg_count == 0))
        return cli_usage("name a snapshot's digest, or a file with --input");
    if (!cli_number(&cli, "idle-ms", 0, 1, UINT32_MAX, &idle_ms))
        return CLI_USAGE;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf path, body, answer = {};
    tw_buf_init(&path, 4096);
    tw_buf_init(&body, CLI_BODY_MAX);
    struct cli_request request;
    if (!(cli.arg_count ? kept_request : file_request)(&cli, idle_ms, &path, &body, &request))
        return CLI_USAGE;
    request.path = (const char *)path.data;
    request.body = tw_buf_span(&body);
    return cli_call(&cli, &request, &answer, &status) ? cli_show(&cli, &answer, cli_print_instance) : status;
}

// ---- without one ----

// The key from TENSOR_WASM_API_SNAPSHOT_HMAC_KEY, as the server has it; not set: none.
static bool read_key(struct tw_snapshot_key *key) {
    struct tw_error err = {};
    const char *text = getenv("TENSOR_WASM_API_SNAPSHOT_HMAC_KEY");
    if (tw_snapshot_key_parse(tw_str_from(text ? text : ""), key, &err))
        return true;
    cli_usage("TENSOR_WASM_API_SNAPSHOT_HMAC_KEY: %s", err.message);
    return false;
}

static bool describe(struct tw_buf *out, const struct tw_snapshot *snapshot, const struct tw_buf *file) {
    struct tw_json_writer writer;
    char digest[TW_DIGEST_HEX_SIZE], module[TW_DIGEST_HEX_SIZE], time[TW_TIME_TEXT_SIZE];
    struct tw_digest found = tw_sha256(tw_buf_span(file));
    tw_digest_hex(&found, digest);
    tw_digest_hex(&snapshot->module, module);
    tw_clock_text(snapshot->captured_ns, time);
    tw_json_write_init(&writer, out);
    tw_json_write_object(&writer);
    write_text(&writer, "digest", digest);
    tw_json_write_number(&writer, "size_bytes", file->len);
    write_text(&writer, "captured_at", time);
    tw_json_write_key(&writer, "signed");
    tw_json_write_bool(&writer, snapshot->is_signed);
    write_text(&writer, "module_digest", module);
    tw_json_write_number(&writer, "module_bytes", snapshot->wasm.len);
    tw_json_write_number(&writer, "image_bytes", snapshot->image.len);
    tw_json_write_key(&writer, "description");
    tw_json_write_raw(&writer, snapshot->description);
    tw_json_write_end(&writer, '}');
    return tw_json_write_done(&writer);
}

static void print_description(const struct tw_json *root) {
    const struct tw_json *description = tw_json_get(root, "description"),
                         *function = tw_json_get(description, "function");
    struct tw_str name = tw_json_str(tw_json_get(function, "name")),
                  instance = tw_json_str(tw_json_get(description, "instance_id")),
                  digest = tw_json_str(tw_json_get(root, "digest")),
                  module = tw_json_str(tw_json_get(root, "module_digest")),
                  captured = tw_json_str(tw_json_get(root, "captured_at"));
    printf("digest    %.*s\nfunction  %.*s version %" PRId64 "\ninstance  %.*s\ncaptured  %.*s\n",
           TW_STR_ARG(digest), TW_STR_ARG(name), tw_json_int(tw_json_get(function, "version")),
           TW_STR_ARG(instance.len ? instance : TW_STR("none: a function as its instances begin")),
           TW_STR_ARG(captured));
    printf("module    %.*s, %" PRId64 " bytes\nimage     %" PRId64 " bytes\nsigned    %s\n",
           TW_STR_ARG(module), tw_json_int(tw_json_get(root, "module_bytes")),
           tw_json_int(tw_json_get(root, "image_bytes")),
           tw_json_bool(tw_json_get(root, "signed")) ? "yes" : "no");
}

// Reads a file and its parts; a file that is none is told. `file` is made here.
static bool open_file(int argc, char **argv, int (*command)(int, char **), struct cli *cli,
                      struct tw_buf *file, struct tw_snapshot *snapshot, int *ret_status) {
    static const struct cli_option options[] = {{}};
    struct tw_error err = {};
    tw_buf_init(file, CLI_BODY_MAX);
    if (!cli_parse(cli, command, options, argc, argv, 1, 1, ret_status))
        return false;
    *ret_status = CLI_USAGE;
    if (!cli_read_file(cli->args[0], file))
        return false;
    if (tw_snapshot_read(tw_buf_span(file), snapshot, &err))
        return true;
    *ret_status = cli_fail(&err);
    return false;
}

int cli_snapshot_inspect(int argc, char **argv) {
    struct cli cli;
    struct tw_snapshot snapshot;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf file, text;
    int status;
    tw_buf_init(&text, CLI_BODY_MAX);
    if (!open_file(argc, argv, cli_snapshot_inspect, &cli, &file, &snapshot, &status))
        return status;
    return describe(&text, &snapshot, &file) ? cli_show(&cli, &text, print_description) : CLI_FAILED;
}

int cli_snapshot_verify(int argc, char **argv) {
    struct cli cli;
    struct tw_snapshot snapshot;
    struct tw_snapshot_key key;
    struct tw_error err = {};
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf file;
    int status;
    if (!open_file(argc, argv, cli_snapshot_verify, &cli, &file, &snapshot, &status))
        return status;
    if (!read_key(&key))
        return CLI_USAGE;
    if (key.is_set && !tw_snapshot_verify(tw_buf_span(&file), &key, &err))
        return cli_fail(&err);
    printf("whole%s\n", key.is_set ? ", and signed with the key"
                        : snapshot.is_signed
                            ? "; signed, which TENSOR_WASM_API_SNAPSHOT_HMAC_KEY would let me check"
                            : "; not signed");
    return CLI_OK;
}
