// SPDX-License-Identifier: Apache-2.0
//
// The file of a snapshot: its header is written and read here. Numbers are little-endian, as the machine's.

#include "snapshot/snapshot.h"

enum { VERSION = 1, SIGNED = 1 };
static const char magic[8] = "TWSNAP\r\n"; // a copy that changed line ends is noticed

struct header {
    char magic[8];
    uint32_t version, flags;
    uint32_t crc; // of the header with this field and `hmac` 0, and of the description
    uint32_t description_bytes;
    uint64_t image_at, image_bytes, module_bytes, file_bytes;
    int64_t captured_ns;
    struct tw_digest module;
    struct tw_digest hmac; // of the file with `hmac` 0
};

bool tw_snapshot_key_parse(struct tw_str hex, struct tw_snapshot_key *ret_key, struct tw_error *err) {
    struct tw_snapshot_key key = {.is_set = hex.len > 0};
    if (hex.len && !tw_hex_parse(hex, key.bytes, sizeof key.bytes))
        return tw_fail(err, TW_ERR_INVALID_REQUEST,
                       "a snapshot key is %d lower-case hex digits, not %zu characters",
                       2 * TW_SNAPSHOT_KEY_SIZE, hex.len);
    *ret_key = key;
    return true;
}

static struct tw_span key_of(const struct tw_snapshot_key *key) {
    return tw_span_of(key->bytes, sizeof key->bytes);
}

static uint32_t checksum(const struct header *header, struct tw_str description) {
    struct header plain = *header;
    plain.crc = 0;
    plain.hmac = (struct tw_digest){};
    uint32_t crc = tw_crc32(0, tw_span_of(&plain, sizeof plain));
    return tw_crc32(crc, tw_span_of(description.data, description.len));
}

bool tw_snapshot_head(const struct tw_snapshot *snapshot, const struct tw_snapshot_key *key,
                      struct tw_buf *out, struct tw_error *err) {
    struct tw_str description = snapshot->description;
    if (description.len > TW_SNAPSHOT_DESCRIPTION_MAX)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "the description has %zu bytes, a snapshot holds %d",
                       description.len, TW_SNAPSHOT_DESCRIPTION_MAX);
    struct header header = {.version = VERSION,
                            .flags = key->is_set ? SIGNED : 0,
                            .description_bytes = (uint32_t)description.len,
                            .image_at = tw_align_up(sizeof header + description.len, TW_SNAPSHOT_PAGE),
                            .image_bytes = snapshot->image.len,
                            .module_bytes = snapshot->wasm.len,
                            .captured_ns = snapshot->captured_ns,
                            .module = tw_sha256(snapshot->wasm)};
    memcpy(header.magic, magic, sizeof magic);
    header.file_bytes = header.image_at + header.image_bytes + header.module_bytes;
    header.crc = checksum(&header, description);
    tw_buf_reset(out);
    uint8_t *bytes = tw_buf_reserve(out, header.image_at);
    if (!bytes)
        return tw_buf_fail(out, err, TW_ERR_CAPACITY, "no room for a snapshot's header of %" PRIu64 " bytes",
                           header.image_at);
    memset(bytes, 0, header.image_at);
    memcpy(bytes, &header, sizeof header);
    if (description.len)
        memcpy(bytes + sizeof header, description.data, description.len);
    tw_buf_commit(out, header.image_at);
    if (key->is_set) {
        struct tw_span parts[] = {tw_buf_span(out), snapshot->image, snapshot->wasm};
        header.hmac = tw_hmac_sha256(key_of(key), parts, TW_COUNT(parts));
        memcpy(out->data, &header, sizeof header);
    }
    return true;
}

static bool bad(struct tw_error *err, const char *what) {
    return tw_fail(err, TW_ERR_INVALID_REQUEST, "the snapshot is damaged or none: %s", what);
}

static bool read_header(struct tw_span file, struct header *ret_header, struct tw_error *err) {
    if (file.len < sizeof *ret_header)
        return bad(err, "it is shorter than its header");
    memcpy(ret_header, file.data, sizeof *ret_header);
    if (memcmp(ret_header->magic, magic, sizeof magic) != 0)
        return bad(err, "it does not begin as a snapshot");
    return ret_header->version == VERSION || tw_fail(err, TW_ERR_INVALID_REQUEST,
                                                     "the snapshot has version %" PRIu32
                                                     ", this program reads %d; use the version that wrote it",
                                                     ret_header->version, VERSION);
}

// Every part lies where the parts before it end, so that no two overlap and nothing is left over.
static bool check_places(const struct header *header, struct tw_span file, struct tw_error *err) {
    if (header->description_bytes > TW_SNAPSHOT_DESCRIPTION_MAX ||
        header->image_at != tw_align_up(sizeof *header + header->description_bytes, TW_SNAPSHOT_PAGE) ||
        header->image_at > file.len || header->image_bytes > file.len - header->image_at ||
        header->module_bytes != file.len - header->image_at - header->image_bytes)
        return bad(err, "its parts do not fit its length");
    if (header->flags & ~(uint32_t)SIGNED)
        return bad(err, "it has flags that this version does not know");
    static const struct tw_digest none = {};
    return (header->flags & SIGNED) || memcmp(&header->hmac, &none, sizeof none) == 0 ||
           bad(err, "it has a signature but does not say so");
}

bool tw_snapshot_read(struct tw_span file, struct tw_snapshot *ret_snapshot, struct tw_error *err) {
    struct header header;
    if (!read_header(file, &header, err) || !check_places(&header, file, err))
        return false;
    struct tw_snapshot snapshot = {
        .description = tw_str_of((const char *)file.data + sizeof header, header.description_bytes),
        .image = tw_span_of(file.data + header.image_at, header.image_bytes),
        .wasm = tw_span_of(file.data + header.image_at + header.image_bytes, header.module_bytes),
        .image_at = header.image_at,
        .module = header.module,
        .captured_ns = header.captured_ns,
        .is_signed = header.flags & SIGNED,
    };
    if (header.crc != checksum(&header, snapshot.description))
        return bad(err, "the checksum of its header does not match");
    struct tw_digest found = tw_sha256(snapshot.wasm);
    if (!tw_digest_equal(&found, &header.module))
        return bad(err, "the module in it is not the one its header names");
    *ret_snapshot = snapshot;
    return true;
}

bool tw_snapshot_verify(struct tw_span file, const struct tw_snapshot_key *key, struct tw_error *err) {
    struct header header;
    if (!read_header(file, &header, err))
        return false;
    if (!(header.flags & SIGNED))
        return tw_fail(err, TW_ERR_SNAPSHOT_SIGNATURE, "the snapshot is not signed");
    struct tw_digest said = header.hmac;
    header.hmac = (struct tw_digest){};
    struct tw_span parts[] = {tw_span_of(&header, sizeof header),
                              tw_span_of(file.data + sizeof header, file.len - sizeof header)};
    struct tw_digest found = tw_hmac_sha256(key_of(key), parts, TW_COUNT(parts));
    return tw_digest_equal(&said, &found) ||
           tw_fail(err, TW_ERR_SNAPSHOT_SIGNATURE,
                   "the snapshot was signed with another key, or changed since");
}
