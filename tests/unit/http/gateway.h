// SPDX-License-Identifier: Apache-2.0
//
// A gateway over the fake service on a port of the loopback, and a plain HTTP/1 client that sends raw bytes
// and reads answers with a parser of its own.
#pragma once

#include "fake_service.h"
#include "http/http.h"

struct gateway {
    struct tw_service *service;
    struct tw_tenants *tenants;
    struct tw_http *http;
};

// `options` may be NULL; address, service and tenants are filled in. `tokens` NULL: open to everybody.
void gateway_start(struct gateway *gateway, const struct tw_http_options *options, const char *tokens);
void gateway_stop(struct gateway *gateway);

int client_connect(const struct gateway *gateway); // waits at most 10 s in each read and write from then on
void client_send(int fd, const void *data, size_t len);
void client_text(int fd, const char *text);
bool client_try_send(int fd, const void *data, size_t len); // false when the server has hung up
// Is the connection at its end (nothing more to read)? Waits up to `wait_ms` for it.
bool client_is_closed(int fd, int wait_ms);
bool client_is_quiet(int fd, int wait_ms); // nothing comes, and it is open

struct answer {
    int status;
    char head[4096]; // status line and headers
    struct tw_buf body;
    bool is_cut; // the connection ended inside it
};
// Reads one answer; false when the connection ended before its first byte. `is_head`: the request was HEAD.
bool client_read(int fd, bool is_head, struct answer *answer);
void answer_done(struct answer *answer);
const char *answer_header(const struct answer *answer,
                          const char *name); // NULL when absent; in a static array
// Sends a request and reads its answer's status on a connection of its own.
int client_status(const struct gateway *gateway, const char *request);
// Sends a request on a connection of its own and gives the whole answer.
struct answer client_ask(const struct gateway *gateway, const char *request);
// The same, and checks its status and, unless NULL, that its body contains `body`.
void client_expect(const struct gateway *gateway, const char *request, int status, const char *body);
