// SPDX-License-Identifier: Apache-2.0
//
// The admin token that a server without configured tokens makes for itself at its first start: random, kept
// in the data folder where only its owner can read it.

#include "tenant/internal.h"

static bool make_token(const char *path, char ret_text[2 * TENANT_ADMIN_TOKEN_BYTES + 1],
                       struct tw_error *err) {
    uint8_t bytes[TENANT_ADMIN_TOKEN_BYTES];
    char line[2 * TENANT_ADMIN_TOKEN_BYTES + 2];
    tw_random(bytes, sizeof bytes);
    tw_hex(tw_span_of(bytes, sizeof bytes), ret_text);
    int len = snprintf(line, sizeof line, "%s\n", ret_text);
    return tw_file_write(path, tw_span_of(line, (size_t)len), 0600, err);
}

static bool add_admin(struct tw_tenants *tenants, struct tw_str token, struct tw_error *err) {
    return tenant_add_token(tenants->set, tw_sha256(tw_span_of(token.data, token.len)), TW_ROLE_ADMIN, true,
                            err);
}

bool tenant_load_admin(struct tw_tenants *tenants, const char *data_dir, struct tw_error *err) {
    char path[4096], text[2 * TENANT_ADMIN_TOKEN_BYTES + 1];
    int len = snprintf(path, sizeof path, "%s/admin-token", data_dir ? data_dir : ".");
    if (len < 0 || (size_t)len >= sizeof path)
        return tw_fail(err, TW_ERR_STORE, "the data folder's path is too long");
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf file;
    tw_buf_init(&file, TENANT_TOKEN_MAX + 2);
    struct tw_error read_error = {};
    if (!tw_file_read(path, &file, &read_error)) {
        if (read_error.code != TW_ERR_NOT_FOUND)
            return tw_fail(err, read_error.code, "reading the admin token: %s", read_error.message);
        if (!make_token(path, text, err))
            return tw_wrap(err, "making the admin token");
        tenants->admin_path = tw_str_dup(tw_str_from(path));
        return add_admin(tenants, tw_str_from(text), err);
    }
    struct tw_str rest = tw_buf_str(&file);
    struct tw_str token = tw_str_trim(tw_str_cut(&rest, '\n'));
    if (token.len < TENANT_TOKEN_MIN)
        return tw_fail(err, TW_ERR_INVALID_REQUEST,
                       "%s holds %zu characters, at least %d are wanted; remove it to have a new one made",
                       path, token.len, TENANT_TOKEN_MIN);
    return add_admin(tenants, token, err);
}
