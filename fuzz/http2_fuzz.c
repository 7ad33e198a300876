// SPDX-License-Identifier: Apache-2.0
//
// A connection's bytes against the whole gateway over the fake service of the unit tests: HTTP/2 behind its preface,
// or HTTP/1 when the first byte says so. What has to hold: the server closes what the client has closed, and answers
// the next client. Inputs that begin with "hex" are digits in pairs, blanks and "# remarks", so that seeds of frames can
// be read; others are bytes.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../tests/unit/http/fake_service.h"
#include "http/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WAIT_S = 120, BYTES_MAX = 1 << 20 };

static struct tw_http *http;

static void start(void) {
    struct tw_error err = {};
    struct tw_tenants *tenants = tw_tenants_new(&(struct tw_tenants_options){.dev_mode = true}, &err);
    struct tw_http_options options = {
        .address = "127.0.0.1:0", .loops = 1, .service = fake_service_new(), .tenants = tenants};
    http = tenants ? tw_http_start(&options, &err) : NULL;
    if (!http)
        fprintf(stderr, "%s\n", err.message);
    TW_ASSERT(http);
}

static int client(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(tw_http_port(http)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = WAIT_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    TW_ASSERT(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

// The server may hang up while we send.
static void send_all(int fd, const uint8_t *data, size_t len) {
    while (len) {
        ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        data += sent;
        len -= (size_t)sent;
    }
}

// To the end of the connection, which has to come.
static void drain(int fd) {
    char block[65536];
    ssize_t count;
    shutdown(fd, SHUT_WR);
    while ((count = recv(fd, block, sizeof block, 0)) > 0) {
    }
    TW_ASSERT(count == 0 || errno == ECONNRESET);
    close(fd);
}

static void check_alive(void) {
    static const char request[] = "GET /healthz HTTP/1.0\r\n\r\n";
    char answer[16] = "";
    int fd = client();
    send_all(fd, (const uint8_t *)request, sizeof request - 1);
    TW_ASSERT(recv(fd, answer, sizeof answer - 1, MSG_WAITALL) == sizeof answer - 1);
    TW_ASSERT(memcmp(answer, "HTTP/1.1 200 OK", 15) == 0);
    drain(fd);
}

static int digit(uint8_t c) {
    return c >= '0' && c <= '9'                     ? c - '0'
           : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                    : -1;
}

// Pairs of digits; "#" to the end of its line and everything else between pairs is skipped.
static size_t decode(const uint8_t *data, size_t size, uint8_t *out) {
    size_t len = 0;
    for (size_t i = 3; i < size; i++) {
        while (i < size && data[i] == '#')
            while (i < size && data[i] != '\n')
                i++;
        if (i + 1 < size && digit(data[i]) >= 0 && digit(data[i + 1]) >= 0) {
            out[len++] = (uint8_t)(digit(data[i]) << 4 | digit(data[i + 1]));
            i++;
        }
    }
    return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint8_t hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    static uint8_t bytes[BYTES_MAX];
    static unsigned runs;
    if (!http)
        start();
    if (size > BYTES_MAX)
        return 0;
    size_t len = size;
    if (size >= 3 && memcmp(data, "hex", 3) == 0)
        len = decode(data, size, bytes);
    else if (size)
        memcpy(bytes, data, size);
    int fd = client();
    if (len && bytes[0] == 'G') {
        send_all(fd, bytes, len); // HTTP/1
    } else {
        send_all(fd, hello, sizeof hello - 1);
        send_all(fd, bytes, len);
    }
    drain(fd);
    if (++runs % 64 == 0)
        check_alive();
    return 0;
}
