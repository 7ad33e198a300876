// SPDX-License-Identifier: Apache-2.0
//
// What the files of service/ share: the service itself and the index of functions.
#pragma once

#include "compile/compile.h"
#include "service/service.h"
#include "snapshot/snapshot.h"
#include "store/store.h"

#include "service/limits.h"

// What a tenant may set for a function. Frozen with its function.
struct service_config {
    uint64_t memory_bytes; // 0: the server's
    uint32_t timeout_ms;   // 0: the server's
    char *text;            // the JSON it came from, as stored; NULL: none
    char **env;            // NAME=value, NULL-terminated; never NULL after parsing
    char **args;           // argv, NULL-terminated; args[0] is the function's name
};

// One version of a function. Frozen but for `module`, which is opened on first use and guarded by
// `open_lock`.
struct service_function {
    struct tw_ref ref;
    uint64_t tenant;
    char id[TW_FUNCTION_ID_MAX + 1];
    char name[TW_FUNCTION_NAME_MAX + 1];
    uint64_t version, record_version;
    struct tw_digest wasm, image;
    uint64_t wasm_bytes;
    int64_t created_ns, updated_ns; // wall
    struct service_config config;
    char *imports, *exports; // JSON arrays
    struct tw_lock open_lock;
    struct tw_module *module;
    struct tw_flag is_open; // raised once `module` is set: reading it then needs no lock
};

struct service_keys;

// The thread that removes unused blobs. Guarded by its lock.
struct service_sweeper {
    struct tw_lock lock;
    struct tw_cond changed;
    bool is_stopping, is_started;
    pthread_t thread;
};

enum { SERVICE_BOOT_SIZE = 40 }; // a UUID's text
enum { SERVICE_PHASES = 4 }; // of a call: it waits, an instance is made ready, the guest runs, kernels run

// Guarded by the lock that is named; the rest is frozen after tw_service_new.
struct tw_service {
    struct tw_service_options options;
    struct tw_store *store;
    char boot[SERVICE_BOOT_SIZE]; // which run of the machine this is; empty: it does not say
    struct tw_quotas *quotas;
    struct tw_compiler *compiler;
    struct tw_gpu *gpu;
    struct tw_engine *engine;
    struct tw_pool *pool;
    struct tw_flag draining;
    struct tw_counter running; // calls and deploys
    struct tw_lock lock;
    struct tw_map by_name; // lock: "TENANT/NAME" → struct service_function, one reference each
    struct tw_map by_id;   // lock: the same objects, no reference
    struct tw_lock instances_lock;
    struct tw_map instances; // instances_lock: id → struct service_instance, one reference each
    struct tw_map jobs;      // lock: id → struct service_job, one reference each
    struct tw_lock kernel_lock;
    struct tw_map kernels; // kernel_lock: "TENANT/NAME/VERSION" → struct service_kernel, one reference each
    struct tw_map newest_kernels;        // kernel_lock: "TENANT/NAME" → of those the one published last
    struct tw_snapshot_key snapshot_key; // frozen
    struct tw_lock snapshot_lock;
    struct tw_map snapshots;   // snapshot_lock: "TENANT/DIGEST" → struct service_snapshot, one reference each
    struct service_once *once; // guarded by itself
    struct service_keys *keys; // kernel_lock: whose signatures count
    struct tw_lock call_locks[SERVICE_CALL_LOCKS]; // a call's: its hand-over to the engine, against cancel
    struct tw_series *phases[SERVICE_PHASES], *good_calls; // of calls
    struct service_sweeper sweeper;
    struct tw_lock ready_lock;
    int64_t ready_checked_ns;    // ready_lock
    struct tw_error ready_error; // ready_lock: of the last check
};

// ---- function.c: the object and its record ----
struct service_function *service_function_new(struct tw_error *err);
struct service_function *service_function_ref(struct service_function *function);
void service_function_unref(struct service_function *function);
// "TENANT/NAME", as its record is called in the store.
enum { SERVICE_FUNCTION_KEY_SIZE = 24 + TW_FUNCTION_NAME_MAX };
void service_function_key(const struct service_function *function, char key[SERVICE_FUNCTION_KEY_SIZE]);
// The record, with that image. `boot` (or NULL): of the machine, while which it was written ahead (recover.c).
#define SERVICE_BOOT_MEMBER "ahead"
[[nodiscard]] bool service_function_encode(const struct service_function *function,
                                           const struct tw_digest *image, const char *boot,
                                           struct tw_buf *out, struct tw_error *err);
[[nodiscard]] struct service_function *service_function_decode(struct tw_span record, struct tw_error *err);
// {id, name, version, digest, …} as tenants see it.
[[nodiscard]] bool service_function_json(const struct service_function *function, struct tw_buf *out,
                                         struct tw_error *err);
[[nodiscard]] bool service_name_check(struct tw_str name, struct tw_error *err);
// [A-Za-z0-9][A-Za-z0-9._-]*, at most `max` characters: what names are made of.
bool service_is_word(struct tw_str text, size_t max);
// Pieces of records and answers.
void service_write_digest(struct tw_json_writer *writer, const char *key, const struct tw_digest *digest);
void service_write_time(struct tw_json_writer *writer, const char *key, int64_t wall_ns);
// The text of one member, as the record has it; the caller frees it. NULL without memory.
char *service_member_text(const struct tw_json *value);
// False when it is empty or does not fit.
[[nodiscard]] bool service_copy_text(char *into, size_t size, struct tw_str text);
// The module, opened from the store on first use (blocks then). Borrowed from the function.
[[nodiscard]] struct tw_module *
service_function_open(struct tw_service *service, struct service_function *function, struct tw_error *err);
// The module that a deploy has built gets its image from the store, as it is after a restart.
[[nodiscard]] bool service_function_settle(struct tw_service *service,
                                           const struct service_function *function, struct tw_module *module,
                                           struct tw_error *err);
// It becomes the function's. Takes its reference.
void service_function_adopt(struct service_function *function, struct tw_module *module);
struct tw_module_limits service_function_limits(const struct tw_service *service,
                                                const struct service_function *function);

// ---- recover.c: deploys that a crash found under way ----
// Before the index is loaded; sets `boot`.
[[nodiscard]] bool service_recover(struct tw_service *service, struct tw_error *err);

// ---- config.c ----
[[nodiscard]] bool service_config_parse(const struct tw_service *service, struct tw_str name,
                                        const struct tw_json *json, struct service_config *ret_config,
                                        struct tw_error *err);
void service_config_done(struct service_config *config);

// ---- registry.c: the index ----
[[nodiscard]] bool service_registry_load(struct tw_service *service, struct tw_error *err);
void service_registry_done(struct tw_service *service);
// By id or name, with a reference; NULL and NOT_FOUND.
[[nodiscard]] struct service_function *service_registry_get(struct tw_service *service, uint64_t tenant,
                                                            struct tw_str id_or_name, struct tw_error *err);
// Puts it in the place of the one with its name, if any, and counts it as its tenant's use, for which
// `leases` (or NULL) are given back. Takes the reference.
struct service_deploy_leases {
    struct tw_lease functions, kernels, bytes;
};
[[nodiscard]] bool service_registry_put(struct tw_service *service, struct service_function *function,
                                        struct service_deploy_leases *leases, struct tw_error *err);
void service_registry_remove(struct tw_service *service, const struct service_function *function);
// Makes the index say of one name what the store says; when the store cannot be read it stays as it is.
void service_registry_refresh(struct tw_service *service, uint64_t tenant, struct tw_str name);

// ---- list.c: one page of a list, in the order of its keys; the cursor is the last key of the page before ----
struct service_page {
    void *items[SERVICE_PAGE_MAX + 1];
    const char *keys[SERVICE_PAGE_MAX + 1];
    uint32_t count, limit; // limit: one more than is shown, to know whether there is a next page
};
[[nodiscard]] bool service_page_init(struct service_page *page, uint32_t limit, struct tw_str cursor,
                                     size_t cursor_max, struct tw_error *err);
// Keeps the smallest keys seen so far.
void service_page_insert(struct service_page *page, const char *key, void *item);
uint32_t service_page_shown(const struct service_page *page);
// The member "next": a cursor, or null.
void service_page_write_next(const struct service_page *page, struct tw_json_writer *writer);

// ---- invoke.c ----
void service_calls_init(struct tw_service *service);
// tw_service_invoke for one who has been admitted; takes `lease`, also when it fails.
[[nodiscard]] bool service_invoke_admitted(struct tw_service *service, const struct tw_caller *caller,
                                           struct tw_service_call *call, struct tw_lease *lease,
                                           struct tw_error *err);

// ---- once.c ----
[[nodiscard]] bool service_once_load(struct tw_service *service, struct tw_error *err);
void service_once_done(struct tw_service *service);

// ---- sweep.c ----
// Once everything is loaded. Nothing is swept with a grace of 0.
[[nodiscard]] bool service_sweeper_init(struct tw_service *service, struct tw_error *err);
void service_sweeper_done(struct tw_service *service); // also when it was not started

// ---- tenants.c ----
// Role admin over all tenants.
[[nodiscard]] bool service_may_administer(const struct tw_caller *caller, struct tw_error *err);

// ---- drain.c ----
// Counts a piece of work that drain waits for; DRAINING once the server shuts down.
[[nodiscard]] bool service_enter(struct tw_service *service, struct tw_error *err);
// As service_enter for one who has entered already: never refused.
void service_enter_again(struct tw_service *service);
void service_leave(struct tw_service *service);
