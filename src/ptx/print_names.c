// SPDX-License-Identifier: Apache-2.0
//
// Names of the printed text. The IR's names are kept where PTX allows them. A variable of a function has the
// IR name FUNCTION.NAME.NUMBER and becomes NAME again; where two would clash, the second is NAME$1. Names
// that begin with '$' or '%' are the printer's: labels and registers.
//
// Owner 0 is the module, f + 1 function f: its parameters and variables. A name of a function shadows nothing
// of the module.

#include "print.h"

static struct ptx_name *slot_of(const struct ptx_printer *p, struct tw_str text, uint32_t owner) {
    uint64_t slot = ptx_hash(p->seed + owner, text) % p->name_slots;
    while (p->names[slot].text.data &&
           (p->names[slot].owner != owner || !tw_str_equal(p->names[slot].text, text)))
        slot = (slot + 1) % p->name_slots;
    return &p->names[slot];
}

static bool is_taken(const struct ptx_printer *p, struct tw_str text, uint32_t owner) {
    return slot_of(p, text, 0)->text.data || slot_of(p, text, owner)->text.data;
}

// Says that no owner may shadow this name: PTX_ANY_OWNER holds every name that some function has.
enum { ANY_OWNER = 0xffffffff };

static void take(struct ptx_printer *p, struct tw_str text, uint32_t owner) {
    *slot_of(p, text, owner) = (struct ptx_name){.text = text, .owner = owner};
    struct ptx_name *any = slot_of(p, text, ANY_OWNER);
    if (!any->text.data)
        *any = (struct ptx_name){.text = text, .owner = ANY_OWNER};
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_rest(char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || c == '$';
}

static bool is_identifier(const struct ptx_printer *p, struct tw_str text) {
    static const char *const meant_otherwise[] = {"_",       "WARP_SZ", "generic", "mask",
                                                  "vprintf", "tw_base", "tw_mask"};
    size_t count = TW_COUNT(meant_otherwise) - (p->options->fence ? 0 : 2);
    if (text.len == 0 || !is_letter(text.data[0]))
        return false;
    for (size_t i = 1; i < text.len; i++)
        if (!is_rest(text.data[i]))
            return false;
    for (size_t i = 0; i < count; i++)
        if (ptx_text_is(text, meant_otherwise[i]))
            return false;
    return true;
}

// FUNCTION.NAME.NUMBER → NAME
static struct tw_str stem(struct tw_str text, const char *function) {
    size_t prefix = function ? strlen(function) : 0;
    if (!function || text.len <= prefix || text.data[prefix] != '.' ||
        memcmp(text.data, function, prefix) != 0)
        return text;
    struct tw_str name = tw_str_of(text.data + prefix + 1, text.len - prefix - 1);
    for (size_t at = name.len; at > 1; at--)
        if (name.data[at - 1] == '.')
            return tw_str_of(name.data, at - 1);
    return name;
}

// An identifier as like `text` as can be.
static char *identifier(struct ptx_printer *p, struct tw_str text) {
    char *name = is_identifier(p, text) ? tw_arena_str(&p->arena, text)
                                        : tw_arena_printf(&p->arena, "v_%.*s", TW_STR_ARG(text));
    for (char *at = name; at && *at; at++)
        if (!is_rest(*at))
            *at = '_';
    return name;
}

// A name for `owner`; with `alone` one that no function has either.
static const char *unique(struct ptx_printer *p, struct tw_str wish, uint32_t owner, bool alone) {
    char *name = identifier(p, wish);
    struct tw_str text = tw_str_from(name);
    uint32_t group = alone ? ANY_OWNER : owner;
    if (!name || !is_taken(p, text, group)) {
        if (name)
            take(p, text, owner);
        return name;
    }
    struct ptx_name *first = slot_of(p, text, 0);
    if (!first->text.data)
        first = slot_of(p, text, group);
    for (;;) {
        char *next = tw_arena_printf(&p->arena, "%s$%u", name, ++first->next_suffix);
        if (!next || !is_taken(p, tw_str_from(next), group)) {
            if (next)
                take(p, tw_str_from(next), owner);
            return next;
        }
    }
}

static bool name_functions(struct ptx_printer *p) {
    const struct tw_kir_module *module = p->module;
    for (uint32_t i = 0; i < module->function_count; i++)
        if (module->functions[i].is_entry) { // what the host asks for
            p->function_names[i] = module->functions[i].name;
            take(p, tw_str_from(module->functions[i].name), 0);
        }
    for (uint32_t i = 0; i < module->function_count; i++)
        if (!module->functions[i].is_entry &&
            !(p->function_names[i] = unique(p, tw_str_from(module->functions[i].name), 0, true)))
            return false;
    return true;
}

static bool name_params(struct ptx_printer *p, uint32_t f) {
    const struct tw_kir_function *function = &p->module->functions[f];
    p->param_names[f] = TW_ARENA_ARRAY(&p->arena, const char *, function->param_count + 1);
    if (!p->param_names[f])
        return false;
    for (uint32_t i = 0; function->is_entry && i < function->param_count; i++)
        if (!(p->param_names[f][i] = unique(p, tw_str_from(function->params[i].name), f + 1, false)))
            return false;
    return true;
}

static bool name_variables(struct ptx_printer *p, bool of_functions) {
    for (uint32_t i = 0; i < p->module->variable_count; i++) {
        const struct tw_kir_variable *variable = &p->module->variables[i];
        bool owned = variable->function != TW_KIR_NO_REG;
        if (owned != of_functions)
            continue;
        struct tw_str wish = tw_str_from(variable->name);
        if (owned)
            wish = stem(wish, p->module->functions[variable->function].name);
        p->variable_names[i] = unique(p, wish, owned ? variable->function + 1 : 0, !owned);
        if (!p->variable_names[i])
            return false;
    }
    return true;
}

bool ptx_names(struct ptx_printer *p) {
    const struct tw_kir_module *module = p->module;
    uint64_t count = module->function_count + module->variable_count;
    for (uint32_t i = 0; i < module->function_count; i++)
        count += module->functions[i].param_count;
    p->name_slots = (uint32_t)(count * 4 + 16); // two entries a name, half of the slots free
    tw_random(&p->seed, sizeof p->seed);        // so that tenants cannot choose collisions
    p->names = TW_ARENA_ARRAY(&p->arena, struct ptx_name, p->name_slots);
    p->function_names = TW_ARENA_ARRAY(&p->arena, const char *, module->function_count + 1);
    p->variable_names = TW_ARENA_ARRAY(&p->arena, const char *, module->variable_count + 1);
    p->param_names = TW_ARENA_ARRAY(&p->arena, const char **, module->function_count + 1);
    if (!p->names || !p->function_names || !p->variable_names || !p->param_names || !name_functions(p))
        return ptx_print_full(p);
    for (uint32_t f = 0; f < module->function_count; f++)
        if (!name_params(p, f))
            return ptx_print_full(p);
    return (name_variables(p, true) && name_variables(p, false)) || ptx_print_full(p);
}
