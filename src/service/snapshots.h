// SPDX-License-Identifier: Apache-2.0
//
// Snapshots that tenants keep: a record names the file (a blob) and whose it is. Private to service/.
#pragma once

#include "service/internal.h"

enum { SNAPSHOT_KEY_SIZE = TW_U64_DIGITS + 1 + TW_DIGEST_HEX_SIZE };

// Frozen; counted references.
struct service_snapshot {
    struct tw_ref ref;
    uint64_t tenant, bytes, function_version;
    struct tw_digest digest, module; // of the file, of the module in it
    int64_t captured_ns;             // wall
    bool is_signed;
    char order[17 + TW_DIGEST_HEX_SIZE];   // in lists: by time, then digest
    char instance[TW_FUNCTION_ID_MAX + 1]; // empty: a function's image
    char function_id[TW_FUNCTION_ID_MAX + 1], function_name[TW_FUNCTION_NAME_MAX + 1];
};
struct service_snapshot *service_snapshot_new(struct tw_error *err);
struct service_snapshot *service_snapshot_ref(struct service_snapshot *snapshot);
void service_snapshot_unref(struct service_snapshot *snapshot);
// What lists and answers show, and the record, which says a little more.
[[nodiscard]] bool service_snapshot_json(const struct service_snapshot *snapshot, struct tw_buf *out,
                                         struct tw_error *err);
[[nodiscard]] bool service_snapshot_encode(const struct service_snapshot *snapshot, struct tw_buf *out,
                                           struct tw_error *err);
[[nodiscard]] struct service_snapshot *service_snapshot_decode(struct tw_span record, struct tw_error *err);

// ---- the index (snapshot_index.c) ----
// "TENANT/DIGEST", of the record too.
struct tw_span service_snapshot_key(char text[SNAPSHOT_KEY_SIZE], uint64_t tenant,
                                    const struct tw_digest *digest);
[[nodiscard]] bool service_snapshots_load(struct tw_service *service, struct tw_error *err);
void service_snapshots_init(struct tw_service *service);
void service_snapshots_done(struct tw_service *service);
// The caller's, by its digest in hexadecimal, with a reference; NULL and NOT_FOUND.
[[nodiscard]] struct service_snapshot *service_snapshot_get(struct tw_service *service,
                                                            const struct tw_caller *caller,
                                                            struct tw_str digest, struct tw_error *err);
// Takes the reference. Counts its bytes as the tenant's use, for which `lease` (or NULL) is given back.
[[nodiscard]] bool service_snapshots_put(struct tw_service *service, struct service_snapshot *snapshot,
                                         struct tw_lease *lease, struct tw_error *err);
void service_snapshots_remove(struct tw_service *service, const struct service_snapshot *snapshot);
