// SPDX-License-Identifier: Apache-2.0
//
// Which requests the audit log hears of: changes (PUT, PATCH, DELETE, and every POST but calls, whether they came
// to anything or not), and refusals of a token. Calls are not in it; metrics count those.

#include <arpa/inet.h>
#include <sys/socket.h>

#include "http/http.h"
#include "http/internal.h"

// …/invoke, …/invoke-async, …/invoke-stream and the OpenAI routes.
static bool is_call(const struct http_route *route) {
    const char *last = strrchr(route->template, '/');
    return tw_str_starts(tw_str_from(last), TW_STR("/invoke")) ||
           tw_str_starts(tw_str_from(route->template), TW_STR("/v1/"));
}

static bool is_change(const struct http_exchange *x) {
    if (!x->route || x->route->access != HTTP_TOKEN)
        return false;
    return x->method == HTTP_PUT_ || x->method == HTTP_DELETE_ || x->method == HTTP_PATCH_ ||
           (x->method == HTTP_POST_ && !is_call(x->route));
}

static bool is_refusal(enum tw_code code) {
    return code == TW_ERR_UNAUTHORIZED || code == TW_ERR_TENANT_SCOPE || code == TW_ERR_ROLE_DENIED;
}

// The client's address and port, while the connection is there.
static void note_peer(struct http_exchange *x) {
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    if (!x->conn || x->peer[0] || getpeername(x->conn->fd, (struct sockaddr *)&address, &size) != 0)
        return;
    char text[INET6_ADDRSTRLEN] = "";
    if (address.ss_family == AF_INET) {
        const struct sockaddr_in *four = (const struct sockaddr_in *)&address;
        inet_ntop(AF_INET, &four->sin_addr, text, sizeof text);
        snprintf(x->peer, sizeof x->peer, "%s:%u", text, ntohs(four->sin_port));
    } else if (address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&address;
        inet_ntop(AF_INET6, &six->sin6_addr, text, sizeof text);
        snprintf(x->peer, sizeof x->peer, "[%s]:%u", text, ntohs(six->sin6_port));
    }
}

void http_audit_begin(struct http_exchange *x) {
    if (x->loop->http->options.audit && (is_change(x) || is_refusal(x->refusal.code)))
        note_peer(x);
}

void http_audit_object(struct http_exchange *x, struct tw_str object) {
    const char *copy = object.len <= TW_FUNCTION_NAME_MAX ? tw_arena_str(&x->arena, object) : NULL;
    if (copy)
        x->object = tw_str_of(copy, object.len);
}

// What the request was about: what the handler said, else the path's parameters.
static struct tw_str object_of(const struct http_exchange *x, char text[2 * TW_FUNCTION_NAME_MAX + 2]) {
    if (x->object.len || !x->params[1].len)
        return x->object.len ? x->object : x->params[0];
    snprintf(text, 2 * TW_FUNCTION_NAME_MAX + 2, "%.*s/%.*s", TW_STR_ARG(x->params[0]),
             TW_STR_ARG(x->params[1]));
    return tw_str_from(text);
}

void http_audit_end(struct http_exchange *x) {
    struct tw_audit *audit = x->loop->http->options.audit;
    if (!audit || !x->route || !(is_change(x) || is_refusal(x->outcome)))
        return;
    note_peer(x); // a handler may have refused
    char action[160], object[2 * TW_FUNCTION_NAME_MAX + 2];
    snprintf(action, sizeof action, "%s %s", http_method_name(x->method), x->route->template);
    struct tw_audit_entry entry = {
        .request_id = x->request_id,
        .actor = x->caller.token_id,
        .action = action,
        .outcome = tw_code_name(x->outcome),
        .peer = x->peer,
        .object = object_of(x, object),
        .tenant = x->caller.tenant,
        .status = x->reply.status,
        .latency_us = (tw_clock_ns() - x->started_ns) / TW_NS_PER_US,
    };
    tw_audit_post(audit, &entry);
}
