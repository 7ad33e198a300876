// SPDX-License-Identifier: Apache-2.0
//
// HTTP/1 bytes to requests, with no socket in sight: llhttp and the rules it leaves to us. Fuzzed as it is.
//
//     switch (http_h1_parse(&h1, data, len, &used)) {
//     case HTTP_H1_MORE:    all of it was used and the request is not whole
//     case HTTP_H1_HEAD:    the header section is complete; call again with the rest
//     case HTTP_H1_REQUEST: the request is whole; http_h1_next, then call again with the rest
//     case HTTP_H1_BAD:     h1.error; answer it and close
//     }
#pragma once

#include <llhttp.h>

#include "base/error.h"
#include "base/str.h"

struct http_exchange;

enum http_h1_result { HTTP_H1_MORE, HTTP_H1_HEAD, HTTP_H1_REQUEST, HTTP_H1_BAD };

// What one request's header section was found to say. Confined.
struct http_h1_seen {
    unsigned hosts, transfer_encodings, expects;
    bool is_chunked;
    size_t header_bytes, trailer_bytes;
};

// Confined to its connection.
struct http_h1 {
    llhttp_t parser;
    struct http_exchange *x; // where the request goes
    struct http_h1_seen seen;
    struct tw_error error;
    size_t target_len;        // the target stands at the start of x->head
    size_t name_at, value_at; // of the header being read, in x->head
    uint64_t body_max;
    enum http_h1_result phase; // the last pause: MORE before the header section was complete
    bool keep_alive;
};

void http_h1_init(struct http_h1 *h1, uint64_t body_max);
void http_h1_next(struct http_h1 *h1, struct http_exchange *x); // a new request, into `x`
enum http_h1_result http_h1_parse(struct http_h1 *h1, const uint8_t *data, size_t len, size_t *ret_used);

// ---- h1_policy.c: what llhttp does not check. Each fails with the error to answer ----
[[nodiscard]] bool http_h1_check_version(const llhttp_t *parser, struct tw_error *err);
[[nodiscard]] bool http_h1_check_header(struct http_h1 *h1, struct tw_str name, struct tw_str value,
                                        struct tw_error *err);
[[nodiscard]] bool http_h1_check_head(struct http_h1 *h1, struct tw_error *err);
void http_h1_syntax_error(const llhttp_t *parser, llhttp_errno_t code, struct tw_error *err);

// ---- peek.c ----
#define HTTP2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
enum { HTTP2_PREFACE_LEN = 24 };
// How many of the next bytes go on matching the preface of which `seen` bytes matched already.
unsigned http_preface_match(unsigned seen, const uint8_t *data, size_t len);
