// SPDX-License-Identifier: Apache-2.0
//
// Digests, keyed digests, checksums, base64, hex and random bytes, on OpenSSL's libcrypto where it has them.
// Any thread.
#pragma once

#include "base/buf.h"

enum { TW_DIGEST_SIZE = 32, TW_DIGEST_HEX_SIZE = 65 };

// A sha256. Plain value.
struct tw_digest {
    uint8_t bytes[TW_DIGEST_SIZE];
};

struct tw_digest tw_sha256(struct tw_span data);
struct tw_digest tw_sha256_parts(const struct tw_span *parts, size_t count);
struct tw_digest tw_hmac_sha256(struct tw_span key, const struct tw_span *parts, size_t count);
bool tw_digest_equal(const struct tw_digest *a, const struct tw_digest *b); // constant time
void tw_digest_hex(const struct tw_digest *digest, char ret_text[TW_DIGEST_HEX_SIZE]);
[[nodiscard]] bool tw_digest_parse(struct tw_str hex, struct tw_digest *ret_digest); // 64 lower-case digits
bool tw_equal_constant_time(struct tw_span a, struct tw_span b); // also hides nothing but the length
uint32_t tw_crc32(uint32_t seed, struct tw_span data);           // IEEE 802.3
void tw_random(void *ret_bytes, size_t len);      // from the kernel; never fails (aborts at boot only)
void tw_hex(struct tw_span data, char *ret_text); // 2 × len digits and a NUL
[[nodiscard]] bool tw_hex_parse(struct tw_str hex, uint8_t *ret_bytes, size_t len);
[[nodiscard]] bool tw_base64_append(struct tw_buf *out, struct tw_span data); // padded, standard alphabet
// Strict: padded, no white space. INVALID_BASE64 with the position on failure.
[[nodiscard]] bool tw_base64_parse(struct tw_str text, struct tw_buf *out, struct tw_error *err);
