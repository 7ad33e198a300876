// SPDX-License-Identifier: Apache-2.0
//
// Ed25519 against the vectors of RFC 8032, 7.1; keys in the forms that OpenSSL's programs write.

#include "harness/test.h"

// RFC 8032, test 3: two bytes.
static const char secret_hex[] = "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7";
static const char public_hex[] = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025";
static const char signature_hex[] = "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
                                    "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a";

// A private key's PEM, made by hand: PKCS #8 is a constant prefix before the 32 bytes (RFC 8410, 7).
static void private_pem(struct tw_buf *out) {
    uint8_t der[48] = {0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20};
    ck_assert(tw_hex_parse(tw_str_from(secret_hex), der + 16, 32));
    tw_buf_init(out, 4096);
    ck_assert(tw_buf_printf(out, "-----BEGIN PRIVATE KEY-----\n") &&
              tw_base64_append(out, tw_span_of(der, sizeof der)) &&
              tw_buf_printf(out, "\n-----END PRIVATE KEY-----\n"));
}

TW_TEST("a signature is the published one, and is checked") {
    struct tw_buf pem;
    struct tw_key_signature signature, expected;
    struct tw_public_key key;
    uint8_t key_bytes[32];
    struct tw_error err = {};
    const uint8_t message[] = {0xaf, 0x82};
    private_pem(&pem);
    ck_assert(tw_sign(tw_buf_str(&pem), tw_span_of(message, 2), &signature, &err));
    ck_assert(tw_hex_parse(tw_str_from(signature_hex), expected.bytes, TW_SIGNATURE_SIZE));
    ck_assert_mem_eq(signature.bytes, expected.bytes, TW_SIGNATURE_SIZE);
    ck_assert(tw_public_key_read(tw_buf_str(&pem), &key, &err));
    ck_assert(tw_hex_parse(tw_str_from(public_hex), key_bytes, 32));
    ck_assert_mem_eq(key.bytes, key_bytes, 32);
    ck_assert(tw_key_signature_check(&key, tw_span_of(message, 2), &signature));
    ck_assert(!tw_key_signature_check(&key, tw_span_of(message, 1), &signature));
    for (unsigned bit = 0; bit < 512; bit += 37) {
        signature.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert(!tw_key_signature_check(&key, tw_span_of(message, 2), &signature));
        signature.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    tw_buf_done(&pem);
}

TW_TEST("a new key signs, and its line reads back") {
    struct tw_buf pem, other, line;
    struct tw_key_signature signature;
    struct tw_public_key key, again;
    struct tw_error err = {};
    tw_buf_init(&pem, 4096);
    tw_buf_init(&other, 4096);
    tw_buf_init(&line, 128);
    ck_assert(tw_private_key_new(&pem, &err) && tw_private_key_new(&other, &err));
    ck_assert(!tw_str_equal(tw_buf_str(&pem), tw_buf_str(&other)));
    ck_assert(tw_public_key_read(tw_buf_str(&pem), &key, &err) && tw_public_key_append(&line, &key));
    ck_assert_uint_eq(line.len, 60);
    ck_assert(tw_public_key_read(tw_buf_str(&line), &again, &err));
    ck_assert_mem_eq(&key, &again, sizeof key);
    ck_assert(tw_sign(tw_buf_str(&pem), (struct tw_span){}, &signature, &err));
    ck_assert(tw_key_signature_check(&key, (struct tw_span){}, &signature));
    ck_assert(tw_public_key_read(tw_buf_str(&other), &again, &err));
    ck_assert(!tw_key_signature_check(&again, (struct tw_span){}, &signature));
    tw_buf_done(&pem);
    tw_buf_done(&other);
    tw_buf_done(&line);
}

TW_TEST("what is no key or no signature is refused") {
    static const char *const keys[] = {"", "AAAA", "MCowBQYDK2VwAyEA",
                                       "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
                                       // X25519's, which cannot sign
                                       "MCowBQYDK2VuAyEAhSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="};
    struct tw_public_key key;
    struct tw_key_signature signature;
    for (size_t i = 0; i < TW_COUNT(keys); i++) {
        struct tw_error err = {};
        ck_assert(!tw_public_key_read(tw_str_from(keys[i]), &key, &err));
        ck_assert_int_eq(err.code, TW_ERR_INVALID_REQUEST);
        ck_assert(!tw_sign(tw_str_from(keys[i]), (struct tw_span){}, &signature, NULL));
    }
    ck_assert(!tw_key_signature_parse(TW_STR("AAAA"), &signature, NULL));
    ck_assert(!tw_key_signature_parse(TW_STR("not base64"), &signature, NULL));
}
