// SPDX-License-Identifier: Apache-2.0
//
// From a binary file of a test to an instance, the engine's way: its settings, our parser and rewriter; then the host
// does what the rewrite took out of the module: active data segments and start code.

#include "spec.h"

// What the specification's tests may import. Its printing functions print nothing here.
static const char spectest[] =
    "(module"
    " (global (export \"global_i32\") i32 (i32.const 666)) (global (export \"global_i64\") i64 (i64.const "
    "666))"
    " (global (export \"global_f32\") f32 (f32.const 666.6)) (global (export \"global_f64\") f64 (f64.const "
    "666.6))"
    " (table (export \"table\") 10 20 funcref) (memory (export \"memory\") 1 2)"
    " (func (export \"print\")) (func (export \"print_i32\") (param i32)) (func (export \"print_i64\") "
    "(param i64))"
    " (func (export \"print_f32\") (param f32)) (func (export \"print_f64\") (param f64))"
    " (func (export \"print_i32_f32\") (param i32 f32)) (func (export \"print_f64_f64\") (param f64 f64)))";

static void must(wasmtime_error_t *error, const char *what) {
    struct tw_error err = {};
    if (!error)
        return;
    engine_fail(&err, TW_ERR_INTERNAL, what, error);
    fprintf(stderr, "spec_run: %s\n", err.message);
    exit(2);
}

// What is compared with takes all that Wasmtime takes by default, whatever the host refuses.
static void take_all(wasm_config_t *config) {
    wasmtime_config_wasm_function_references_set(config, true);
    wasmtime_config_wasm_gc_set(config, true);
    wasmtime_config_wasm_exceptions_set(config, true);
    wasmtime_config_wasm_memory64_set(config, true);
}

void spec_open(struct spec_run *run, enum spec_mode mode, const char *folder) {
    run->mode = mode;
    run->folder = folder;
    wasm_config_t *config = engine_config_new(mode == SPEC_EPOCH ? TW_INTERRUPT_EPOCH : TW_INTERRUPT_POLL, 0);
    if (mode == SPEC_PLAIN)
        take_all(config);
    run->engine = wasm_engine_new_with_config(config);
    run->store = wasmtime_store_new(run->engine, NULL, NULL);
    run->context = wasmtime_store_context(run->store);
    run->linker = wasmtime_linker_new(run->engine);
    wasmtime_linker_allow_shadowing(run->linker, true);
    if (mode == SPEC_EPOCH)
        wasmtime_context_set_epoch_deadline(run->context, 1ULL << 40);
    wasm_byte_vec_t bytes;
    wasmtime_module_t *module;
    wasmtime_instance_t instance;
    wasm_trap_t *trap = NULL;
    must(wasmtime_wat2wasm(spectest, sizeof(spectest) - 1, &bytes), "spectest");
    must(wasmtime_module_new(run->engine, (const uint8_t *)bytes.data, bytes.size, &module), "spectest");
    must(wasmtime_linker_instantiate(run->linker, run->context, module, &instance, &trap), "spectest");
    must(wasmtime_linker_define_instance(run->linker, run->context, "spectest", 8, &instance), "spectest");
    wasmtime_module_delete(module);
    wasm_byte_vec_delete(&bytes);
}

void spec_close(struct spec_run *run) {
    wasmtime_linker_delete(run->linker);
    wasmtime_store_delete(run->store);
    wasm_engine_delete(run->engine);
}

// ---- how things end ----
static void ended(struct spec_outcome *outcome, enum spec_end end, const char *text) {
    outcome->end = end;
    snprintf(outcome->text, sizeof(outcome->text), "%s", text);
}

static void refused(struct spec_outcome *outcome, const struct tw_error *err) {
    bool by_name = strstr(err->message, "not supported by this host") != NULL;
    ended(outcome, by_name ? SPEC_UNSUPPORTED : SPEC_REFUSED, err->message);
}

// The first line, without Wasmtime's list of frames.
static void trapped(struct spec_outcome *outcome, const wasm_trap_t *trap) {
    wasm_message_t message;
    wasm_trap_message(trap, &message);
    const char *at = strstr(message.data, "wasm trap: ");
    ended(outcome, SPEC_TRAPPED, at ? at + strlen("wasm trap: ") : message.data);
    outcome->text[strcspn(outcome->text, "\n")] = '\0';
    wasm_byte_vec_delete(&message);
}

bool spec_judge(struct spec_run *run, wasm_trap_t *trap, wasmtime_error_t *error,
                struct spec_outcome *ret_outcome) {
    wasmtime_exnref_t exception;
    *ret_outcome = (struct spec_outcome){};
    if (trap) {
        trapped(ret_outcome, trap);
        wasm_trap_delete(trap);
    }
    if (error) {
        struct tw_error err = {};
        engine_fail(&err, TW_ERR_INTERNAL, "the call failed", error);
        ended(ret_outcome, SPEC_LOST, err.message);
    }
    if (wasmtime_context_take_exception(run->context, &exception)) {
        wasmtime_exnref_unroot(&exception);
        ended(ret_outcome, SPEC_THREW, "an exception that nothing caught");
    }
    return ret_outcome->end == SPEC_OK;
}

// ---- compiling ----
// What instantiating needs of a module after it was compiled.
struct material {
    struct tw_arena arena;
    struct tw_buf bytes, rewritten;
    struct tw_wasm wasm;
    struct tw_wasm_rewritten offers;
};

static void material_done(struct material *material) {
    tw_arena_done(&material->arena);
    tw_buf_done(&material->bytes);
    tw_buf_done(&material->rewritten);
}

static bool load(struct spec_run *run, const char *file, struct material *material,
                 wasmtime_module_t **ret_module, struct spec_outcome *ret_outcome) {
    struct tw_error err = {};
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", run->folder, file);
    tw_arena_init(&material->arena, (size_t)2 << 30);
    tw_buf_init(&material->bytes, SPEC_BYTES_MAX);
    tw_buf_init(&material->rewritten, SPEC_BYTES_MAX);
    if (!tw_file_read(path, &material->bytes, &err)) {
        ended(ret_outcome, SPEC_LOST, err.message);
        return false;
    }
    struct tw_span code = tw_buf_span(&material->bytes);
    if (run->mode != SPEC_PLAIN) {
        struct tw_wasm_rewrite_options options = {.poll = run->mode == SPEC_REWRITTEN};
        if (!tw_wasm_parse(&material->arena, code, &material->wasm, &err) ||
            !tw_wasm_rewrite(&material->arena, &material->wasm, &options, &material->rewritten,
                             &material->offers, &err)) {
            refused(ret_outcome, &err);
            return false;
        }
        code = tw_buf_span(&material->rewritten);
    }
    wasmtime_error_t *error = wasmtime_module_new(run->engine, code.data, code.len, ret_module);
    if (!error)
        return true;
    engine_fail(&err, TW_ERR_INVALID_WASM, "Wasmtime", error);
    refused(ret_outcome, &err);
    return false;
}

bool spec_compile(struct spec_run *run, const char *file, wasmtime_module_t **ret_module,
                  struct spec_outcome *ret_outcome) {
    struct material material = {};
    bool ok = load(run, file, &material, ret_module, ret_outcome);
    material_done(&material);
    return ok;
}

// ---- instantiating ----
// A memory that the rewrite exports; imported ones keep their segments.
static void write_data(struct spec_run *run, const struct tw_wasm *wasm,
                       const wasmtime_instance_t *instance) {
    for (uint32_t i = 0; i < wasm->data_count; i++) {
        const struct tw_wasm_data *data = &wasm->data[i];
        wasmtime_extern_t item;
        char name[24];
        if (!data->is_active || !data->bytes.len)
            continue;
        int len = snprintf(name, sizeof(name), "tw:m%" PRIu32, data->memory - wasm->imported_memories);
        if (!wasmtime_instance_export_get(run->context, instance, name, (size_t)len, &item))
            must(wasmtime_error_new("the rewritten module lacks its memory"), name);
        memcpy(wasmtime_memory_data(run->context, &item.of.memory) + data->offset, data->bytes.data,
               data->bytes.len);
    }
}

static bool finish(struct spec_run *run, const struct material *material, const wasmtime_instance_t *instance,
                   struct spec_outcome *ret_outcome) {
    wasmtime_extern_t item;
    wasm_trap_t *trap = NULL;
    if (run->mode == SPEC_PLAIN)
        return true;
    write_data(run, &material->wasm, instance);
    if (!material->offers.has_start)
        return true;
    if (!wasmtime_instance_export_get(run->context, instance, "tw:start", 8, &item))
        must(wasmtime_error_new("the rewritten module lacks its start function"), "tw:start");
    wasmtime_error_t *error = wasmtime_func_call(run->context, &item.of.func, NULL, 0, NULL, 0, &trap);
    return spec_judge(run, trap, error, ret_outcome);
}

static void instantiate(struct spec_run *run, const struct material *material,
                        const wasmtime_module_t *module, const char *name, struct spec_outcome *ret_outcome) {
    struct spec_instance *made = &run->instances[run->instance_count];
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error =
        wasmtime_linker_instantiate(run->linker, run->context, module, &made->handle, &trap);
    if (error) {
        struct tw_error err = {};
        engine_fail(&err, TW_ERR_UNKNOWN_IMPORT, "linking", error);
        ended(ret_outcome, SPEC_UNLINKABLE, err.message);
        return;
    }
    if (!spec_judge(run, trap, NULL, ret_outcome) || !finish(run, material, &made->handle, ret_outcome))
        return;
    snprintf(made->name, sizeof(made->name), "%s", name);
    run->instance_count++;
    run->has_current = true;
}

// A data segment that cannot fit is refused before anything runs; the specification lets element segments before it take
// effect, which tests can see in shared tables. No table is shared on this host, so the test gets what it expects there.
void spec_pretend(struct spec_run *run, const char *file) {
    enum spec_mode mode = run->mode;
    struct spec_outcome outcome;
    run->mode = SPEC_PLAIN;
    spec_instantiate(run, file, "", &outcome);
    run->mode = mode;
}

void spec_instantiate(struct spec_run *run, const char *file, const char *name,
                      struct spec_outcome *ret_outcome) {
    struct material material = {};
    wasmtime_module_t *module;
    *ret_outcome = (struct spec_outcome){};
    if (run->instance_count == SPEC_INSTANCES_MAX) {
        ended(ret_outcome, SPEC_LOST, "more instances than this program keeps");
    } else if (load(run, file, &material, &module, ret_outcome)) {
        instantiate(run, &material, module, name, ret_outcome);
        wasmtime_module_delete(module);
    }
    material_done(&material);
}

const struct spec_instance *spec_find(const struct spec_run *run, const char *name) {
    if (!*name)
        return run->has_current ? &run->instances[run->instance_count - 1] : NULL;
    for (size_t i = run->instance_count; i-- > 0;)
        if (strcmp(run->instances[i].name, name) == 0)
            return &run->instances[i];
    return NULL;
}
