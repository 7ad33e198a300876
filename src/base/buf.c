// SPDX-License-Identifier: Apache-2.0
//
// Storage doubles up to the maximum. It always has one byte more than `capacity`, for the NUL that ends the
// content.

#include "base/buf.h"

#include <stdarg.h>

#include "base/fault.h"
#include "base/internal.h"

enum { FIRST_CAPACITY = 127 }; // with the NUL, one 128-byte block

void tw_buf_init(struct tw_buf *buf, size_t max) {
    *buf = (struct tw_buf){.max = max};
}

struct tw_buf base_buf_fixed(char *storage, size_t size) {
    storage[0] = '\0';
    return (struct tw_buf){.data = (uint8_t *)storage, .capacity = size - 1, .max = size - 1};
}

void tw_buf_done(struct tw_buf *buf) {
    free(buf->data);
    *buf = (struct tw_buf){.max = buf->max};
}

void tw_buf_reset(struct tw_buf *buf) {
    buf->len = 0;
    if (buf->data)
        buf->data[0] = '\0';
}

// Grows the storage to hold `needed` bytes, more than it holds and not more than the maximum.
static bool grow(struct tw_buf *buf, size_t needed) {
    size_t wanted = buf->capacity < FIRST_CAPACITY ? FIRST_CAPACITY : buf->capacity;
    while (wanted < needed)
        wanted = wanted > SIZE_MAX / 2 - 1 ? needed : wanted * 2 + 1;
    if (wanted > buf->max)
        wanted = buf->max;
    if (wanted == SIZE_MAX)
        return false;
    uint8_t *data = tw_realloc(buf->data, wanted + 1);
    buf->is_starved |= !data;
    if (!data)
        return false;
    buf->data = data;
    buf->capacity = wanted;
    data[buf->len] = '\0';
    return true;
}

uint8_t *tw_buf_reserve(struct tw_buf *buf, size_t len) {
    if (len > buf->max || buf->len > buf->max - len)
        return NULL;
    if ((!buf->data || buf->capacity - buf->len < len) && !grow(buf, buf->len + len))
        return NULL;
    return buf->data + buf->len;
}

void tw_buf_commit(struct tw_buf *buf, size_t len) {
    TW_ASSERT(len <= buf->capacity - buf->len);
    if (!buf->data)
        return;
    buf->len += len;
    buf->data[buf->len] = '\0';
}

bool tw_buf_append_growing(struct tw_buf *buf, const void *data, size_t len) {
    if (len == 0)
        return true;
    uint8_t *room = tw_buf_reserve(buf, len);
    if (!room)
        return false;
    memcpy(room, data, len);
    tw_buf_commit(buf, len);
    return true;
}

bool tw_buf_fail(const struct tw_buf *buf, struct tw_error *err, enum tw_code code, const char *format, ...) {
    char text[sizeof err->message];
    if (buf->is_starved)
        return tw_fail(err, TW_ERR_CAPACITY, "out of memory; try again later");
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return tw_fail(err, code, "%s", text);
}

bool tw_buf_append_byte(struct tw_buf *buf, uint8_t byte) {
    return tw_buf_append(buf, &byte, 1);
}

bool tw_buf_printf(struct tw_buf *buf, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    // First into what is there (its NUL fits the byte beyond the capacity); only a text that is longer is
    // formatted twice.
    size_t limit = buf->capacity < buf->max ? buf->capacity : buf->max;
    size_t left = buf->data && limit > buf->len ? limit - buf->len : 0;
    int len =
        vsnprintf(buf->data ? (char *)buf->data + buf->len : NULL, buf->data ? left + 1 : 0, format, args);
    va_end(args);
    bool ok = len >= 0;
    if (ok && (!buf->data || (size_t)len > left)) {
        if (buf->data)
            buf->data[buf->len] = '\0';
        char *room = (char *)tw_buf_reserve(buf, (size_t)len);
        ok = room != NULL;
        if (ok)
            vsnprintf(room, (size_t)len + 1, format, again);
    }
    va_end(again);
    if (ok)
        tw_buf_commit(buf, (size_t)len);
    return ok;
}

void tw_buf_drop_front(struct tw_buf *buf, size_t len) {
    TW_ASSERT(len <= buf->len);
    if (len == 0)
        return;
    buf->len -= len;
    memmove(buf->data, buf->data + len, buf->len + 1);
}

uint8_t *tw_buf_take(struct tw_buf *buf, size_t *ret_len) {
    uint8_t *data = buf->data;
    if (ret_len)
        *ret_len = buf->len;
    *buf = (struct tw_buf){.max = buf->max};
    return data;
}

struct tw_span tw_buf_span(const struct tw_buf *buf) {
    return tw_span_of(buf->data, buf->len);
}

struct tw_str tw_buf_str(const struct tw_buf *buf) {
    return buf->data ? tw_str_of((const char *)buf->data, buf->len) : TW_STR("");
}
