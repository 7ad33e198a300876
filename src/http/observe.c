// SPDX-License-Identifier: Apache-2.0
//
// GET /observe: everything an incident report needs in one answer, and what the board in the terminal is drawn from.

#include "http/handlers.h"
#include "http/internal.h"

enum { ANSWER_MAX = 16 << 20 };

static void write_gateway(const struct http_exchange *x, struct tw_json_writer *writer) {
    struct tw_http *http = x->loop->http;
    char now[TW_TIME_TEXT_SIZE];
    tw_clock_text(tw_clock_wall_ns(), now);
    tw_json_write_text(writer, "time", tw_str_from(now));
    tw_json_write_number(writer, "uptime_s", (uint64_t)((tw_clock_ns() - http->started_ns) / TW_NS_PER_S));
    tw_json_write_key(writer, "is_leaving");
    tw_json_write_bool(writer, tw_flag_is_raised(&http->leaving));
    tw_json_write_key(writer, "config");
    tw_json_write_raw(writer, tw_str_from(http->options.config_json ? http->options.config_json : "null"));
}

static void observe(struct http_exchange *x) {
    struct tw_error err = {};
    struct tw_buf out;
    struct tw_json_writer writer;
    tw_buf_init(&out, ANSWER_MAX);
    tw_json_write_init(&writer, &out);
    tw_json_write_object(&writer);
    bool ok = tw_service_observe(http_service(x), &x->caller, &writer, &err);
    if (ok) {
        write_gateway(x, &writer);
        tw_json_write_key(&writer, "errors");
        http_journal_write(&x->loop->http->journal, &writer);
        tw_json_write_end(&writer, '}');
        ok = tw_json_write_done(&writer) || tw_fail(&err, TW_ERR_CAPACITY, "no memory for the answer");
    }
    http_respond_result(x, ok, 200, &out, &err);
}

void http_observe(struct http_exchange *x) {
    http_run_blocking(x, observe);
}
