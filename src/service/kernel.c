// SPDX-License-Identifier: Apache-2.0
//
// One published version of a kernel: the object, its record in the store, its JSON, its signature.

#include "service/kernels.h"

struct service_kernel *service_kernel_new(struct tw_error *err) {
    struct service_kernel *kernel = tw_alloc_zero(1, sizeof *kernel);
    if (!kernel) {
        tw_fail(err, TW_ERR_CAPACITY, "out of memory");
        return NULL;
    }
    tw_ref_init(&kernel->ref);
    return kernel;
}

struct service_kernel *service_kernel_ref(struct service_kernel *kernel) {
    tw_ref_up(&kernel->ref);
    return kernel;
}

void service_kernel_unref(struct service_kernel *kernel) {
    if (!kernel || !tw_ref_down(&kernel->ref))
        return;
    free(kernel->params);
    free(kernel);
}

void service_kernel_set_name(struct service_kernel *kernel, struct tw_str name, struct tw_str version) {
    snprintf(kernel->name, sizeof kernel->name, "%.*s", TW_STR_ARG(name));
    snprintf(kernel->version, sizeof kernel->version, "%.*s", TW_STR_ARG(version));
    snprintf(kernel->key, sizeof kernel->key, "%s/%s", kernel->name, kernel->version);
}

// ---- the signature ----

bool tw_kernel_signed_text(struct tw_str name, struct tw_str version, struct tw_str entry,
                           const struct tw_digest *digest, struct tw_buf *out) {
    char hex[TW_DIGEST_HEX_SIZE];
    tw_digest_hex(digest, hex);
    return tw_buf_printf(out, "tensor-wasm kernel 1\nname: %.*s\nversion: %.*s\nentry: %.*s\nsha256: %s\n",
                         TW_STR_ARG(name), TW_STR_ARG(version), TW_STR_ARG(entry), hex);
}

static bool find_signer(const struct service_keys *keys, const struct service_kernel *kernel,
                        struct tw_public_key *ret_key) {
    struct tw_buf text;
    tw_buf_init(&text, SERVICE_SIGNED_TEXT_MAX);
    const struct service_key *key = NULL;
    if (tw_kernel_signed_text(tw_str_from(kernel->name), tw_str_from(kernel->version),
                              tw_str_from(kernel->entry), &kernel->digest, &text))
        key = service_keys_find(keys, kernel->tenant, tw_buf_span(&text), &kernel->signature);
    if (key)
        *ret_key = key->key;
    tw_buf_done(&text);
    return key;
}

// A check costs 100 µs a key, so its result is kept until the keys change.
bool service_kernel_signer(struct tw_service *service, struct service_kernel *kernel,
                           struct tw_public_key *ret_key) {
    if (!kernel->is_signed)
        return false;
    struct service_keys *keys = service_keys_get(service);
    bool is_known, is_verified = false;
    {
        TW_LOCK_SCOPE(&service->kernel_lock);
        is_known = kernel->checked == keys->generation;
        if (is_known) {
            is_verified = kernel->is_verified;
            *ret_key = kernel->signer;
        }
    }
    if (!is_known) {
        is_verified = find_signer(keys, kernel, ret_key);
        TW_LOCK_SCOPE(&service->kernel_lock);
        kernel->checked = keys->generation;
        kernel->is_verified = is_verified;
        if (is_verified)
            kernel->signer = *ret_key;
    }
    service_keys_unref(keys);
    return is_verified;
}

bool service_kernel_check(struct tw_service *service, struct service_kernel *kernel, struct tw_error *err) {
    if (!kernel->is_signed)
        return !service->options.require_kernel_signature ||
               tw_fail(err, TW_ERR_KERNEL_SIGNATURE,
                       "kernel '%.64s' %s is not signed, and this server takes signed ones only; publish it "
                       "with --sign",
                       kernel->name, kernel->version);
    struct tw_public_key ignored;
    return service_kernel_signer(service, kernel, &ignored) ||
           tw_fail(err, TW_ERR_KERNEL_SIGNATURE,
                   "the signature of kernel '%.64s' %s is of none of the keys that this server trusts for "
                   "tenant %" PRIu64,
                   kernel->name, kernel->version, kernel->tenant);
}

// ---- JSON ----

static void write_text(struct tw_json_writer *writer, const char *key, const char *text) {
    tw_json_write_key(writer, key);
    tw_json_write_str(writer, tw_str_from(text));
}

static void write_base64(struct tw_json_writer *writer, const char *key, struct tw_span bytes) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf text;
    tw_buf_init(&text, bytes.len * 2 + 8);
    tw_json_write_key(writer, key);
    if (tw_base64_append(&text, bytes))
        tw_json_write_str(writer, tw_buf_str(&text));
    else
        writer->failed = true; // no memory
}

static void write_common(struct tw_json_writer *writer, const struct service_kernel *kernel) {
    write_text(writer, "name", kernel->name);
    write_text(writer, "version", kernel->version);
    write_text(writer, "entry", kernel->entry);
    service_write_digest(writer, "digest", &kernel->digest);
    tw_json_write_key(writer, "size_bytes");
    tw_json_write_u64(writer, kernel->ptx_bytes);
    tw_json_write_key(writer, "params");
    tw_json_write_raw(writer, tw_str_from(kernel->params));
    if (kernel->is_signed) {
        write_base64(writer, "signature", tw_span_of(kernel->signature.bytes, TW_SIGNATURE_SIZE));
    } else {
        tw_json_write_key(writer, "signature");
        tw_json_write_null(writer);
    }
}

bool service_kernel_json(const struct service_kernel *kernel, const struct tw_public_key *key,
                         const struct tw_span *ptx, struct tw_buf *out, struct tw_error *err) {
    struct tw_json_writer writer;
    struct tw_buf line;
    tw_json_write_init(&writer, out);
    tw_buf_init(&line, 128);
    tw_json_write_object(&writer);
    write_common(&writer, kernel);
    tw_json_write_key(&writer, "signed_by");
    if (key && tw_public_key_append(&line, key))
        tw_json_write_str(&writer, tw_buf_str(&line));
    else
        tw_json_write_null(&writer);
    tw_buf_done(&line);
    service_write_time(&writer, "published_at", kernel->published_ns);
    if (ptx)
        write_base64(&writer, "ptx_b64", *ptx);
    tw_json_write_end(&writer, '}');
    return tw_json_write_done(&writer) ||
           tw_buf_fail(out, err, TW_ERR_INTERNAL, "the answer is larger than %zu bytes", out->max);
}

// ---- the record ----

bool service_kernel_encode(const struct service_kernel *kernel, struct tw_buf *out, struct tw_error *err) {
    struct tw_json_writer writer;
    char tenant[24];
    snprintf(tenant, sizeof tenant, "%" PRIu64, kernel->tenant); // a u64 does not fit JSON's exact integers
    tw_json_write_init(&writer, out);
    tw_json_write_object(&writer);
    tw_json_write_key(&writer, "format");
    tw_json_write_int(&writer, 1);
    write_text(&writer, "tenant", tenant);
    write_common(&writer, kernel);
    tw_json_write_key(&writer, "published_ns");
    tw_json_write_int(&writer, kernel->published_ns);
    tw_json_write_end(&writer, '}');
    return tw_json_write_done(&writer) ||
           tw_buf_fail(out, err, TW_ERR_CUDA_MALFORMED_PTX,
                       "the kernel's list of parameters is larger than %zu bytes", out->max);
}

static bool decode(struct service_kernel *kernel, const struct tw_json *root, struct tw_error *err) {
    char name[sizeof kernel->name], version[sizeof kernel->version];
    const struct tw_json *signature = tw_json_get(root, "signature");
    kernel->is_signed = signature && tw_json_type(signature) == TW_JSON_STRING;
    bool ok =
        tw_json_int(tw_json_get(root, "format")) == 1 &&
        tw_str_u64(tw_json_str(tw_json_get(root, "tenant")), &kernel->tenant) &&
        service_copy_text(name, sizeof name, tw_json_str(tw_json_get(root, "name"))) &&
        service_copy_text(version, sizeof version, tw_json_str(tw_json_get(root, "version"))) &&
        service_copy_text(kernel->entry, sizeof kernel->entry, tw_json_str(tw_json_get(root, "entry"))) &&
        tw_digest_parse(tw_json_str(tw_json_get(root, "digest")), &kernel->digest) &&
        (!kernel->is_signed || tw_key_signature_parse(tw_json_str(signature), &kernel->signature, err));
    kernel->params = ok ? service_member_text(tw_json_get(root, "params")) : NULL;
    if (!kernel->params)
        return tw_fail(err, TW_ERR_STORE, "the kernel's record is not of this version's form");
    service_kernel_set_name(kernel, tw_str_from(name), tw_str_from(version));
    kernel->ptx_bytes = (uint64_t)tw_json_int(tw_json_get(root, "size_bytes"));
    kernel->published_ns = tw_json_int(tw_json_get(root, "published_ns"));
    return true;
}

struct service_kernel *service_kernel_decode(struct tw_span record, struct tw_error *err) {
    struct tw_json *root = tw_json_parse(record, err);
    struct service_kernel *kernel = root ? service_kernel_new(err) : NULL;
    if (kernel && !decode(kernel, root, err)) {
        service_kernel_unref(kernel);
        kernel = NULL;
    }
    tw_json_free(root);
    return kernel;
}
