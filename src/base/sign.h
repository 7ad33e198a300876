// SPDX-License-Identifier: Apache-2.0
//
// Ed25519 signatures (RFC 8032) on OpenSSL's libcrypto, with keys in the forms that `openssl genpkey
// -algorithm ed25519` and `openssl pkey -pubout` write. Any thread.
//
//     struct tw_public_key key;
//     if (!tw_public_key_read(text, &key, &err) || !tw_key_signature_check(&key, message, &signature)) …
#pragma once

#include "base/buf.h"

enum { TW_PUBLIC_KEY_SIZE = 32, TW_SIGNATURE_SIZE = 64 };

// Plain values.
struct tw_public_key {
    uint8_t bytes[TW_PUBLIC_KEY_SIZE];
};
struct tw_key_signature {
    uint8_t bytes[TW_SIGNATURE_SIZE];
};

// From a PEM text with a public or a private key (of which the public half is taken), or from the line of
// base64 that stands in a public key's PEM. INVALID_REQUEST says what was found instead.
[[nodiscard]] bool tw_public_key_read(struct tw_str text, struct tw_public_key *ret_key,
                                      struct tw_error *err);
// Appends that line of base64, 60 characters.
[[nodiscard]] bool tw_public_key_append(struct tw_buf *out, const struct tw_public_key *key);

// A new private key as PEM (PKCS #8).
[[nodiscard]] bool tw_private_key_new(struct tw_buf *out, struct tw_error *err);
// With a private key as PEM, not encrypted.
[[nodiscard]] bool tw_sign(struct tw_str private_key, struct tw_span message,
                           struct tw_key_signature *ret_signature, struct tw_error *err);
bool tw_key_signature_check(const struct tw_public_key *key, struct tw_span message,
                            const struct tw_key_signature *signature);
// 64 bytes as base64; INVALID_BASE64.
[[nodiscard]] bool tw_key_signature_parse(struct tw_str base64, struct tw_key_signature *ret_signature,
                                          struct tw_error *err);
