// SPDX-License-Identifier: Apache-2.0
//
// Looks at what a module imports before it is compiled, so that the error names the import in the guest's own
// words and suggests the offered name that is nearest to it.

#include "engine/internal.h"

static bool known_module(struct tw_str module) {
    uint32_t count;
    const struct engine_import *table = engine_imports(&count);
    for (uint32_t i = 0; i < count; i++) {
        if (tw_str_equal(tw_str_from(table[i].module), module))
            return true;
    }
    return false;
}

static bool is_unknown(const struct tw_wasm_import *import, struct tw_error *err) {
    uint32_t count;
    const struct engine_import *table = engine_imports(&count), *near = NULL;
    bool same_module = known_module(import->module);
    unsigned nearest = UINT32_MAX;
    for (uint32_t i = 0; i < count; i++) {
        unsigned far = tw_str_distance(tw_str_from(table[i].name), import->name);
        if (!tw_str_equal(tw_str_from(table[i].module), import->module)) {
            if (same_module)
                continue;
            // Another module's function: as far as both names together.
            unsigned modules = tw_str_distance(tw_str_from(table[i].module), import->module);
            far = far > 1000 || modules > 1000 ? UINT32_MAX : far * 2 + modules;
        }
        if (far < nearest) {
            nearest = far;
            near = &table[i];
        }
    }
    size_t tolerable = import->name.len / 2 + (same_module ? 1 : 12);
    if (near && nearest <= tolerable)
        return tw_fail(err, TW_ERR_UNKNOWN_IMPORT,
                       "the module imports %.*s.%.*s, which this host does not offer; did you mean %s.%s?",
                       TW_STR_ARG(import->module), TW_STR_ARG(import->name), near->module, near->name);
    return tw_fail(
        err, TW_ERR_UNKNOWN_IMPORT,
        "the module imports %.*s.%.*s, which this host does not offer; it offers wasi_snapshot_preview1, "
        "wasi_cuda, wasi:tensor/host@0.1.0 and wasi:scheduler/host@0.1.0",
        TW_STR_ARG(import->module), TW_STR_ARG(import->name));
}

static bool type_matches(const struct tw_wasm_functype *type, const char *signature) {
    const char *c = signature;
    for (uint32_t i = 0; i < type->param_count; i++, c++) {
        if (*c == ':' || (*c == 'I') != (type->params[i] == TW_WASM_I64) ||
            (*c == 'i') != (type->params[i] == TW_WASM_I32))
            return false;
    }
    if (*c++ != ':' || type->result_count != strlen(c))
        return false;
    return type->result_count == 0 || type->results[0] == (*c == 'I' ? TW_WASM_I64 : TW_WASM_I32);
}

static void spell(const char *signature, char *ret_text, size_t size) {
    size_t len = 0;
    bool first = true;
    len += (size_t)snprintf(ret_text, size, "(");
    for (const char *c = signature; *c && len + 8 < size; c++) {
        if (*c == ':') {
            len += (size_t)snprintf(ret_text + len, size - len, ") -> (");
            first = true;
            continue;
        }
        len +=
            (size_t)snprintf(ret_text + len, size - len, "%s%s", first ? "" : " ", *c == 'I' ? "i64" : "i32");
        first = false;
    }
    snprintf(ret_text + len, size - len, ")");
}

static bool check_one(const struct tw_wasm *wasm, const struct tw_wasm_import *import, struct tw_error *err) {
    static const char *const kinds[] = {"function", "table", "memory", "global", "tag"};
    if (import->kind != TW_WASM_FUNC)
        return tw_fail(
            err, TW_ERR_UNKNOWN_IMPORT,
            "the module imports the %s %.*s.%.*s; this host offers functions only, define it in the module",
            kinds[import->kind], TW_STR_ARG(import->module), TW_STR_ARG(import->name));
    uint32_t count;
    const struct engine_import *table = engine_imports(&count);
    for (uint32_t i = 0; i < count; i++) {
        if (!tw_str_equal(tw_str_from(table[i].name), import->name) ||
            !tw_str_equal(tw_str_from(table[i].module), import->module))
            continue;
        if (type_matches(&wasm->types[import->type], table[i].signature))
            return true;
        char text[128];
        spell(table[i].signature, text, sizeof(text));
        return tw_fail(err, TW_ERR_UNKNOWN_IMPORT,
                       "the module imports %.*s.%.*s with another signature; it is %s",
                       TW_STR_ARG(import->module), TW_STR_ARG(import->name), text);
    }
    return is_unknown(import, err);
}

bool engine_check_imports(const struct tw_wasm *wasm, struct tw_error *err) {
    for (uint32_t i = 0; i < wasm->import_count; i++) {
        if (!check_one(wasm, &wasm->imports[i], err))
            return false;
    }
    return true;
}
