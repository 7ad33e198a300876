// SPDX-License-Identifier: Apache-2.0
//
// Instances that keep their state between calls: the engine's, with a name and an owner. Private to service/.
#pragma once

#include "service/internal.h"

// Counted references: the table has one, every call on it another. Frozen; what changes is the engine's.
struct service_instance {
    struct tw_ref ref;
    uint64_t tenant;
    char id[TW_FUNCTION_ID_MAX + 1];
    struct service_function *function; // the version it was made from; a snapshot's is in no index
    struct tw_instance *kept;
    int64_t created_wall_ns;
};

void service_instances_init(struct tw_service *service);
void service_instances_done(struct tw_service *service);
// With a reference; NULL and NOT_FOUND.
[[nodiscard]] struct service_instance *service_instance_get(struct tw_service *service, uint64_t tenant,
                                                            struct tw_str id, struct tw_error *err);
// Makes one of `function`, with that id (empty: a new one), and writes it. Blocks. CONFLICT when there is one of that id.
struct service_instance_request {
    struct service_function *function; // a reference, which is taken also on failure
    struct tw_str id;
    uint32_t idle_ms; // as tw_instance_request
};
[[nodiscard]] bool service_instance_add(struct tw_service *service, const struct tw_caller *caller,
                                        const struct service_instance_request *request, struct tw_buf *out,
                                        struct tw_error *err);
// As tenants see it.
void service_instance_write(struct tw_json_writer *writer, const struct service_instance *instance);
void service_instance_unref(struct service_instance *instance);
