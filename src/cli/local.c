// SPDX-License-Identifier: Apache-2.0
//
// A service inside this process, which keeps nothing unless it is given a data folder: `run`, `kernel …` and
// `doctor` work without a server.

#include "cli/internal.h"

enum {
    LOCAL_INSTANCES = 64, // at once: as many as `bench` has callers
    LONGEST_MS = 600000,  // a guest's kernel: the user is there to press Ctrl-C
};

struct tw_service *cli_local_service(const struct cli_local_options *local, struct tw_error *err) {
    const char *memory_backend = local->memory_backend;
    bool is_pooled = memory_backend && strcmp(memory_backend, "pooling") == 0;
    if (memory_backend && !is_pooled && strcmp(memory_backend, "owned") != 0) {
        tw_fail(err, TW_ERR_INVALID_REQUEST, "--memory-backend takes owned or pooling, not '%s'",
                memory_backend);
        return NULL;
    }
    struct tw_service_options options = {.data_dir = local->data_dir ? local->data_dir : ":memory:",
                                         .device = local->device ? local->device : "auto",
                                         .dispatch_permits = 64,
                                         .kernel_tier = local->tier,
                                         .kernel_unconfined = local->unconfined,
                                         .one_tenant = true,
                                         .kernel_timeout_ms =
                                             local->kernel_timeout_ms ? local->kernel_timeout_ms : LONGEST_MS,
                                         .invoke_timeout_ms = 3600000,
                                         .max_instances = LOCAL_INSTANCES,
                                         .warm_per_function = LOCAL_INSTANCES,
                                         .max_warm = LOCAL_INSTANCES,
                                         .memory = is_pooled ? TW_MEMORY_POOLING : TW_MEMORY_OWNED,
                                         .max_memory_bytes = 4ULL << 30};
    return tw_service_new(&options, err);
}
