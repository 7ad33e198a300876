// SPDX-License-Identifier: Apache-2.0
//
// The file of a snapshot: what was written is read, and nothing else is.

#include "harness/test.h"

#include "snapshot/snapshot.h"

static struct tw_error err;
static const struct tw_snapshot_key no_key = {};

static struct tw_snapshot_key key_of(uint8_t fill) {
    struct tw_snapshot_key key = {.is_set = true};
    memset(key.bytes, fill, sizeof key.bytes);
    return key;
}

// A whole file of parts of these sizes; the caller does tw_buf_done.
static struct tw_buf file_of(size_t description, size_t image, size_t wasm,
                             const struct tw_snapshot_key *key) {
    struct tw_buf head, bytes;
    size_t len = description + image + wasm;
    tw_buf_init(&head, 1 << 20);
    tw_buf_init(&bytes, 1 << 22);
    uint8_t *text = tw_alloc(len + 1);
    ck_assert_ptr_nonnull(text);
    for (size_t i = 0; i < len; i++)
        text[i] = (uint8_t)(i * 37 + 11);
    struct tw_snapshot parts = {.description = tw_str_of((const char *)text, description),
                                .image = tw_span_of(text + description, image),
                                .wasm = tw_span_of(text + description + image, wasm),
                                .captured_ns = 1'700'000'000'000'000'000,
                                .is_signed = key->is_set};
    tw_assert_ok(tw_snapshot_head(&parts, key, &head, &err), &err);
    ck_assert_uint_eq(head.len % TW_SNAPSHOT_PAGE, 0);
    ck_assert(tw_buf_append(&bytes, head.data, head.len) && tw_buf_append(&bytes, parts.image.data, image) &&
              tw_buf_append(&bytes, parts.wasm.data, wasm));
    tw_buf_done(&head);
    free(text);
    return bytes;
}

static bool reads(struct tw_span file) {
    struct tw_snapshot snapshot;
    struct tw_error refused = {};
    if (tw_snapshot_read(file, &snapshot, &refused))
        return true;
    ck_assert_int_eq(refused.code, TW_ERR_INVALID_REQUEST);
    ck_assert(refused.message[0]);
    return false;
}

TW_TEST("the parts come back as they went in, whatever their sizes") {
    static const size_t sizes[][3] = {{0, 0, 0},        {1, 1, 1},
                                      {3968, 4096, 8},  {3969, 4096, 100},
                                      {4100, 12288, 0}, {TW_SNAPSHOT_DESCRIPTION_MAX, 4096, 9}};
    for (size_t i = 0; i < TW_COUNT(sizes); i++) {
        struct tw_buf file = file_of(sizes[i][0], sizes[i][1], sizes[i][2], &no_key);
        struct tw_snapshot snapshot;
        tw_assert_ok(tw_snapshot_read(tw_buf_span(&file), &snapshot, &err), &err);
        ck_assert_uint_eq(snapshot.description.len, sizes[i][0]);
        ck_assert_uint_eq(snapshot.image.len, sizes[i][1]);
        ck_assert_uint_eq(snapshot.wasm.len, sizes[i][2]);
        ck_assert_uint_eq(snapshot.image_at % TW_SNAPSHOT_PAGE, 0);
        ck_assert_ptr_eq(snapshot.image.data, file.data + snapshot.image_at);
        ck_assert_ptr_eq(snapshot.wasm.data + snapshot.wasm.len, file.data + file.len);
        for (size_t at = 0; at < snapshot.wasm.len; at++)
            ck_assert_uint_eq(snapshot.wasm.data[at], (uint8_t)((sizes[i][0] + sizes[i][1] + at) * 37 + 11));
        ck_assert_int_eq(snapshot.captured_ns, 1'700'000'000'000'000'000);
        ck_assert(!snapshot.is_signed);
        tw_buf_done(&file);
    }
}

TW_TEST(
    "no bit of the header, the description or the module may change, and no byte be missing or too many") {
    struct tw_buf file = file_of(50, 4096, 70, &no_key);
    struct tw_span all = tw_buf_span(&file);
    size_t image_at = file.len - 70 - 4096;
    for (size_t at = 0; at < file.len; at++) {
        if (at >= 128 + 50 && at < image_at + 4096)
            continue; // zeros, and the image, which has checksums of its own
        for (unsigned bit = 0; bit < 8; bit++) {
            file.data[at] ^= (uint8_t)(1u << bit);
            ck_assert_msg(!reads(all), "byte %zu bit %u", at, bit);
            file.data[at] ^= (uint8_t)(1u << bit);
        }
    }
    ck_assert(reads(all));
    for (size_t len = 0; len < file.len; len += len < 300 ? 1 : 97)
        ck_assert_msg(!reads(tw_span_of(file.data, len)), "%zu bytes", len);
    ck_assert(tw_buf_append_byte(&file, 0));
    ck_assert(!reads(tw_buf_span(&file)));
    tw_buf_done(&file);
}

TW_TEST("a signature covers every byte and holds for one key only") {
    struct tw_snapshot_key key = key_of(7), other = key_of(8);
    struct tw_buf file = file_of(50, 4096, 70, &key);
    struct tw_span all = tw_buf_span(&file);
    tw_assert_ok(tw_snapshot_verify(all, &key, &err), &err);
    ck_assert(reads(all));
    ck_assert(!tw_snapshot_verify(all, &other, &err));
    ck_assert_int_eq(err.code, TW_ERR_SNAPSHOT_SIGNATURE);
    for (size_t at = 16; at < file.len; at += 13) {
        file.data[at] ^= 1;
        ck_assert_msg(!tw_snapshot_verify(all, &key, &err), "byte %zu", at);
        file.data[at] ^= 1;
    }
    struct tw_buf plain = file_of(50, 4096, 70, &no_key);
    ck_assert(!tw_snapshot_verify(tw_buf_span(&plain), &key, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "not signed"));
    tw_buf_done(&plain);
    tw_buf_done(&file);
}

TW_TEST("a key is 64 hex digits or nothing") {
    struct tw_snapshot_key key;
    ck_assert(tw_snapshot_key_parse(TW_STR(""), &key, &err) && !key.is_set);
    struct tw_str good = TW_STR("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
    ck_assert(tw_snapshot_key_parse(good, &key, &err) && key.is_set && key.bytes[1] == 0x11);
    good.len--;
    ck_assert(!tw_snapshot_key_parse(good, &key, &err));
    ck_assert(!tw_snapshot_key_parse(
        TW_STR("zz112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"), &key, &err));
}

TW_TEST("a description that is too long is refused before anything is written") {
    struct tw_buf out;
    tw_buf_init(&out, 1 << 20);
    char *text = tw_alloc_zero(1, TW_SNAPSHOT_DESCRIPTION_MAX + 1);
    struct tw_snapshot parts = {.description = tw_str_of(text, TW_SNAPSHOT_DESCRIPTION_MAX + 1)};
    ck_assert(!tw_snapshot_head(&parts, &no_key, &out, &err));
    ck_assert_uint_eq(out.len, 0);
    free(text);
    tw_buf_done(&out);
}
