// SPDX-License-Identifier: Apache-2.0
//
// The maxima of the use cases, each with its reason.
#pragma once

enum {
    SERVICE_FUNCTIONS_MAX = 100000, // in the index of one server: about 1 KiB each
    SERVICE_FUNCTIONS_TENANT_MAX =
        10000,               // of one tenant without a limit of its own, so that one cannot take all
    SERVICE_PAGE_MAX = 1000, // functions in one page of a list
    SERVICE_PAGE_DEFAULT = 100,
    SERVICE_OBSERVE_SHOWN = 500,          // functions, and instances, in an overview: one can still read it
    SERVICE_OBSERVE_TEXT_MAX = 256 << 10, // bytes of one part of it
    SERVICE_AT_ONCE_MAX = 64 << 10,  // bytes of a call's JSON read on the event loop: a millisecond or two
    SERVICE_ENV_MAX = 64,            // environment variables of a function
    SERVICE_ARGS_MAX = 64,           // arguments (argv) of a function
    SERVICE_CONFIG_TEXT_MAX = 65536, // bytes of all its configuration's text
    SERVICE_RECORD_MAX = 8 << 20,    // bytes of a function's record: imports and exports lists are the bulk
    SERVICE_POOL_THREADS = 8,  // blocking work, four of one tenant: deploys mostly wait for the compiler
    SERVICE_POOL_QUEUE = 1024, // blocking work that waits, at most half of it of one tenant; more is refused
    // bytes of a module, or a kernel's text, that is stored while it compiles: one that fails lies there for the grace
    SERVICE_AHEAD_MAX = 1 << 20,
    SERVICE_TIMEOUT_MS_MAX = 3600000,   // an hour: longer calls are jobs
    SERVICE_CALL_LOCKS = 64,            // stripes: a call's lock must outlive the call
    SERVICE_READY_EVERY_MS = 1000,      // the store is probed at most this often
    SERVICE_INSTANCES_MAX = 50000,      // kept ones in the table: live ones have a limit of their own
    SERVICE_INSTANCES_ENDED_MAX = 100,  // of a tenant that are still shown
    SERVICE_INSTANCE_SHOWN_S = 600,     // after its end, so that its users can see why
    SERVICE_KERNELS_MAX = 100000,       // published versions in the index of one server: about 1 KiB each
    SERVICE_KERNELS_TENANT_MAX = 10000, // of one tenant without a limit of its own
    SERVICE_SIGNED_TEXT_MAX = 1024,     // bytes that a kernel's signature covers: names and digests
    SERVICE_KEYS_MAX = 256,             // trusted keys: each may cost a check of 100 µs when one publishes
    SERVICE_KEY_TENANTS_MAX = 256,      // tenants one key may name; more than that is a key for all (*)
    SERVICE_KEYS_FILE_MAX = 1 << 20,    // bytes of the file of trusted keys
    SERVICE_SNAPSHOTS_MAX = 100000,     // in the index of one server: about 500 bytes each
    SERVICE_ONCE_MAX = 100000,          // idempotency keys in the index of one server: about 200 bytes each
    SERVICE_ONCE_TENANT_MAX = 10000,    // of one tenant; the oldest make room
    SERVICE_ONCE_TENANT_BYTES =
        64 << 20,                    // of one tenant without a limit of its own: four of the largest answers
    SERVICE_ONCE_KEEP_S = 24 * 3600, // as payment services do: longer than any client retries
    SERVICE_ONCE_SWEEP_S = 60,       // how often expired ones are looked for
    SERVICE_ONCE_RECORD_MAX = 15 << 20, // bytes kept of one answer; the store takes 16 MiB
    SERVICE_JOBS_MAX = 100000,          // kept by one server, ended ones included
    SERVICE_JOBS_TENANT_MAX = 10000,    // of one tenant
    SERVICE_JOB_KEEP_S = 3600,          // after its end, so that a client has time to fetch the result
    SERVICE_JOB_RECORD_MAX = 15 << 20,  // bytes kept of one job; the store takes 16 MiB
};
