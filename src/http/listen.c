// SPDX-License-Identifier: Apache-2.0
//
// Listening sockets: one a loop on the same port (SO_REUSEPORT), so that the kernel spreads connections and
// no lock is shared. Running out of descriptors must not spin a loop: a spare one is given up to take the
// connection and close it.

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/internal.h"

enum { BACKLOG = 4096, HOST_MAX = 256, PORT_DIGITS = 6 };

// "host:port", "[v6]:port" or ":port" (all addresses).
static bool split_address(const char *address, char host[HOST_MAX], char port[PORT_DIGITS],
                          struct tw_error *err) {
    const char *colon = strrchr(address, ':');
    struct tw_str name = tw_str_of(address, colon ? (size_t)(colon - address) : 0);
    uint64_t number;
    if (!colon || !tw_str_u64(tw_str_from(colon + 1), &number) || number > UINT16_MAX || name.len >= HOST_MAX)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "'%.80s' is not an address to listen on; give HOST:PORT",
                       address);
    if (name.len > 2 && name.data[0] == '[' && name.data[name.len - 1] == ']')
        name = tw_str_of(name.data + 1, name.len - 2);
    snprintf(host, HOST_MAX, "%.*s", TW_STR_ARG(name));
    snprintf(port, PORT_DIGITS, "%u", (unsigned)number);
    return true;
}

static bool set_option(int fd, int level, int option) {
    int on = 1;
    return setsockopt(fd, level, option, &on, sizeof on) == 0;
}

// A bound socket; `shared` sets SO_REUSEPORT. -1 with errno on failure.
static int bind_one(const struct sockaddr *address, socklen_t len, bool shared) {
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    bool ok = set_option(fd, SOL_SOCKET, SO_REUSEADDR) &&
              (!shared || set_option(fd, SOL_SOCKET, SO_REUSEPORT)) &&
              set_option(fd, IPPROTO_TCP, TCP_NODELAY) && bind(fd, address, len) == 0;
    if (ok)
        return fd;
    int error_number = errno;
    close(fd);
    errno = error_number;
    return -1;
}

static uint16_t *port_of(struct sockaddr_storage *address) {
    if (address->ss_family == AF_INET6)
        return &((struct sockaddr_in6 *)address)->sin6_port;
    return &((struct sockaddr_in *)address)->sin_port;
}

static bool watch(struct http_loop *loop) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &loop->listen_fd};
    return listen(loop->listen_fd, BACKLOG) == 0 &&
           epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->listen_fd, &event) == 0;
}

static bool listen_all(struct tw_http *http, struct sockaddr_storage *address, socklen_t len) {
    // With SO_REUSEPORT a second server on the port would go unnoticed; a plain bind notices.
    int probe = bind_one((struct sockaddr *)address, len, false);
    if (probe < 0)
        return false;
    close(probe);
    for (unsigned i = 0; i < http->loop_count; i++) {
        struct http_loop *loop = &http->loops[i];
        socklen_t size = sizeof *address;
        loop->listen_fd = bind_one((struct sockaddr *)address, len, true);
        if (loop->listen_fd < 0 || getsockname(loop->listen_fd, (struct sockaddr *)address, &size) < 0)
            return false;
        http->port = ntohs(*port_of(address)); // port 0 became a number: the others take the same
        if (!watch(loop))
            return false;
    }
    return true;
}

bool http_listen(struct tw_http *http, struct tw_error *err) {
    char host[HOST_MAX], port[PORT_DIGITS];
    if (!split_address(http->options.address, host, port, err))
        return false;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV},
                    *found = NULL;
    int result = getaddrinfo(host[0] ? host : NULL, port, &hints, &found);
    if (result != 0)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "'%.80s' is not an address to listen on: %s", host,
                       gai_strerror(result));
    struct sockaddr_storage address = {};
    socklen_t len = found->ai_addrlen;
    memcpy(&address, found->ai_addr, len);
    freeaddrinfo(found);
    if (listen_all(http, &address, len))
        return true;
    return tw_fail_errno(err, TW_ERR_CAPACITY, errno, "cannot listen on %.80s", http->options.address);
}

static void watch_for(struct http_loop *loop, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = &loop->listen_fd};
    (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, loop->listen_fd, &event); // it is there: nothing can fail
    loop->is_deaf = !events;
}

void http_listen_again(struct http_loop *loop) {
    if (loop->spare_fd < 0)
        loop->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (loop->is_deaf && loop->listen_fd >= 0)
        watch_for(loop, EPOLLIN);
}

// No descriptor is free: take one connection with the spare one and close it, so that it does not wait for
// ever. Somebody else may have been quicker and has the spare one's number now: then clients wait until the next
// sweep, instead of waking us all the time.
static bool shed(struct http_loop *loop) {
    if (loop->spare_fd < 0) {
        watch_for(loop, 0);
        return false;
    }
    close(loop->spare_fd);
    int fd = accept4(loop->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    loop->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    http_meter_reject("descriptors");
    return fd >= 0;
}

// One connection; false when there is none.
static bool accept_one(struct http_loop *loop) {
    struct tw_http *http = loop->http;
    int fd = accept4(loop->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE))
        return shed(loop);
    if (fd < 0)
        return errno == EINTR || errno == ECONNABORTED;
    struct http_peer peer = {};
    bool has_room = tw_counter_add_below(&http->conn_count, 1, http->options.max_connections);
    if (!has_room) {
        http_conn_turn_away(loop, fd, false);
    } else if (!http_peers_enter(http->peers, fd, &peer)) {
        tw_counter_add(&http->conn_count, -1);
        http_conn_turn_away(loop, fd, true);
    } else if (!http_conn_open(loop, fd)) {
        tw_counter_add(&http->conn_count, -1);
        http_peers_leave(http->peers, &peer);
        close(fd);
    } else {
        loop->conns->peer = peer;
    }
    return true;
}

void http_accept(struct http_loop *loop) {
    for (unsigned i = 0; i < HTTP_ACCEPTS_PER_TURN && accept_one(loop); i++) {
    }
}

void http_stop_listening(struct http_loop *loop) {
    // Closing resets what waits in the queue: take all of it first.
    while (loop->listen_fd >= 0 && accept_one(loop)) {
    }
    if (loop->listen_fd >= 0)
        close(loop->listen_fd);
    loop->listen_fd = -1;
}
