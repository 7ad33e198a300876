// SPDX-License-Identifier: Apache-2.0
//
// A connection's turn to be read: edge-triggered, while its protocol wants input, for a bounded time. What a byte costs
// differs a thousandfold between a body and a flood of requests, pings or chunks of one byte, so a connection's blocks are
// as large as their work has been short. Who had more than a turn is served after the others from then on (loop.c).

#include <sys/socket.h>

#include "http/internal.h"

static bool wants_input(const struct http_conn *conn) {
    switch (conn->kind) {
    case HTTP_PEEK:
    case HTTP_LINGER:
        return true;
    case HTTP_ONE:
        return http_h1_wants_input(conn);
    case HTTP_TWO:
        return conn->pending.len == 0; // a client that does not read its answers is not read from
    case HTTP_CLOSED:
        return false;
    }
    return false;
}

static void peek(struct http_conn *conn, const uint8_t *data, size_t len) {
    unsigned before = conn->peeked;
    unsigned matched = http_preface_match(before, data, len);
    const uint8_t *preface = (const uint8_t *)HTTP2_PREFACE;
    conn->peeked += matched;
    if (conn->peeked == HTTP2_PREFACE_LEN) {
        conn->kind = HTTP_TWO;
        if (!http_h2_open(conn)) {
            http_conn_close(conn);
            return;
        }
        http_h2_input(conn, preface, HTTP2_PREFACE_LEN);
        if (conn->kind == HTTP_TWO && len > matched)
            http_h2_input(conn, data + matched, len - matched);
    } else if (matched < len) {
        conn->kind = HTTP_ONE;
        http_h1_init(&conn->h1, conn->loop->http->options.max_body_bytes);
        if (before)
            http_h1_input(conn, preface, before);
        if (conn->kind == HTTP_ONE)
            http_h1_input(conn, data, len);
    }
}

static void input(struct http_conn *conn, const uint8_t *data, size_t len) {
    switch (conn->kind) {
    case HTTP_PEEK:
        peek(conn, data, len);
        break;
    case HTTP_ONE:
        http_h1_input(conn, data, len);
        break;
    case HTTP_TWO:
        http_h2_input(conn, data, len);
        break;
    case HTTP_LINGER:
        conn->since_ns = conn->loop->now_ns;
        break;
    case HTTP_CLOSED:
        break;
    }
}

// How much to read at once next: as much as a turn's time is enough for, when every byte costs what these
// did. It grows slowly, so that cheap bytes do not open the way for a large block of dear ones.
static uint32_t next_block(uint32_t block, uint32_t len, int64_t took_ns) {
    uint64_t fits = len * (uint64_t)HTTP_TURN_NS / (uint64_t)(took_ns > 0 ? took_ns : 1);
    uint32_t most = len * 4 > block ? len * 4 : block;
    most = most < HTTP_SCRATCH ? most : HTTP_SCRATCH;
    if (fits >= most)
        return most;
    return fits > HTTP_BLOCK_MIN ? (uint32_t)fits : HTTP_BLOCK_MIN;
}

// Reads a block and has it worked off. False: there is nothing more to be had for now.
static bool read_block(struct http_conn *conn, int64_t *spent_ns) {
    struct http_loop *loop = conn->loop;
    if (!wants_input(conn))
        return false;
    if (conn->kind == HTTP_ONE && conn->pending.len) {
        int64_t began_ns = tw_clock_ns();
        http_h1_more_room(conn);
        *spent_ns += tw_clock_ns() - began_ns;
        return true;
    }
    if (!conn->readable)
        return false;
    ssize_t count = recv(conn->fd, loop->scratch, conn->block, 0);
    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) {
        http_conn_close(conn);
        return false;
    }
    if (count < 0) {
        conn->readable = errno == EINTR;
        return true;
    }
    // A short read emptied the socket: epoll tells of the next byte. The end of the stream it has told of already.
    if ((size_t)count < conn->block && !conn->peer_closed)
        conn->readable = false;
    if (count < HTTP_BLOCK_TIMED) {
        input(conn, loop->scratch, (size_t)count);
        return true;
    }
    int64_t began_ns = tw_clock_ns();
    input(conn, loop->scratch, (size_t)count);
    int64_t took_ns = tw_clock_ns() - began_ns;
    *spent_ns += took_ns;
    conn->block = next_block(conn->block, (uint32_t)count, took_ns);
    return true;
}

static void read_input(struct http_conn *conn) {
    int64_t spent_ns = 0, most_ns = conn->is_heavy ? HTTP_HEAVY_TURN_NS : HTTP_TURN_NS;
    bool goes_on = true;
    for (unsigned i = 0; goes_on && i < HTTP_READS_PER_TURN && spent_ns < most_ns; i++)
        goes_on = read_block(conn, &spent_ns);
    conn->is_heavy = goes_on || spent_ns >= HTTP_TURN_NS;
    if (goes_on && conn->kind != HTTP_CLOSED)
        http_mark_ready(conn);
}

// A client that has hung up while its request is worked on will not hear the answer.
static void check_gone(struct http_conn *conn) {
    if (conn->kind == HTTP_ONE && conn->peer_closed && conn->exchanges &&
        conn->exchanges->stage == HTTP_WORKING)
        http_conn_close(conn);
}

void http_conn_read(struct http_conn *conn) {
    read_input(conn);
    check_gone(conn);
}
