// SPDX-License-Identifier: Apache-2.0
//
// Answers in zstd or gzip for those who ask (RFC 9110, 12.5.3): texts and JSON above a size where it pays. Streamed
// answers go out as they are: a coder would hold back what the guest has just written. The handler's thread does
// the work, or the service's pool when that thread is a loop and the body large.

#include <zlib.h>
#include <zstd.h>

#include "http/internal.h"

enum {
    ENCODE_MIN = 1024,             // below, the header costs what the coding saves
    ENCODE_ON_LOOP_MAX = 64 << 10, // about 0.2 ms of zstd, 1 ms of gzip
    GZIP_LEVEL = 4,
    GZIP_LEVEL_LASTING = 9,
    GZIP_WINDOW = 15 + 16, // the largest window; 16: with gzip's header
    GZIP_MEMORY = 8,
    ZSTD_LEVEL = 1,
    ZSTD_LEVEL_LASTING = 15,
    WEIGHT_ONE = 1000,
};

// ---- Accept-Encoding ----

// qvalue = "0" [ "." 0*3DIGIT ] / "1" [ "." 0*3"0" ], in thousandths; 0 for what is none.
static int parse_weight(struct tw_str text) {
    if (!text.len || text.len > 5 || (text.data[0] != '0' && text.data[0] != '1') ||
        (text.len > 1 && text.data[1] != '.'))
        return 0;
    int weight = (text.data[0] - '0') * WEIGHT_ONE, unit = WEIGHT_ONE / 10;
    for (size_t i = 2; i < text.len; i++, unit /= 10) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return 0;
        weight += (text.data[i] - '0') * unit;
    }
    return weight <= WEIGHT_ONE ? weight : 0;
}

static int weight_of(struct tw_str parameters) {
    while (parameters.len) {
        struct tw_str value = tw_str_trim(tw_str_cut(&parameters, ';'));
        struct tw_str name = tw_str_trim(tw_str_cut(&value, '='));
        if (tw_str_equal_nocase(name, TW_STR("q")))
            return parse_weight(tw_str_trim(value));
    }
    return WEIGHT_ONE;
}

// The weight a coding is given; -1 when it is not named.
static int find_weight(struct tw_str list, struct tw_str coding) {
    while (list.len) {
        struct tw_str item = tw_str_cut(&list, ',');
        if (tw_str_equal_nocase(tw_str_trim(tw_str_cut(&item, ';')), coding))
            return weight_of(item);
    }
    return -1;
}

enum http_coding http_coding_choose(struct tw_str accepted) {
    int any = find_weight(accepted, TW_STR("*")), zstd = find_weight(accepted, TW_STR("zstd")),
        gzip = find_weight(accepted, TW_STR("gzip")), plain = find_weight(accepted, TW_STR("identity"));
    zstd = zstd < 0 ? any : zstd;
    gzip = gzip < 0 ? any : gzip;
    int best = zstd > gzip ? zstd : gzip;
    if (best <= 0 || plain > best)
        return HTTP_CODING_NONE;
    return zstd >= gzip ? HTTP_CODING_ZSTD : HTTP_CODING_GZIP;
}

// ---- coding ----

// Both give the length, or 0 when the result is not smaller than `room`.
static size_t gzip(struct tw_span body, int level, uint8_t *out, size_t room) {
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)body.data,
                       .avail_in = (uInt)body.len,
                       .next_out = out,
                       .avail_out = (uInt)room};
    if (body.len > UINT32_MAX ||
        deflateInit2(&stream, level, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY, Z_DEFAULT_STRATEGY) != Z_OK)
        return 0;
    bool ok = deflate(&stream, Z_FINISH) == Z_STREAM_END;
    size_t len = stream.total_out;
    deflateEnd(&stream);
    return ok ? len : 0;
}

static size_t zstd(struct tw_span body, int level, uint8_t *out, size_t room) {
    size_t len = ZSTD_compress(out, room, body.data, body.len, level);
    return ZSTD_isError(len) ? 0 : len;
}

static bool is_compressible(struct tw_str type) {
    struct tw_str rest = type, name = tw_str_trim(tw_str_cut(&rest, ';'));
    return tw_str_starts(name, TW_STR("text/")) || tw_str_equal(name, TW_STR("application/json")) ||
           tw_str_equal(name, TW_STR("application/openmetrics-text"));
}

bool http_code(struct tw_span text, enum http_coding coding, bool is_lasting, struct tw_buf *out) {
    tw_buf_init(out, text.len);
    uint8_t *room = tw_buf_reserve(out, text.len - 1);
    size_t len = 0;
    if (room && coding == HTTP_CODING_ZSTD)
        len = zstd(text, is_lasting ? ZSTD_LEVEL_LASTING : ZSTD_LEVEL, room, text.len - 1);
    else if (room)
        len = gzip(text, is_lasting ? GZIP_LEVEL_LASTING : GZIP_LEVEL, room, text.len - 1);
    if (len)
        tw_buf_commit(out, len);
    else
        tw_buf_done(out);
    return len != 0;
}

// Replaces the reply's body; without memory or gain it stays as it is.
static void encode(struct http_exchange *x, enum http_coding coding) {
    struct tw_buf out;
    if (x->reply.text) {
        struct tw_span coded = http_text_coded(x->reply.text, coding);
        if (!coded.len)
            return;
        x->reply.borrowed = coded;
    } else {
        if (!http_code(http_reply_body(x), coding, false, &out))
            return;
        tw_buf_done(&x->reply.body);
        x->reply.borrowed = (struct tw_span){};
        x->reply.body = out;
    }
    http_reply_header(&x->reply, "Content-Encoding",
                      coding == HTTP_CODING_ZSTD ? TW_STR("zstd") : TW_STR("gzip"));
}

bool http_encode(struct http_exchange *x) {
    size_t len = http_reply_body(x).len;
    if (x->is_encoded || len < ENCODE_MIN || !is_compressible(x->reply.content_type))
        return true;
    x->reply.vary |= HTTP_VARY_ENCODING;
    enum http_coding coding = http_coding_choose(http_header_find(x, TW_STR("accept-encoding")));
    if (coding == HTTP_CODING_NONE)
        return true;
    bool is_made = x->reply.text && http_text_is_coded(x->reply.text, coding);
    if (http_on_loop(x->loop) && len > ENCODE_ON_LOOP_MAX && !is_made)
        return false;
    x->is_encoded = true;
    encode(x, coding);
    return true;
}
