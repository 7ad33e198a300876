// SPDX-License-Identifier: Apache-2.0
//
// What the files of the kernel registry share: one published version (kernel.c), the index of them
// (kernel_index.c), the keys that an operator trusts (kernel_keys.c). The use cases are in publish.c and
// kernel_list.c.
#pragma once

#include "service/internal.h"

enum {
    KERNEL_KEY_SIZE = TW_FUNCTION_NAME_MAX + 1 + TW_KERNEL_VERSION_MAX + 1, // "NAME/VERSION"
    KERNEL_RECORD_KEY_SIZE = 24 + KERNEL_KEY_SIZE,                          // "TENANT/NAME/VERSION"
};

// ---- kernel_keys.c ----
// A key whose signatures count, for some tenants or all. Frozen.
struct service_key {
    struct tw_public_key key;
    bool all_tenants;
    uint64_t *tenants;
    size_t tenant_count, tenant_capacity;
};
// What the file of keys said. Frozen; counted references.
struct service_keys {
    struct tw_ref ref;
    uint64_t generation; // other than that of any set before
    struct service_key *items;
    size_t count, capacity;
};
// The set of today, with a reference.
struct service_keys *service_keys_get(struct tw_service *service);
void service_keys_unref(struct service_keys *keys);
// Reads the file of the options; without one the set is empty. INVALID_REQUEST names the line.
[[nodiscard]] bool service_keys_load(struct tw_service *service, struct tw_error *err);
void service_keys_done(struct tw_service *service);
// The key that made the signature, among those trusted for the tenant; NULL: none of them.
const struct service_key *service_keys_find(const struct service_keys *keys, uint64_t tenant,
                                            struct tw_span message, const struct tw_key_signature *signature);

// ---- kernel.c ----
// One published version. Frozen but for the last group.
struct service_kernel {
    struct tw_ref ref;
    uint64_t tenant;
    char name[TW_FUNCTION_NAME_MAX + 1], version[TW_KERNEL_VERSION_MAX + 1];
    char key[KERNEL_KEY_SIZE];
    char entry[TW_KERNEL_NAME_MAX + 1];
    struct tw_digest digest; // of the PTX, which is the blob of that name
    uint64_t ptx_bytes;
    int64_t published_ns; // wall; later than every version of that name before
    bool is_signed;
    struct tw_key_signature signature;
    char *params; // JSON array
    // ---- guarded by the service's kernel_lock ----
    uint64_t checked; // the keys' generation when the signature was last checked; 0: never
    bool is_verified;
    struct tw_public_key signer; // when it is
};
struct service_kernel *service_kernel_new(struct tw_error *err);
struct service_kernel *service_kernel_ref(struct service_kernel *kernel);
void service_kernel_unref(struct service_kernel *kernel);
void service_kernel_set_name(struct service_kernel *kernel, struct tw_str name, struct tw_str version);
[[nodiscard]] bool service_kernel_encode(const struct service_kernel *kernel, struct tw_buf *out,
                                         struct tw_error *err);
[[nodiscard]] struct service_kernel *service_kernel_decode(struct tw_span record, struct tw_error *err);
// What tenants see. `key`: the trusted key that made the signature, or NULL; `ptx`: NULL to leave it out.
[[nodiscard]] bool service_kernel_json(const struct service_kernel *kernel, const struct tw_public_key *key,
                                       const struct tw_span *ptx, struct tw_buf *out, struct tw_error *err);
// May it run, by the keys of today? Signed ones have to verify, unsigned ones must be allowed.
// KERNEL_SIGNATURE says which it is.
[[nodiscard]] bool service_kernel_check(struct tw_service *service, struct service_kernel *kernel,
                                        struct tw_error *err);
// The trusted key that made the kernel's signature; false: none.
bool service_kernel_signer(struct tw_service *service, struct service_kernel *kernel,
                           struct tw_public_key *ret_key);

// ---- kernel_index.c ----
[[nodiscard]] bool service_kernels_load(struct tw_service *service, struct tw_error *err);
void service_kernels_done(struct tw_service *service);
// With a reference; NULL and NOT_FOUND. An empty version means the one published last.
struct service_kernel *service_kernels_find(struct tw_service *service, uint64_t tenant, struct tw_str name,
                                            struct tw_str version, struct tw_error *err);
// Makes the index say of one version what the store says. Blocks. When the store cannot be read it stays as
// it is.
void service_kernels_refresh(struct tw_service *service, uint64_t tenant, struct tw_str name,
                             struct tw_str version);
// Adds it, unless it is there, and counts it as its tenant's use, for which `leases` (or NULL) are given
// back. Takes the reference.
[[nodiscard]] bool service_kernels_put(struct tw_service *service, struct service_kernel *kernel,
                                       struct service_deploy_leases *leases, struct tw_error *err);
void service_kernels_remove(struct tw_service *service, const struct service_kernel *kernel);
// "TENANT/NAME/VERSION", or "TENANT/NAME" without a version.
struct tw_span service_kernel_key(char text[KERNEL_RECORD_KEY_SIZE], uint64_t tenant, struct tw_str name,
                                  struct tw_str version);

// ---- publish.c ----
// The registry as the engine asks it (tw_kernel_registry in engine.h); `context` is the service.
[[nodiscard]] bool service_kernels_open(void *context, uint64_t tenant, struct tw_str name,
                                        struct tw_str version, bool with_ptx,
                                        struct tw_registered_kernel *ret_kernel, struct tw_error *err);
