// SPDX-License-Identifier: Apache-2.0
//
// A service inside this process, which keeps nothing unless it is given a data folder: `run`, `kernel …` and
// `doctor` work without a server.

#include "cli/internal.h"

struct tw_service *cli_local_service(const char *data_dir, const char *device, struct tw_error *err) {
    struct tw_service_options options = {.data_dir = data_dir ? data_dir : ":memory:",
                                         .device = device ? device : "auto",
                                         .dispatch_permits = 64,
                                         .kernel_timeout_ms = 600000, // the user is there to press Ctrl-C
                                         .invoke_timeout_ms = 3600000,
                                         .max_instances = 64,
                                         .warm_per_function = 1,
                                         .max_warm = 8,
                                         .max_memory_bytes = 4ULL << 30};
    return tw_service_new(&options, err);
}
