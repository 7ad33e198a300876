// SPDX-License-Identifier: Apache-2.0
//
// Digests on OpenSSL's EVP with the algorithms fetched once and one context a thread, so that a digest of a
// short text costs no allocation. CRC-32 and hex are our own. OpenSSL can fail here only for want of a few
// hundred bytes when a thread hashes for the first time; there is no going on without digests, so that ends
// the process.

// Before our own headers: OpenSSL names a parameter `rand`, which port.h poisons.
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/hash.h"

#include <pthread.h>
#include <sys/random.h>

// Confined to its thread.
struct contexts {
    EVP_MD_CTX *digest;
    EVP_MAC_CTX *mac;
};

// Frozen after setup.
static pthread_once_t setup_once = PTHREAD_ONCE_INIT;
static EVP_MD *sha256;
static EVP_MAC *hmac;
static pthread_key_t contexts_key;

static void contexts_free(void *value) {
    struct contexts *contexts = value;
    EVP_MD_CTX_free(contexts->digest);
    EVP_MAC_CTX_free(contexts->mac);
    free(contexts);
}

static void setup(void) {
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    TW_ASSERT(sha256 && hmac);
    TW_ASSERT(pthread_key_create(&contexts_key, contexts_free) == 0);
}

static struct contexts *contexts_get(void) {
    pthread_once(&setup_once, setup);
    struct contexts *contexts = pthread_getspecific(contexts_key);
    if (contexts)
        return contexts;
    // Not tw_alloc: this function has no way to fail that a caller could handle.
    contexts = calloc(1, sizeof(*contexts));
    TW_ASSERT(contexts);
    contexts->digest = EVP_MD_CTX_new();
    contexts->mac = EVP_MAC_CTX_new(hmac);
    TW_ASSERT(contexts->digest && contexts->mac);
    TW_ASSERT(pthread_setspecific(contexts_key, contexts) == 0);
    return contexts;
}

struct tw_digest tw_sha256_parts(const struct tw_span *parts, size_t count) {
    struct tw_digest digest;
    EVP_MD_CTX *context = contexts_get()->digest;
    TW_ASSERT(EVP_DigestInit_ex2(context, sha256, NULL));
    for (size_t i = 0; i < count; i++)
        TW_ASSERT(EVP_DigestUpdate(context, parts[i].data, parts[i].len));
    TW_ASSERT(EVP_DigestFinal_ex(context, digest.bytes, NULL));
    return digest;
}

struct tw_digest tw_sha256(struct tw_span data) {
    return tw_sha256_parts(&data, 1);
}

struct tw_digest tw_hmac_sha256(struct tw_span key, const struct tw_span *parts, size_t count) {
    static const unsigned char no_key[1] = {0}; // OpenSSL takes a NULL key for "the key of last time"
    struct tw_digest digest;
    EVP_MAC_CTX *context = contexts_get()->mac;
    char name[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
                           OSSL_PARAM_construct_end()};
    TW_ASSERT(EVP_MAC_init(context, key.len ? key.data : no_key, key.len, params));
    for (size_t i = 0; i < count; i++)
        TW_ASSERT(EVP_MAC_update(context, parts[i].data, parts[i].len));
    size_t len;
    TW_ASSERT(EVP_MAC_final(context, digest.bytes, &len, sizeof(digest.bytes)) &&
              len == sizeof(digest.bytes));
    return digest;
}

bool tw_digest_equal(const struct tw_digest *a, const struct tw_digest *b) {
    return CRYPTO_memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

bool tw_equal_constant_time(struct tw_span a, struct tw_span b) {
    return a.len == b.len && (a.len == 0 || CRYPTO_memcmp(a.data, b.data, a.len) == 0);
}

void tw_hex(struct tw_span data, char *ret_text) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < data.len; i++) {
        ret_text[2 * i] = digits[data.data[i] >> 4];
        ret_text[2 * i + 1] = digits[data.data[i] & 15];
    }
    ret_text[2 * data.len] = '\0';
}

static int hex_value(char digit) {
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

bool tw_hex_parse(struct tw_str hex, uint8_t *ret_bytes, size_t len) {
    if (hex.len % 2 != 0 || hex.len / 2 != len)
        return false;
    for (size_t i = 0; i < hex.len; i++) {
        if (hex_value(hex.data[i]) < 0)
            return false;
    }
    for (size_t i = 0; i < len; i++)
        ret_bytes[i] = (uint8_t)(hex_value(hex.data[2 * i]) << 4 | hex_value(hex.data[2 * i + 1]));
    return true;
}

void tw_digest_hex(const struct tw_digest *digest, char ret_text[TW_DIGEST_HEX_SIZE]) {
    tw_hex(tw_span_of(digest->bytes, sizeof(digest->bytes)), ret_text);
}

bool tw_digest_parse(struct tw_str hex, struct tw_digest *ret_digest) {
    return tw_hex_parse(hex, ret_digest->bytes, sizeof(ret_digest->bytes));
}

void tw_random(void *ret_bytes, size_t len) {
    uint8_t *bytes = ret_bytes;
    while (len) {
        ssize_t got = getrandom(bytes, len, 0);
        if (got < 0) {
            // A kernel of 2014 or later has it, and it fails for nothing else.
            TW_ASSERT(errno == EINTR);
            continue;
        }
        bytes += got;
        len -= (size_t)got;
    }
}
