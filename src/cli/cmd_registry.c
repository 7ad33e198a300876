// SPDX-License-Identifier: Apache-2.0
//
// `kernel publish|list|get|verify|delete|key`: the server's registry of kernels. Signatures are made and
// checked here, so that private keys stay on this machine and nobody has to believe the server.

#include <fcntl.h>
#include <unistd.h>

#include "cli/internal.h"

static bool kernel_path(struct tw_buf *path, const struct cli *cli, const char *rest) {
    tw_buf_init(path, 4096);
    if (tw_buf_append_str(path, TW_STR("/kernels/")) && cli_path_append(path, tw_str_from(cli->args[0])) &&
        tw_buf_append_byte(path, '/') && cli_path_append(path, tw_str_from(cli->args[1])) &&
        tw_buf_append_str(path, tw_str_from(rest)))
        return true;
    cli_message("the name is too long");
    return false;
}

static void print_kernel(const struct tw_json *kernel) {
    struct tw_str name = tw_json_str(tw_json_get(kernel, "name")),
                  version = tw_json_str(tw_json_get(kernel, "version")),
                  entry = tw_json_str(tw_json_get(kernel, "entry")),
                  digest = tw_json_str(tw_json_get(kernel, "digest"));
    bool is_signed = tw_json_str(tw_json_get(kernel, "signature")).len,
         is_trusted = tw_json_str(tw_json_get(kernel, "signed_by")).len;
    printf("%-24.*s %-12.*s entry %-24.*s sha256:%.12s  %8" PRId64 " bytes  %s\n", TW_STR_ARG(name),
           TW_STR_ARG(version), TW_STR_ARG(entry), digest.data,
           tw_json_int(tw_json_get(kernel, "size_bytes")),
           is_trusted  ? "signed"
           : is_signed ? "signed, key not trusted"
                       : "not signed");
}

static int show_kernel(const struct cli *cli, const struct tw_buf *body) {
    return cli_show(cli, body, print_kernel);
}

// ---- publish ----

// What is to be published, as read from the command line and the file.
struct publication {
    struct tw_str name, version;
    struct tw_buf ptx, entry, signature;
};

static void publication_done(struct publication *publication) {
    tw_buf_done(&publication->ptx);
    tw_buf_done(&publication->entry);
    tw_buf_done(&publication->signature);
}

// A signature covers the entry's name, so that of the only one has to be found when none was given.
static bool find_entry(struct publication *publication, struct tw_error *err) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf text;
    tw_buf_init(&text, CLI_BODY_MAX);
    struct tw_service *service = cli_local_service(&(struct cli_local_options){.device = "cpu"}, err);
    bool ok = service && tw_service_kernel_entries(service, 0, tw_buf_str(&publication->ptx), &text, err);
    tw_service_free(service);
    struct tw_json *entries = ok ? tw_json_parse(tw_buf_span(&text), err) : NULL;
    ok = entries;
    if (ok && tw_json_count(entries) != 1)
        ok = tw_fail(err, TW_ERR_CUDA_INVALID_KERNEL, "the PTX has %zu entries; name one with --entry",
                     tw_json_count(entries));
    if (ok)
        ok = tw_buf_append_str(&publication->entry,
                               tw_json_str(tw_json_get(tw_json_at(entries, 0), "name"))) ||
             tw_fail(err, TW_ERR_CAPACITY, "the entry's name is too long");
    tw_json_free(entries);
    return ok;
}

static bool sign(struct publication *publication, const char *key_file, struct tw_error *err) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf key, text;
    struct tw_key_signature signature;
    struct tw_digest digest = tw_sha256(tw_buf_span(&publication->ptx));
    tw_buf_init(&key, 65536);
    tw_buf_init(&text, 65536);
    if (!tw_file_read(key_file, &key, err) || (!publication->entry.len && !find_entry(publication, err)))
        return false;
    if (!tw_kernel_signed_text(publication->name, publication->version, tw_buf_str(&publication->entry),
                               &digest, &text))
        return tw_fail(err, TW_ERR_INVALID_NAME, "the name is too long");
    if (!tw_sign(tw_buf_str(&key), tw_buf_span(&text), &signature, err))
        return tw_wrap(err, "%s", key_file);
    return tw_base64_append(&publication->signature, tw_span_of(signature.bytes, TW_SIGNATURE_SIZE)) ||
           tw_fail(err, TW_ERR_CAPACITY, "out of memory");
}

static bool write_body(const struct publication *publication, struct tw_buf *body) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf base64;
    struct tw_json_writer writer;
    tw_buf_init(&base64, CLI_BODY_MAX);
    tw_buf_init(body, CLI_BODY_MAX);
    if (!tw_base64_append(&base64, tw_buf_span(&publication->ptx)))
        return false;
    tw_json_write_init(&writer, body);
    tw_json_write_object(&writer);
    tw_json_write_key(&writer, "name");
    tw_json_write_str(&writer, publication->name);
    tw_json_write_key(&writer, "version");
    tw_json_write_str(&writer, publication->version);
    tw_json_write_key(&writer, "ptx_b64");
    tw_json_write_str(&writer, tw_buf_str(&base64));
    if (publication->entry.len) {
        tw_json_write_key(&writer, "entry");
        tw_json_write_str(&writer, tw_buf_str(&publication->entry));
    }
    if (publication->signature.len) {
        tw_json_write_key(&writer, "signature");
        tw_json_write_str(&writer, tw_buf_str(&publication->signature));
    }
    tw_json_write_end(&writer, '}');
    return tw_json_write_done(&writer);
}

int cli_kernel_publish(int argc, char **argv) {
    static const struct cli_option options[] = {
        {"name", "NAME", "the kernel's name"},
        {"version", "VERSION", "its version, which never changes"},
        {"entry", "NAME", "the entry (needed when the file has several)"},
        {"sign", "KEYFILE", "sign it with this Ed25519 private key (PEM)"},
        {"signature", "BASE64", "a signature that was made elsewhere"},
        {}};
    struct cli cli;
    int status;
    if (!cli_parse(&cli, cli_kernel_publish, options, argc, argv, 1, 1, &status))
        return status;
    if (!cli_value(&cli, "name") || !cli_value(&cli, "version"))
        return cli_usage("--name and --version are needed");
    if (cli_value(&cli, "sign") && cli_value(&cli, "signature"))
        return cli_usage("--sign makes a signature, --signature gives one: choose");
    [[gnu::cleanup(publication_done)]] struct publication publication = {
        .name = tw_str_from(cli_value(&cli, "name")), .version = tw_str_from(cli_value(&cli, "version"))};
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf body = {}, answer = {};
    tw_buf_init(&publication.ptx, CLI_BODY_MAX);
    tw_buf_init(&publication.entry, 4096);
    tw_buf_init(&publication.signature, 4096);
    if (!cli_read_file(cli.args[0], &publication.ptx) ||
        !tw_buf_append_str(&publication.entry, tw_str_from(cli_value(&cli, "entry"))) ||
        !tw_buf_append_str(&publication.signature, tw_str_from(cli_value(&cli, "signature"))))
        return CLI_USAGE;
    struct tw_error err = {};
    if (cli_value(&cli, "sign") && !sign(&publication, cli_value(&cli, "sign"), &err)) {
        cli_fail_at(tw_buf_str(&publication.ptx), &err);
        return CLI_USAGE;
    }
    if (!write_body(&publication, &body))
        return cli_usage("%s is too large", cli.args[0]);
    struct cli_request request = {.method = "POST",
                                  .path = "/kernels",
                                  .content_type = "application/json",
                                  .body = tw_buf_span(&body),
                                  .show_progress = true};
    return cli_call(&cli, &request, &answer, &status) ? show_kernel(&cli, &answer) : status;
}

// ---- list, get, delete ----

int cli_kernel_list(int argc, char **argv) {
    static const struct cli_option options[] = {{}};
    struct cli cli;
    int status;
    if (!cli_parse(&cli, cli_kernel_list, options, argc, argv, 0, 0, &status))
        return status;
    return cli_list(&cli, "/kernels", "kernels", print_kernel);
}

// The PTX in a kernel's JSON.
static bool decode_ptx(const struct tw_json *root, struct tw_buf *ptx, struct tw_error *err) {
    tw_buf_init(ptx, CLI_BODY_MAX);
    return tw_base64_parse(tw_json_str(tw_json_get(root, "ptx_b64")), ptx, err) ||
           tw_wrap(err, "the server's ptx_b64");
}

static int write_ptx(const struct tw_buf *answer) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf ptx = {};
    struct tw_error err = {};
    struct tw_json *root = tw_json_parse(tw_buf_span(answer), &err);
    bool ok = root && decode_ptx(root, &ptx, &err);
    tw_json_free(root);
    if (!ok)
        return cli_fail(&err);
    return cli_write_out(tw_buf_span(&ptx)) ? CLI_OK : CLI_FAILED;
}

int cli_kernel_get(int argc, char **argv) {
    static const struct cli_option options[] = {{"ptx", NULL, "write the PTX, nothing else"}, {}};
    struct cli cli;
    int status;
    if (!cli_parse(&cli, cli_kernel_get, options, argc, argv, 2, 2, &status))
        return status;
    bool wants_ptx = cli_value(&cli, "ptx");
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf path = {}, answer = {};
    if (!kernel_path(&path, &cli, wants_ptx ? "?ptx=true" : ""))
        return CLI_USAGE;
    if (!cli_call(&cli, &(struct cli_request){.method = "GET", .path = (const char *)path.data}, &answer,
                  &status))
        return status;
    return wants_ptx ? write_ptx(&answer) : show_kernel(&cli, &answer);
}

int cli_kernel_delete(int argc, char **argv) {
    static const struct cli_option options[] = {{}};
    struct cli cli;
    int status;
    if (!cli_parse(&cli, cli_kernel_delete, options, argc, argv, 2, 2, &status))
        return status;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf path = {}, answer = {};
    if (!kernel_path(&path, &cli, ""))
        return CLI_USAGE;
    return cli_call(&cli, &(struct cli_request){.method = "DELETE", .path = (const char *)path.data}, &answer,
                    &status)
               ? CLI_OK
               : status;
}

// ---- verify ----

// The key that has to have signed: of --key, else the one the server trusts.
static bool read_key(const struct cli *cli, const struct tw_json *root, struct tw_public_key *ret_key,
                     struct tw_error *err) {
    const char *file = cli_value(cli, "key");
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf text;
    tw_buf_init(&text, 65536);
    if (!file)
        return tw_public_key_read(tw_json_str(tw_json_get(root, "signed_by")), ret_key, err) ||
               tw_fail(err, TW_ERR_KERNEL_SIGNATURE,
                       "the server trusts no key that made the signature; check it with --key FILE");
    return (tw_file_read(file, &text, err) && tw_public_key_read(tw_buf_str(&text), ret_key, err)) ||
           tw_wrap(err, "%s", file);
}

static bool verify_signature(const struct cli *cli, const struct tw_json *root,
                             const struct tw_digest *digest, struct tw_error *err) {
    struct tw_public_key key;
    struct tw_key_signature signature;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf text;
    tw_buf_init(&text, 65536);
    if (!read_key(cli, root, &key, err) ||
        !tw_key_signature_parse(tw_json_str(tw_json_get(root, "signature")), &signature, err))
        return false;
    // The name and version that were asked for, not those the server says.
    if (!tw_kernel_signed_text(tw_str_from(cli->args[0]), tw_str_from(cli->args[1]),
                               tw_json_str(tw_json_get(root, "entry")), digest, &text))
        return tw_fail(err, TW_ERR_INVALID_NAME, "the name is too long");
    return tw_key_signature_check(&key, tw_buf_span(&text), &signature) ||
           tw_fail(err, TW_ERR_KERNEL_SIGNATURE, "the signature is not that key's for this text and name");
}

static bool verify(const struct cli *cli, const struct tw_json *root, struct tw_error *err) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf ptx = {};
    if (!decode_ptx(root, &ptx, err))
        return false;
    char hex[TW_DIGEST_HEX_SIZE];
    struct tw_digest digest = tw_sha256(tw_buf_span(&ptx));
    tw_digest_hex(&digest, hex);
    if (!tw_str_equal(tw_json_str(tw_json_get(root, "digest")), tw_str_from(hex)))
        return tw_fail(err, TW_ERR_KERNEL_SIGNATURE, "the text's sha256 is %s, the server says otherwise",
                       hex);
    bool is_signed = tw_json_str(tw_json_get(root, "signature")).len;
    if (!is_signed && cli_value(cli, "key"))
        return tw_fail(err, TW_ERR_KERNEL_SIGNATURE, "it is not signed");
    if (is_signed && !verify_signature(cli, root, &digest, err))
        return false;
    printf("%s %s: sha256:%s, %s\n", cli->args[0], cli->args[1], hex,
           is_signed ? "signature good" : "not signed");
    return true;
}

int cli_kernel_verify(int argc, char **argv) {
    static const struct cli_option options[] = {
        {"key", "FILE", "who has to have signed it: an Ed25519 public key (default: whom the server trusts)"},
        {}};
    struct cli cli;
    int status;
    if (!cli_parse(&cli, cli_kernel_verify, options, argc, argv, 2, 2, &status))
        return status;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf path = {}, answer = {};
    if (!kernel_path(&path, &cli, "?ptx=true"))
        return CLI_USAGE;
    if (!cli_call(&cli, &(struct cli_request){.method = "GET", .path = (const char *)path.data}, &answer,
                  &status))
        return status;
    struct tw_error err = {};
    struct tw_json *root = tw_json_parse(tw_buf_span(&answer), &err);
    bool ok = root && verify(&cli, root, &err);
    tw_json_free(root);
    return ok ? CLI_OK : cli_fail(&err);
}

// ---- keys ----

static bool make_key(const char *path, struct tw_error *err) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf pem;
    tw_buf_init(&pem, 65536);
    if (access(path, F_OK) == 0)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "%s exists already", path);
    return tw_private_key_new(&pem, err) && tw_file_write(path, tw_buf_span(&pem), 0600, err);
}

int cli_kernel_key(int argc, char **argv) {
    static const struct cli_option options[] = {{"new", NULL, "make a private key in FILE"}, {}};
    struct cli cli;
    int status;
    if (!cli_parse(&cli, cli_kernel_key, options, argc, argv, 1, 1, &status))
        return status;
    struct tw_error err = {};
    struct tw_public_key key;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf text, line;
    tw_buf_init(&text, 65536);
    tw_buf_init(&line, 128);
    if ((cli_value(&cli, "new") && !make_key(cli.args[0], &err)) || !tw_file_read(cli.args[0], &text, &err) ||
        !tw_public_key_read(tw_buf_str(&text), &key, &err) || !tw_public_key_append(&line, &key)) {
        cli_fail(&err);
        return CLI_USAGE;
    }
    printf("%s\n", (const char *)line.data);
    return CLI_OK;
}
