// SPDX-License-Identifier: Apache-2.0
//
// The rules of RFC 9112 and 9110 that llhttp leaves to its user. All of them refuse: a request that two
// servers could read in two ways is not worth guessing at.

#include "http/h1.h"

#include "http/exchange.h"

bool http_h1_check_version(const llhttp_t *parser, struct tw_error *err) {
    if (parser->http_major == 1 && parser->http_minor <= 1)
        return true;
    return tw_fail(err, TW_ERR_HTTP_VERSION, "HTTP/%u.%u is not spoken on this connection; use HTTP/1.1",
                   parser->http_major, parser->http_minor);
}

// uri-host [ ":" port ] (RFC 3986, 3.2.2), by characters only: whether the name exists is not our business.
static bool is_host(struct tw_str value) {
    static const char marks[] = "-._~%!$&'()*+,;=:[]";
    for (size_t i = 0; i < value.len; i++) {
        char c = value.data[i];
        bool is_alnum = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
        bool is_usual = is_alnum || c == '.' || c == ':' || c == '-';
        if (!is_usual && (c == '\0' || !strchr(marks, c)))
            return false;
    }
    return value.len > 0;
}

static bool check_host(struct http_h1 *h1, struct tw_str value, struct tw_error *err) {
    if (++h1->seen.hosts > 1)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "there is more than one Host header; send one");
    return is_host(value) ||
           tw_fail(err, TW_ERR_INVALID_REQUEST, "the Host header is not a host name and port");
}

static bool check_transfer_encoding(struct http_h1 *h1, struct tw_str value, struct tw_error *err) {
    if (++h1->seen.transfer_encodings > 1)
        return tw_fail(err, TW_ERR_INVALID_REQUEST,
                       "there is more than one Transfer-Encoding header; send one");
    if (!tw_str_equal_nocase(value, TW_STR("chunked")))
        return tw_fail(err, TW_ERR_NOT_IMPLEMENTED, "the only transfer encoding taken is chunked, alone");
    h1->seen.is_chunked = true;
    return true;
}

static bool check_expect(struct http_h1 *h1, struct tw_str value, struct tw_error *err) {
    h1->seen.expects++;
    return tw_str_equal_nocase(value, TW_STR("100-continue")) ||
           tw_fail(err, TW_ERR_EXPECTATION, "the only expectation met is 100-continue");
}

// A tab is allowed (RFC 9110, 5.5).
static bool check_value(struct tw_str value, struct tw_error *err) {
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.data[i];
        if ((c < 0x20 && c != '\t') || c == 0x7F)
            return tw_fail(err, TW_ERR_INVALID_REQUEST, "a header's value holds the control byte 0x%02x", c);
    }
    return true;
}

bool http_h1_check_header(struct http_h1 *h1, struct tw_str name, struct tw_str value, struct tw_error *err) {
    if (tw_str_has_control(value) && !check_value(value, err))
        return false;
    if (tw_str_equal(name, TW_STR("host")))
        return check_host(h1, value, err);
    if (tw_str_equal(name, TW_STR("transfer-encoding")))
        return check_transfer_encoding(h1, value, err);
    if (tw_str_equal(name, TW_STR("expect")))
        return check_expect(h1, value, err);
    return true;
}

bool http_h1_check_head(struct http_h1 *h1, struct tw_error *err) {
    const llhttp_t *parser = &h1->parser;
    bool is_http10 = parser->http_minor == 0;
    bool has_length = parser->flags & F_CONTENT_LENGTH;
    if (!http_h1_check_version(parser, err)) // a request line without a version gets here too
        return false;
    if (parser->method == HTTP_CONNECT)
        return tw_fail(err, TW_ERR_NOT_IMPLEMENTED, "this server is no proxy: CONNECT is not offered");
    if (!is_http10 && h1->seen.hosts == 0)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "HTTP/1.1 requires a Host header");
    if (is_http10 && h1->seen.transfer_encodings)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "HTTP/1.0 has no Transfer-Encoding; use HTTP/1.1");
    if (h1->seen.transfer_encodings && has_length)
        return tw_fail(err, TW_ERR_INVALID_REQUEST,
                       "both Transfer-Encoding and Content-Length are given; send one of them");
    h1->x->is_http10 = is_http10;
    h1->x->expects_continue =
        !is_http10 && h1->seen.expects && (h1->seen.is_chunked || parser->content_length);
    h1->x->content_length = has_length ? parser->content_length : UINT64_MAX;
    return true;
}

void http_h1_syntax_error(const llhttp_t *parser, llhttp_errno_t code, struct tw_error *err) {
    const char *reason = llhttp_get_error_reason(parser);
    bool is_known =
        parser->http_major == 1 && parser->http_minor <= 1; // then it is what follows that is wrong
    if (code == HPE_INVALID_VERSION && !is_known)
        tw_fail(err, TW_ERR_HTTP_VERSION, "the HTTP version is not one this server speaks; use HTTP/1.1");
    else
        tw_fail(err, TW_ERR_INVALID_REQUEST, "the request is not valid HTTP/1.1: %s",
                reason && *reason ? reason : llhttp_errno_name(code));
}
