// SPDX-License-Identifier: Apache-2.0
//
// The service's life: opening the store, the compiler, the devices and the engine in this order, draining,
// closing in the other.

#include "service/service.h"

#include <unistd.h>

#include "service/instances.h"
#include "service/jobs.h"
#include "service/kernels.h"
#include "service/snapshots.h"
#include "telemetry/telemetry.h"

// tensor-wasm-compiler lies beside the running program.
static bool find_compiler(char *ret_path, size_t size, struct tw_error *err) {
    char self[TW_STORE_PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len <= 0)
        return tw_fail_errno(err, TW_ERR_INTERNAL, errno, "cannot tell where this program lies");
    self[len] = 0;
    char *slash = strrchr(self, '/');
    snprintf(ret_path, size, "%.*s/tensor-wasm-compiler", (int)(slash - self), self);
    if (access(ret_path, X_OK) != 0)
        return tw_fail_errno(err, TW_ERR_INTERNAL, errno,
                             "%s has to lie beside tensor-wasm and be executable", ret_path);
    return true;
}

static bool open_compiler(struct tw_service *service, struct tw_error *err) {
    char program[TW_STORE_PATH_MAX], cache[TW_STORE_PATH_MAX];
    if (service->options.compiler_program)
        snprintf(program, sizeof program, "%s", service->options.compiler_program);
    else if (!find_compiler(program, sizeof program, err))
        return false;
    int len = snprintf(cache, sizeof cache, "%s/artifacts", tw_store_path(service->store));
    if (len < 0 || (size_t)len >= sizeof cache)
        return tw_fail(err, TW_ERR_STORE, "the data folder's path is too long");
    struct tw_compiler_options options = {.program = program, .cache_dir = cache};
    service->compiler = tw_compiler_new(&options, err);
    return service->compiler;
}

static bool open_engine(struct tw_service *service, struct tw_error *err) {
    const struct tw_service_options *options = &service->options;
    struct tw_gpu_options gpu = {.device = options->device,
                                 .compiler = service->compiler,
                                 .permits = options->dispatch_permits,
                                 .kernel_timeout_ms = options->kernel_timeout_ms,
                                 .tier = options->kernel_tier,
                                 .unconfined = options->kernel_unconfined && options->one_tenant,
                                 .one_tenant = options->one_tenant,
                                 .max_arenas = options->max_instances};
    service->gpu = tw_gpu_new(&gpu, err);
    if (!service->gpu)
        return false;
    struct tw_engine_options engine = {.compiler = service->compiler,
                                       .gpu = service->gpu,
                                       .registry = {service, service_kernels_open},
                                       .interrupt = options->interrupt,
                                       .reset = options->reset,
                                       .memory = options->memory,
                                       .max_long_calls = options->max_long_calls,
                                       .workers = options->workers,
                                       .queue_target_ms = options->queue_target_ms,
                                       .queue_burst_ms = options->queue_burst_ms,
                                       .max_instances = options->max_instances,
                                       .warm_per_function = options->warm_per_function,
                                       .max_code_bytes = options->max_code_bytes,
                                       .warm_idle_ms = options->warm_idle_ms,
                                       .max_warm = options->max_warm};
    service->engine = tw_engine_new(&engine, err);
    return service->engine;
}

// What tenants without settings of their own may use.
static bool open_quotas(struct tw_service *service, struct tw_error *err) {
    const struct tw_service_options *options = &service->options;
    struct tw_quotas_options quotas = {.store = service->store};
    for (unsigned i = 0; i < TW_LIMIT_COUNT; i++)
        quotas.limits[i] = TW_UNLIMITED;
    quotas.limits[TW_LIMIT_FUNCTIONS] = SERVICE_FUNCTIONS_TENANT_MAX;
    quotas.limits[TW_LIMIT_KERNELS] = SERVICE_KERNELS_TENANT_MAX;
    quotas.limits[TW_LIMIT_ANSWERS] = SERVICE_ONCE_TENANT_BYTES;
    if (options->rate_qps)
        quotas.limits[TW_LIMIT_REQUESTS] = options->rate_qps;
    if (options->rate_burst)
        quotas.limits[TW_LIMIT_BURST] = options->rate_burst;
    service->quotas = tw_quotas_new(&quotas, err);
    return service->quotas;
}

static bool read_snapshot_key(struct tw_service *service, struct tw_error *err) {
    const char *text = service->options.snapshot_key;
    if (!tw_snapshot_key_parse(tw_str_from(text ? text : ""), &service->snapshot_key, err))
        return tw_wrap(err, "TENSOR_WASM_API_SNAPSHOT_HMAC_KEY");
    return service->snapshot_key.is_set || !service->options.require_snapshot_signature ||
           tw_fail(
               err, TW_ERR_INVALID_REQUEST,
               "TENSOR_WASM_API_SNAPSHOT_REQUIRE_SIGNATURE needs TENSOR_WASM_API_SNAPSHOT_HMAC_KEY: without "
               "a key no signature can be verified");
}

static bool open_all(struct tw_service *service, struct tw_error *err) {
    if (!read_snapshot_key(service, err))
        return false;
    service->store = tw_store_open(service->options.data_dir, err);
    if (!service->store || !service_keys_load(service, err) || !open_quotas(service, err) ||
        !open_compiler(service, err) || !open_engine(service, err))
        return false;
    service->pool = tw_pool_new("tw-blocking", SERVICE_POOL_THREADS, SERVICE_POOL_QUEUE, err);
    return service->pool && service_recover(service, err) && service_registry_load(service, err) &&
           service_kernels_load(service, err) && service_snapshots_load(service, err) &&
           service_once_load(service, err) && service_jobs_init(service, err) &&
           service_sweeper_init(service, err);
}

static void collect(void *context) {
    const struct tw_service *service = context;
    tw_metric_set(TW_METRIC_BLOCKING_QUEUED, tw_labels(), (int64_t)tw_pool_queued(service->pool));
}

struct tw_service *tw_service_new(const struct tw_service_options *options, struct tw_error *err) {
    struct tw_service *service = tw_alloc_zero(1, sizeof *service);
    if (!service) {
        tw_fail(err, TW_ERR_CAPACITY, "out of memory");
        return NULL;
    }
    service->options = *options;
    tw_lock_init(&service->lock);
    tw_lock_init(&service->ready_lock);
    tw_lock_init(&service->kernel_lock);
    for (size_t i = 0; i < SERVICE_CALL_LOCKS; i++)
        tw_lock_init(&service->call_locks[i]);
    tw_map_init(&service->by_name, SERVICE_FUNCTIONS_MAX);
    tw_map_init(&service->by_id, SERVICE_FUNCTIONS_MAX);
    tw_map_init(&service->jobs, SERVICE_JOBS_MAX);
    tw_map_init(&service->kernels, SERVICE_KERNELS_MAX);
    tw_map_init(&service->newest_kernels, SERVICE_KERNELS_MAX);
    service_instances_init(service);
    service_snapshots_init(service);
    service_calls_init(service);
    if (open_all(service, err)) {
        tw_metrics_on_collect(collect, service);
        tw_metric_set(TW_METRIC_BUILD_INFO, (struct tw_labels){.values = {TW_VERSION}}, 1);
        return service;
    }
    tw_service_free(service);
    return NULL;
}

void tw_service_warm_up(struct tw_service *service) {
    tw_compiler_start(service->compiler);
}

void tw_service_free(struct tw_service *service) {
    if (!service)
        return;
    service_sweeper_done(service);
    tw_metrics_off_collect(collect, service);
    if (service->pool)
        tw_pool_free(service->pool);
    service_once_done(service);
    service_jobs_done(service);
    service_instances_done(service);
    service_snapshots_done(service);
    service_registry_done(service);
    if (service->engine)
        tw_engine_free(service->engine);
    service_kernels_done(service);
    service_keys_done(service);
    if (service->gpu)
        tw_gpu_free(service->gpu);
    if (service->compiler)
        tw_compiler_free(service->compiler);
    tw_quotas_free(service->quotas);
    if (service->store)
        tw_store_close(service->store);
    for (size_t i = 0; i < SERVICE_CALL_LOCKS; i++)
        tw_lock_done(&service->call_locks[i]);
    tw_lock_done(&service->kernel_lock);
    tw_lock_done(&service->ready_lock);
    tw_lock_done(&service->lock);
    free(service);
}

bool tw_service_submit(struct tw_service *service, const struct tw_caller *caller, struct tw_task *task,
                       struct tw_error *err) {
    task->tenant = caller ? caller->tenant : 0;
    task->weight = caller ? tw_quota_weight(service->quotas, caller->tenant) : 0;
    return tw_pool_submit(service->pool, task, err);
}

const char *tw_service_path(const struct tw_service *service) {
    return tw_store_path(service->store);
}
