// SPDX-License-Identifier: Apache-2.0
//
// Digests against the vectors of FIPS 180-2 and RFC 4231, CRC-32 against a bit-by-bit one.

#include "harness/test.h"

static struct tw_span span_of(const char *text) {
    return tw_span_of(text, strlen(text));
}

static void check_digest(struct tw_digest digest, const char *expected) {
    char text[TW_DIGEST_HEX_SIZE];
    tw_digest_hex(&digest, text);
    ck_assert_str_eq(text, expected);
}

TW_TEST("sha256 gives the published digests, in one piece and in parts") {
    check_digest(tw_sha256(span_of("abc")),
                 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check_digest(tw_sha256((struct tw_span){}),
                 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    struct tw_span parts[] = {
        span_of("abcdbcdecdefdefgefghfghighij"), {}, span_of("hijkijkljklmklmnlmnomnopnopq")};
    check_digest(tw_sha256_parts(parts, 3),
                 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TW_TEST("hmac gives the digests of RFC 4231, also for an empty key after another one") {
    struct tw_span what[] = {span_of("what do ya want "), span_of("for nothing?")};
    check_digest(tw_hmac_sha256(span_of("Jefe"), what, 2),
                 "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    uint8_t key[131];
    memset(key, 0xaa, sizeof(key));
    struct tw_span large = span_of("Test Using Larger Than Block-Size Key - Hash Key First");
    check_digest(tw_hmac_sha256(tw_span_of(key, sizeof(key)), &large, 1),
                 "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    // HMAC of nothing under the empty key, as published in many places.
    check_digest(tw_hmac_sha256((struct tw_span){}, NULL, 0),
                 "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

TW_TEST("a digest reads back from its own text and from nothing else") {
    struct tw_digest digest = tw_sha256(span_of("x")), back = {};
    char text[TW_DIGEST_HEX_SIZE];
    tw_digest_hex(&digest, text);
    ck_assert(tw_digest_parse(tw_str_from(text), &back));
    ck_assert(tw_digest_equal(&digest, &back));
    back.bytes[31] ^= 1;
    ck_assert(!tw_digest_equal(&digest, &back));
    struct tw_digest before = back;
    ck_assert(!tw_digest_parse(tw_str_of(text, 63), &back));
    ck_assert(!tw_digest_parse(tw_str_of(text, 62), &back));
    text[63] = 'G';
    ck_assert(!tw_digest_parse(tw_str_from(text), &back));
    text[63] = 'A';
    ck_assert(!tw_digest_parse(tw_str_from(text), &back));
    ck_assert_int_eq(memcmp(&before, &back, sizeof(back)), 0);
}

TW_TEST("comparing in constant time still compares") {
    ck_assert(tw_equal_constant_time(span_of("secret"), span_of("secret")));
    ck_assert(!tw_equal_constant_time(span_of("secret"), span_of("secreT")));
    ck_assert(!tw_equal_constant_time(span_of("secret"), span_of("secre")));
    ck_assert(tw_equal_constant_time((struct tw_span){}, (struct tw_span){}));
}

TW_TEST("crc32 agrees with a bit-by-bit one at every length and alignment, and continues from a seed") {
    ck_assert_uint_eq(tw_crc32(0, span_of("123456789")), 0xCBF43926);
    uint8_t data[100];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * i + 13);
    for (size_t start = 0; start < 9; start++) {
        for (size_t len = 0; start + len <= sizeof(data); len++) {
            uint32_t expected = ~0U;
            for (size_t i = 0; i < len; i++) {
                for (unsigned bit = 0; bit < 8; bit++) {
                    uint32_t mix = (expected ^ (uint32_t)(data[start + i] >> bit)) & 1;
                    expected = expected >> 1 ^ (mix ? 0xEDB88320 : 0);
                }
            }
            expected = ~expected;
            ck_assert_uint_eq(tw_crc32(0, tw_span_of(data + start, len)), expected);
            uint32_t half = tw_crc32(0, tw_span_of(data + start, len / 2));
            ck_assert_uint_eq(tw_crc32(half, tw_span_of(data + start + len / 2, len - len / 2)), expected);
        }
    }
}

TW_TEST("random bytes differ between calls") {
    uint8_t a[32], b[32];
    tw_random(a, sizeof(a));
    tw_random(b, sizeof(b));
    ck_assert_int_ne(memcmp(a, b, sizeof(a)), 0);
    tw_random(a, 0);
}

static void digest_many(void *context) {
    struct tw_digest *result = context;
    for (unsigned i = 0; i < 1000; i++)
        *result = tw_sha256(span_of("abc"));
}

TW_TEST("threads hash at the same time") {
    pthread_t threads[4];
    struct tw_digest results[4], expected = tw_sha256(span_of("abc"));
    struct tw_error err = {};
    for (unsigned i = 0; i < 4; i++)
        tw_assert_ok(tw_thread_start(&threads[i], "hash", digest_many, &results[i], &err), &err);
    for (unsigned i = 0; i < 4; i++) {
        tw_thread_join(threads[i]);
        ck_assert(tw_digest_equal(&results[i], &expected));
    }
}
