// SPDX-License-Identifier: Apache-2.0
//
// A connection's life, whatever it speaks: accepted, written, shut down gently, buried; input.c reads. Nothing is
// freed before the batch of events that may still name it is over.

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "http/internal.h"

bool http_conn_open(struct http_loop *loop, int fd) {
    struct http_conn *conn = tw_alloc_zero(1, sizeof *conn);
    if (!conn)
        return false;
    *conn = (struct http_conn){.loop = loop,
                               .fd = fd,
                               .kind = HTTP_PEEK,
                               .writable = true,
                               .block = HTTP_BLOCK_FIRST,
                               .since_ns = loop->now_ns};
    tw_buf_init(&conn->pending, HTTP_SCRATCH);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = conn};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        free(conn);
        return false;
    }
    conn->next = loop->conns;
    if (conn->next)
        conn->next->prev = conn;
    loop->conns = conn;
    tw_counter_add(&loop->conn_count, 1);
    return true;
}

// Leaves the protocol for LINGER or CLOSED: whoever works for this client is told that it is gone.
static void leave(struct http_conn *conn, enum http_kind kind) {
    if (conn->kind == HTTP_TWO)
        http_h2_close(conn);
    conn->kind = kind;
    for (struct http_exchange *x = conn->exchanges; x; x = conn->exchanges) {
        http_exchange_detach(x);
        http_exchange_abort(x);
    }
    tw_buf_done(&conn->pending);
}

void http_conn_close(struct http_conn *conn) {
    if (conn->kind == HTTP_CLOSED)
        return;
    struct http_loop *loop = conn->loop;
    loop->lingering -= conn->kind == HTTP_LINGER;
    leave(conn, HTTP_CLOSED);
    close(conn->fd);
    *(conn->prev ? &conn->prev->next : &loop->conns) = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    conn->prev = NULL;
    conn->next = loop->buried;
    loop->buried = conn;
    if (conn->is_turned_away) {
        loop->turned_away--;
    } else {
        tw_counter_add(&loop->http->conn_count, -1);
        http_peers_leave(loop->http->peers, &conn->peer);
    }
    tw_counter_add(&loop->conn_count, -1);
}

// The answer is written and the client may still be sending. A plain close would make the kernel answer that
// with a reset, which can destroy the answer before the client has read it. How much it sends does not matter:
// reading costs us no more than a body that is wanted does, and nothing of it is kept. Time does. HTTP/2 refuses
// bodies by streams: who lingers there has broken the protocol, or flooded us.
void http_conn_linger(struct http_conn *conn) {
    if (conn->kind == HTTP_CLOSED || conn->kind == HTTP_LINGER)
        return;
    if (conn->peer_closed || shutdown(conn->fd, SHUT_WR) < 0) {
        http_conn_close(conn);
        return;
    }
    struct http_loop *loop = conn->loop;
    conn->lingers_shortly =
        conn->kind == HTTP_TWO || conn->is_turned_away || loop->lingering >= HTTP_LINGERING_MAX;
    leave(conn, HTTP_LINGER);
    loop->lingering++;
    conn->since_ns = conn->linger_ns = loop->now_ns;
    if (conn->readable)
        http_mark_ready(conn);
}

// While the server drains nobody lingers for long.
static bool has_lingered(const struct http_conn *conn) {
    bool is_short = conn->lingers_shortly || tw_flag_is_raised(&conn->loop->http->draining);
    int64_t most_ns = (is_short ? HTTP_LINGER_SHORT_MS : HTTP_LINGER_MS) * TW_NS_PER_MS;
    int64_t now_ns = conn->loop->now_ns;
    return now_ns - conn->linger_ns > most_ns || now_ns - conn->since_ns > HTTP_LINGER_IDLE_MS * TW_NS_PER_MS;
}

void http_conn_cut(struct http_conn *conn) {
    bool may_send = true; // the client; then an answer needs a gentle end
    switch (conn->kind) {
    case HTTP_ONE:
        may_send = conn->readable || conn->pending.len ||
                   (conn->exchanges && conn->exchanges->stage == HTTP_RECEIVING);
        http_h1_cut(conn);
        break;
    case HTTP_TWO:
        http_h2_cut(conn);
        break;
    case HTTP_PEEK:
        may_send = false;
        break;
    case HTTP_LINGER:
    case HTTP_CLOSED:
        return;
    }
    if (may_send)
        http_conn_linger(conn);
    else
        http_conn_close(conn);
}

void http_conn_turn_away(struct http_loop *loop, int fd, bool is_peer) {
    static const char full[] =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        "Content-Length: 87\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
        "{\"error\":{\"kind\":\"capacity_exhausted\",\"message\":\"the server has no free connections\"}}\n";
    static const char too_many[] =
        "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\n"
        "Content-Length: 85\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
        "{\"error\":{\"kind\":\"rate_limited\",\"message\":\"too many connections from this address\"}}\n";
    const char *text = is_peer ? too_many : full;
    http_meter_reject(is_peer ? "connections_of_address" : "connections");
    bool told = loop->turned_away < HTTP_TURNED_AWAY_MAX &&
                send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) > 0 && http_conn_open(loop, fd);
    if (!told) {
        close(fd);
        return;
    }
    loop->conns->is_turned_away = true;
    loop->turned_away++;
    http_conn_linger(loop->conns);
}

ssize_t http_conn_send(struct http_conn *conn, const struct tw_span *parts, unsigned count) {
    struct iovec vectors[4];
    TW_ASSERT(count <= TW_COUNT(vectors));
    if (!conn->writable)
        return 0;
    for (unsigned i = 0; count > 1 && i < count; i++)
        vectors[i] = (struct iovec){(void *)(uintptr_t)parts[i].data, parts[i].len};
    struct msghdr message = {.msg_iov = vectors, .msg_iovlen = count};
    ssize_t sent = count == 1 ? send(conn->fd, parts[0].data, parts[0].len, MSG_NOSIGNAL)
                              : sendmsg(conn->fd, &message, MSG_NOSIGNAL);
    if (sent >= 0) {
        conn->progress_ns = conn->loop->now_ns;
        return sent;
    }
    if (errno == EAGAIN || errno == EINTR) {
        conn->writable = errno == EINTR;
        return 0;
    }
    http_conn_close(conn);
    return -1;
}

void http_conn_event(struct http_conn *conn, uint32_t events) {
    if (conn->kind == HTTP_CLOSED)
        return;
    if (events & (EPOLLERR | EPOLLHUP)) {
        http_conn_close(conn);
        return;
    }
    conn->peer_closed |= (events & EPOLLRDHUP) != 0;
    conn->readable |= (events & (EPOLLIN | EPOLLRDHUP)) != 0;
    if ((events & EPOLLOUT) && !conn->writable) {
        conn->writable = true;
        if (conn->kind == HTTP_ONE)
            http_h1_writable(conn);
        else if (conn->kind == HTTP_TWO)
            http_mark_dirty(conn);
    }
    http_mark_ready(conn);
}

void http_conn_sweep(struct http_conn *conn) {
    int64_t elapsed = conn->loop->now_ns - conn->since_ns;
    switch (conn->kind) {
    case HTTP_PEEK:
        if (elapsed > conn->loop->http->options.header_timeout_ms * TW_NS_PER_MS)
            http_conn_close(conn);
        break;
    case HTTP_ONE:
        http_h1_sweep(conn);
        break;
    case HTTP_TWO:
        http_h2_sweep(conn);
        break;
    case HTTP_LINGER:
        if (has_lingered(conn))
            http_conn_close(conn);
        break;
    case HTTP_CLOSED:
        break;
    }
}
