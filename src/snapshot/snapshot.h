// SPDX-License-Identifier: Apache-2.0
//
// Snapshots: a kept instance at rest, as one file that goes on anywhere.
//
//     0        header | description (JSON)              both checked by checksums
//     image …  the instance's memories and globals      page-aligned: mapped, not decoded (engine/image.c)
//     wasm …   the module's bytes
//
// A file names what it is for (the module's digest), what wrote it (the format's version) and, if a key was given, carries
// an HMAC-SHA-256 over all of its bytes. Its own sha256 is its name. It may come from anywhere: whoever reads one
// checks every range, and what it holds is a tenant's own: its code is compiled and limited as any other.
#pragma once

#include "base/base.h"

enum {
    TW_SNAPSHOT_KEY_SIZE = 32,
    TW_SNAPSHOT_PAGE = 4096,                 // what the image's place is a multiple of
    TW_SNAPSHOT_DESCRIPTION_MAX = 256 << 10, // bytes
};

// A key that signs. Plain value.
struct tw_snapshot_key {
    bool is_set;
    uint8_t bytes[TW_SNAPSHOT_KEY_SIZE];
};
// 64 hex digits; empty: none. INVALID_REQUEST.
[[nodiscard]] bool tw_snapshot_key_parse(struct tw_str hex, struct tw_snapshot_key *ret_key,
                                         struct tw_error *err);

// The parts of a file; they point into it once it was read.
struct tw_snapshot {
    struct tw_str description; // JSON: whose it is
    struct tw_span image, wasm;
    uint64_t image_at;       // of the image, in the file
    struct tw_digest module; // the sha256 of `wasm`
    int64_t captured_ns;     // wall
    bool is_signed;
};

// The bytes that stand before the image, for parts whose sizes are known: the header with its checksums, the
// description, zeros up to a page. The file is these, the image, the module. INVALID_REQUEST, CAPACITY.
[[nodiscard]] bool tw_snapshot_head(const struct tw_snapshot *snapshot, const struct tw_snapshot_key *key,
                                    struct tw_buf *out, struct tw_error *err);
// Checks all but the image's inside and the signature. INVALID_REQUEST says what is wrong.
[[nodiscard]] bool tw_snapshot_read(struct tw_span file, struct tw_snapshot *ret_snapshot,
                                    struct tw_error *err);
// Is the file as whoever holds the key wrote it? SNAPSHOT_SIGNATURE: it is not, or it is not signed.
[[nodiscard]] bool tw_snapshot_verify(struct tw_span file, const struct tw_snapshot_key *key,
                                      struct tw_error *err);
