// SPDX-License-Identifier: Apache-2.0
//
// Artifacts of a stand-in for compile/: bytes that are counted. For one file of a test program, in place of compile/'s own.
#pragma once

#include "unit/gpu/fixture.h"

struct tw_artifact {
    struct tw_ref ref;
    struct tw_buf bytes;
};

static struct tw_counter artifacts; // that are there

// Takes the bytes.
static struct tw_artifact *artifact_new(struct tw_buf bytes) {
    struct tw_artifact *artifact = calloc(1, sizeof(*artifact));
    tw_ref_init(&artifact->ref);
    artifact->bytes = bytes;
    tw_counter_add(&artifacts, 1);
    return artifact;
}

struct tw_artifact *tw_artifact_ref(struct tw_artifact *artifact) {
    tw_ref_up(&artifact->ref);
    return artifact;
}

void tw_artifact_unref(struct tw_artifact *artifact) {
    if (!tw_ref_down(&artifact->ref))
        return;
    tw_buf_done(&artifact->bytes);
    free(artifact);
    tw_counter_add(&artifacts, -1);
}

struct tw_span tw_artifact_bytes(const struct tw_artifact *artifact) {
    return tw_buf_span(&artifact->bytes);
}
