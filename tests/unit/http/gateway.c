// SPDX-License-Identifier: Apache-2.0
//
// The client reads byte by byte: slow, and with no way to be wrong about what belongs to which answer.

#include "gateway.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

void gateway_start(struct gateway *gateway, const struct tw_http_options *options, const char *tokens) {
    struct tw_error err = {};
    struct tw_http_options all = options ? *options : (struct tw_http_options){};
    gateway->service = fake_service_new();
    gateway->tenants =
        tw_tenants_new(&(struct tw_tenants_options){.tokens = tokens, .dev_mode = !tokens}, &err);
    if (!gateway->tenants)
        ck_abort_msg("%s", err.message);
    all.address = all.address ? all.address : "127.0.0.1:0";
    all.loops = all.loops ? all.loops : 2;
    all.service = gateway->service;
    all.tenants = gateway->tenants;
    gateway->http = tw_http_start(&all, &err);
    if (!gateway->http)
        ck_abort_msg("%s", err.message);
}

void gateway_stop(struct gateway *gateway) {
    tw_http_drain(gateway->http);
    tw_http_close(gateway->http);
    fake_release(gateway->service);
    tw_http_free(gateway->http);
    fake_service_free(gateway->service);
    tw_tenants_free(gateway->tenants);
}

int client_connect(const struct gateway *gateway) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(tw_http_port(gateway->http)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = 100}; // never met but by what is wrong
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ck_assert_msg(connect(fd, (struct sockaddr *)&address, sizeof address) == 0, "connect: errno %d", errno);
    return fd;
}

bool client_try_send(int fd, const void *data, size_t len) {
    const char *at = data;
    while (len) {
        ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        at += sent;
        len -= (size_t)sent;
    }
    return true;
}

void client_send(int fd, const void *data, size_t len) {
    ck_assert_msg(client_try_send(fd, data, len), "the server hung up: errno %d", errno);
}

void client_text(int fd, const char *text) {
    client_send(fd, text, strlen(text));
}

bool client_is_closed(int fd, int wait_ms) {
    struct pollfd item = {.fd = fd, .events = POLLIN};
    char byte;
    return poll(&item, 1, wait_ms) == 1 && recv(fd, &byte, 1, MSG_PEEK) <= 0;
}

bool client_is_quiet(int fd, int wait_ms) {
    struct pollfd item = {.fd = fd, .events = POLLIN};
    return poll(&item, 1, wait_ms) == 0;
}

static bool read_byte(int fd, char *ret_byte) {
    return recv(fd, ret_byte, 1, 0) == 1;
}

// Up to and without CRLF; false at the end of the connection.
static bool read_line(int fd, char *line, size_t size) {
    size_t len = 0;
    char c;
    while (read_byte(fd, &c)) {
        ck_assert_msg(len + 1 < size, "a line is longer than %zu bytes", size);
        if (c == '\n' && len && line[len - 1] == '\r') {
            line[len - 1] = '\0';
            return true;
        }
        line[len++] = c;
    }
    return false;
}

// As tw_buf_append, but with memory that no fault injection takes away.
static void append(struct tw_buf *out, const void *data, size_t len) {
    if (out->capacity - out->len < len || !out->data) {
        out->capacity = (out->len + len) * 2;
        out->data = realloc(out->data, out->capacity + 1);
    }
    memcpy(out->data + out->len, data, len);
    out->len += len;
    out->data[out->len] = '\0';
}

static bool read_bytes(int fd, struct tw_buf *out, size_t len) {
    char block[65536];
    while (len) {
        ssize_t count = recv(fd, block, len < sizeof block ? len : sizeof block, 0);
        if (count <= 0)
            return false;
        append(out, block, (size_t)count);
        len -= (size_t)count;
    }
    return true;
}

static bool read_chunked(int fd, struct tw_buf *out) {
    for (;;) {
        char line[64], end[4];
        if (!read_line(fd, line, sizeof line))
            return false;
        size_t size = strtoul(line, NULL, 16);
        if (!read_bytes(fd, out, size) || !read_line(fd, end, sizeof end))
            return false;
        ck_assert_str_eq(end, "");
        if (size == 0)
            return true;
    }
}

const char *answer_header(const struct answer *answer, const char *name) {
    static char value[1024];
    size_t len = strlen(name);
    for (const char *line = strchr(answer->head, '\n'); line; line = strchr(line, '\n')) {
        line++;
        if (strncasecmp(line, name, len) == 0 && line[len] == ':') {
            snprintf(value, sizeof value, "%.*s", (int)strcspn(line + len + 2, "\n"), line + len + 2);
            return value;
        }
    }
    return NULL;
}

bool client_read(int fd, bool is_head, struct answer *answer) {
    char line[2048];
    *answer = (struct answer){};
    tw_buf_init(&answer->body, 256 << 20);
    if (!read_line(fd, line, sizeof line))
        return false;
    ck_assert_msg(strncmp(line, "HTTP/1.1 ", 9) == 0, "not a status line: %s", line);
    answer->status = (int)strtol(line + 9, NULL, 10);
    size_t len = 0;
    do {
        len += (size_t)snprintf(answer->head + len, sizeof answer->head - len, "%s\n", line);
        ck_assert_uint_lt(len, sizeof answer->head);
        if (!read_line(fd, line, sizeof line)) {
            answer->is_cut = true;
            return true;
        }
    } while (line[0]);
    if (is_head || answer->status < 200 || answer->status == 204)
        return true;
    const char *coding = answer_header(answer, "Transfer-Encoding");
    if (coding) {
        answer->is_cut = !read_chunked(fd, &answer->body);
        return true;
    }
    const char *length = answer_header(answer, "Content-Length");
    if (length)
        answer->is_cut = !read_bytes(fd, &answer->body, strtoul(length, NULL, 10));
    else
        (void)read_bytes(fd, &answer->body, SIZE_MAX);
    return true;
}

void answer_done(struct answer *answer) {
    tw_buf_done(&answer->body);
}

int client_status(const struct gateway *gateway, const char *request) {
    struct answer answer;
    int fd = client_connect(gateway);
    client_text(fd, request);
    bool ok = client_read(fd, false, &answer);
    int status = answer.status;
    answer_done(&answer);
    close(fd);
    return ok ? status : 0;
}

// Sends a request on a connection of its own and gives the whole answer.
struct answer client_ask(const struct gateway *gateway, const char *request) {
    struct answer answer;
    int fd = client_connect(gateway);
    client_text(fd, request);
    ck_assert_msg(client_read(fd, strncmp(request, "HEAD", 4) == 0, &answer), "no answer");
    ck_assert(!answer.is_cut);
    close(fd);
    return answer;
}

void client_expect(const struct gateway *gateway, const char *request, int status, const char *body) {
    struct answer answer = client_ask(gateway, request);
    ck_assert_msg(answer.status == status, "%.60s: %d instead of %d: %s", request, answer.status, status,
                  answer.body.data ? (char *)answer.body.data : "");
    if (body)
        ck_assert_msg(strstr(answer.body.data ? (char *)answer.body.data : "", body),
                      "%.60s: '%s' has no '%s'", request, answer.body.data ? (char *)answer.body.data : "",
                      body);
    answer_done(&answer);
}
