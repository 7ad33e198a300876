// SPDX-License-Identifier: Apache-2.0
//
// What operators say of tenants: the JSON they send and see, and the record in the store (kind "tenant", the
// key is the number), which has the same form with only what is the tenant's own.
//
//     settings = { "name"?: text, "weight"?: 1–1,000, "limits"?: { NAME: number | null | "default" } }

#include "store/store.h"
#include "tenant/internal.h"

// ---- reading ----

static bool read_name(struct tenant_settings *settings, const struct tw_json *value, struct tw_error *err) {
    struct tw_str name = tw_json_str(value);
    bool ok = tw_json_type(value) == TW_JSON_STRING && name.len <= TENANT_NAME_MAX;
    for (size_t i = 0; ok && i < name.len; i++)
        ok = (unsigned char)name.data[i] >= 0x20 && name.data[i] != 0x7F;
    if (!ok)
        return tw_fail(err, TW_ERR_INVALID_REQUEST,
                       "a tenant's name is a text of at most %d bytes without control characters",
                       TENANT_NAME_MAX);
    snprintf(settings->name, sizeof settings->name, "%.*s", TW_STR_ARG(name));
    return true;
}

static bool read_weight(struct tenant_settings *settings, const struct tw_json *value, struct tw_error *err) {
    int64_t weight = tw_json_int(value); // 0 for what is not a whole number
    if (weight < 1 || weight > TENANT_WEIGHT_MAX)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "weight takes a whole number from 1 to %d",
                       TENANT_WEIGHT_MAX);
    settings->weight = (uint32_t)weight;
    return true;
}

static bool unknown_limit(const char *key, struct tw_error *err) {
    char names[256] = "";
    size_t len = 0;
    for (unsigned i = 0; i < TW_LIMIT_COUNT && len < sizeof names; i++)
        len += (size_t)snprintf(names + len, sizeof names - len, "%s%s", i ? ", " : "",
                                tenant_limit_name((enum tw_limit)i));
    return tw_fail(err, TW_ERR_INVALID_REQUEST, "there is no limit '%.40s'; there are %s", key, names);
}

static bool read_limit(struct tenant_settings *settings, const char *key, const struct tw_json *value,
                       struct tw_error *err) {
    unsigned i = 0;
    while (i < TW_LIMIT_COUNT && strcmp(key, tenant_limit_name((enum tw_limit)i)) != 0)
        i++;
    if (i == TW_LIMIT_COUNT)
        return unknown_limit(key, err);
    uint64_t max = tenant_limit_max((enum tw_limit)i);
    enum tw_json_type type = tw_json_type(value);
    bool is_default = tw_str_equal(tw_json_str(value), TW_STR("default"));
    bool is_number = type == TW_JSON_INT && tw_json_int(value) >= 0 && (uint64_t)tw_json_int(value) <= max;
    if (type != TW_JSON_NULL && !is_default && !is_number)
        return tw_fail(err, TW_ERR_INVALID_REQUEST,
                       "%s takes a whole number from 0 to %" PRIu64
                       ", null (unlimited) or \"default\" (the server's)",
                       key, max);
    settings->is_own[i] = !is_default;
    settings->limits[i] = is_number ? (uint64_t)tw_json_int(value) : TW_UNLIMITED;
    return true;
}

static bool read_limits(struct tenant_settings *settings, const struct tw_json *value, struct tw_error *err) {
    if (tw_json_type(value) != TW_JSON_OBJECT)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "limits has to be an object of numbers");
    const char *key;
    const struct tw_json *limit;
    for (void *iter = NULL; tw_json_next(value, &iter, &key, &limit);)
        if (!read_limit(settings, key, limit, err))
            return false;
    return true;
}

// Changes what `json` names.
static bool merge(struct tenant_settings *settings, const struct tw_json *json, struct tw_error *err) {
    if (tw_json_type(json) != TW_JSON_OBJECT)
        return tw_fail(err, TW_ERR_INVALID_REQUEST,
                       "a tenant's settings are an object with name, weight and limits");
    const char *key;
    const struct tw_json *value;
    for (void *iter = NULL; tw_json_next(json, &iter, &key, &value);) {
        bool ok =
            strcmp(key, "name") == 0     ? read_name(settings, value, err)
            : strcmp(key, "weight") == 0 ? read_weight(settings, value, err)
            : strcmp(key, "limits") == 0
                ? read_limits(settings, value, err)
                : tw_fail(err, TW_ERR_INVALID_REQUEST,
                          "'%.64s' is not a setting of a tenant; there are name, weight and limits", key);
        if (!ok)
            return false;
    }
    return true;
}

// ---- writing ----

static void write_limit(struct tw_json_writer *writer, enum tw_limit limit, uint64_t value) {
    tw_json_write_key(writer, tenant_limit_name(limit));
    if (value == TW_UNLIMITED)
        tw_json_write_null(writer);
    else
        tw_json_write_u64(writer, value);
}

static void write_own(struct tw_json_writer *writer, const struct tenant_settings *settings) {
    tw_json_write_key(writer, "own");
    tw_json_write_array(writer);
    for (unsigned i = 0; i < TW_LIMIT_COUNT; i++)
        if (settings->is_own[i])
            tw_json_write_str(writer, tw_str_from(tenant_limit_name((enum tw_limit)i)));
    tw_json_write_end(writer, ']');
}

static void write_held(struct tw_json_writer *writer, const struct tw_account *account,
                       enum tw_resource resource) {
    struct tw_account_use use = tw_account_use(account, resource);
    tw_json_write_key(writer, tw_resource_name(resource));
    tw_json_write_object(writer);
    tw_json_write_number(writer, "now", use.now);
    tw_json_write_number(writer, "peak", use.peak);
    tw_json_write_number(writer, "refused", use.refused);
    tw_json_write_end(writer, '}');
}

// Refusals of `burst` are counted with the rate's.
static void write_use(struct tw_json_writer *writer, const struct tenant_entry *tenant) {
    tw_json_write_key(writer, "use");
    tw_json_write_object(writer);
    for (unsigned i = 0; i < TW_RESOURCE_COUNT; i++)
        write_held(writer, tenant->account, (enum tw_resource)i);
    tw_json_write_key(writer, tenant_limit_name(TW_LIMIT_REQUESTS));
    tw_json_write_object(writer);
    tw_json_write_number(writer, "refused", tenant->rate_refused);
    tw_json_write_end(writer, '}');
    struct tw_account_cpu cpu = tw_account_cpu(tenant->account);
    tw_json_write_key(writer, tenant_limit_name(TW_LIMIT_CPU));
    tw_json_write_object(writer);
    tw_json_write_number(writer, "now", cpu.now);
    tw_json_write_number(writer, "peak", cpu.peak);
    tw_json_write_number(writer, "refused", cpu.refused);
    tw_json_write_number(writer, "total_ms", cpu.total_ms);
    tw_json_write_end(writer, '}');
    tw_json_write_end(writer, '}');
}

static void write_tenant(struct tw_json_writer *writer, const struct tw_quotas *quotas,
                         const struct tenant_entry *tenant) {
    tw_json_write_object(writer);
    tw_json_write_id(writer, "id", tenant->id);
    tw_json_write_text(writer, "name", tw_str_from(tenant->settings.name));
    tw_json_write_number(writer, "weight", tenant->settings.weight);
    tw_json_write_key(writer, "limits");
    tw_json_write_object(writer);
    for (unsigned i = 0; i < TW_LIMIT_COUNT; i++)
        write_limit(writer, (enum tw_limit)i, tenant_limit(quotas, tenant, (enum tw_limit)i));
    tw_json_write_end(writer, '}');
    write_own(writer, &tenant->settings);
    write_use(writer, tenant);
    tw_json_write_end(writer, '}');
}

// A copy of the tenant as it stands, with a reference of its account; one with the defaults when it is not in
// the table. False without memory.
static bool snapshot(struct tw_quotas *quotas, uint64_t id, struct tenant_entry *ret_tenant,
                     struct tw_error *err) {
    TW_LOCK_SCOPE(&quotas->lock);
    const struct tenant_entry *tenant = tenant_find_locked(quotas, id);
    *ret_tenant = tenant ? *tenant : (struct tenant_entry){.id = id, .settings.weight = 1};
    ret_tenant->account = tenant ? tw_account_ref(tenant->account) : tw_account_new(id, err);
    return ret_tenant->account != NULL;
}

bool tenant_write(struct tw_json_writer *writer, struct tw_quotas *quotas, uint64_t id,
                  struct tw_error *err) {
    struct tenant_entry tenant;
    if (!snapshot(quotas, id, &tenant, err))
        return false;
    write_tenant(writer, quotas, &tenant);
    tw_account_unref(tenant.account);
    return true;
}

bool tw_quotas_get(struct tw_quotas *quotas, uint64_t id, struct tw_buf *out, struct tw_error *err) {
    struct tw_json_writer writer;
    tw_json_write_init(&writer, out);
    if (!tenant_write(&writer, quotas, id, err))
        return false;
    return tw_json_write_done(&writer) || tw_fail(err, TW_ERR_CAPACITY, "no memory for the answer");
}

// ---- listing ----

struct page {
    uint64_t ids[TENANT_PAGE_MAX + 1];
    uint32_t count, limit;
};

static void insert(struct page *page, uint64_t id) {
    uint32_t at = page->count;
    while (at > 0 && page->ids[at - 1] > id)
        at--;
    if (at == page->limit)
        return;
    uint32_t last = page->count < page->limit ? page->count++ : page->limit - 1;
    memmove(&page->ids[at + 1], &page->ids[at], (last - at) * sizeof page->ids[0]);
    page->ids[at] = id;
}

static void collect(struct tw_quotas *quotas, bool from_start, uint64_t after, struct page *page) {
    TW_LOCK_SCOPE(&quotas->lock);
    size_t position = 0;
    struct tw_span key;
    void *value;
    while (tw_map_next(&quotas->by_id, &position, &key, &value)) {
        uint64_t id = ((const struct tenant_entry *)value)->id;
        if (from_start || id > after)
            insert(page, id);
    }
}

bool tw_quotas_list(struct tw_quotas *quotas, struct tw_str cursor, uint32_t limit, struct tw_buf *out,
                    struct tw_error *err) {
    enum { DEFAULT = 100 };
    uint64_t after = 0;
    if (limit > TENANT_PAGE_MAX)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "limit is %" PRIu32 "; 1 to %d are allowed", limit,
                       TENANT_PAGE_MAX);
    if (cursor.len && !tw_str_u64(cursor, &after))
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "the cursor is not one this server gave");
    struct page page = {.limit = (limit ? limit : DEFAULT) + 1};
    collect(quotas, cursor.len == 0, after, &page);
    uint32_t shown = page.count < page.limit ? page.count : page.limit - 1;
    struct tw_json_writer writer;
    tw_json_write_init(&writer, out);
    tw_json_write_object(&writer);
    tw_json_write_key(&writer, "tenants");
    tw_json_write_array(&writer);
    for (uint32_t i = 0; i < shown; i++)
        if (!tenant_write(&writer, quotas, page.ids[i], err))
            return false;
    tw_json_write_end(&writer, ']');
    tw_json_write_key(&writer, "next");
    char next[24];
    snprintf(next, sizeof next, "%" PRIu64, shown ? page.ids[shown - 1] : 0);
    if (page.count > shown)
        tw_json_write_str(&writer, tw_str_from(next));
    else
        tw_json_write_null(&writer);
    tw_json_write_end(&writer, '}');
    return tw_json_write_done(&writer) ||
           tw_fail(err, TW_ERR_INVALID_REQUEST,
                   "the page is larger than %zu bytes; ask for fewer tenants with limit=", out->max);
}

// ---- keeping ----

static bool encode(const struct tenant_settings *settings, struct tw_buf *out) {
    struct tw_json_writer writer;
    tw_json_write_init(&writer, out);
    tw_json_write_object(&writer);
    tw_json_write_key(&writer, "name");
    tw_json_write_str(&writer, tw_str_from(settings->name));
    tw_json_write_key(&writer, "weight");
    tw_json_write_u64(&writer, settings->weight);
    tw_json_write_key(&writer, "limits");
    tw_json_write_object(&writer);
    for (unsigned i = 0; i < TW_LIMIT_COUNT; i++)
        if (settings->is_own[i])
            write_limit(&writer, (enum tw_limit)i, settings->limits[i]);
    tw_json_write_end(&writer, '}');
    tw_json_write_end(&writer, '}');
    return tw_json_write_done(&writer);
}

static bool keep(struct tw_quotas *quotas, uint64_t id, const struct tenant_settings *settings,
                 struct tw_error *err) {
    if (!quotas->options.store)
        return true;
    char key[24];
    uint64_t version;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf record;
    tw_buf_init(&record, TENANT_RECORD_MAX);
    snprintf(key, sizeof key, "%" PRIu64, id);
    if (!encode(settings, &record))
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for the tenant's record");
    return tw_store_put_record(quotas->options.store, "tenant", key, tw_buf_span(&record), TW_STORE_ANY,
                               &version, err);
}

// Makes the settings those of the tenant.
static bool apply(struct tw_quotas *quotas, uint64_t id, const struct tenant_settings *settings,
                  struct tw_error *err) {
    TW_LOCK_SCOPE(&quotas->lock);
    struct tenant_entry *tenant = tenant_get_locked(quotas, id, err);
    if (!tenant)
        return false;
    tenant->settings = *settings;
    tenant->has_record = true; // it is not forgotten from here on
    tenant_apply_locked(quotas, tenant);
    return true;
}

bool tw_quotas_set(struct tw_quotas *quotas, uint64_t id, const struct tw_json *settings, struct tw_buf *out,
                   struct tw_error *err) {
    TW_LOCK_SCOPE(&quotas->write_lock);
    struct tenant_entry tenant;
    if (!snapshot(quotas, id, &tenant, err))
        return false;
    struct tenant_settings changed = tenant.settings;
    tw_account_unref(tenant.account);
    return merge(&changed, settings, err) && keep(quotas, id, &changed, err) &&
           apply(quotas, id, &changed, err) && tw_quotas_get(quotas, id, out, err);
}

struct load_state {
    struct tw_quotas *quotas;
    struct tw_error *err;
    bool failed;
};

static bool load(void *context, const char *key, struct tw_span data, uint64_t version) {
    (void)version;
    struct load_state *state = context;
    struct tenant_settings settings = {.weight = 1};
    uint64_t id;
    struct tw_json *json = tw_json_parse(data, state->err);
    bool ok = json && merge(&settings, json, state->err);
    if (ok && !tw_str_u64(tw_str_from(key), &id))
        ok = tw_fail(state->err, TW_ERR_STORE, "the key is not a tenant's number");
    ok = ok && apply(state->quotas, id, &settings, state->err);
    tw_json_free(json);
    if (!ok)
        tw_wrap(state->err, "loading tenant '%s'", key);
    state->failed = !ok;
    return ok;
}

bool tenant_load_records(struct tw_quotas *quotas, struct tw_error *err) {
    struct load_state state = {.quotas = quotas, .err = err};
    return tw_store_each_record(quotas->options.store, "tenant", load, &state, err) && !state.failed;
}
