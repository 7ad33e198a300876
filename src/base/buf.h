// SPDX-License-Identifier: Apache-2.0
//
// A growing byte buffer that is born with its maximum.
//
//     struct tw_buf out;
//     tw_buf_init(&out, TW_MAX_ERROR_BODY);
//     if (!tw_buf_printf(&out, "%d items", n)) …      // full or out of memory: nothing was appended
//     tw_buf_done(&out);
//
// The content is always followed by a NUL that is not counted, so `data` of a non-empty buffer is a C string.
#pragma once

#include "base/error.h"
#include "base/str.h"

// Confined. `{}` is a valid empty buffer with maximum 0 (it takes nothing).
struct tw_buf {
    uint8_t *data;
    size_t len;
    size_t capacity;
    size_t max;
    bool is_starved; // memory was short once when it had to grow, rather than the maximum reached
};

void tw_buf_init(struct tw_buf *buf, size_t max);
void tw_buf_done(struct tw_buf *buf);  // also through [[gnu::cleanup]]
void tw_buf_reset(struct tw_buf *buf); // keeps the storage
// Each appends all or nothing; false when the maximum or the memory is exhausted. What fits the storage is appended
// inline, because a request and its answer are put together from dozens of pieces.
[[nodiscard]] bool tw_buf_append_growing(struct tw_buf *buf, const void *data, size_t len);
[[nodiscard]] static inline bool tw_buf_append(struct tw_buf *buf, const void *data, size_t len) {
    if (len == 0 || len > buf->capacity - buf->len || buf->len + len > buf->max)
        return tw_buf_append_growing(buf, data, len);
    memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
    return true;
}
[[nodiscard]] static inline bool tw_buf_append_str(struct tw_buf *buf, struct tw_str text) {
    return tw_buf_append(buf, text.data, text.len);
}
// After an append failed: tells CAPACITY when memory was short, else `code` with the text. Always false.
[[gnu::format(printf, 4, 5)]] bool tw_buf_fail(const struct tw_buf *buf, struct tw_error *err,
                                               enum tw_code code, const char *format, ...);
[[nodiscard]] bool tw_buf_append_byte(struct tw_buf *buf, uint8_t byte);
[[nodiscard]] [[gnu::format(printf, 2, 3)]] bool tw_buf_printf(struct tw_buf *buf, const char *format, ...);
// Makes room for `len` more bytes and returns where they go (not yet counted); NULL when it cannot.
[[nodiscard]] uint8_t *tw_buf_reserve(struct tw_buf *buf, size_t len);
void tw_buf_commit(struct tw_buf *buf, size_t len); // counts bytes written after tw_buf_reserve
void tw_buf_drop_front(struct tw_buf *buf, size_t len);
// Ownership out: the heap block (free() it), the buffer is empty after.
uint8_t *tw_buf_take(struct tw_buf *buf, size_t *ret_len);
struct tw_span tw_buf_span(const struct tw_buf *buf);
struct tw_str tw_buf_str(const struct tw_buf *buf);
