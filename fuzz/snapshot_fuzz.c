// SPDX-License-Identifier: Apache-2.0
//
// The bytes as a snapshot's file; and a good file with some of its bytes changed, which the input's first bytes choose. What is
// read lies within the file, and a file that was changed in its header, description or module is refused.

#include "snapshot/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool lies_in(struct tw_span file, const void *part, size_t len) {
    const uint8_t *at = part;
    return len == 0 || (at >= file.data && len <= file.len && at <= file.data + file.len - len);
}

static bool reads(struct tw_span file, struct tw_snapshot *ret_snapshot) {
    struct tw_error err = {};
    if (!tw_snapshot_read(file, ret_snapshot, &err)) {
        TW_ASSERT(err.code == TW_ERR_INVALID_REQUEST && err.message[0]);
        return false;
    }
    TW_ASSERT(lies_in(file, ret_snapshot->description.data, ret_snapshot->description.len) &&
              lies_in(file, ret_snapshot->image.data, ret_snapshot->image.len) &&
              lies_in(file, ret_snapshot->wasm.data, ret_snapshot->wasm.len));
    return true;
}

enum { CHANGES = 4 };

// A third of the rest is the description, a third the image, a third the module.
static void change_a_good_one(struct tw_span changes, struct tw_span rest) {
    static const struct tw_snapshot_key no_key = {};
    struct tw_error err = {};
    struct tw_buf file;
    size_t part = rest.len / 3;
    struct tw_snapshot parts = {.description = tw_str_of((const char *)rest.data, part),
                                .image = tw_span_of(rest.data + part, part),
                                .wasm = tw_span_of(rest.data + 2 * part, rest.len - 2 * part)},
                       found;
    tw_buf_init(&file, 1 << 24);
    bool ok = part <= TW_SNAPSHOT_DESCRIPTION_MAX && tw_snapshot_head(&parts, &no_key, &file, &err);
    size_t image_at = file.len;
    ok = ok && tw_buf_append(&file, parts.image.data, parts.image.len) &&
         tw_buf_append(&file, parts.wasm.data, parts.wasm.len);
    TW_ASSERT(!ok ||
              (reads(tw_buf_span(&file), &found) && found.image.len == part && found.image_at == image_at));
    bool matters = false;
    for (size_t i = 0; ok && i + 2 < changes.len; i += 3) {
        size_t at = (size_t)(changes.data[i] | changes.data[i + 1] << 8) % file.len;
        bool is_free = (at >= 128 + part && at < image_at) || (at >= image_at && at < image_at + part);
        file.data[at] ^= changes.data[i + 2];
        matters = matters || (!is_free && changes.data[i + 2]);
    }
    // Two changes may undo one another, so only a single one has to be seen.
    bool is_seen = !ok || !reads(tw_buf_span(&file), &found);
    TW_ASSERT(is_seen || !matters || changes.len > 3);
    tw_buf_done(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tw_snapshot snapshot;
    (void)reads(tw_span_of(data, size), &snapshot);
    if (size == 0)
        return 0;
    size_t wanted = 3 * (size_t)(data[0] % (CHANGES + 1)), len = wanted < size - 1 ? wanted : size - 1;
    change_a_good_one(tw_span_of(data + 1, len), tw_span_of(data + 1 + len, size - 1 - len));
    return 0;
}
