// SPDX-License-Identifier: Apache-2.0
//
// From a module's bytes to what instances are made of: parse, rewrite, compile (elsewhere), link, and either
// run start code once and capture the image, or map the image that an earlier build left.
//
// Modules whose code changes tables, drops segments, keeps references in globals or makes objects hold state
// that no image can: they are captured before start code, which then runs in every instance, and instances serve one call
// each.

#include <fcntl.h>
#include <unistd.h>

#include "engine/internal.h"

enum { MODULE_ARENA_MAX = 256 << 20, REWRITTEN_MAX = TW_WASM_MAX_REWRITTEN_BYTES };

// What building needs for a moment.
struct build {
    struct tw_arena arena;
    struct tw_wasm wasm;
    struct tw_wasm_rewritten rewritten;
    struct tw_buf bytes; // rewritten
};

// ---- what a module offers ----

static bool no_memory(const struct tw_arena *arena, struct tw_error *err) {
    if (arena->is_starved)
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for the module's lists; try again later");
    return tw_fail(err, TW_ERR_MODULE_TOO_LARGE, "the module's lists need more than %d MiB; make it smaller",
                   MODULE_ARENA_MAX >> 20);
}

static uint8_t *copy_types(struct tw_arena *arena, const uint8_t *types, uint32_t count) {
    uint8_t *copy = tw_arena_alloc(arena, count + 1, 1);
    if (copy && count)
        memcpy(copy, types, count);
    return copy;
}

static bool list_exports(struct tw_module *module, const struct tw_wasm *wasm, struct tw_error *err) {
    struct tw_arena *arena = &module->arena;
    module->exports = TW_ARENA_ARRAY(arena, struct tw_signature, wasm->export_count + 1);
    module->export_functions = TW_ARENA_ARRAY(arena, uint32_t, wasm->export_count + 1);
    if (!module->exports || !module->export_functions)
        return no_memory(&module->arena, err);
    module->abi_memory = module->memory_count ? 0 : UINT32_MAX;
    for (uint32_t i = 0; i < wasm->export_count; i++) {
        const struct tw_wasm_export *export = &wasm->exports[i];
        if (export->kind == TW_WASM_MEMORY && tw_str_equal(export->name, TW_STR("memory")))
            module->abi_memory = export->index;
        if (export->kind != TW_WASM_FUNC)
            continue;
        const struct tw_wasm_functype *type = &wasm->types[wasm->func_types[export->index]];
        module->export_functions[module->export_count] = export->index;
        struct tw_signature *signature = &module->exports[module->export_count++];
        *signature = (struct tw_signature){.name = tw_arena_str(arena, export->name),
                                           .params = copy_types(arena, type->params, type->param_count),
                                           .results = copy_types(arena, type->results, type->result_count),
                                           .param_count = type->param_count,
                                           .result_count = type->result_count};
        if (!signature->name || !signature->params || !signature->results)
            return no_memory(&module->arena, err);
        if (tw_str_equal(export->name, TW_STR("_initialize")) && type->param_count == 0 &&
            type->result_count == 0)
            module->has_initialize = true;
    }
    return true;
}

static bool list_imports(struct tw_module *module, const struct tw_wasm *wasm, struct tw_error *err) {
    struct tw_wasm_import *imports =
        TW_ARENA_ARRAY(&module->arena, struct tw_wasm_import, wasm->import_count + 1);
    if (!imports)
        return no_memory(&module->arena, err);
    for (uint32_t i = 0; i < wasm->import_count; i++) {
        const char *from = tw_arena_str(&module->arena, wasm->imports[i].module);
        const char *name = tw_arena_str(&module->arena, wasm->imports[i].name);
        if (!from || !name)
            return no_memory(&module->arena, err);
        imports[i] = wasm->imports[i];
        imports[i].module.data = from;
        imports[i].name.data = name;
    }
    module->imports = imports;
    module->import_count = wasm->import_count;
    return true;
}

static bool list_state(struct tw_module *module, const struct build *build, struct tw_error *err) {
    const struct tw_wasm *wasm = &build->wasm;
    struct tw_wasm_limits *memories =
        TW_ARENA_ARRAY(&module->arena, struct tw_wasm_limits, wasm->memory_count + 1);
    uint8_t *types = tw_arena_alloc(&module->arena, build->rewritten.global_count + 1, 1);
    if (!memories || !types)
        return no_memory(&module->arena, err);
    if (wasm->memory_count)
        memcpy(memories, wasm->memories, wasm->memory_count * sizeof(*memories));
    for (uint32_t i = 0; i < build->rewritten.global_count; i++)
        types[i] = wasm->globals[build->rewritten.globals[i]].type;
    module->memories = memories;
    module->global_types = types;
    module->memory_count = wasm->memory_count;
    module->global_count = build->rewritten.global_count;
    module->table_count = build->rewritten.table_count;
    module->has_start = build->rewritten.has_start;
    module->function_count = wasm->func_count;
    module->single_use = wasm->mutates_tables || wasm->uses_data_drop || wasm->has_objects;
    module->has_heap = wasm->has_objects || wasm->tag_count;
    return true;
}

static bool check_limits(const struct tw_module *module, const struct tw_wasm *wasm, struct tw_error *err) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < wasm->memory_count; i++)
        bytes += wasm->memories[i].min * ENGINE_WASM_PAGE;
    if (bytes > module->limits.memory_bytes)
        return tw_fail(err, TW_ERR_QUOTA,
                       "the module begins with %" PRIu64 " bytes of memory, the limit is %" PRIu64
                       "; raise the function's limit or link with a smaller initial memory",
                       bytes, module->limits.memory_bytes);
    for (uint32_t i = 0; i < wasm->table_count; i++) {
        if (wasm->tables[i].min > module->limits.table_elements)
            return tw_fail(err, TW_ERR_QUOTA,
                           "a table begins with %" PRIu64 " elements, the limit is %" PRIu64,
                           wasm->tables[i].min, module->limits.table_elements);
    }
    return true;
}

// ---- code ----

// What the caller of a build wants to be told while the code is compiled.
struct telling {
    const struct tw_module *module;
    const struct build *build;
    const struct tw_foreseen *foreseen; // NULL: nothing, or it was told
};

static void tell(void *context) {
    struct telling *telling = context;
    const struct tw_foreseen *foreseen = telling->foreseen;
    telling->foreseen = NULL;
    if (!foreseen)
        return;
    if (!engine_image_foresee(telling->module, &telling->build->wasm, &telling->build->rewritten,
                              foreseen->image))
        tw_buf_reset(foreseen->image);
    foreseen->tell(foreseen->context, telling->module);
}

static bool compile(struct tw_module *module, const struct build *build, const struct tw_foreseen *foreseen,
                    struct tw_error *err) {
    struct tw_engine *engine = module->engine;
    struct telling telling = {module, build, foreseen};
    struct tw_compile_request request = {.kind = TW_COMPILE_WASM,
                                         .input = tw_buf_span(&build->bytes),
                                         .interrupt = engine->options.interrupt,
                                         .tenant = module->limits.tenant,
                                         .deadline_ns = TW_NO_DEADLINE,
                                         .meanwhile = tell,
                                         .context = &telling};
    struct tw_artifact *artifact = tw_compile(engine->options.compiler, &request, err);
    if (!artifact)
        return false;
    tell(&telling); // the code was there already
    module->code = engine_code_get(engine, artifact, err);
    tw_artifact_unref(artifact);
    return module->code;
}

// ---- a module's life ----

static struct tw_module *module_new(struct tw_engine *engine, const struct tw_module_limits *limits,
                                    struct tw_error *err) {
    struct tw_module *module = tw_alloc_zero(1, sizeof(*module));
    if (!module) {
        tw_fail(err, TW_ERR_CAPACITY, "no memory for a module");
        return NULL;
    }
    tw_ref_init(&module->ref);
    tw_lock_init(&module->lock);
    tw_map_init(&module->pools, ENGINE_POOLS_MAX);
    tw_map_init(&module->habits, ENGINE_POOLS_MAX);
    tw_arena_init(&module->arena, MODULE_ARENA_MAX);
    module->engine = engine;
    if (limits)
        module->limits = *limits;
    if (!module->limits.memory_bytes)
        module->limits.memory_bytes = ENGINE_MEMORY_DEFAULT;
    if (module->limits.memory_bytes > ENGINE_MEMORY_RESERVATION)
        module->limits.memory_bytes = ENGINE_MEMORY_RESERVATION;
    if (!module->limits.table_elements)
        module->limits.table_elements = ENGINE_TABLE_DEFAULT;
    if (!module->limits.start_ms)
        module->limits.start_ms = ENGINE_START_MS_DEFAULT;
    TW_LOCK_SCOPE(&engine->lock);
    module->older = engine->newest;
    if (module->older)
        module->older->newer = module;
    engine->newest = module;
    return module;
}

struct tw_module *tw_module_ref(struct tw_module *module) {
    tw_ref_up(&module->ref);
    return module;
}

static void unlist(struct tw_module *module) {
    TW_LOCK_SCOPE(&module->engine->lock);
    if (module->newer)
        module->newer->older = module->older;
    else
        module->engine->newest = module->older;
    if (module->older)
        module->older->newer = module->newer;
}

void tw_module_unref(struct tw_module *module) {
    if (!module || !tw_ref_down(&module->ref))
        return;
    unlist(module);
    engine_pools_done(module);
    engine_habits_done(module);
    engine_code_drop(module->code);
    engine_image_done(&module->image);
    tw_arena_done(&module->arena);
    tw_lock_done(&module->lock);
    free(module);
}

// ---- building ----

static bool prepare(struct tw_module *module, struct tw_span bytes, struct build *build,
                    struct tw_error *err) {
    if (bytes.len > TW_WASM_MAX_BYTES)
        return tw_fail(err, TW_ERR_MODULE_TOO_LARGE, "the module has %zu bytes, the limit is %d", bytes.len,
                       TW_WASM_MAX_BYTES);
    module->digest = tw_sha256(bytes);
    if (!tw_wasm_parse(&build->arena, bytes, &build->wasm, err) || !engine_check_imports(&build->wasm, err))
        return false;
    struct tw_wasm_rewrite_options options = {.poll = module->engine->options.interrupt == TW_INTERRUPT_POLL};
    if (!check_limits(module, &build->wasm, err) ||
        !tw_wasm_rewrite(&build->arena, &build->wasm, &options, &build->bytes, &build->rewritten, err))
        return false;
    return list_state(module, build, err) && list_exports(module, &build->wasm, err) &&
           list_imports(module, &build->wasm, err);
}

// ---- the image ----

static bool check_data(const struct tw_wasm *wasm, struct tw_error *err) {
    for (uint32_t i = 0; i < wasm->data_count; i++) {
        const struct tw_wasm_data *data = &wasm->data[i];
        uint64_t size = data->is_active ? wasm->memories[data->memory].min * ENGINE_WASM_PAGE : 0;
        if (data->is_active && (data->offset > size || data->bytes.len > size - data->offset))
            return tw_fail(err, TW_ERR_START_FAILED,
                           "data segment %" PRIu32 " (%zu bytes at %" PRIu64
                           ") does not fit the memory of %" PRIu64 " bytes",
                           i, data->bytes.len, data->offset, size);
    }
    return true;
}

static void write_data(struct engine_instance *instance, const struct tw_wasm *wasm) {
    for (uint32_t i = 0; i < wasm->data_count; i++) {
        const struct tw_wasm_data *data = &wasm->data[i];
        if (data->is_active && data->bytes.len)
            memcpy(instance->regions[data->memory].base + data->offset, data->bytes.data, data->bytes.len);
    }
}

// Runs start code once, to see that it works, and captures the image after it, or before it where instances
// serve once.
static bool capture(struct tw_module *module, const struct build *build, struct tw_account *account,
                    struct tw_buf *image, struct tw_error *err) {
    bool replay = module->single_use;
    uint64_t tenant = account ? tw_account_tenant(account) : 0;
    struct engine_instance *instance = engine_pool_make(module, tenant, account, TW_NO_DEADLINE, err);
    if (!instance)
        return false;
    bool ok = check_data(&build->wasm, err);
    if (ok)
        write_data(instance, &build->wasm);
    ok = ok && (!replay || engine_image_capture(instance, &module->digest, true, image, err)) &&
         engine_instance_start(instance, TW_NO_DEADLINE, err) &&
         (replay || engine_image_capture(instance, &module->digest, false, image, err));
    engine_instance_free(instance);
    if (ok)
        engine_image_seal(image);
    return ok;
}

// Takes the descriptor of an image that the module may go on with: `len` bytes (0: all) from `at`.
static bool map_image(struct tw_module *module, int fd, uint64_t at, uint64_t len, struct tw_error *err) {
    if (!engine_image_map(fd, at, len, &module->digest, &module->image, err))
        return false;
    const struct engine_image *image = &module->image;
    bool fits = (image->replay || !module->single_use) && image->memory_count == module->memory_count &&
                image->table_count == module->table_count &&
                image->global_count == (image->replay ? 0 : module->global_count);
    for (uint32_t i = 0; fits && i < image->memory_count; i++)
        fits = image->memories[i].size_bytes / ENGINE_WASM_PAGE >= module->memories[i].min &&
               image->memories[i].size_bytes / ENGINE_WASM_PAGE <= module->memories[i].max;
    for (uint32_t i = 0; fits && i < image->global_count; i++)
        fits = image->globals[i].type == module->global_types[i];
    module->single_use = image->replay;
    return fits || tw_fail(err, TW_ERR_STORE, "the image does not fit the module; deploy the function again");
}

static void build_done(struct build *build) {
    tw_buf_done(&build->bytes);
    tw_arena_done(&build->arena);
}

static bool build_image(struct tw_module *module, const struct build *build, struct tw_account *account,
                        struct tw_buf *image, struct tw_error *err) {
    if (!capture(module, build, account, image, err))
        return false;
    int fd = tw_file_memfd("tw-image", tw_buf_span(image), err);
    return fd >= 0 && engine_image_map(fd, 0, 0, &module->digest, &module->image, err);
}

// On the image that was foreseen, from its file, which it takes, as if it were opened; the instance that shows that this
// works waits for the first call.
static bool use_foreseen(struct tw_module *module, const struct build *build, struct tw_account *account,
                         int fd, struct tw_error *err) {
    if (!check_data(&build->wasm, err)) {
        close(fd);
        return false;
    }
    uint64_t tenant = account ? tw_account_tenant(account) : 0;
    struct engine_instance *first = map_image(module, fd, 0, 0, err)
                                        ? engine_pool_make(module, tenant, account, TW_NO_DEADLINE, err)
                                        : NULL;
    if (!first)
        return false;
    engine_pool_keep(first);
    return true;
}

static bool finish(struct tw_module *module, const struct build *build, struct tw_account *account,
                   const struct tw_foreseen *foreseen, struct tw_buf *image, struct tw_error *err) {
    int fd = foreseen && foreseen->open_image && foreseen->image->len
                 ? foreseen->open_image(foreseen->context)
                 : -1;
    return fd >= 0 ? use_foreseen(module, build, account, fd, err)
                   : build_image(module, build, account, image, err);
}

struct tw_module *tw_module_build(struct tw_engine *engine, struct tw_span wasm,
                                  const struct tw_module_limits *limits, struct tw_account *account,
                                  const struct tw_foreseen *foreseen, struct tw_buf *image,
                                  struct tw_error *err) {
    struct tw_module *module = module_new(engine, limits, err);
    if (!module)
        return NULL;
    struct build build = {};
    tw_arena_init(&build.arena, MODULE_ARENA_MAX);
    tw_buf_init(&build.bytes, REWRITTEN_MAX);
    bool ok = prepare(module, wasm, &build, err) && compile(module, &build, foreseen, err) &&
              finish(module, &build, account, foreseen, image, err);
    build_done(&build);
    if (ok)
        return module;
    tw_module_unref(module);
    return NULL;
}

static bool open_image(struct tw_module *module, const struct tw_image_file *file, struct tw_error *err) {
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return tw_fail_errno(err, TW_ERR_STORE, errno, "the image could not be opened");
    return map_image(module, fd, file->at, file->len, err);
}

struct tw_module *tw_module_open(struct tw_engine *engine, struct tw_span wasm,
                                 const struct tw_image_file *image, const struct tw_module_limits *limits,
                                 struct tw_error *err) {
    struct tw_module *module = module_new(engine, limits, err);
    if (!module)
        return NULL;
    struct build build = {};
    tw_arena_init(&build.arena, MODULE_ARENA_MAX);
    tw_buf_init(&build.bytes, REWRITTEN_MAX);
    bool ok = prepare(module, wasm, &build, err) && compile(module, &build, NULL, err) &&
              open_image(module, image, err);
    build_done(&build);
    if (ok)
        return module;
    tw_module_unref(module);
    return NULL;
}

bool tw_module_settle(struct tw_module *module, const struct tw_image_file *image, struct tw_error *err) {
    struct engine_image built = module->image;
    bool was_single_use = module->single_use;
    module->image = (struct engine_image){};
    if (open_image(module, image, err)) {
        engine_image_done(&built);
        return true;
    }
    engine_image_done(&module->image);
    module->image = built;
    module->single_use = was_single_use;
    return false;
}

// ---- looking ----

const struct tw_digest *tw_module_digest(const struct tw_module *module) {
    return &module->digest;
}

uint32_t tw_module_export_count(const struct tw_module *module) {
    return module->export_count;
}

const struct tw_signature *tw_module_export_at(const struct tw_module *module, uint32_t index) {
    return index < module->export_count ? &module->exports[index] : NULL;
}

static const struct tw_signature *find_export(const struct tw_module *module, const char *name) {
    for (uint32_t i = 0; i < module->export_count; i++) {
        if (strcmp(module->exports[i].name, name) == 0)
            return &module->exports[i];
    }
    return NULL;
}

const struct tw_signature *tw_module_export_find(const struct tw_module *module, const char *name) {
    if (name)
        return find_export(module, name);
    const struct tw_signature *start = find_export(module, "_start");
    return start ? start : find_export(module, "main");
}

uint32_t tw_module_import_count(const struct tw_module *module) {
    return module->import_count;
}

void tw_module_import_at(const struct tw_module *module, uint32_t index, struct tw_str *ret_module,
                         struct tw_str *ret_name) {
    *ret_module = module->imports[index].module;
    *ret_name = module->imports[index].name;
}
