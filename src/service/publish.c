// SPDX-License-Identifier: Apache-2.0
//
// Publishing a kernel: check the name, the PTX and the signature, compile it once, keep its text, write the
// record that makes it real, put it into the index. A version never changes: the same again is the same
// answer, anything else under its name is a conflict. And what the engine asks when a guest loads one.

#include "ptx/ptx.h"
#include "service/kernels.h"

static bool check_words(const struct tw_publish *publish, struct tw_error *err) {
    if (!service_is_word(publish->name, TW_FUNCTION_NAME_MAX))
        return tw_fail(err, TW_ERR_INVALID_NAME,
                       "a kernel's name has 1 to %d characters of A-Z a-z 0-9 . _ - and begins with a letter "
                       "or digit",
                       TW_FUNCTION_NAME_MAX);
    if (!service_is_word(publish->version, TW_KERNEL_VERSION_MAX))
        return tw_fail(err, TW_ERR_INVALID_NAME,
                       "a kernel's version has 1 to %d characters of A-Z a-z 0-9 . _ - and begins with a "
                       "letter or digit",
                       TW_KERNEL_VERSION_MAX);
    if (publish->ptx.len > TW_PTX_MAX_BYTES)
        return tw_fail(err, TW_ERR_MODULE_TOO_LARGE, "the PTX has %zu bytes, the limit is %d",
                       publish->ptx.len, TW_PTX_MAX_BYTES);
    if (publish->entry.len > TW_KERNEL_NAME_MAX)
        return tw_fail(err, TW_ERR_CUDA_INVALID_KERNEL,
                       "the entry's name has %zu characters, the limit is %d", publish->entry.len,
                       TW_KERNEL_NAME_MAX);
    return true;
}

// ---- the PTX ----

static bool list_names(const struct tw_json *entries, struct tw_buf *out) {
    for (size_t i = 0; i < tw_json_count(entries); i++)
        if (!tw_buf_printf(out, "%s%.*s", i ? ", " : "",
                           TW_STR_ARG(tw_json_str(tw_json_get(tw_json_at(entries, i), "name")))))
            return false;
    return true;
}

// The entry that was named, or the only one; its name and parameters go into the kernel.
static bool choose_entry(const struct tw_json *entries, struct tw_str wanted, struct service_kernel *kernel,
                         struct tw_error *err) {
    const struct tw_json *entry = NULL;
    for (size_t i = 0; i < tw_json_count(entries); i++) {
        const struct tw_json *candidate = tw_json_at(entries, i);
        if (wanted.len ? tw_str_equal(tw_json_str(tw_json_get(candidate, "name")), wanted)
                       : tw_json_count(entries) == 1)
            entry = candidate;
    }
    if (!entry) {
        struct tw_buf names;
        tw_buf_init(&names, TW_ERROR_MESSAGE_MAX / 2); // a list too long for the message is cut
        (void)list_names(entries, &names);
        tw_fail(err, TW_ERR_CUDA_INVALID_KERNEL, "%s; the PTX has %zu: %.*s",
                wanted.len ? "there is no such entry" : "name the entry", tw_json_count(entries),
                TW_STR_ARG(tw_buf_str(&names)));
        tw_buf_done(&names);
        return false;
    }
    struct tw_str refusal = tw_json_str(tw_json_get(entry, "refused"));
    if (refusal.len)
        return tw_fail(err, TW_ERR_CUDA_MALFORMED_PTX, "%.*s", TW_STR_ARG(refusal));
    kernel->params = service_member_text(tw_json_get(entry, "params"));
    if (!kernel->params)
        return tw_fail(err, TW_ERR_CAPACITY, "out of memory");
    return service_copy_text(kernel->entry, sizeof kernel->entry, tw_json_str(tw_json_get(entry, "name"))) ||
           tw_fail(err, TW_ERR_CUDA_INVALID_KERNEL, "an entry's name has at most %d characters",
                   TW_KERNEL_NAME_MAX);
}

bool tw_service_kernel_entries(struct tw_service *service, uint64_t tenant, struct tw_str ptx,
                               struct tw_buf *out, struct tw_error *err) {
    struct tw_compile_request request = {.kind = TW_COMPILE_INFO,
                                         .input = tw_span_of(ptx.data, ptx.len),
                                         .tenant = tenant,
                                         .deadline_ns = TW_NO_DEADLINE};
    struct tw_artifact *artifact = tw_compile(service->compiler, &request, err);
    if (!artifact)
        return false;
    struct tw_span text = tw_artifact_bytes(artifact);
    bool ok = tw_buf_append(out, text.data, text.len) ||
              tw_buf_fail(out, err, TW_ERR_CUDA_MALFORMED_PTX, "the list of entries is larger than %zu bytes",
                          out->max);
    tw_artifact_unref(artifact);
    return ok;
}

static bool read_entry(struct tw_service *service, const struct tw_publish *publish,
                       struct service_kernel *kernel, struct tw_error *err) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf text;
    tw_buf_init(&text, SERVICE_RECORD_MAX);
    if (!tw_service_kernel_entries(service, kernel->tenant, publish->ptx, &text, err))
        return false;
    struct tw_json *entries = tw_json_parse(tw_buf_span(&text), err);
    bool ok = entries && choose_entry(entries, publish->entry, kernel, err);
    tw_json_free(entries);
    return ok;
}

// ---- publishing ----

// The kernel that is asked for, not yet in the store: its PTX is good, its signature counts.
static struct service_kernel *make(struct tw_service *service, const struct tw_caller *caller,
                                   const struct tw_publish *publish, struct tw_error *err) {
    struct service_kernel *kernel = service_kernel_new(err);
    if (!kernel)
        return NULL;
    kernel->tenant = caller->tenant;
    kernel->ptx_bytes = publish->ptx.len;
    kernel->digest = tw_sha256(tw_span_of(publish->ptx.data, publish->ptx.len));
    service_kernel_set_name(kernel, publish->name, publish->version);
    kernel->is_signed = publish->signature.len > 0;
    if ((!kernel->is_signed || tw_key_signature_parse(publish->signature, &kernel->signature, err)) &&
        read_entry(service, publish, kernel, err) && service_kernel_check(service, kernel, err))
        return kernel;
    service_kernel_unref(kernel);
    return NULL;
}

static bool is_same(const struct service_kernel *a, const struct service_kernel *b) {
    return tw_digest_equal(&a->digest, &b->digest) && strcmp(a->entry, b->entry) == 0 &&
           a->is_signed == b->is_signed &&
           memcmp(a->signature.bytes, b->signature.bytes, TW_SIGNATURE_SIZE) == 0;
}

static bool answer(struct tw_service *service, struct service_kernel *kernel, const struct tw_span *ptx,
                   struct tw_buf *out, struct tw_error *err) {
    struct tw_public_key key;
    bool is_verified = service_kernel_signer(service, kernel, &key);
    return service_kernel_json(kernel, is_verified ? &key : NULL, ptx, out, err);
}

static struct tw_store_blob text_blob(const struct tw_publish *publish, const struct service_kernel *kernel) {
    return (struct tw_store_blob){.data = tw_span_of(publish->ptx.data, publish->ptx.len),
                                  .digest = kernel->digest};
}

static bool keep(struct tw_service *service, const struct tw_publish *publish, struct service_kernel *kernel,
                 struct tw_error *err) {
    struct tw_error ignored = {};
    struct service_kernel *newest =
        service_kernels_find(service, kernel->tenant, tw_str_from(kernel->name), (struct tw_str){}, &ignored);
    kernel->published_ns = tw_clock_wall_ns();
    if (newest && newest->published_ns >= kernel->published_ns) // the clock was set back
        kernel->published_ns = newest->published_ns + 1;
    service_kernel_unref(newest);
    char key[KERNEL_RECORD_KEY_SIZE];
    service_kernel_key(key, kernel->tenant, tw_str_from(kernel->name), tw_str_from(kernel->version));
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf record;
    tw_buf_init(&record, SERVICE_RECORD_MAX);
    const struct tw_store_blob text = text_blob(publish, kernel);
    uint64_t version;
    return service_kernel_encode(kernel, &record, err) &&
           tw_store_put_together(service->store, &text, 1, "kernel", key, tw_buf_span(&record), UINT64_MAX,
                                 &version, err);
}

// The disk and the compiler work at the same time.
static bool compile_and_keep(struct tw_service *service, const struct tw_publish *publish,
                             struct service_kernel *kernel, struct tw_error *err) {
    const struct tw_store_blob text = text_blob(publish, kernel);
    struct tw_store_ahead *ahead = NULL;
    if (publish->ptx.len <= SERVICE_AHEAD_MAX)
        ahead = tw_store_ahead_start(service->store, &text, 1, NULL, NULL, (struct tw_span){}, UINT64_MAX);
    bool is_compiled = tw_gpu_prepare(service->gpu, kernel->tenant, publish->ptx, tw_str_from(kernel->entry),
                                      TW_NO_DEADLINE, err);
    struct tw_error ignored = {}; // keeping it puts it once more
    (void)tw_store_ahead_done(ahead, &ignored);
    return is_compiled && keep(service, publish, kernel, err);
}

// Takes the room in the tenant's limits first, so that publishing at the same time cannot pass them together.
static bool keep_within_limits(struct tw_service *service, const struct tw_publish *publish,
                               struct service_kernel *kernel, struct tw_error *err) {
    struct service_deploy_leases leases = {};
    bool ok = tw_quota_take(service->quotas, kernel->tenant, TW_RESOURCE_KERNELS, 1, &leases.kernels, err) &&
              tw_quota_take(service->quotas, kernel->tenant, TW_RESOURCE_STORED, kernel->ptx_bytes,
                            &leases.bytes, err) &&
              compile_and_keep(service, publish, kernel, err) &&
              service_kernels_put(service, service_kernel_ref(kernel), &leases, err);
    tw_quota_give(&leases.kernels);
    tw_quota_give(&leases.bytes);
    return ok;
}

static bool publish_once(struct tw_service *service, const struct tw_publish *publish,
                         struct service_kernel *kernel, struct tw_buf *out, struct tw_error *err) {
    struct tw_error ignored = {};
    struct service_kernel *there =
        service_kernels_find(service, kernel->tenant, publish->name, publish->version, &ignored);
    bool ok;
    if (there && !is_same(there, kernel))
        ok = tw_fail(err, TW_ERR_CONFLICT,
                     "kernel '%.64s' %s is published with another text, entry or signature; versions never "
                     "change: choose a new one",
                     kernel->name, kernel->version);
    else
        ok = (there || keep_within_limits(service, publish, kernel, err)) &&
             answer(service, there ? there : kernel, NULL, out, err);
    service_kernel_unref(there);
    return ok;
}

bool tw_service_kernel_publish(struct tw_service *service, const struct tw_caller *caller,
                               const struct tw_publish *publish, struct tw_buf *out, struct tw_error *err) {
    if (!tw_caller_may(caller, TW_ROLE_DEPLOY, err) || !check_words(publish, err) ||
        !service_enter(service, err))
        return false;
    struct service_kernel *kernel = make(service, caller, publish, err);
    struct tw_error attempt = {};
    bool ok = kernel && publish_once(service, publish, kernel, out, &attempt);
    // Another server over the same store may have published it first, or a failure may have come after the
    // record was written: what the store says counts.
    if (kernel && !ok && (attempt.code == TW_ERR_CONFLICT || tw_code_status(attempt.code) >= 500)) {
        service_kernels_refresh(service, kernel->tenant, publish->name, publish->version);
        if (attempt.code == TW_ERR_CONFLICT) {
            attempt = (struct tw_error){};
            tw_buf_reset(out);
            ok = publish_once(service, publish, kernel, out, &attempt);
        }
    }
    if (kernel && !ok && err)
        *err = attempt;
    service_kernel_unref(kernel);
    service_leave(service);
    return ok;
}

// ---- reading and deleting one ----

// By its version, from the index or else the store.
static struct service_kernel *find(struct tw_service *service, uint64_t tenant, struct tw_str name,
                                   struct tw_str version, struct tw_error *err) {
    struct tw_error first = {};
    struct service_kernel *kernel = service_kernels_find(service, tenant, name, version, &first);
    if (!kernel && service_is_word(name, TW_FUNCTION_NAME_MAX) &&
        service_is_word(version, TW_KERNEL_VERSION_MAX)) {
        service_kernels_refresh(service, tenant, name, version);
        return service_kernels_find(service, tenant, name, version, err);
    }
    if (!kernel && err)
        *err = first;
    return kernel;
}

bool tw_service_kernel_get(struct tw_service *service, const struct tw_caller *caller, struct tw_str name,
                           struct tw_str version, bool with_ptx, struct tw_buf *out, struct tw_error *err) {
    struct service_kernel *kernel = find(service, caller->tenant, name, version, err);
    struct tw_mapping ptx = {};
    bool ok = kernel && (!with_ptx || tw_store_map_blob(service->store, &kernel->digest, &ptx, err));
    struct tw_span text = tw_span_of(ptx.data, ptx.len);
    ok = ok && answer(service, kernel, with_ptx ? &text : NULL, out, err);
    tw_file_unmap(&ptx);
    service_kernel_unref(kernel);
    return ok;
}

bool tw_service_kernel_delete(struct tw_service *service, const struct tw_caller *caller, struct tw_str name,
                              struct tw_str version, struct tw_error *err) {
    if (!tw_caller_may(caller, TW_ROLE_DEPLOY, err) || !service_enter(service, err))
        return false;
    struct service_kernel *kernel = find(service, caller->tenant, name, version, err);
    bool ok = kernel;
    if (ok) {
        char key[KERNEL_RECORD_KEY_SIZE];
        service_kernel_key(key, kernel->tenant, tw_str_from(kernel->name), tw_str_from(kernel->version));
        ok = tw_store_delete_record(service->store, "kernel", key, err);
        if (ok)
            service_kernels_remove(service, kernel);
        service_kernel_unref(kernel);
    }
    service_leave(service);
    return ok;
}

// ---- for guests ----

bool service_kernels_open(void *context, uint64_t tenant, struct tw_str name, struct tw_str version,
                          bool with_ptx, struct tw_registered_kernel *ret_kernel, struct tw_error *err) {
    struct tw_service *service = context;
    struct tw_registered_kernel found = {};
    struct service_kernel *kernel = with_ptx ? find(service, tenant, name, version, err)
                                             : service_kernels_find(service, tenant, name, version, err);
    bool ok = kernel && service_kernel_check(service, kernel, err) &&
              (!with_ptx || tw_store_map_blob(service->store, &kernel->digest, &found.ptx, err));
    if (ok) {
        found.digest = kernel->digest;
        memcpy(found.entry, kernel->entry, sizeof found.entry);
        *ret_kernel = found;
    }
    service_kernel_unref(kernel);
    return ok;
}
