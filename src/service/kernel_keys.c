// SPDX-License-Identifier: Apache-2.0
//
// The keys whose signatures an operator trusts. Their file has a line each:
//
//     line   = [ base64 [ ":tenant=" ( "*" | number *( "," number ) ) ] ] [ "#" comment ]
//
// base64 is the line inside the PEM of an Ed25519 public key. Without tenants a key counts for all of them.
// A set is frozen; reading the file again puts a new one in its place.

#include "service/kernels.h"

void service_keys_unref(struct service_keys *keys) {
    if (!keys || !tw_ref_down(&keys->ref))
        return;
    for (size_t i = 0; i < keys->count; i++)
        free(keys->items[i].tenants);
    free(keys->items);
    free(keys);
}

struct service_keys *service_keys_get(struct tw_service *service) {
    TW_LOCK_SCOPE(&service->kernel_lock);
    tw_ref_up(&service->keys->ref);
    return service->keys;
}

static bool parse_tenants(struct service_key *key, struct tw_str list, struct tw_error *err) {
    struct {
        uint64_t *items;
        size_t count, capacity;
    } tenants = {};
    bool ok = true;
    key->all_tenants = tw_str_equal(list, TW_STR("*"));
    while (ok && list.len && !key->all_tenants) {
        uint64_t tenant;
        ok = tw_str_u64(tw_str_trim(tw_str_cut(&list, ',')), &tenant) &&
             TW_VEC_PUSH(&tenants, tenant, SERVICE_KEY_TENANTS_MAX);
    }
    key->tenants = tenants.items;
    key->tenant_count = tenants.count;
    return (ok && (key->all_tenants || tenants.count)) ||
           tw_fail(err, TW_ERR_INVALID_REQUEST,
                   "after the key comes ':tenant=' and * or up to %d numbers separated by commas",
                   SERVICE_KEY_TENANTS_MAX);
}

static bool parse_line(struct service_keys *keys, struct tw_str line, struct tw_error *err) {
    struct service_key key = {.all_tenants = true};
    struct tw_str rest = line;
    struct tw_str text = tw_str_trim(tw_str_cut(&rest, ':'));
    if (!tw_public_key_read(text, &key.key, err))
        return false;
    struct tw_str value = tw_str_trim(rest);
    if (text.len < line.len && memchr(line.data, ':', line.len)) {
        if (!tw_str_starts(value, TW_STR("tenant=")))
            return tw_fail(err, TW_ERR_INVALID_REQUEST, "after the key comes ':tenant=' or nothing");
        value = tw_str_of(value.data + 7, value.len - 7);
        if (!parse_tenants(&key, value, err)) {
            free(key.tenants);
            return false;
        }
    }
    if (TW_VEC_PUSH(keys, key, SERVICE_KEYS_MAX))
        return true;
    free(key.tenants);
    return tw_fail(err, TW_ERR_INVALID_REQUEST, "more than %d keys", SERVICE_KEYS_MAX);
}

static bool parse_file(struct service_keys *keys, struct tw_str text, struct tw_error *err) {
    for (size_t number = 1; text.len; number++) {
        struct tw_str rest = tw_str_cut(&text, '\n');
        struct tw_str line = tw_str_trim(tw_str_cut(&rest, '#'));
        if (line.len && line.data[line.len - 1] == '\r')
            line.len--;
        if (line.len && !parse_line(keys, line, err))
            return tw_wrap(err, "line %zu", number);
    }
    return true;
}

static bool read_file(struct service_keys *keys, const char *path, struct tw_error *err) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf text;
    tw_buf_init(&text, SERVICE_KEYS_FILE_MAX);
    if (!tw_file_read(path, &text, err) || !parse_file(keys, tw_buf_str(&text), err)) {
        if (err)
            err->code = TW_ERR_INVALID_REQUEST;
        return tw_wrap(err, "the file of trusted keys, %s", path);
    }
    return true;
}

bool service_keys_load(struct tw_service *service, struct tw_error *err) {
    const char *path = service->options.kernel_keys_file;
    bool is_named = path && path[0];
    struct service_keys *keys = tw_alloc_zero(1, sizeof *keys);
    if (!keys)
        return tw_fail(err, TW_ERR_CAPACITY, "out of memory");
    tw_ref_init(&keys->ref);
    bool ok = !is_named || read_file(keys, path, err);
    if (ok && service->options.require_kernel_signature && keys->count == 0)
        ok = tw_fail(err, TW_ERR_INVALID_REQUEST,
                     "signatures of kernels are required, but no key is trusted; put the public keys into a "
                     "file and name it with TENSOR_WASM_KERNEL_KEYS_FILE");
    if (!ok) {
        service_keys_unref(keys);
        return false;
    }
    struct service_keys *old;
    {
        TW_LOCK_SCOPE(&service->kernel_lock);
        old = service->keys;
        keys->generation = old ? old->generation + 1 : 1;
        service->keys = keys;
    }
    service_keys_unref(old);
    return true;
}

void service_keys_done(struct tw_service *service) {
    service_keys_unref(service->keys);
}

static bool covers(const struct service_key *key, uint64_t tenant) {
    for (size_t i = 0; i < key->tenant_count; i++)
        if (key->tenants[i] == tenant)
            return true;
    return key->all_tenants;
}

const struct service_key *service_keys_find(const struct service_keys *keys, uint64_t tenant,
                                            struct tw_span message,
                                            const struct tw_key_signature *signature) {
    for (size_t i = 0; i < keys->count; i++)
        if (covers(&keys->items[i], tenant) &&
            tw_key_signature_check(&keys->items[i].key, message, signature))
            return &keys->items[i];
    return NULL;
}

bool tw_service_reload(struct tw_service *service, struct tw_error *err) {
    return service_keys_load(service, err);
}
