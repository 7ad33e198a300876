// SPDX-License-Identifier: Apache-2.0
//
// What the files of tenant/ share: the set of tokens.
#pragma once

#include "tenant/tenant.h"

#include "tenant/limits.h"

struct tenant_token {
    struct tw_digest digest; // sha256 of the token
    enum tw_role role;
    bool all_tenants;
    bool is_from_file;
    uint64_t *tenants;
    size_t tenant_count, tenant_capacity;
    int64_t expires_ns; // wall; 0: never
};

// A set of tokens. Frozen once it is in its place; shared by those who look something up in it.
struct tenant_tokens {
    struct tw_ref ref;
    struct tenant_token *items;
    size_t count, capacity;
    struct tw_map by_digest; // its first bytes → its place in `items`, plus one
};

// Frozen once tw_tenants_new returned it, but for `set`.
struct tw_tenants {
    struct tw_lock lock;
    struct tenant_tokens *set; // lock
    bool is_open;              // dev mode
    bool require_tenant;
    char *admin_path; // where this start put a new admin token, or NULL
    char *file;       // of tokens, or NULL
};

[[nodiscard]] struct tenant_tokens *tenant_tokens_new(struct tw_error *err);
void tenant_tokens_unref(struct tenant_tokens *set);
// Makes it ready to be asked: the last step. Of a token that is there twice the later one counts.
[[nodiscard]] bool tenant_tokens_index(struct tenant_tokens *set, struct tw_error *err);

// Parses the grammar of TENSOR_WASM_API_TOKENS into `set`:
//   list  = token *( "," token )       token = text *( ":" option )
//   option = "tenant=" ( "*" | number *( "," number ) ) | "role=" ( "invoke" | "deploy" | "admin" )
//          | "expires=" year "-" month "-" day
// A comma followed by digits and then "," ":" or the end continues a tenant list. Defaults: tenant=0,
// role=invoke.
[[nodiscard]] bool tenant_parse_tokens(struct tenant_tokens *set, struct tw_str text, struct tw_error *err);
// The file's: a line is [ sha256 of the token, as hex *( ":" option ) ] [ "#" comment ].
[[nodiscard]] bool tenant_parse_file(struct tenant_tokens *set, struct tw_str text, struct tw_error *err);
// Adds one token.
[[nodiscard]] bool tenant_add_token(struct tenant_tokens *set, struct tw_digest digest, enum tw_role role,
                                    bool all_tenants, struct tw_error *err);
// Reads the admin token of the data folder, or makes it at the first start.
[[nodiscard]] bool tenant_load_admin(struct tw_tenants *tenants, const char *data_dir, struct tw_error *err);

// ---- limits and use ----

// What an operator said of a tenant. Plain value.
struct tenant_settings {
    char name[TENANT_NAME_MAX + 1];
    uint32_t weight;                 // share against others; 1 unless said otherwise
    bool is_own[TW_LIMIT_COUNT];     // else the server's default holds
    uint64_t limits[TW_LIMIT_COUNT]; // of those that are its own
};

// Guarded by the quotas' lock. In the table while it has a record, use, an account that somebody else refers to,
// or a rate to remember; else it may be forgotten when room is wanted.
struct tenant_entry {
    uint64_t id;
    bool has_record;
    struct tenant_settings settings;
    struct tw_account *account; // holds a reference
    uint64_t rate_refused;
    int64_t next_ns; // when the next request would come at the steady rate (monotonic)
    // What metrics have been told.
    uint64_t shown_use[TW_RESOURCE_COUNT], shown_refused[TW_LIMIT_COUNT], shown_cpu_s;
};

// Guarded by `lock` where marked; `write_lock` is taken first and held while a record is written.
struct tw_quotas {
    struct tw_quotas_options options;
    struct tw_lock write_lock, lock;
    struct tw_map by_id;   // lock: id → struct tenant_entry, owned
    size_t evict_position; // lock: where the search for one to forget goes on
};

// ---- limit.c ----
const char *tenant_limit_name(enum tw_limit limit);
uint64_t tenant_limit_max(enum tw_limit limit); // the largest number taken for it
// The limit in effect.
uint64_t tenant_limit(const struct tw_quotas *quotas, const struct tenant_entry *tenant, enum tw_limit limit);
struct tw_account_use tenant_use(const struct tenant_entry *tenant, enum tw_limit limit);

// ---- table.c ----
// NULL: not in the table. The caller holds the lock.
struct tenant_entry *tenant_find_locked(const struct tw_quotas *quotas, uint64_t id);
// Makes it when it is not there; CAPACITY. The caller holds the lock.
[[nodiscard]] struct tenant_entry *tenant_get_locked(struct tw_quotas *quotas, uint64_t id,
                                                     struct tw_error *err);
// Makes the account's limits and weight those of the settings. The caller holds the lock.
void tenant_apply_locked(const struct tw_quotas *quotas, struct tenant_entry *tenant);
void tenant_entry_free(struct tenant_entry *tenant); // NULL: nothing

// ---- publish.c ----
// Tells metrics what has changed: of one tenant (the caller holds the lock), of all.
void tenant_publish_locked(struct tenant_entry *tenant);
void tenant_publish(void *quotas);

// ---- settings.c ----
// The tenant's object as tw_quotas_get writes it. CAPACITY without memory: nothing was written.
[[nodiscard]] bool tenant_write(struct tw_json_writer *writer, struct tw_quotas *quotas, uint64_t id,
                                struct tw_error *err);
// Reads every record into the table.
[[nodiscard]] bool tenant_load_records(struct tw_quotas *quotas, struct tw_error *err);
