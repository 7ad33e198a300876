// SPDX-License-Identifier: Apache-2.0
//
// The fake service's snapshots: answers say what the gateway passed on. There is one, of ten bytes.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake_service.h"

bool tw_service_snapshot_save([[maybe_unused]] struct tw_service *service,
                              [[maybe_unused]] const struct tw_caller *caller,
                              const struct tw_snapshot_request *request, struct tw_buf *out,
                              [[maybe_unused]] struct tw_error *err) {
    return tw_buf_printf(out, "{\"instance\":\"%.*s\",\"function\":\"%.*s\"}", TW_STR_ARG(request->instance),
                         TW_STR_ARG(request->function));
}

bool tw_service_snapshot_restore([[maybe_unused]] struct tw_service *service,
                                 [[maybe_unused]] const struct tw_caller *caller,
                                 const struct tw_restore_request *request, struct tw_buf *out,
                                 [[maybe_unused]] struct tw_error *err) {
    return tw_buf_printf(out, "{\"digest\":\"%.*s\",\"bytes\":%zu,\"instance\":\"%.*s\",\"idle_ms\":%u}",
                         TW_STR_ARG(request->digest), request->file.len, TW_STR_ARG(request->instance),
                         request->idle_ms);
}

bool tw_service_snapshots([[maybe_unused]] struct tw_service *service,
                          [[maybe_unused]] const struct tw_caller *caller, struct tw_str cursor,
                          uint32_t limit, struct tw_buf *out, [[maybe_unused]] struct tw_error *err) {
    return tw_buf_printf(out, "{\"cursor\":\"%.*s\",\"limit\":%u}", TW_STR_ARG(cursor), limit);
}

bool tw_service_snapshot_map([[maybe_unused]] struct tw_service *service,
                             [[maybe_unused]] const struct tw_caller *caller, struct tw_str digest,
                             struct tw_mapping *ret_file, struct tw_error *err) {
    if (!tw_str_equal(digest, TW_STR("sn-1")))
        return tw_fail(err, TW_ERR_NOT_FOUND, "no such snapshot");
    int fd = tw_file_memfd("fake-snapshot", tw_span_of("0123456789", 10), err);
    if (fd < 0)
        return false;
    void *data = mmap(NULL, 10, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    *ret_file = (struct tw_mapping){data, 10};
    return data != MAP_FAILED || tw_fail(err, TW_ERR_CAPACITY, "out of memory");
}

bool tw_service_snapshot_delete([[maybe_unused]] struct tw_service *service,
                                [[maybe_unused]] const struct tw_caller *caller, struct tw_str digest,
                                struct tw_error *err) {
    return tw_str_equal(digest, TW_STR("sn-1")) || tw_fail(err, TW_ERR_NOT_FOUND, "no such snapshot");
}
