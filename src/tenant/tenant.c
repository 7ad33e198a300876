// SPDX-License-Identifier: Apache-2.0
//
// The set of tokens and the one question asked of it: who is this, and may they?

#include "tenant/tenant.h"

#include "tenant/internal.h"

struct tenant_tokens *tenant_tokens_new(struct tw_error *err) {
    struct tenant_tokens *set = tw_alloc_zero(1, sizeof *set);
    if (!set) {
        tw_fail(err, TW_ERR_CAPACITY, "out of memory");
        return NULL;
    }
    tw_ref_init(&set->ref);
    tw_map_init(&set->by_digest, TENANT_TOKENS_MAX);
    return set;
}

// Keys this short lie in the map's slots.
static struct tw_span key_of(const struct tw_digest *digest) {
    return tw_span_of(digest->bytes, 16);
}

bool tenant_tokens_index(struct tenant_tokens *set, struct tw_error *err) {
    for (size_t i = 0; i < set->count; i++)
        if (!tw_map_put(&set->by_digest, key_of(&set->items[i].digest), (void *)(i + 1)))
            return tw_fail(err, TW_ERR_CAPACITY, "out of memory");
    return true;
}

void tenant_tokens_unref(struct tenant_tokens *set) {
    if (!set || !tw_ref_down(&set->ref))
        return;
    for (size_t i = 0; i < set->count; i++)
        free(set->items[i].tenants);
    free(set->items);
    tw_map_done(&set->by_digest);
    free(set);
}

static bool read_file(const struct tw_tenants *tenants, struct tenant_tokens *set, struct tw_error *err) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf text;
    tw_buf_init(&text, TENANT_CONFIG_MAX);
    if (tw_file_read(tenants->file, &text, err) && tenant_parse_file(set, tw_buf_str(&text), err))
        return true;
    err->code = TW_ERR_INVALID_REQUEST; // whatever it was, the setting has to be mended
    return tw_wrap(err, "the tokens file %s", tenants->file);
}

static bool read_all(struct tw_tenants *tenants, const struct tw_tenants_options *options,
                     struct tw_error *err) {
    tenants->set = tenant_tokens_new(err);
    struct tw_str tokens = tw_str_trim(tw_str_from(options->tokens));
    if (!tenants->set || !tenant_parse_tokens(tenants->set, tokens, err))
        return false;
    if (options->tokens_file && *options->tokens_file) {
        tenants->file = tw_str_dup(tw_str_from(options->tokens_file));
        return tenants->file ? read_file(tenants, tenants->set, err)
                             : tw_fail(err, TW_ERR_CAPACITY, "out of memory");
    }
    return tokens.len || options->dev_mode || tenant_load_admin(tenants, options->data_dir, err);
}

static bool fill(struct tw_tenants *tenants, const struct tw_tenants_options *options, struct tw_error *err) {
    return read_all(tenants, options, err) && tenant_tokens_index(tenants->set, err);
}

struct tw_tenants *tw_tenants_new(const struct tw_tenants_options *options, struct tw_error *err) {
    struct tw_tenants *tenants = tw_alloc_zero(1, sizeof *tenants);
    if (!tenants) {
        tw_fail(err, TW_ERR_CAPACITY, "out of memory");
        return NULL;
    }
    tw_lock_init(&tenants->lock);
    tenants->is_open = options->dev_mode;
    tenants->require_tenant = options->require_tenant;
    if (fill(tenants, options, err))
        return tenants;
    tw_tenants_free(tenants);
    return NULL;
}

void tw_tenants_free(struct tw_tenants *tenants) {
    if (!tenants)
        return;
    tenant_tokens_unref(tenants->set);
    tw_lock_done(&tenants->lock);
    free(tenants->admin_path);
    free(tenants->file);
    free(tenants);
}

// The set as it is now, with a reference.
static struct tenant_tokens *get_set(struct tw_tenants *tenants) {
    TW_LOCK_SCOPE(&tenants->lock);
    tw_ref_up(&tenants->set->ref);
    return tenants->set;
}

// The tokens that did not come from the file.
static bool copy_fixed(const struct tenant_tokens *old, struct tenant_tokens *new, struct tw_error *err) {
    for (size_t i = 0; i < old->count; i++) {
        const struct tenant_token *from = &old->items[i];
        if (from->is_from_file)
            continue;
        if (!tenant_add_token(new, from->digest, from->role, from->all_tenants, err))
            return false;
        struct tenant_token *to = &new->items[new->count - 1];
        to->expires_ns = from->expires_ns;
        to->tenants = tw_alloc(from->tenant_count * sizeof to->tenants[0] + 1);
        if (!to->tenants)
            return tw_fail(err, TW_ERR_CAPACITY, "out of memory");
        to->tenant_count = to->tenant_capacity = from->tenant_count;
        if (from->tenant_count)
            memcpy(to->tenants, from->tenants, from->tenant_count * sizeof to->tenants[0]);
    }
    return true;
}

bool tw_tenants_reload(struct tw_tenants *tenants, struct tw_error *err) {
    if (!tenants->file)
        return true;
    struct tenant_tokens *old = get_set(tenants), *new = tenant_tokens_new(err);
    bool ok =
        new && copy_fixed(old, new, err) && read_file(tenants, new, err) && tenant_tokens_index(new, err);
    tenant_tokens_unref(old);
    if (!ok) {
        tenant_tokens_unref(new);
        return false;
    }
    {
        TW_LOCK_SCOPE(&tenants->lock);
        old = tenants->set;
        tenants->set = new;
    }
    tenant_tokens_unref(old);
    return true;
}

bool tw_tokens_line_check(struct tw_str line, struct tw_error *err) {
    struct tenant_tokens *set = tenant_tokens_new(err);
    bool ok = set && tenant_parse_file(set, line, err);
    tenant_tokens_unref(set);
    return ok;
}

const char *tw_tenants_admin_token_path(const struct tw_tenants *tenants) {
    return tenants->admin_path;
}

bool tw_tenants_open(const struct tw_tenants *tenants) {
    return tenants->is_open;
}

// The map hashes a sha256 under a key of this process, so the time of a miss tells a stranger nothing about
// which digests are known; the digest that was found is compared whole, in constant time.
static const struct tenant_token *find_token(const struct tenant_tokens *set,
                                             const struct tw_digest *digest) {
    size_t place = (size_t)tw_map_find(&set->by_digest, key_of(digest));
    if (place == 0 || !tw_digest_equal(&set->items[place - 1].digest, digest))
        return NULL;
    return &set->items[place - 1];
}

static bool in_scope(const struct tenant_token *token, uint64_t tenant) {
    if (token->all_tenants || (token->tenant_count == 0 && tenant == 0))
        return true;
    for (size_t i = 0; i < token->tenant_count; i++)
        if (token->tenants[i] == tenant)
            return true;
    return false;
}

static bool parse_tenant(const struct tw_tenants *tenants, struct tw_str text, uint64_t *ret_tenant,
                         struct tw_error *err) {
    *ret_tenant = 0;
    if (text.len == 0 && !tenants->require_tenant)
        return true;
    if (text.len == 0)
        return tw_fail(err, TW_ERR_INVALID_TENANT, "this server wants the header X-TensorWasm-Tenant");
    // One spelling each: others that compare texts must not be deceived by 07.
    bool is_plain = text.len == 1 || text.data[0] != '0';
    if (!is_plain || !tw_str_u64(text, ret_tenant))
        return tw_fail(err, TW_ERR_INVALID_TENANT,
                       "X-TensorWasm-Tenant takes a decimal number from 0 to %" PRIu64
                       ", without zeros before it",
                       UINT64_MAX);
    return true;
}

// Authorization: Bearer TOKEN. The scheme's case does not matter (RFC 9110, 11.1).
static bool bearer(struct tw_str authorization, struct tw_str *ret_token, struct tw_error *err) {
    struct tw_str rest = tw_str_trim(authorization);
    if (rest.len == 0)
        return tw_fail(err, TW_ERR_UNAUTHORIZED, "send the header 'Authorization: Bearer TOKEN'");
    struct tw_str scheme = tw_str_cut(&rest, ' ');
    if (!tw_str_equal_nocase(scheme, TW_STR("bearer")))
        return tw_fail(err, TW_ERR_UNAUTHORIZED, "the Authorization header has to be of the Bearer scheme");
    *ret_token = tw_str_trim(rest);
    return true;
}

static bool authorise_in(const struct tw_tenants *tenants, const struct tenant_tokens *set,
                         struct tw_str authorization, struct tw_str tenant, struct tw_caller *ret_caller,
                         struct tw_error *err) {
    struct tw_str text;
    if (!bearer(authorization, &text, err))
        return false;
    struct tw_digest digest = tw_sha256(tw_span_of(text.data, text.len));
    const struct tenant_token *token = find_token(set, &digest);
    if (!token)
        return tw_fail(err, TW_ERR_UNAUTHORIZED, "the token is not known here");
    ret_caller->role = token->role;
    ret_caller->all_tenants = token->all_tenants;
    tw_hex(tw_span_of(digest.bytes, 8), ret_caller->token_id);
    if (token->expires_ns && tw_clock_wall_ns() >= token->expires_ns)
        return tw_fail(err, TW_ERR_UNAUTHORIZED, "the token has expired");
    if (!parse_tenant(tenants, tenant, &ret_caller->tenant, err))
        return false;
    return in_scope(token, ret_caller->tenant) ||
           tw_fail(err, TW_ERR_TENANT_SCOPE, "the token does not cover tenant %" PRIu64, ret_caller->tenant);
}

bool tw_tenants_authorise(struct tw_tenants *tenants, struct tw_str authorization, struct tw_str tenant,
                          struct tw_caller *ret_caller, struct tw_error *err) {
    *ret_caller = (struct tw_caller){};
    if (tenants->is_open) {
        *ret_caller = (struct tw_caller){.role = TW_ROLE_ADMIN, .token_id = "dev", .all_tenants = true};
        return parse_tenant(tenants, tenant, &ret_caller->tenant, err);
    }
    struct tenant_tokens *set = get_set(tenants);
    bool ok = authorise_in(tenants, set, authorization, tenant, ret_caller, err);
    tenant_tokens_unref(set);
    return ok;
}

bool tw_caller_may(const struct tw_caller *caller, enum tw_role role, struct tw_error *err) {
    static const char *const names[] = {"invoke", "deploy", "admin"};
    if (caller->role >= role)
        return true;
    return tw_fail(err, TW_ERR_ROLE_DENIED, "this needs the role %s; the token has %s", names[role],
                   names[caller->role]);
}
