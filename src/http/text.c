// SPDX-License-Identifier: Apache-2.0
//
// A text that several answers send at once, and its codings, each made when the first client asks for it and kept as long
// as the text: a thousand requests for the API's description cost one compression.

#include "http/internal.h"

enum { CODINGS = HTTP_CODING_ZSTD }; // none has a place

// Shared: frozen but for what is guarded.
struct http_text {
    struct tw_ref ref;
    struct tw_span plain; // in `owned`, or static
    struct tw_buf owned;
    bool is_lasting; // worth the strongest coding
    struct http_shares *shares;
    int64_t charged; // to `shares`, as a stranger's
    struct tw_lock lock;
    struct tw_flag is_made[CODINGS]; // raised once under `lock`; then its coding is frozen
    struct tw_buf coded[CODINGS];    // empty: it would be no smaller
};

static struct http_text *text_new(struct tw_span plain) {
    struct http_text *text = tw_alloc_zero(1, sizeof *text);
    if (!text)
        return NULL;
    tw_ref_init(&text->ref);
    tw_lock_init(&text->lock);
    text->plain = plain;
    return text;
}

struct http_text *http_text_of_static(struct tw_span plain) {
    struct http_text *text = text_new(plain);
    if (text)
        text->is_lasting = true;
    return text;
}

struct http_text *http_text_of_buf(struct tw_buf *buf, struct http_shares *shares, struct tw_error *err) {
    int64_t bytes = (int64_t)buf->len;
    struct tw_error ignored = {}; // it speaks of bodies, and of a tenant
    if (!http_shares_take(shares, HTTP_STRANGER, bytes, &ignored)) {
        tw_fail(err, TW_ERR_CAPACITY, "answers that nobody reads hold all memory for them; try again later");
        return NULL;
    }
    struct http_text *text = text_new(tw_buf_span(buf));
    if (!text) {
        http_shares_give(shares, HTTP_STRANGER, bytes);
        tw_fail(err, TW_ERR_CAPACITY, "no memory for an answer; try again later");
        return NULL;
    }
    text->owned = *buf;
    *buf = (struct tw_buf){.max = buf->max};
    text->shares = shares;
    text->charged = bytes;
    return text;
}

void http_text_unref(struct http_text *text) {
    if (!text || !tw_ref_down(&text->ref))
        return;
    if (text->shares)
        http_shares_give(text->shares, HTTP_STRANGER, text->charged);
    for (unsigned i = 0; i < CODINGS; i++)
        tw_buf_done(&text->coded[i]);
    tw_buf_done(&text->owned);
    tw_lock_done(&text->lock);
    free(text);
}

void http_text_reply(struct http_text *text, struct http_reply *reply) {
    tw_ref_up(&text->ref);
    reply->text = text;
    reply->borrowed = text->plain;
}

bool http_text_is_coded(const struct http_text *text, enum http_coding coding) {
    return tw_flag_is_raised(&text->is_made[coding - 1]);
}

struct tw_span http_text_coded(struct http_text *text, enum http_coding coding) {
    struct tw_flag *is_made = &text->is_made[coding - 1];
    struct tw_buf *coded = &text->coded[coding - 1];
    if (!tw_flag_is_raised(is_made)) {
        TW_LOCK_SCOPE(&text->lock);
        if (!tw_flag_is_raised(is_made)) {
            (void)http_code(text->plain, coding, text->is_lasting, coded);
            tw_flag_raise(is_made);
        }
    }
    return tw_buf_span(coded);
}
