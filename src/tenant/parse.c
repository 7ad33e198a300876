// SPDX-License-Identifier: Apache-2.0
//
// The grammars of TENSOR_WASM_API_TOKENS and of the tokens file (internal.h). Messages name a token by its
// position, never by its text.

#include "tenant/internal.h"

bool tenant_add_token(struct tenant_tokens *set, struct tw_digest digest, enum tw_role role, bool all_tenants,
                      struct tw_error *err) {
    struct tenant_token entry = {.digest = digest, .role = role, .all_tenants = all_tenants};
    if (!TW_VEC_PUSH(set, entry, TENANT_TOKENS_MAX))
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "more than %d tokens", TENANT_TOKENS_MAX);
    return true;
}

static bool is_number_start(struct tw_str s) {
    return s.len > 0 && s.data[0] >= '0' && s.data[0] <= '9';
}

// The next piece up to `,` or `:`; `*ret_separator` is what ended it, 0 at the end.
static struct tw_str next_piece(struct tw_str *rest, char *ret_separator) {
    size_t len = 0;
    while (len < rest->len && rest->data[len] != ',' && rest->data[len] != ':')
        len++;
    struct tw_str piece = tw_str_of(rest->data, len);
    *ret_separator = len < rest->len ? rest->data[len] : 0;
    *rest = tw_str_of(rest->data + len + (*ret_separator != 0), rest->len - len - (*ret_separator != 0));
    return tw_str_trim(piece);
}

// Does what follows a comma go on with the tenant list? A lone number does; a token is longer than any u64.
static bool continues_list(struct tw_str rest) {
    char separator;
    struct tw_str piece = next_piece(&rest, &separator);
    uint64_t ignored;
    return is_number_start(piece) && piece.len < TENANT_TOKEN_MIN + 5 && tw_str_u64(piece, &ignored);
}

static bool parse_tenants(struct tenant_token *token, struct tw_str value, struct tw_str *rest,
                          char *separator, size_t position, struct tw_error *err) {
    if (tw_str_equal(value, TW_STR("*"))) {
        token->all_tenants = true;
        return true;
    }
    struct {
        uint64_t *items;
        size_t count, capacity;
    } list = {.items = token->tenants, .count = token->tenant_count, .capacity = token->tenant_capacity};
    for (;;) {
        uint64_t tenant;
        bool ok = tw_str_u64(value, &tenant) && TW_VEC_PUSH(&list, tenant, TENANT_SCOPE_MAX);
        token->tenants = list.items;
        token->tenant_count = list.count;
        token->tenant_capacity = list.capacity;
        if (!ok)
            return tw_fail(err, TW_ERR_INVALID_REQUEST,
                           "token %zu: 'tenant=' takes * or up to %d numbers separated by commas", position,
                           TENANT_SCOPE_MAX);
        if (*separator != ',' || !continues_list(*rest))
            return true;
        value = next_piece(rest, separator);
    }
}

static bool parse_role(struct tenant_token *token, struct tw_str value, size_t position,
                       struct tw_error *err) {
    static const char *const names[] = {"invoke", "deploy", "admin"};
    for (size_t i = 0; i < TW_COUNT(names); i++)
        if (tw_str_equal(value, tw_str_from(names[i]))) {
            token->role = (enum tw_role)i;
            return true;
        }
    return tw_fail(err, TW_ERR_INVALID_REQUEST, "token %zu: 'role=' takes invoke, deploy or admin", position);
}

// YYYY-MM-DD: the first moment of that day, in UTC.
static bool parse_expires(struct tenant_token *token, struct tw_str value, size_t position,
                          struct tw_error *err) {
    struct tw_str rest = value;
    struct tw_str year = tw_str_cut(&rest, '-'), month = tw_str_cut(&rest, '-');
    uint64_t y, m, d;
    bool ok = year.len == 4 && month.len == 2 && rest.len == 2 && tw_str_u64(year, &y) &&
              tw_str_u64(month, &m) && tw_str_u64(rest, &d) && y >= 1970 && y <= 2261;
    if (ok) {
        struct tm parts = {.tm_year = (int)y - 1900, .tm_mon = (int)m - 1, .tm_mday = (int)d};
        time_t seconds = timegm(&parts); // carries days that do not exist over into the next month
        ok = parts.tm_mon == (int)m - 1 && parts.tm_mday == (int)d;
        token->expires_ns = (int64_t)seconds * TW_NS_PER_S + 1; // not 0 in 1970
    }
    return ok ||
           tw_fail(err, TW_ERR_INVALID_REQUEST, "token %zu: 'expires=' takes a day as YYYY-MM-DD", position);
}

static bool check_token_text(struct tw_str text, size_t position, struct tw_error *err) {
    if (text.len < TENANT_TOKEN_MIN || text.len > TENANT_TOKEN_MAX)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "token %zu has %zu characters; %d to %d are allowed",
                       position, text.len, TENANT_TOKEN_MIN, TENANT_TOKEN_MAX);
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] <= ' ' || text.data[i] > '~')
            return tw_fail(err, TW_ERR_INVALID_REQUEST, "token %zu has a character that is not visible ASCII",
                           position);
    return true;
}

// What follows a token, to the comma or the end.
static bool parse_options(struct tenant_token *token, struct tw_str *rest, char separator, size_t position,
                          struct tw_error *err) {
    while (separator == ':') {
        struct tw_str option = next_piece(rest, &separator);
        struct tw_str value = option;
        struct tw_str key = tw_str_cut(&value, '=');
        if (tw_str_equal(key, TW_STR("tenant"))) {
            if (!parse_tenants(token, value, rest, &separator, position, err))
                return false;
        } else if (tw_str_equal(key, TW_STR("role"))) {
            if (!parse_role(token, value, position, err))
                return false;
        } else if (tw_str_equal(key, TW_STR("expires"))) {
            if (!parse_expires(token, value, position, err))
                return false;
        } else {
            return tw_fail(err, TW_ERR_INVALID_REQUEST,
                           "token %zu: after ':' comes tenant=…, role=… or expires=…", position);
        }
    }
    return true;
}

static bool parse_token(struct tenant_tokens *set, struct tw_str *rest, size_t position,
                        struct tw_error *err) {
    char separator;
    struct tw_str text = next_piece(rest, &separator);
    return check_token_text(text, position, err) &&
           tenant_add_token(set, tw_sha256(tw_span_of(text.data, text.len)), TW_ROLE_INVOKE, false, err) &&
           parse_options(&set->items[set->count - 1], rest, separator, position, err);
}

static bool parse_line(struct tenant_tokens *set, struct tw_str line, size_t position, struct tw_error *err) {
    char separator;
    struct tw_digest digest;
    struct tw_str text = next_piece(&line, &separator);
    if (separator == ',' || !tw_digest_parse(text, &digest))
        return tw_fail(err, TW_ERR_INVALID_REQUEST,
                       "line %zu does not begin with a sha256 as 64 digits of 0-9 a-f; "
                       "'tensor-wasm admin token new' makes lines",
                       position);
    if (!tenant_add_token(set, digest, TW_ROLE_INVOKE, false, err) ||
        !parse_options(&set->items[set->count - 1], &line, separator, position, err))
        return false;
    set->items[set->count - 1].is_from_file = true;
    return line.len == 0 ||
           tw_fail(err, TW_ERR_INVALID_REQUEST, "token %zu: one token a line is allowed", position);
}

bool tenant_parse_file(struct tenant_tokens *set, struct tw_str text, struct tw_error *err) {
    for (size_t position = 1; text.len; position++) {
        struct tw_str rest = tw_str_cut(&text, '\n');
        struct tw_str line = tw_str_trim(tw_str_cut(&rest, '#'));
        if (line.len && line.data[line.len - 1] == '\r')
            line.len--;
        if (line.len && !parse_line(set, line, position, err))
            return false;
    }
    return true;
}

bool tenant_parse_tokens(struct tenant_tokens *set, struct tw_str text, struct tw_error *err) {
    if (text.len > TENANT_CONFIG_MAX)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "the token list has %zu bytes; the limit is %d", text.len,
                       TENANT_CONFIG_MAX);
    struct tw_str rest = tw_str_trim(text);
    for (size_t position = 1; rest.len; position++)
        if (!parse_token(set, &rest, position, err))
            return false;
    return true;
}
