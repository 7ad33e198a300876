// SPDX-License-Identifier: Apache-2.0
//
// A piece of compiled code: its descriptor, its mapping, its key. Where it came from (a sealed memory file or
// a file of the cache) no longer shows.

#include "compile/internal.h"

#include <sys/mman.h>
#include <unistd.h>

// Frozen; counted references.
struct tw_artifact {
    struct tw_ref refs;
    int fd;
    struct tw_span bytes;
    struct tw_digest key;
};

struct tw_artifact *compile_artifact_new(int fd, size_t len, const struct tw_digest *key,
                                         struct tw_error *err) {
    struct tw_artifact *artifact = tw_alloc_zero(1, sizeof(*artifact));
    void *data = artifact ? mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    if (data == MAP_FAILED) {
        tw_fail(err, TW_ERR_CAPACITY, "no memory to map %zu bytes of compiled code; try again later", len);
        free(artifact);
        close(fd);
        return NULL;
    }
    tw_ref_init(&artifact->refs);
    artifact->fd = fd;
    artifact->bytes = tw_span_of(data, len);
    artifact->key = *key;
    return artifact;
}

struct tw_artifact *tw_artifact_ref(struct tw_artifact *artifact) {
    tw_ref_up(&artifact->refs);
    return artifact;
}

void tw_artifact_unref(struct tw_artifact *artifact) {
    if (!artifact || !tw_ref_down(&artifact->refs))
        return;
    munmap((void *)(uintptr_t)artifact->bytes.data, artifact->bytes.len);
    close(artifact->fd);
    free(artifact);
}

struct tw_span tw_artifact_bytes(const struct tw_artifact *artifact) {
    return artifact->bytes;
}

int tw_artifact_fd(const struct tw_artifact *artifact) {
    return artifact->fd;
}

struct tw_digest tw_artifact_key(const struct tw_artifact *artifact) {
    return artifact->key;
}
