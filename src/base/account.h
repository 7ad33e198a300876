// SPDX-License-Identifier: Apache-2.0
//
// A tenant's account: what it may hold of each resource, holds now, held at most and was refused, and the CPU
// time it has used. It stands this low so that every room can ask where the thing is taken:
//
//     if (!tw_account_take(account, TW_RESOURCE_CPU_MEMORY, bytes, &err)) …    // names limit, use and remedy
//     … the memory is held …
//     tw_account_give(account, TW_RESOURCE_CPU_MEMORY, bytes);
//
// NULL is an account without limits that counts nothing. Any thread; nothing here waits.
#pragma once

#include "base/error.h"

enum tw_resource {
#define TW_RESOURCE(id, name, code, help) TW_RESOURCE_##id,
#include "base/account.def"
#undef TW_RESOURCE
    TW_RESOURCE_COUNT
};
#define TW_UNLIMITED UINT64_MAX
const char *tw_resource_name(enum tw_resource resource);

struct tw_account; // guarded by atomics; counted references
// With a weight of 1 and no limits, one reference. NULL without memory.
struct tw_account *tw_account_new(uint64_t tenant, struct tw_error *err);
struct tw_account *tw_account_ref(struct tw_account *account); // NULL: NULL
void tw_account_unref(struct tw_account *account);
bool tw_account_is_shared(const struct tw_account *account); // somebody beside the asker holds a reference
uint64_t tw_account_tenant(const struct tw_account *account);
// The tenant's share against others' (1–1,000); may change at any time. NULL: 1.
uint32_t tw_account_weight(const struct tw_account *account);
void tw_account_set_weight(struct tw_account *account, uint32_t weight);

// ---- what is held ----
// What is held beyond a lowered limit stays.
void tw_account_set_limit(struct tw_account *account, enum tw_resource resource, uint64_t limit);
// The resource's error when it would pass the limit; that is counted as a refusal.
[[nodiscard]] bool tw_account_take(struct tw_account *account, enum tw_resource resource, uint64_t amount,
                                   struct tw_error *err);
// As tw_account_take for who will wait and ask again: no refusal is counted.
[[nodiscard]] bool tw_account_try(struct tw_account *account, enum tw_resource resource, uint64_t amount);
// Gives back `amount`, which was taken. The account must not be touched afterwards on behalf of what was
// held.
void tw_account_give(struct tw_account *account, enum tw_resource resource, uint64_t amount);
// Changes what is held in one step, whatever the limit.
void tw_account_change(struct tw_account *account, enum tw_resource resource, int64_t delta);
// Plain value.
struct tw_account_use {
    uint64_t limit, now, peak, refused; // limit: TW_UNLIMITED, or the number in effect
};
struct tw_account_use tw_account_use(const struct tw_account *account, enum tw_resource resource);

// ---- CPU time ----
// A bucket that holds one minute's worth and fills evenly. What runs is charged whatever the bucket holds, so
// that it may be overdrawn; who wants to begin something asks first. On the average of a long time no more
// than the limit is used.
//
// Computing time of guests and kernels, in ns.
void tw_account_charge_cpu(struct tw_account *account, uint64_t cpu_ns);
// May something begin? RATE_LIMITED with the time to wait; counted as a refusal.
[[nodiscard]] bool tw_account_may_compute(struct tw_account *account, struct tw_error *err);
// A new limit begins with a full bucket.
void tw_account_set_cpu_limit(struct tw_account *account, uint64_t limit_ms_per_minute);
// Plain value, in ms.
struct tw_account_cpu {
    uint64_t limit, now, peak, refused; // now: taken out of the bucket and not filled up again
    uint64_t total_ms;                  // ever used
};
struct tw_account_cpu tw_account_cpu(const struct tw_account *account);
