// SPDX-License-Identifier: Apache-2.0
//
// Which requests the audit log hears of: changes (PUT, DELETE, and POST to routes that need more than the
// invoke role), and refusals of a token. Calls are not in it; metrics count those.

#include <arpa/inet.h>
#include <sys/socket.h>

#include "http/http.h"
#include "http/internal.h"

static bool is_change(const struct http_exchange *x) {
    if (!x->route || x->route->access != HTTP_TOKEN)
        return false;
    // Who may invoke may also make an instance that keeps its state, but that is a change.
    if (x->method == HTTP_POST_ && strcmp(x->route->template, "/instances") == 0)
        return true;
    return x->method == HTTP_PUT_ || x->method == HTTP_DELETE_ || x->method == HTTP_PATCH_ ||
           (x->method == HTTP_POST_ && x->route->role != TW_ROLE_INVOKE);
}

static bool is_refusal(enum tw_code code) {
    return code == TW_ERR_UNAUTHORIZED || code == TW_ERR_TENANT_SCOPE || code == TW_ERR_ROLE_DENIED;
}

// The client's address and port, while the connection is there.
void http_audit_begin(struct http_exchange *x) {
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    if (!x->loop->http->options.audit || !x->conn || !(is_change(x) || is_refusal(x->refusal.code)) ||
        getpeername(x->conn->fd, (struct sockaddr *)&address, &size) != 0)
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

void http_audit_object(struct http_exchange *x, struct tw_str object) {
    const char *copy = object.len <= TW_FUNCTION_NAME_MAX ? tw_arena_str(&x->arena, object) : NULL;
    if (copy)
        x->object = tw_str_of(copy, object.len);
}

void http_audit_end(struct http_exchange *x) {
    struct tw_audit *audit = x->loop->http->options.audit;
    if (!audit || !x->route || !(is_change(x) || is_refusal(x->outcome)))
        return;
    char action[160];
    snprintf(action, sizeof action, "%s %s", http_method_name(x->method), x->route->template);
    struct tw_audit_entry entry = {
        .request_id = x->request_id,
        .actor = x->caller.token_id,
        .action = action,
        .outcome = tw_code_name(x->outcome),
        .peer = x->peer,
        .object = x->object.len ? x->object : x->params[0],
        .tenant = x->caller.tenant,
        .status = x->reply.status,
        .latency_us = (tw_clock_ns() - x->started_ns) / TW_NS_PER_US,
    };
    tw_audit_post(audit, &entry);
}
