// SPDX-License-Identifier: Apache-2.0
//
// Names and their scopes: one hash table whose newest entry of a name shadows older ones, and a list in order
// of declaration that leaving a scope unwinds. `%r<100>` is one symbol: a name that is not there is looked up
// without its trailing digits.

#include "internal.h"

uint64_t ptx_hash(uint64_t seed, struct tw_str text) {
    uint64_t hash = seed ^ text.len * 0x9e3779b97f4a7c15;
    const char *at = text.data;
    for (size_t left = text.len; left;) {
        size_t step = left < 8 ? left : 8;
        uint64_t word = 0;
        memcpy(&word, at, step);
        unsigned __int128 product = (unsigned __int128)(hash ^ word) * 0xa0761d6478bd642f;
        hash = (uint64_t)product ^ (uint64_t)(product >> 64) ^ seed;
        at += step;
        left -= step;
    }
    return hash;
}

static struct ptx_symbol **bucket(struct ptx_symbols *symbols, uint64_t hash) {
    return &symbols->buckets[hash & (symbols->bucket_count - 1)];
}

// As many buckets as asked for. Symbols go in again in order of declaration, so that the newest of a name
// stays in front.
static bool spread(struct ptx_parser *parser, uint32_t bucket_count) {
    struct ptx_symbols *symbols = &parser->symbols;
    struct ptx_symbol **buckets = TW_ARENA_ARRAY(parser->arena, struct ptx_symbol *, bucket_count);
    struct ptx_symbol **all = TW_ARENA_ARRAY(parser->arena, struct ptx_symbol *, symbols->count + 1);
    if (!buckets || !all)
        return ptx_fail_memory(parser);
    uint32_t at = symbols->count;
    for (struct ptx_symbol *s = symbols->last; s; s = s->previous)
        all[--at] = s;
    symbols->buckets = buckets;
    symbols->bucket_count = bucket_count;
    for (; at < symbols->count; at++) {
        struct ptx_symbol **slot = bucket(symbols, all[at]->hash);
        all[at]->next = *slot;
        *slot = all[at];
    }
    return true;
}

bool ptx_symbols_init(struct ptx_parser *parser) {
    enum { FIRST_BUCKETS = 256 }; // most kernels have fewer symbols
    parser->symbols = (struct ptx_symbols){};
    tw_random(&parser->symbols.seed, sizeof parser->symbols.seed); // so that tenants cannot choose collisions
    return spread(parser, FIRST_BUCKETS);
}

static struct ptx_symbol *find_hashed(const struct ptx_parser *parser, struct tw_str name, uint64_t hash) {
    const struct ptx_symbols *symbols = &parser->symbols;
    for (struct ptx_symbol *s = symbols->buckets[hash & (symbols->bucket_count - 1)]; s; s = s->next)
        if (s->hash == hash && tw_str_equal(s->name, name))
            return s;
    return NULL;
}

struct ptx_symbol *ptx_symbol_find(const struct ptx_parser *parser, struct tw_str name) {
    return find_hashed(parser, name, ptx_hash(parser->symbols.seed, name));
}

struct ptx_symbol *ptx_symbol_add(struct ptx_parser *parser, const struct ptx_token *name,
                                  enum ptx_symbol_kind kind) {
    uint64_t hash = ptx_hash(parser->symbols.seed, name->text);
    struct ptx_symbol *old = find_hashed(parser, name->text, hash);
    if (old && old->scope == parser->scope) {
        ptx_fail(parser, name, "'%.*s' is declared twice in this scope", (int)name->text.len,
                 name->text.data);
        return NULL;
    }
    if (parser->symbols.count >= parser->symbols.bucket_count &&
        !spread(parser, parser->symbols.bucket_count * 4))
        return NULL;
    struct ptx_symbol *symbol = TW_ARENA_NEW(parser->arena, struct ptx_symbol);
    if (!symbol) {
        ptx_fail_memory(parser);
        return NULL;
    }
    parser->symbols.count++;
    struct ptx_symbol **slot = bucket(&parser->symbols, hash);
    *symbol = (struct ptx_symbol){.name = name->text,
                                  .hash = hash,
                                  .next = *slot,
                                  .previous = parser->symbols.last,
                                  .kind = kind,
                                  .index = TW_KIR_NO_REG,
                                  .scope = parser->scope};
    *slot = parser->symbols.last = symbol;
    return symbol;
}

void ptx_symbols_pop(struct ptx_parser *parser, uint32_t scope) {
    struct ptx_symbols *symbols = &parser->symbols;
    while (symbols->last && symbols->last->scope > scope) {
        // The newest symbol of all is the first of its bucket.
        *bucket(symbols, symbols->last->hash) = symbols->last->next;
        symbols->last = symbols->last->previous;
        symbols->count--;
    }
}

// The member `number` of a range, made when it is first named.
static bool range_member(struct ptx_parser *parser, const struct ptx_symbol *range, struct tw_str name,
                         uint64_t number, uint32_t *ret_reg) {
    if (number >= range->count)
        return true;
    if (range->list[number] == TW_KIR_NO_REG) {
        // Deeper scopes may declare the same names again; IR names are unique.
        char *text = range->scope > 1 ? tw_arena_printf(parser->arena, "%.*s.%u", TW_STR_ARG(name),
                                                        ptx_current(parser)->reg_count)
                                      : tw_arena_str(parser->arena, name);
        if (!text)
            return ptx_fail_memory(parser);
        range->list[number] = tw_kir_reg_add(parser->module, ptx_current(parser), text,
                                             tw_kir_type_bits(range->type), parser->err);
        if (range->list[number] == TW_KIR_NO_REG)
            return false;
    }
    *ret_reg = range->list[number];
    return true;
}

bool ptx_range_find(struct ptx_parser *parser, struct tw_str name, uint32_t *ret_reg, uint8_t *ret_type) {
    enum { MOST_DIGITS = 6 }; // of a member's number: TW_KIR_MAX_REGS has six
    *ret_reg = TW_KIR_NO_REG;
    size_t stem = name.len;
    while (stem > 1 && name.len - stem < MOST_DIGITS && name.data[stem - 1] >= '0' &&
           name.data[stem - 1] <= '9')
        stem--;
    // %r10 may be member 10 of %r<…> or member 0 of %r1<…>: the shortest stem is by far the usual one.
    for (; stem < name.len; stem++) {
        uint64_t number;
        bool leading_zero = name.data[stem] == '0' && name.len - stem > 1;
        const struct ptx_symbol *symbol = ptx_symbol_find(parser, tw_str_of(name.data, stem));
        if (!symbol || symbol->kind != PTX_SYM_RANGE || leading_zero ||
            !tw_str_u64(tw_str_of(name.data + stem, name.len - stem), &number))
            continue;
        if (!range_member(parser, symbol, name, number, ret_reg))
            return false;
        if (*ret_reg != TW_KIR_NO_REG) {
            *ret_type = symbol->type;
            return true;
        }
    }
    return true;
}
