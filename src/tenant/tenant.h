// SPDX-License-Identifier: Apache-2.0
//
// Who calls and how much they may use: tokens, roles, tenant scopes; limits and use of tenants.
//
//     struct tw_caller caller;
//     if (!tw_tenants_authorise(tenants, authorization, tenant_header, &caller, &err)) …   // 401 / 403 / 400
//     if (!tw_caller_may(&caller, TW_ROLE_DEPLOY, &err)) …                                // 403 role_denied
//
// A set of tokens is frozen; a reload puts a new one in its place. Any thread. Tokens are kept as sha256
// only, found and compared so that no time tells of them, never logged.
#pragma once

#include "base/base.h"

enum tw_role { TW_ROLE_INVOKE, TW_ROLE_DEPLOY, TW_ROLE_ADMIN }; // each includes those before it

struct tw_tenants_options {
    const char *tokens;      // TENSOR_WASM_API_TOKENS: token[:tenant=*|1,2][:role=invoke|deploy|admin], comma
                             // separated; may be NULL
    const char *tokens_file; // TENSOR_WASM_API_TOKENS_FILE: a line a token (below); NULL or empty: none
    const char *data_dir; // with no tokens: the admin token of the first start is kept in here (admin-token,
                          // mode 0600)
    bool dev_mode;        // everybody is admin of every tenant
    bool require_tenant;  // X-TensorWasm-Tenant must be given
};
struct tw_tenants;
// INVALID_REQUEST names the token's position (never the token) and what is wrong with it.
[[nodiscard]] struct tw_tenants *tw_tenants_new(const struct tw_tenants_options *options,
                                                struct tw_error *err);
void tw_tenants_free(struct tw_tenants *tenants);
// Reads the tokens file again. Requests go on meanwhile with the old set, and keep it when this fails.
// Blocks.
[[nodiscard]] bool tw_tenants_reload(struct tw_tenants *tenants, struct tw_error *err);
// Is it a good line of a tokens file? SHA256HEX[:tenant=*|1,2][:role=…][:expires=YYYY-MM-DD], or empty, or a
// comment after #. A token is good until the first moment of its last day, in UTC.
[[nodiscard]] bool tw_tokens_line_check(struct tw_str line, struct tw_error *err);
// The path of the admin token's file when this start made it (log it once), else NULL. Borrowed.
const char *tw_tenants_admin_token_path(const struct tw_tenants *tenants);
bool tw_tenants_open(const struct tw_tenants *tenants); // dev mode: no authentication

// Plain value.
struct tw_caller {
    uint64_t tenant;
    enum tw_role role;
    char token_id[17]; // the first 16 hex digits of the token's sha256; "dev" in dev mode
    bool all_tenants;  // the token covers every tenant
};
// `authorization` and `tenant` are the headers' values, empty when absent. After a refusal `ret_caller` says
// as much as was known: whose token it was, the tenant asked for.
[[nodiscard]] bool tw_tenants_authorise(struct tw_tenants *tenants, struct tw_str authorization,
                                        struct tw_str tenant, struct tw_caller *ret_caller,
                                        struct tw_error *err);
[[nodiscard]] bool tw_caller_may(const struct tw_caller *caller, enum tw_role role, struct tw_error *err);

// ---- limits and use of tenants ----
//
//     struct tw_lease lease;
//     if (!tw_quota_admit(quotas, tenant, &lease, &err)) …      // 429: rate, CPU time or concurrent calls
//     … the call, which takes what it needs from lease.account …
//     tw_quota_give(&lease);
//
// What is counted lies in the tenant's account (base/account.h). What is taken is held by a lease, which is
// given back once, however often tw_quota_give is called. Any thread.
enum tw_limit { // first enum tw_resource, then what is not held but spent
#define TW_RESOURCE(id, name, code, help) TW_LIMIT_##id,
#include "base/account.def"
#undef TW_RESOURCE
#define TW_LIMIT(id, name, max, help) TW_LIMIT_##id,
#include "tenant/quota.def"
#undef TW_LIMIT
    TW_LIMIT_COUNT
};

struct tw_store;
struct tw_quotas_options {
    struct tw_store *store;          // where records are kept; borrowed; NULL: nowhere
    uint64_t limits[TW_LIMIT_COUNT]; // of tenants that have none of their own
};
struct tw_quotas;
// What was taken. Plain value; `{}` holds nothing. Must not be copied and given back twice.
struct tw_lease {
    struct tw_account *account; // borrowed: there until this is given back
    enum tw_resource resource;
    uint64_t amount;
};
[[nodiscard]] struct tw_quotas *tw_quotas_new(const struct tw_quotas_options *options, struct tw_error *err);
void tw_quotas_free(struct tw_quotas *quotas); // after all leases were given back
// The tenant's account, with a reference. A tenant whose account somebody has is not forgotten. CAPACITY.
[[nodiscard]] struct tw_account *tw_quota_account(struct tw_quotas *quotas, uint64_t tenant,
                                                  struct tw_error *err);
// CONCURRENCY or QUOTA, with the limit and the use, when it would pass the limit.
[[nodiscard]] bool tw_quota_take(struct tw_quotas *quotas, uint64_t tenant, enum tw_resource resource,
                                 uint64_t amount, struct tw_lease *ret_lease, struct tw_error *err);
// One call: a request of the rate and CPU time left (RATE_LIMITED with the time to wait), and one of the
// concurrent invocations; all or nothing.
[[nodiscard]] bool tw_quota_admit(struct tw_quotas *quotas, uint64_t tenant, struct tw_lease *ret_lease,
                                  struct tw_error *err);
void tw_quota_give(struct tw_lease *lease);
// Changes a lasting use, such as functions, by `delta` whatever the limit, in one step with giving `lease`
// (may be NULL) back. CAPACITY when the table is full and the tenant not in it.
[[nodiscard]] bool tw_quota_settle(struct tw_quotas *quotas, uint64_t tenant, enum tw_resource resource,
                                   int64_t delta, struct tw_lease *lease, struct tw_error *err);
uint32_t tw_quota_weight(struct tw_quotas *quotas, uint64_t tenant); // its share against others'
// Of what is spent (rate, CPU time) `now` is 0.
struct tw_account_use tw_quota_use(struct tw_quotas *quotas, uint64_t tenant, enum tw_limit limit);
// {"id","name","weight","limits":{…},"own":[…],"use":{…}}. A tenant without a record has the defaults.
[[nodiscard]] bool tw_quotas_get(struct tw_quotas *quotas, uint64_t tenant, struct tw_buf *out,
                                 struct tw_error *err);
// {"tenants":[…],"next":…}: those with a record or that were seen; by number, after `cursor` (empty: from the
// first); limit 1–1,000 (0: 100).
[[nodiscard]] bool tw_quotas_list(struct tw_quotas *quotas, struct tw_str cursor, uint32_t limit,
                                  struct tw_buf *out, struct tw_error *err);
// An array of the 50 that matter most now, as tw_quotas_get writes them.
void tw_quotas_top(struct tw_quotas *quotas, struct tw_json_writer *writer);
// {"name"?, "weight"?, "limits"?: {NAME: number | null (unlimited) | "default"}}: changes what is named.
// Blocks until it is kept; what is used beyond a lowered limit stays. Writes what tw_quotas_get writes.
[[nodiscard]] bool tw_quotas_set(struct tw_quotas *quotas, uint64_t tenant, const struct tw_json *settings,
                                 struct tw_buf *out, struct tw_error *err);

// ---- the audit log ----
//
// One JSON line an event: {"time","request_id","actor","tenant","action","object","outcome","status",
// "latency_us","peer","lost"?,"seq","prev"}. `prev` is the sha256 of the line before, so that a line that was
// changed or taken out shows; `lost` is how many could not be written since.
struct tw_audit_entry {
    const char *request_id, *actor, *action, *outcome, *peer; // actor: a token's id
    struct tw_str object;                                     // cut at 256 bytes
    uint64_t tenant;
    int status; // HTTP's; 0: none
    int64_t latency_us;
};
struct tw_audit;
// `target`: stdout, none, or file:PATH, which is appended to.
[[nodiscard]] struct tw_audit *tw_audit_new(const char *target, struct tw_error *err);
// Waits a few seconds at most for what is queued.
void tw_audit_free(struct tw_audit *audit);
// Never waits for the disk: a thread writes. What does not fit the queue is counted. NULL: nothing. Any
// thread.
void tw_audit_post(struct tw_audit *audit, const struct tw_audit_entry *entry);
void tw_audit_reopen(struct tw_audit *audit); // the file was moved away: goes on in a new one
struct tw_audit_report {
    uint64_t lines, lost;
    char first_prev[TW_DIGEST_HEX_SIZE]; // what the first line names: zeros at the beginning of a log
    char last[TW_DIGEST_HEX_SIZE];       // sha256 of the last line: the next file's first_prev
};
// CONFLICT names the first line that does not follow the one before.
[[nodiscard]] bool tw_audit_verify(const char *path, struct tw_audit_report *ret_report,
                                   struct tw_error *err);
