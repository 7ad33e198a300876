// SPDX-License-Identifier: Apache-2.0
//
// Deploying a function: build its module, keep bytes and image, write the record that makes it real, put it
// into the index. Where the image follows from the module, all of that is on the disk before the module is compiled,
// with the record ahead of its place; it gets there, or is taken back, when the compiler has spoken (recover.c has what
// crashes leave). Otherwise the record is the last thing written, so a crash before it leaves nothing but unnamed blobs.

#include "service/internal.h"

static const char *type_name(uint8_t type) {
    switch (type) {
    case TW_WASM_I32:
        return "i32";
    case TW_WASM_I64:
        return "i64";
    case TW_WASM_F32:
        return "f32";
    case TW_WASM_F64:
        return "f64";
    case TW_WASM_V128:
        return "v128";
    case TW_WASM_FUNCREF:
        return "funcref";
    case TW_WASM_EXTERNREF:
        return "externref";
    default:
        return "ref";
    }
}

static void write_types(struct tw_json_writer *writer, const char *key, const uint8_t *types,
                        uint32_t count) {
    tw_json_write_key(writer, key);
    tw_json_write_array(writer);
    for (uint32_t i = 0; i < count; i++)
        tw_json_write_str(writer, tw_str_from(type_name(types[i])));
    tw_json_write_end(writer, ']');
}

// [{"name","params","results"}…]
static char *exports_json(const struct tw_module *module, struct tw_error *err) {
    struct tw_buf out;
    struct tw_json_writer writer;
    tw_buf_init(&out, SERVICE_RECORD_MAX);
    tw_json_write_init(&writer, &out);
    tw_json_write_array(&writer);
    for (uint32_t i = 0; i < tw_module_export_count(module); i++) {
        const struct tw_signature *signature = tw_module_export_at(module, i);
        tw_json_write_object(&writer);
        tw_json_write_key(&writer, "name");
        tw_json_write_str(&writer, tw_str_from(signature->name));
        write_types(&writer, "params", signature->params, signature->param_count);
        write_types(&writer, "results", signature->results, signature->result_count);
        tw_json_write_end(&writer, '}');
    }
    tw_json_write_end(&writer, ']');
    bool ok = tw_json_write_done(&writer);
    size_t len;
    char *text = ok ? (char *)tw_buf_take(&out, &len) : NULL;
    if (!text)
        tw_buf_fail(&out, err, TW_ERR_MODULE_TOO_LARGE, "the list of exports is larger than %d bytes",
                    SERVICE_RECORD_MAX);
    tw_buf_done(&out);
    return text;
}

// ["module.name"…]
static char *imports_json(const struct tw_module *module, struct tw_error *err) {
    struct tw_buf out, name;
    struct tw_json_writer writer;
    tw_buf_init(&out, SERVICE_RECORD_MAX);
    tw_buf_init(&name, SERVICE_RECORD_MAX);
    tw_json_write_init(&writer, &out);
    tw_json_write_array(&writer);
    bool ok = true;
    for (uint32_t i = 0; ok && i < tw_module_import_count(module); i++) {
        struct tw_str from, what;
        tw_module_import_at(module, i, &from, &what);
        tw_buf_reset(&name);
        ok = tw_buf_append_str(&name, from) && tw_buf_append_byte(&name, '.') &&
             tw_buf_append_str(&name, what);
        tw_json_write_str(&writer, tw_buf_str(&name));
    }
    tw_json_write_end(&writer, ']');
    ok = tw_json_write_done(&writer) && ok;
    size_t len;
    char *text = ok ? (char *)tw_buf_take(&out, &len) : NULL;
    if (!text)
        tw_buf_fail(name.is_starved ? &name : &out, err, TW_ERR_MODULE_TOO_LARGE,
                    "the list of imports is larger than %d bytes", SERVICE_RECORD_MAX);
    tw_buf_done(&out);
    tw_buf_done(&name);
    return text;
}

static void set_identity(struct service_function *function, const struct service_function *old) {
    function->updated_ns = tw_clock_wall_ns();
    if (old) {
        memcpy(function->id, old->id, sizeof function->id);
        function->version = old->version + 1;
        function->created_ns = old->created_ns;
        return;
    }
    uint8_t random[12];
    tw_random(random, sizeof random);
    memcpy(function->id, "fn-", 3);
    tw_hex(tw_span_of(random, sizeof random), function->id + 3);
    function->version = 1;
    function->created_ns = function->updated_ns;
}

// One deploy under way. Confined.
struct work {
    struct tw_service *service;
    const struct tw_deploy *deploy;
    struct service_function *function;
    const struct service_function *old; // or NULL
    struct tw_buf foreseen,
        image;      // what the image will be, if that is known; what it is, unless it `is_opened`
    bool is_opened; // the module has the image that was foreseen, from the store
    // While the module compiles:
    struct tw_store_ahead *ahead;
    struct tw_buf record;
    char key[SERVICE_FUNCTION_KEY_SIZE];
};

static void work_init(struct work *work, struct tw_service *service, const struct tw_deploy *deploy,
                      struct service_function *function, const struct service_function *old) {
    *work = (struct work){.service = service, .deploy = deploy, .function = function, .old = old};
    tw_buf_init(&work->foreseen, SERVICE_AHEAD_MAX);
    tw_buf_init(&work->image, SIZE_MAX / 2); // bounded by the module's memory limit
    tw_buf_init(&work->record, SERVICE_RECORD_MAX);
    service_function_key(function, work->key);
}

static void work_done(struct work *work) {
    tw_buf_done(&work->record);
    tw_buf_done(&work->image);
    tw_buf_done(&work->foreseen);
}

static uint64_t expected_version(const struct work *work) {
    return work->old ? work->old->record_version : UINT64_MAX;
}

// What the module says of itself.
static bool describe(struct service_function *function, const struct tw_module *module,
                     struct tw_error *err) {
    function->wasm = *tw_module_digest(module);
    if (!function->exports)
        function->exports = exports_json(module, err);
    if (function->exports && !function->imports)
        function->imports = imports_json(module, err);
    return function->imports;
}

// Before the module is compiled: the disk and the compiler work at the same time.
static void bring_ahead(void *context, const struct tw_module *module) {
    struct work *work = context;
    struct tw_service *service = work->service;
    struct service_function *function = work->function;
    struct tw_error ignored = {}; // what is wrong comes up again
    if (!describe(function, module, &ignored))
        return;
    struct tw_store_blob blobs[] = {{.data = work->deploy->wasm, .digest = function->wasm},
                                    {.data = tw_buf_span(&work->foreseen), .is_remade = true}};
    bool has_image = work->foreseen.len > 0;
    if (has_image)
        blobs[1].digest = function->image = tw_sha256(blobs[1].data);
    bool has_record =
        has_image && service->boot[0] &&
        service_function_encode(function, &function->image, service->boot, &work->record, &ignored);
    work->ahead =
        tw_store_ahead_start(service->store, blobs, has_image ? 2 : 1, has_record ? "function" : NULL,
                             work->key, tw_buf_span(&work->record), expected_version(work));
}

// What was foreseen, as it lies in the store by now.
static int open_ahead(void *context) {
    struct work *work = context;
    int fd = tw_store_ahead_open(work->ahead, 1);
    work->is_opened = fd >= 0;
    return fd;
}

// The caller's.
static struct tw_module *build(struct work *work, struct tw_error *err) {
    struct tw_service *service = work->service;
    struct tw_module_limits limits = service_function_limits(service, work->function);
    struct tw_foreseen foreseen = {
        .tell = bring_ahead, .open_image = open_ahead, .context = work, .image = &work->foreseen};
    bool is_ahead = work->deploy->wasm.len <= SERVICE_AHEAD_MAX;
    struct tw_account *account = tw_quota_account(service->quotas, work->function->tenant, err);
    struct tw_module *module = NULL;
    if (account && tw_account_may_compute(account, err)) // start code runs
        module = tw_module_build(service->engine, work->deploy->wasm, &limits, account,
                                 is_ahead ? &foreseen : NULL, &work->image, err);
    tw_account_unref(account);
    if (module && describe(work->function, module, err))
        return module;
    tw_module_unref(module);
    return NULL;
}

static struct tw_span image_of(const struct work *work) {
    return tw_buf_span(work->is_opened ? &work->foreseen : &work->image);
}

// What was foreseen came true, and lies on the disk.
static bool keep_ahead(struct work *work) {
    struct tw_span image = image_of(work);
    return work->foreseen.len == image.len && memcmp(work->foreseen.data, image.data, image.len) == 0 &&
           tw_store_ahead_keep(work->ahead, &work->function->record_version);
}

static bool keep_now(struct work *work, struct tw_error *err) {
    struct service_function *function = work->function;
    const struct tw_store_blob blobs[] = {
        {.data = work->deploy->wasm, .digest = function->wasm},
        {.data = image_of(work), .digest = tw_sha256(image_of(work)), .is_remade = true}};
    function->image = blobs[1].digest;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf record;
    tw_buf_init(&record, SERVICE_RECORD_MAX);
    bool ok =
        service_function_encode(function, &function->image, NULL, &record, err) &&
        tw_store_put_together(work->service->store, blobs, TW_COUNT(blobs), "function", work->key,
                              tw_buf_span(&record), expected_version(work), &function->record_version, err);
    if (!ok && err->code == TW_ERR_CONFLICT) // the store names its keys, which are not the client's
        tw_fail(
            err, TW_ERR_CONFLICT,
            "function '%s' was deployed or deleted by another request meanwhile; look at it and send this "
            "one again if it still holds",
            function->name);
    return ok;
}

// What is there already under that name, with a reference, or NULL.
static struct service_function *find_old(struct tw_service *service, const struct tw_caller *caller,
                                         struct tw_str name) {
    struct tw_error ignored = {};
    return service_registry_get(service, caller->tenant, name, &ignored);
}

// The same bytes and settings deployed again: there is nothing to do.
static bool is_same(const struct service_function *old, const struct service_function *new,
                    struct tw_span wasm) {
    struct tw_digest digest = tw_sha256(wasm);
    return tw_digest_equal(&old->wasm, &digest) && strcmp(old->config.text, new->config.text) == 0;
}

static bool keep(struct work *work, bool is_built, struct tw_error *err) {
    bool ok = is_built && keep_ahead(work);
    // What fails is no function after a crash either, before anybody is told.
    struct tw_error failure = {};
    bool is_taken_back = tw_store_ahead_done(work->ahead, &failure);
    ok = ok || (is_built && keep_now(work, err));
    if (!ok && !is_taken_back)
        tw_fail(err, TW_ERR_STORE, "what was written ahead of a deploy that failed stays: %s",
                failure.message);
    return ok;
}

static bool make(struct tw_service *service, const struct tw_deploy *deploy,
                 struct service_function *function, const struct service_function *old,
                 struct tw_error *err) {
    set_identity(function, old);
    struct work work;
    work_init(&work, service, deploy, function, old);
    struct tw_module *built = build(&work, err);
    bool ok =
        keep(&work, built, err) && (work.is_opened || service_function_settle(service, function, built, err));
    if (ok)
        service_function_adopt(function, built);
    work_done(&work);
    if (!ok)
        tw_module_unref(built);
    return ok;
}

// Takes the room in the tenant's limits first, so that deploys at the same time cannot pass them together.
// Takes the reference.
static bool make_within_limits(struct tw_service *service, const struct tw_deploy *deploy,
                               struct service_function *function, const struct service_function *old,
                               struct tw_buf *out, struct tw_error *err) {
    struct service_deploy_leases leases = {};
    uint64_t had = old ? old->wasm_bytes : 0, wants = function->wasm_bytes;
    bool ok = tw_quota_take(service->quotas, function->tenant, TW_RESOURCE_FUNCTIONS, old ? 0 : 1,
                            &leases.functions, err) &&
              tw_quota_take(service->quotas, function->tenant, TW_RESOURCE_STORED,
                            wants > had ? wants - had : 0, &leases.bytes, err) &&
              make(service, deploy, function, old, err) && service_function_json(function, out, err);
    if (ok)
        ok = service_registry_put(service, function, &leases, err);
    else
        service_function_unref(function);
    tw_quota_give(&leases.functions);
    tw_quota_give(&leases.bytes);
    return ok;
}

static bool deploy_new(struct tw_service *service, const struct tw_caller *caller,
                       const struct tw_deploy *deploy, const struct service_function *old, struct tw_buf *out,
                       struct tw_error *err) {
    struct service_function *function = service_function_new(err);
    if (!function)
        return false;
    function->tenant = caller->tenant;
    function->wasm_bytes = deploy->wasm.len;
    memcpy(function->name, deploy->name.data, deploy->name.len);
    if (!service_config_parse(service, deploy->name, deploy->config, &function->config, err)) {
        service_function_unref(function);
        return false;
    }
    if (old && is_same(old, function, deploy->wasm)) {
        service_function_unref(function);
        return service_function_json(old, out, err);
    }
    if (old && !deploy->replace) {
        service_function_unref(function);
        return tw_fail(
            err, TW_ERR_CONFLICT,
            "function '%s' exists with other bytes or settings; PUT (deploy --replace) makes a new "
            "version of it",
            old->name);
    }
    return make_within_limits(service, deploy, function, old, out, err);
}

static bool try_deploy(struct tw_service *service, const struct tw_caller *caller, struct tw_deploy *deploy,
                       struct tw_buf *out, struct tw_error *err) {
    tw_deploy_done(deploy); // an attempt before
    deploy->before = find_old(service, caller, deploy->name);
    return deploy_new(service, caller, deploy, deploy->before, out, err);
}

void tw_deploy_done(struct tw_deploy *request) {
    service_function_unref(request->before);
    request->before = NULL;
}

// A new version may be asked for by id: `ret_deploy` has the name. The name is copied into `text`.
static bool resolve_id(struct tw_service *service, const struct tw_caller *caller,
                       const struct tw_deploy *deploy, struct tw_deploy *ret_deploy,
                       char text[TW_FUNCTION_NAME_MAX + 1], struct tw_error *err) {
    *ret_deploy = *deploy;
    if (!deploy->replace || !tw_str_starts(deploy->name, TW_STR("fn-")))
        return true;
    struct service_function *function = service_registry_get(service, caller->tenant, deploy->name, err);
    if (!function)
        return false;
    snprintf(text, TW_FUNCTION_NAME_MAX + 1, "%s", function->name);
    ret_deploy->name = tw_str_from(text);
    service_function_unref(function);
    return true;
}

bool tw_service_deploy(struct tw_service *service, const struct tw_caller *caller, struct tw_deploy *request,
                       struct tw_buf *out, struct tw_error *err) {
    struct tw_deploy named, *deploy = &named;
    char name[TW_FUNCTION_NAME_MAX + 1];
    if (!tw_caller_may(caller, TW_ROLE_DEPLOY, err) ||
        !resolve_id(service, caller, request, deploy, name, err) || !service_name_check(deploy->name, err))
        return false;
    if (deploy->wasm.len > TW_WASM_MAX_BYTES)
        return tw_fail(err, TW_ERR_MODULE_TOO_LARGE, "the module has %zu bytes, the limit is %d",
                       deploy->wasm.len, TW_WASM_MAX_BYTES);
    if (!service_enter(service, err))
        return false;
    struct tw_error attempt = {};
    bool ok = try_deploy(service, caller, deploy, out, &attempt);
    // A failure may have come after the record was written (or half of it was another server's): what the
    // store says counts, so that the index is now as it will be after a restart.
    bool is_conflict = attempt.code == TW_ERR_CONFLICT;
    if (!ok && (is_conflict || tw_code_status(attempt.code) >= 500))
        service_registry_refresh(service, caller->tenant, deploy->name);
    if (!ok && is_conflict) {
        attempt = (struct tw_error){};
        tw_buf_reset(out);
        ok = try_deploy(service, caller, deploy, out, &attempt);
    }
    if (!ok && err)
        *err = attempt;
    request->before = deploy->before;
    service_leave(service);
    return ok;
}

bool tw_service_function_delete(struct tw_service *service, const struct tw_caller *caller,
                                struct tw_str id_or_name, struct tw_error *err) {
    if (!tw_caller_may(caller, TW_ROLE_DEPLOY, err) || !service_enter(service, err))
        return false;
    struct service_function *function = service_registry_get(service, caller->tenant, id_or_name, err);
    bool ok = function != NULL;
    if (ok) {
        char key[SERVICE_FUNCTION_KEY_SIZE];
        service_function_key(function, key);
        ok = tw_store_delete_record(service->store, "function", key, err);
        if (ok)
            service_registry_remove(service, function);
        service_function_unref(function);
    }
    service_leave(service);
    return ok;
}

bool tw_service_prewarm(struct tw_service *service, const struct tw_caller *caller, struct tw_str id_or_name,
                        uint32_t count, struct tw_buf *out, struct tw_error *err) {
    if (!service_enter(service, err))
        return false;
    uint32_t warm = 0;
    struct service_function *function = service_registry_get(service, caller->tenant, id_or_name, err);
    struct tw_module *module = function ? service_function_open(service, function, err) : NULL;
    struct tw_account *account = module ? tw_quota_account(service->quotas, caller->tenant, err) : NULL;
    bool ok =
        account && tw_module_prewarm(service->engine, module, caller->tenant, account, count, &warm, err);
    tw_account_unref(account);
    if (ok)
        ok = tw_buf_printf(out, "{\"function_id\":\"%s\",\"warm\":%" PRIu32 "}", function->id, warm) ||
             tw_fail(err, TW_ERR_INTERNAL, "the answer does not fit its buffer");
    service_function_unref(function);
    service_leave(service);
    return ok;
}
