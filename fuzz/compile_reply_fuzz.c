// SPDX-License-Identifier: Apache-2.0
//
// The reply of a compiler process that may be in a tenant's hands. Each byte of the input and a space are
// laid over a right reply with exclusive or, so that spaces leave it right and a few other characters are a
// small lie; the first byte chooses the reply and its length. Whatever comes, the verdict must keep its
// promises.

#include "compile/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ID = 0x1234'5678, FILE_BYTES = 4'096 };

static void check(enum compile_verdict verdict, struct tw_span bytes, const struct tw_error *err) {
    struct compile_reply reply;
    switch (verdict) {
    case COMPILE_MADE:
        memcpy(&reply, bytes.data, sizeof(reply));
        TW_ASSERT(reply.id == ID && reply.output_bytes == FILE_BYTES && reply.code == TW_OK);
        break;
    case COMPILE_REFUSED:
        TW_ASSERT(err->code > TW_OK && err->code < TW_CODE_COUNT && err->message[0]);
        for (const char *at = err->message; *at; at++)
            TW_ASSERT((unsigned char)*at >= 0x20);
        break;
    case COMPILE_GARBAGE:
        TW_ASSERT(err->code == TW_OK);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t bytes[sizeof(struct compile_reply) + 255] = {};
    bool refuses = size && data[0] & 1;
    struct compile_reply right = {
        .magic = COMPILE_MAGIC_REPLY, .id = ID, .output_bytes = refuses ? 0 : FILE_BYTES};
    if (refuses) {
        right.code = TW_ERR_CUDA_MALFORMED_PTX;
        snprintf(right.message, sizeof(right.message), "line 1, column 1: no");
    }
    memcpy(bytes, &right, sizeof(right));
    for (size_t i = 1; i < size && i <= sizeof(bytes); i++)
        bytes[i - 1] ^= data[i] ^ ' ';
    size_t len = sizeof(right);
    if (size && data[0] & 2)
        len = data[0] & 4 ? len + data[0] : len - data[0];
    struct tw_error err = {};
    // A copy of exactly that length, so that a sanitizer sees a read beyond it.
    uint8_t *copy = tw_alloc(len);
    if (!copy)
        return 0;
    memcpy(copy, bytes, len);
    struct tw_span span = tw_span_of(copy, len);
    check(compile_reply_decode(span, ID, FILE_BYTES, &err), span, &err);
    free(copy);
    return 0;
}
