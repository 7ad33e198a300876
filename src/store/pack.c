// SPDX-License-Identifier: Apache-2.0
//
// The file of a record ahead: the record and the blobs that it names, so that one file is all that the disk is waited for.
//
//     | "TWA1" | number of blobs u32 | length of the record u64 | length u64, sha256 of each blob |
//     | crc32 u32 of all before | the record, as in a file of its own (record.c) | the blobs, one behind the other |
//
// Little-endian, no padding; nothing follows. Earlier servers wrote the record alone, which is read as well.

#include "store/internal.h"

enum { FIXED_SIZE = 16, BLOB_SIZE = 8 + sizeof(struct tw_digest), CRC_SIZE = 4 };

static size_t header_size(size_t count) {
    return FIXED_SIZE + count * BLOB_SIZE + CRC_SIZE;
}

bool store_pack_encode(struct tw_buf *file, const struct tw_buf *record, const struct tw_store_blob *blobs,
                       size_t count, struct tw_error *err) {
    uint8_t header[FIXED_SIZE + TW_STORE_TOGETHER_MAX * BLOB_SIZE + CRC_SIZE] = "TWA1";
    size_t crc_at = header_size(count) - CRC_SIZE;
    store_put_number(header + 4, count, 4);
    store_put_number(header + 8, record->len, 8);
    for (size_t i = 0; i < count; i++) {
        uint8_t *at = header + FIXED_SIZE + i * BLOB_SIZE;
        store_put_number(at, blobs[i].data.len, 8);
        memcpy(at + 8, blobs[i].digest.bytes, sizeof blobs[i].digest.bytes);
    }
    store_put_number(header + crc_at, tw_crc32(0, tw_span_of(header, crc_at)), CRC_SIZE);
    tw_buf_init(file, STORE_PACK_MAX);
    bool ok =
        tw_buf_append(file, header, header_size(count)) && tw_buf_append(file, record->data, record->len);
    for (size_t i = 0; ok && i < count; i++)
        ok = tw_buf_append(file, blobs[i].data.data, blobs[i].data.len);
    return ok || tw_buf_fail(file, err, TW_ERR_STORE, "a record and its blobs are larger than %d bytes",
                             STORE_PACK_MAX);
}

static bool bad(const char *path, struct tw_error *err) {
    return tw_fail(err, TW_ERR_STORE, "%s is not whole", path);
}

static struct tw_span cut(struct tw_span *rest, size_t len) {
    struct tw_span front = tw_span_of(rest->data, len);
    *rest = tw_span_of(rest->data + len, rest->len - len);
    return front;
}

static bool read_blobs(struct store_pack *pack, const uint8_t *list, struct tw_span *rest) {
    for (size_t i = 0; i < pack->count; i++, list += BLOB_SIZE) {
        struct tw_store_blob *blob = &pack->blobs[i];
        uint64_t len = store_get_number(list, 8);
        if (len > rest->len)
            return false;
        blob->data = cut(rest, (size_t)len);
        blob->digest = tw_sha256(blob->data);
        if (memcmp(blob->digest.bytes, list + 8, sizeof blob->digest.bytes) != 0)
            return false;
    }
    return rest->len == 0;
}

static bool decode(struct tw_span rest, struct store_pack *pack) {
    const uint8_t *header = rest.data;
    if (rest.len < header_size(0))
        return false;
    pack->count = (size_t)store_get_number(header + 4, 4);
    uint64_t record_len = store_get_number(header + 8, 8);
    if (pack->count > TW_STORE_TOGETHER_MAX || rest.len < header_size(pack->count))
        return false;
    size_t crc_at = header_size(pack->count) - CRC_SIZE;
    (void)cut(&rest, crc_at + CRC_SIZE);
    if (tw_crc32(0, tw_span_of(header, crc_at)) != store_get_number(header + crc_at, CRC_SIZE) ||
        record_len > rest.len)
        return false;
    pack->record_bytes = cut(&rest, (size_t)record_len);
    return read_blobs(pack, header + FIXED_SIZE, &rest);
}

bool store_pack_read(const char *path, struct tw_buf *file, struct store_pack *ret_pack,
                     struct tw_error *err) {
    tw_buf_init(file, STORE_PACK_MAX);
    if (!tw_file_read(path, file, err))
        return false;
    struct store_pack pack = {.record_bytes = tw_buf_span(file)};
    bool is_pack = file->len >= 4 && memcmp(file->data, "TWA1", 4) == 0;
    if (is_pack && !decode(tw_buf_span(file), &pack))
        return bad(path, err);
    if (!store_record_decode(pack.record_bytes, path, &pack.record, err))
        return false;
    *ret_pack = pack;
    return true;
}
