// SPDX-License-Identifier: Apache-2.0
//
// Ed25519 on OpenSSL's EVP. A public key's DER form is a constant prefix and the key's 32 bytes (RFC 8410,
// 10.1), so that one needs no ASN.1 reader.

// Before our own headers: OpenSSL names a parameter `rand`, which port.h poisons.
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/sign.h"

#include "base/hash.h"

enum { PREFIX_SIZE = 12, PUBLIC_DER_SIZE = PREFIX_SIZE + TW_PUBLIC_KEY_SIZE, PEM_MAX = 16384 };

// SEQUENCE { SEQUENCE { OID 1.3.101.112 }, BIT STRING (33 bytes, no unused bits) }
static const uint8_t public_prefix[PREFIX_SIZE] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                                   0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};

static bool fail(struct tw_error *err, const char *what) {
    ERR_clear_error();
    return tw_fail(err, TW_ERR_INVALID_REQUEST, "%s", what);
}

// Instead of asking the terminal for the password of an encrypted key.
static int no_password(char *buffer, int size, int writing, void *context) {
    (void)buffer, (void)size, (void)writing, (void)context;
    return -1;
}

// The PEM text of a private key (or, if `is_public`, a public one). NULL when it is none.
static EVP_PKEY *read_pem(struct tw_str pem, bool is_public) {
    BIO *bio = pem.len > 0 && pem.len <= PEM_MAX ? BIO_new_mem_buf(pem.data, (int)pem.len) : NULL;
    EVP_PKEY *key = NULL;
    if (bio)
        key = is_public ? PEM_read_bio_PUBKEY(bio, NULL, no_password, NULL)
                        : PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    BIO_free(bio);
    ERR_clear_error();
    return key;
}

static bool read_line(struct tw_str line, struct tw_public_key *ret_key, struct tw_error *err) {
    struct tw_buf der;
    tw_buf_init(&der, 256);
    bool ok = tw_base64_parse(line, &der, NULL) && der.len == PUBLIC_DER_SIZE &&
              memcmp(der.data, public_prefix, PREFIX_SIZE) == 0;
    if (ok)
        memcpy(ret_key->bytes, der.data + PREFIX_SIZE, TW_PUBLIC_KEY_SIZE);
    tw_buf_done(&der);
    return ok || fail(err, "it is no Ed25519 public key: 60 characters of base64 that begin with "
                           "MCowBQYDK2VwAyEA, as 'openssl pkey -pubout' writes them");
}

bool tw_public_key_read(struct tw_str text, struct tw_public_key *ret_key, struct tw_error *err) {
    if (!memmem(text.data, text.len, "-----BEGIN", 10))
        return read_line(tw_str_trim(text), ret_key, err);
    EVP_PKEY *key = read_pem(text, true);
    if (!key)
        key = read_pem(text, false);
    size_t len = TW_PUBLIC_KEY_SIZE;
    bool ok = key && EVP_PKEY_get_id(key) == EVP_PKEY_ED25519 &&
              EVP_PKEY_get_raw_public_key(key, ret_key->bytes, &len) == 1;
    EVP_PKEY_free(key);
    return ok || fail(err, "it is no PEM file with an Ed25519 key that is not encrypted");
}

bool tw_public_key_append(struct tw_buf *out, const struct tw_public_key *key) {
    uint8_t der[PUBLIC_DER_SIZE];
    memcpy(der, public_prefix, PREFIX_SIZE);
    memcpy(der + PREFIX_SIZE, key->bytes, TW_PUBLIC_KEY_SIZE);
    return tw_base64_append(out, tw_span_of(der, sizeof der));
}

bool tw_private_key_new(struct tw_buf *out, struct tw_error *err) {
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    BIO *bio = key ? BIO_new(BIO_s_secmem()) : NULL;
    char *text = NULL;
    long len = bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1
                   ? BIO_get_mem_data(bio, &text)
                   : 0;
    bool ok = len > 0 && tw_buf_append(out, text, (size_t)len);
    BIO_free(bio);
    EVP_PKEY_free(key);
    return ok || fail(err, "no new key could be made: out of memory?");
}

bool tw_sign(struct tw_str private_key, struct tw_span message, struct tw_key_signature *ret_signature,
             struct tw_error *err) {
    EVP_PKEY *key = read_pem(private_key, false);
    EVP_MD_CTX *context = key && EVP_PKEY_get_id(key) == EVP_PKEY_ED25519 ? EVP_MD_CTX_new() : NULL;
    size_t len = TW_SIGNATURE_SIZE;
    bool ok = context && EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
              EVP_DigestSign(context, ret_signature->bytes, &len, message.data, message.len) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    return ok || fail(err, "it is no PEM file with an Ed25519 private key that is not encrypted");
}

bool tw_key_signature_check(const struct tw_public_key *key, struct tw_span message,
                            const struct tw_key_signature *signature) {
    EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key->bytes, TW_PUBLIC_KEY_SIZE);
    EVP_MD_CTX *context = pkey ? EVP_MD_CTX_new() : NULL;
    bool ok = context && EVP_DigestVerifyInit(context, NULL, NULL, NULL, pkey) == 1 &&
              EVP_DigestVerify(context, signature->bytes, TW_SIGNATURE_SIZE, message.data, message.len) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    return ok;
}

bool tw_key_signature_parse(struct tw_str base64, struct tw_key_signature *ret_signature,
                            struct tw_error *err) {
    struct tw_buf bytes;
    tw_buf_init(&bytes, 256);
    bool ok = tw_base64_parse(base64, &bytes, NULL) && bytes.len == TW_SIGNATURE_SIZE;
    if (ok)
        memcpy(ret_signature->bytes, bytes.data, TW_SIGNATURE_SIZE);
    tw_buf_done(&bytes);
    return ok || tw_fail(err, TW_ERR_INVALID_BASE64,
                         "a signature is %d bytes of Ed25519 as base64, 88 characters", TW_SIGNATURE_SIZE);
}
