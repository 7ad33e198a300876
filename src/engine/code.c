// SPDX-License-Identifier: Apache-2.0
//
// Compiled code, shared by all modules whose rewritten bytes are the same, whoever's they are: code holds nothing of
// anybody. An artifact's file stays open and is mapped when an instance is made of it:
//
//     artifact cache ─tw_compile─▶ file, open ─first instance─▶ mapped, linked ─limit on what is mapped─▶ file, open
//
// Mapping copies nothing and compiles nothing. Beyond the limit the code that was used longest ago and of which there
// is no instance is unmapped; the next instance maps it again.

#include <fcntl.h>
#include <unistd.h>

#include "engine/internal.h"

struct engine_code {
    struct tw_engine *engine;
    struct tw_digest key; // the artifact's
    uint64_t bytes;
    int fd; // of the artifact
    // ---- guarded by the engine's lock of codes ----
    uint32_t references;               // modules' and instances'
    struct engine_code *older, *newer; // in order of use, while it is mapped
    // ---- guarded by `lock` ----
    struct tw_lock lock;
    uint32_t instances;
    wasmtime_module_t *module; // NULL: not mapped
    wasmtime_instance_pre_t *pre;
};

// ---- mapped code in the order of its use; the caller holds the lock of codes ----

static void unlist_locked(struct engine_codes *codes, struct engine_code *code) {
    *(code->newer ? &code->newer->older : &codes->newest) = code->older;
    *(code->older ? &code->older->newer : &codes->oldest) = code->newer;
    code->newer = code->older = NULL;
}

static void list_locked(struct engine_codes *codes, struct engine_code *code) {
    code->older = codes->newest;
    *(codes->newest ? &codes->newest->newer : &codes->oldest) = code;
    codes->newest = code;
}

// ---- getting ----

static struct engine_code *code_new(struct tw_engine *engine, const struct tw_artifact *artifact,
                                    struct tw_error *err) {
    struct engine_code *code = tw_alloc_zero(1, sizeof(*code));
    if (!code) {
        tw_fail(err, TW_ERR_CAPACITY, "no memory for a module");
        return NULL;
    }
    code->fd = fcntl(tw_artifact_fd(artifact), F_DUPFD_CLOEXEC, 0);
    if (code->fd < 0) {
        tw_fail_errno(err, TW_ERR_CAPACITY, errno, "compiled code cannot be kept open; raise `ulimit -n`");
        free(code);
        return NULL;
    }
    tw_lock_init(&code->lock);
    code->engine = engine;
    code->key = tw_artifact_key(artifact);
    code->bytes = tw_artifact_bytes(artifact).len;
    return code;
}

static void code_free(struct engine_code *code) {
    if (!code)
        return;
    close(code->fd);
    tw_lock_done(&code->lock);
    free(code);
}

struct engine_code *engine_code_get(struct tw_engine *engine, const struct tw_artifact *artifact,
                                    struct tw_error *err) {
    struct engine_codes *codes = &engine->codes;
    struct tw_digest key = tw_artifact_key(artifact);
    TW_LOCK_SCOPE(&codes->lock);
    struct engine_code *code = tw_map_find(&codes->by_key, tw_span_of(key.bytes, sizeof(key.bytes)));
    if (!code) {
        code = code_new(engine, artifact, err);
        if (!code)
            return NULL;
        if (!tw_map_put(&codes->by_key, tw_span_of(key.bytes, sizeof(key.bytes)), code)) {
            tw_fail(err, TW_ERR_CAPACITY, "no memory for a module");
            code_free(code);
            return NULL;
        }
    }
    code->references++;
    return code;
}

// ---- mapping ----

static bool map_locked(struct engine_code *code, struct tw_error *err) {
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", code->fd);
    wasmtime_error_t *error = wasmtime_module_deserialize_file(code->engine->wasmtime, path, &code->module);
    if (error)
        return engine_fail(err, TW_ERR_COMPILE_FAILED, "the compiled code could not be loaded", error);
    error = wasmtime_linker_instantiate_pre(code->engine->linker, code->module, &code->pre);
    if (!error)
        return true;
    wasmtime_module_delete(code->module);
    code->module = NULL;
    return engine_fail(err, TW_ERR_UNKNOWN_IMPORT, "the imports could not be linked", error);
}

// False: there are instances of it.
static bool try_unmap(struct engine_code *code) {
    TW_LOCK_SCOPE(&code->lock);
    if (code->instances)
        return false;
    if (code->module) {
        wasmtime_instance_pre_delete(code->pre);
        wasmtime_module_delete(code->module);
        code->module = NULL;
        code->pre = NULL;
    }
    return true;
}

// The code has just been used: it becomes the newest, and what is oldest and unused goes as far as need be.
static void use(struct engine_codes *codes, struct engine_code *code, uint64_t max_bytes) {
    TW_LOCK_SCOPE(&codes->lock);
    bool is_listed = codes->newest == code || code->newer || code->older;
    if (is_listed)
        unlist_locked(codes, code);
    else
        tw_counter_add(&codes->mapped_bytes, (int64_t)code->bytes);
    list_locked(codes, code);
    code->references++;
    uint64_t mapped = (uint64_t)tw_counter_get(&codes->mapped_bytes);
    for (struct engine_code *at = codes->oldest, *newer; at && mapped > max_bytes; at = newer) {
        newer = at->newer;
        if (at == code || !try_unmap(at))
            continue;
        unlist_locked(codes, at);
        mapped -= at->bytes;
        tw_counter_set(&codes->mapped_bytes, (int64_t)mapped);
    }
}

const wasmtime_instance_pre_t *engine_code_take(struct engine_code *code, struct tw_error *err) {
    const struct tw_engine_options *options = &code->engine->options;
    {
        TW_LOCK_SCOPE(&code->lock);
        if (!code->module && !map_locked(code, err))
            return NULL;
        code->instances++; // from here on it stays mapped
    }
    use(&code->engine->codes, code, options->max_code_bytes);
    return code->pre;
}

void engine_code_drop(struct engine_code *code) {
    if (!code)
        return;
    struct engine_codes *codes = &code->engine->codes;
    {
        TW_LOCK_SCOPE(&codes->lock);
        if (--code->references)
            return;
        tw_map_remove(&codes->by_key, tw_span_of(code->key.bytes, sizeof(code->key.bytes)));
        if (codes->newest == code || code->newer || code->older) {
            unlist_locked(codes, code);
            tw_counter_add(&codes->mapped_bytes, -(int64_t)code->bytes);
        }
    }
    bool is_unused = try_unmap(code);
    TW_ASSERT(is_unused);
    code_free(code);
}

void engine_code_give(struct engine_code *code) {
    if (!code)
        return;
    tw_lock_take(&code->lock);
    code->instances--;
    tw_lock_give(&code->lock);
    engine_code_drop(code);
}

// ---- the table ----

void engine_codes_init(struct engine_codes *codes) {
    tw_lock_init(&codes->lock);
    tw_map_init(&codes->by_key, ENGINE_CODES_MAX);
}

void engine_codes_done(struct engine_codes *codes) {
    tw_map_done(&codes->by_key);
    tw_lock_done(&codes->lock);
}
