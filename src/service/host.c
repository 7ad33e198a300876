// SPDX-License-Identifier: Apache-2.0
//
// What the host is and whether it is ready: version, devices, readiness.

#include "service/internal.h"

bool tw_version_json(struct tw_buf *out) {
    return tw_buf_printf(
        out, "{\"name\":\"tensor-wasm\",\"version\":\"%s\",\"wasm_engine\":\"%s\",\"kernel_abi\":%d}",
        TW_VERSION, tw_engine_target(), TW_KERNEL_ABI);
}

bool tw_service_devices(struct tw_service *service, struct tw_buf *out) {
    if (!tw_buf_append_str(out, TW_STR("{\"devices\":[")))
        return false;
    for (unsigned i = 0; i < tw_gpu_device_count(service->gpu); i++)
        if ((i > 0 && !tw_buf_append_byte(out, ',')) ||
            !tw_gpu_device_json(tw_gpu_device_at(service->gpu, i), out))
            return false;
    return tw_buf_append_str(out, TW_STR("]}"));
}

// Probes the store at most once in SERVICE_READY_EVERY_MS, so that a probing load balancer cannot make disk
// load.
static struct tw_error store_state(struct tw_service *service) {
    TW_LOCK_SCOPE(&service->ready_lock);
    int64_t now_ns = tw_clock_ns();
    if (service->ready_checked_ns == 0 ||
        now_ns - service->ready_checked_ns > SERVICE_READY_EVERY_MS * TW_NS_PER_MS) {
        service->ready_error = (struct tw_error){};
        (void)tw_store_check(service->store, &service->ready_error);
        service->ready_checked_ns = now_ns;
    }
    return service->ready_error;
}

bool tw_service_ready(struct tw_service *service, struct tw_buf *out, struct tw_error *err) {
    if (tw_flag_is_raised(&service->draining))
        return tw_fail(err, TW_ERR_DRAINING, "this server is shutting down");
    struct tw_error store = store_state(service);
    if (store.code != TW_OK)
        return tw_fail(err, TW_ERR_STORE, "%s", store.message);
    if (!tw_gpu_healthy(service->gpu))
        return tw_fail(err, TW_ERR_CUDA_NOT_AVAILABLE, "the device is not healthy; GET /devices tells more");
    return tw_buf_append_str(out, TW_STR("{\"status\":\"ready\",\"store\":\"ok\",\"device\":\"ok\"}")) ||
           tw_fail(err, TW_ERR_INTERNAL, "the answer does not fit its buffer");
}
