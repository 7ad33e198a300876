// SPDX-License-Identifier: Apache-2.0
//
// Errors on the wire: {"error":{"kind":"…","message":"…"}} with the kind and status of base/error.def.

#include "http/internal.h"

enum { PROBLEM_MAX = 256 << 10 }; // a message is 240 bytes; a backtrace and a guest's stderr come with it

// The body, in a buffer of the reply's own. False without memory.
static bool write_body(struct tw_buf *out, const struct tw_error *err, struct tw_str detail) {
    struct tw_buf message;
    struct tw_json_writer writer;
    tw_buf_init(&message, TW_ERROR_MESSAGE_MAX * 8);
    tw_json_write_init(&writer, &message);
    tw_json_write_str(&writer, tw_str_from(err->message));
    bool ok = tw_json_write_done(&writer) &&
              tw_buf_printf(out, "{\"error\":{\"kind\":\"%s\",\"message\":", tw_code_name(err->code)) &&
              tw_buf_append_str(out, tw_buf_str(&message)) && tw_buf_append_str(out, detail) &&
              tw_buf_append(out, "}}\n", 3);
    tw_buf_done(&message);
    return ok;
}

void http_reply_problem(struct http_reply *reply, const struct tw_error *err, struct tw_str detail) {
    static const char spare[] =
        "{\"error\":{\"kind\":\"capacity_exhausted\",\"message\":\"the server is out of memory\"}}\n";
    reply->status = tw_code_status(err->code);
    reply->content_type = TW_STR("application/json");
    reply->borrowed = (struct tw_span){};
    tw_buf_done(&reply->body);
    tw_buf_init(&reply->body, PROBLEM_MAX);
    if (!write_body(&reply->body, err, detail)) {
        tw_buf_done(&reply->body);
        reply->status = 503;
        reply->borrowed = tw_span_of(spare, sizeof spare - 1);
    }
    if (reply->status == 429 || reply->status == 503 || err->code == TW_ERR_IN_PROGRESS) {
        uint32_t wait_s = err->retry_after_s ? err->retry_after_s : 1;
        snprintf(reply->retry_after, sizeof reply->retry_after, "%" PRIu32, wait_s);
        http_reply_header(reply, "Retry-After", tw_str_from(reply->retry_after));
    }
    if (reply->status == 401)
        http_reply_header(reply, "WWW-Authenticate", TW_STR("Bearer"));
}
