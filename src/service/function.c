// SPDX-License-Identifier: Apache-2.0
//
// One version of a function: the object, its record in the store, its JSON, its module.

#include "service/internal.h"

struct service_function *service_function_new(struct tw_error *err) {
    struct service_function *function = tw_alloc_zero(1, sizeof *function);
    if (!function) {
        tw_fail(err, TW_ERR_CAPACITY, "out of memory");
        return NULL;
    }
    tw_ref_init(&function->ref);
    tw_lock_init(&function->open_lock);
    return function;
}

struct service_function *service_function_ref(struct service_function *function) {
    tw_ref_up(&function->ref);
    return function;
}

void service_function_unref(struct service_function *function) {
    if (!function || !tw_ref_down(&function->ref))
        return;
    if (function->module)
        tw_module_unref(function->module);
    service_config_done(&function->config);
    free(function->imports);
    free(function->exports);
    tw_lock_done(&function->open_lock);
    free(function);
}

bool service_is_word(struct tw_str text, size_t max) {
    bool ok = text.len > 0 && text.len <= max && !strchr("._-", text.data[0]);
    for (size_t i = 0; ok && i < text.len; i++) {
        char c = text.data[i];
        ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
             c == '_' || c == '-';
    }
    return ok;
}

bool service_name_check(struct tw_str name, struct tw_error *err) {
    if (!service_is_word(name, TW_FUNCTION_NAME_MAX))
        return tw_fail(
            err, TW_ERR_INVALID_NAME,
            "a function's name has 1 to %d characters of A-Z a-z 0-9 . _ - and begins with a letter or digit",
            TW_FUNCTION_NAME_MAX);
    if (tw_str_starts(name, TW_STR("fn-")))
        return tw_fail(err, TW_ERR_INVALID_NAME, "names that begin with 'fn-' are kept for ids");
    return true;
}

void service_write_digest(struct tw_json_writer *writer, const char *key, const struct tw_digest *digest) {
    char hex[TW_DIGEST_HEX_SIZE];
    tw_digest_hex(digest, hex);
    tw_json_write_key(writer, key);
    tw_json_write_str(writer, tw_str_from(hex));
}

void service_write_time(struct tw_json_writer *writer, const char *key, int64_t wall_ns) {
    char text[TW_TIME_TEXT_SIZE];
    tw_clock_text(wall_ns, text);
    tw_json_write_key(writer, key);
    tw_json_write_str(writer, tw_str_from(text));
}

static void write_common(struct tw_json_writer *writer, const struct service_function *function) {
    tw_json_write_key(writer, "id");
    tw_json_write_str(writer, tw_str_from(function->id));
    tw_json_write_key(writer, "name");
    tw_json_write_str(writer, tw_str_from(function->name));
    tw_json_write_key(writer, "version");
    tw_json_write_u64(writer, function->version);
    service_write_digest(writer, "digest", &function->wasm);
    tw_json_write_key(writer, "size_bytes");
    tw_json_write_u64(writer, function->wasm_bytes);
    tw_json_write_key(writer, "config");
    tw_json_write_raw(writer, tw_str_from(function->config.text));
    tw_json_write_key(writer, "exports");
    tw_json_write_raw(writer, tw_str_from(function->exports));
    tw_json_write_key(writer, "imports");
    tw_json_write_raw(writer, tw_str_from(function->imports));
}

bool service_function_json(const struct service_function *function, struct tw_buf *out,
                           struct tw_error *err) {
    struct tw_json_writer writer;
    tw_json_write_init(&writer, out);
    tw_json_write_object(&writer);
    write_common(&writer, function);
    service_write_time(&writer, "created_at", function->created_ns);
    service_write_time(&writer, "updated_at", function->updated_ns);
    tw_json_write_end(&writer, '}');
    return tw_json_write_done(&writer) ||
           tw_buf_fail(out, err, TW_ERR_INTERNAL, "the answer is larger than %zu bytes", out->max);
}

void service_function_key(const struct service_function *function, char key[SERVICE_FUNCTION_KEY_SIZE]) {
    snprintf(key, SERVICE_FUNCTION_KEY_SIZE, "%" PRIu64 "/%s", function->tenant, function->name);
}

bool service_function_encode(const struct service_function *function, const struct tw_digest *image,
                             const char *boot, struct tw_buf *out, struct tw_error *err) {
    struct tw_json_writer writer;
    tw_json_write_init(&writer, out);
    tw_json_write_object(&writer);
    tw_json_write_key(&writer, "format");
    tw_json_write_int(&writer, 1);
    tw_json_write_key(&writer, "tenant");
    char tenant[24];
    snprintf(tenant, sizeof tenant, "%" PRIu64, function->tenant); // a u64 does not fit JSON's exact integers
    tw_json_write_str(&writer, tw_str_from(tenant));
    write_common(&writer, function);
    service_write_digest(&writer, "image", image);
    tw_json_write_key(&writer, "created_ns");
    tw_json_write_int(&writer, function->created_ns);
    tw_json_write_key(&writer, "updated_ns");
    tw_json_write_int(&writer, function->updated_ns);
    if (boot) {
        tw_json_write_key(&writer, SERVICE_BOOT_MEMBER);
        tw_json_write_str(&writer, tw_str_from(boot));
    }
    tw_json_write_end(&writer, '}');
    return tw_json_write_done(&writer) ||
           tw_buf_fail(out, err, TW_ERR_INVALID_WASM,
                       "the module's lists of imports and exports are larger than %zu bytes", out->max);
}

char *service_member_text(const struct tw_json *value) {
    struct tw_buf out;
    tw_buf_init(&out, SERVICE_RECORD_MAX);
    if (!tw_json_append(&out, value)) {
        tw_buf_done(&out);
        return NULL;
    }
    size_t len;
    return (char *)tw_buf_take(&out, &len);
}

bool service_copy_text(char *into, size_t size, struct tw_str text) {
    if (text.len == 0 || text.len >= size)
        return false;
    memcpy(into, text.data, text.len);
    into[text.len] = 0;
    return true;
}

static bool decode(struct service_function *function, const struct tw_json *root, struct tw_error *err) {
    // Limits of today must not make yesterday's record unreadable: the config was checked when it was
    // deployed.
    static const struct tw_service unlimited = {.options = {.max_memory_bytes = UINT64_MAX}};
    bool ok =
        tw_json_int(tw_json_get(root, "format")) == 1 &&
        tw_str_u64(tw_json_str(tw_json_get(root, "tenant")), &function->tenant) &&
        service_copy_text(function->id, sizeof function->id, tw_json_str(tw_json_get(root, "id"))) &&
        service_copy_text(function->name, sizeof function->name, tw_json_str(tw_json_get(root, "name"))) &&
        tw_digest_parse(tw_json_str(tw_json_get(root, "digest")), &function->wasm) &&
        tw_digest_parse(tw_json_str(tw_json_get(root, "image")), &function->image);
    if (!ok)
        return tw_fail(err, TW_ERR_STORE, "the function's record is not of this version's form");
    function->version = (uint64_t)tw_json_int(tw_json_get(root, "version"));
    function->wasm_bytes = (uint64_t)tw_json_int(tw_json_get(root, "size_bytes"));
    function->created_ns = tw_json_int(tw_json_get(root, "created_ns"));
    function->updated_ns = tw_json_int(tw_json_get(root, "updated_ns"));
    function->exports = service_member_text(tw_json_get(root, "exports"));
    function->imports = service_member_text(tw_json_get(root, "imports"));
    if (!function->exports || !function->imports)
        return tw_fail(err, TW_ERR_STORE, "the function's record has no imports or exports");
    return service_config_parse(&unlimited, tw_str_from(function->name), tw_json_get(root, "config"),
                                &function->config, err);
}

struct service_function *service_function_decode(struct tw_span record, struct tw_error *err) {
    struct tw_json *root = tw_json_parse(record, err);
    struct service_function *function = root ? service_function_new(err) : NULL;
    if (function && !decode(function, root, err)) {
        service_function_unref(function);
        function = NULL;
    }
    tw_json_free(root);
    return function;
}

struct tw_module_limits service_function_limits(const struct tw_service *service,
                                                const struct service_function *function) {
    uint64_t memory = function->config.memory_bytes;
    return (struct tw_module_limits){.memory_bytes = memory ? memory : service->options.max_memory_bytes,
                                     .tenant = function->tenant};
}

static struct tw_module *open_module(struct tw_service *service, const struct service_function *function,
                                     struct tw_error *err) {
    struct tw_mapping wasm;
    if (!tw_store_map_blob(service->store, &function->wasm, &wasm, err))
        return NULL;
    char image_path[TW_STORE_PATH_MAX];
    tw_store_blob_path(service->store, &function->image, image_path);
    struct tw_image_file image = {.path = image_path};
    struct tw_module_limits limits = service_function_limits(service, function);
    struct tw_module *module =
        tw_module_open(service->engine, tw_span_of(wasm.data, wasm.len), &image, &limits, err);
    tw_file_unmap(&wasm);
    return module;
}

void service_function_adopt(struct service_function *function, struct tw_module *module) {
    TW_LOCK_SCOPE(&function->open_lock);
    function->module = module;
    tw_flag_raise(&function->is_open);
}

bool service_function_settle(struct tw_service *service, const struct service_function *function,
                             struct tw_module *module, struct tw_error *err) {
    char path[TW_STORE_PATH_MAX];
    tw_store_blob_path(service->store, &function->image, path);
    struct tw_image_file image = {.path = path};
    return tw_module_settle(module, &image, err) || tw_wrap(err, "opening function '%s'", function->name);
}

static struct tw_module *open_once(struct tw_service *service, struct service_function *function,
                                   struct tw_error *err) {
    TW_LOCK_SCOPE(&function->open_lock);
    if (!function->module)
        function->module = open_module(service, function, err);
    if (function->module)
        tw_flag_raise(&function->is_open);
    return function->module;
}

// ---- an image that is not in the store, or damaged there ----

// Not there, or other bytes than its name says; false when it could not be looked at.
static bool is_image_lost(const struct tw_service *service, const struct service_function *function) {
    char path[TW_STORE_PATH_MAX];
    tw_store_blob_path(service->store, &function->image, path);
    struct tw_mapping image;
    struct tw_error failure = {};
    if (!tw_file_map(path, &image, &failure))
        return failure.code == TW_ERR_NOT_FOUND;
    struct tw_digest digest = tw_sha256(tw_span_of(image.data, image.len));
    tw_file_unmap(&image);
    return !tw_digest_equal(&digest, &function->image);
}

// The new one takes the place of the old one. Where start code made another one this time, it gets a record that names
// it, which the index takes up.
static bool keep_image(struct tw_service *service, const struct service_function *function,
                       struct tw_span bytes, struct tw_error *err) {
    TW_ASSERT(function->record_version !=
              TW_STORE_ANY); // those from snapshots are opened where they are read
    char old_path[TW_STORE_PATH_MAX];
    tw_store_blob_path(service->store, &function->image, old_path);
    struct tw_digest digest;
    if (!tw_file_remove(old_path, err) || !tw_store_put_blob(service->store, bytes, &digest, err))
        return false;
    if (tw_digest_equal(&digest, &function->image))
        return true;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf record;
    tw_buf_init(&record, SERVICE_RECORD_MAX);
    char key[SERVICE_FUNCTION_KEY_SIZE];
    service_function_key(function, key);
    bool ok = service_function_encode(function, &digest, NULL, &record, err) &&
              tw_store_put_record(service->store, "function", key, tw_buf_span(&record),
                                  function->record_version, NULL, err);
    service_registry_refresh(service, function->tenant, tw_str_from(function->name));
    return ok;
}

// From the module, as when it was deployed.
static struct tw_module *remake(struct tw_service *service, const struct service_function *function,
                                struct tw_buf *image, struct tw_error *err) {
    struct tw_mapping wasm;
    if (!tw_store_map_blob(service->store, &function->wasm, &wasm, err))
        return NULL;
    struct tw_module_limits limits = service_function_limits(service, function);
    struct tw_account *account = tw_quota_account(service->quotas, function->tenant, err);
    struct tw_module *module = NULL;
    if (account && tw_account_may_compute(account, err)) // start code runs
        module = tw_module_build(service->engine, tw_span_of(wasm.data, wasm.len), &limits, account, NULL,
                                 image, err);
    tw_account_unref(account);
    tw_file_unmap(&wasm);
    return module;
}

// The module, with the image made again; another thread may have done the same meanwhile.
static struct tw_module *open_remade(struct tw_service *service, struct service_function *function,
                                     struct tw_error *err) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf image;
    tw_buf_init(&image, SIZE_MAX / 2); // bounded by the module's memory limit
    struct tw_module *module = remake(service, function, &image, err), *unused = module;
    if (!module)
        return NULL;
    struct tw_error failure = {};
    bool is_kept = keep_image(service, function, tw_buf_span(&image), &failure);
    tw_log(TW_LOG_WARN, "service", "a function's image was missing or damaged and was made again", "function",
           function->id, "kept", is_kept ? "yes" : failure.message, NULL);
    {
        TW_LOCK_SCOPE(&function->open_lock);
        if (!function->module) {
            function->module = module;
            unused = NULL;
            tw_flag_raise(&function->is_open);
        }
        module = function->module;
    }
    tw_module_unref(unused);
    return module;
}

struct tw_module *service_function_open(struct tw_service *service, struct service_function *function,
                                        struct tw_error *err) {
    if (tw_flag_is_raised(&function->is_open))
        return function->module;
    struct tw_error failure = {};
    struct tw_module *module = open_once(service, function, &failure);
    if (!module && failure.code == TW_ERR_STORE && is_image_lost(service, function)) {
        failure = (struct tw_error){};
        module = open_remade(service, function, &failure);
    }
    if (!module && err) {
        *err = failure;
        tw_wrap(err, "opening function '%s'", function->name);
    }
    return module;
}
