// SPDX-License-Identifier: Apache-2.0
//
// The gateway over HTTP/1: handlers, order, cancelling, vanishing clients, drain.

#include "harness/test.h"

#include <sys/socket.h>
#include <unistd.h>

#include "gateway.h"
#include "telemetry/telemetry.h"

#define H            "Host: a\r\n"
#define INVOKE(name) "POST /functions/" name "/invoke HTTP/1.1\r\n" H

TW_TEST("answers carry a date, a request id and a trace id; traceparent's when there is one") {
    struct gateway gateway;
    gateway_start(&gateway, NULL, NULL);
    struct answer answer =
        client_ask(&gateway, "GET /healthz HTTP/1.1\r\n" H "traceparent: 00-0af7651916cd43dd8448eb211c80319c-"
                             "b7ad6b7169203331-01\r\n\r\n");
    ck_assert_str_eq(answer_header(&answer, "X-Trace-Id"), "0af7651916cd43dd8448eb211c80319c");
    ck_assert_uint_eq(strlen(answer_header(&answer, "X-Request-Id")), 16);
    ck_assert_ptr_nonnull(strstr(answer_header(&answer, "Date"), " GMT"));
    ck_assert_str_eq(answer_header(&answer, "Content-Type"), "application/json");
    ck_assert_str_eq((char *)answer.body.data, "{\"status\":\"ok\"}\n");
    answer_done(&answer);
    static const char *const bad[] = {"00-00000000000000000000000000000000-b7ad6b7169203331-01",
                                      "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                                      "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
                                      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x", "x"};
    for (size_t i = 0; i < TW_COUNT(bad); i++) {
        char request[256];
        snprintf(request, sizeof request, "GET /healthz HTTP/1.1\r\n" H "traceparent: %s\r\n\r\n", bad[i]);
        answer = client_ask(&gateway, request);
        const char *id = answer_header(&answer, "X-Trace-Id");
        ck_assert_uint_eq(strlen(id), 32);
        ck_assert_msg(!strstr(bad[i], id), "%s was taken", bad[i]);
        answer_done(&answer);
    }
    gateway_stop(&gateway);
}

TW_TEST("a HEAD answer has the length and no body") {
    struct gateway gateway;
    gateway_start(&gateway, NULL, NULL);
    struct answer answer = client_ask(&gateway, "HEAD /healthz HTTP/1.1\r\n" H "\r\n");
    ck_assert_str_eq(answer_header(&answer, "Content-Length"), "16");
    answer_done(&answer);
    gateway_stop(&gateway);
}

TW_TEST("errors are problem bodies with the headers their status asks for") {
    struct gateway gateway;
    gateway_start(&gateway, NULL, "sixteen-or-more-chars:tenant=7:role=invoke");
    struct answer answer = client_ask(&gateway, INVOKE("echo") "\r\n");
    ck_assert_int_eq(answer.status, 401);
    ck_assert_str_eq(answer_header(&answer, "WWW-Authenticate"), "Bearer");
    ck_assert_ptr_nonnull(
        strstr((char *)answer.body.data, "{\"error\":{\"kind\":\"unauthorized\",\"message\":\""));
    answer_done(&answer);
    answer = client_ask(&gateway, "PATCH /functions/x HTTP/1.1\r\n" H "\r\n");
    ck_assert_int_eq(answer.status, 405);
    ck_assert_str_eq(answer_header(&answer, "Allow"), "OPTIONS, GET, HEAD, PUT, DELETE");
    answer_done(&answer);
    answer = client_ask(
        &gateway,
        INVOKE("busy") "Authorization: Bearer sixteen-or-more-chars\r\nX-TensorWasm-Tenant: 7\r\n\r\n");
    ck_assert_int_eq(answer.status, 503);
    ck_assert_str_eq(answer_header(&answer, "Retry-After"), "1");
    answer_done(&answer);
    client_expect(
        &gateway,
        INVOKE("echo") "Authorization: Bearer sixteen-or-more-chars\r\nX-TensorWasm-Tenant: 8\r\n\r\n", 403,
        "tenant_scope_denied");
    client_expect(&gateway,
                  "DELETE /functions/x HTTP/1.1\r\n" H
                  "Authorization: Bearer sixteen-or-more-chars\r\nX-TensorWasm-Tenant: 7\r\n\r\n",
                  403, "role_denied");
    client_expect(&gateway, INVOKE("echo") "Authorization: Bearer wrong\r\n\r\n", 401, "unauthorized");
    client_expect(&gateway, "GET /healthz HTTP/1.1\r\n" H "\r\n", 200, NULL);
    gateway_stop(&gateway);
}

TW_TEST("a header that decides who asks, or what for, is there once and has one spelling") {
    static const char *const twice[] = {"Authorization: Bearer wrong",
                                        "authorization: Bearer sixteen-or-more-chars",
                                        "X-TensorWasm-Tenant: 7",
                                        "x-tensorwasm-tenant: 8",
                                        "X-TensorWasm-Deadline-Ms: 5\r\nX-TensorWasm-Deadline-Ms: 6",
                                        "Idempotency-Key: a\r\nIdempotency-Key: a",
                                        "Content-Type: text/plain\r\nContent-Type: application/json"};
    struct gateway gateway;
    char request[512];
    gateway_start(&gateway, NULL, "sixteen-or-more-chars:tenant=*:role=invoke");
    static const char *const form = INVOKE("echo") "Authorization: Bearer sixteen-or-more-chars\r\n"
                                                   "X-TensorWasm-Tenant: %s\r\n%s\r\n\r\n";
    for (size_t i = 0; i < TW_COUNT(twice); i++) {
        snprintf(request, sizeof request, form, "7", twice[i]);
        client_expect(&gateway, request, 400, "invalid_request");
    }
    static const char *const spellings[] = {"07", "00", "+7", "7.0", "7,8"};
    for (size_t i = 0; i < TW_COUNT(spellings); i++) {
        snprintf(request, sizeof request, form, spellings[i], "Accept: */*");
        client_expect(&gateway, request, 400, "invalid_tenant");
    }
    snprintf(request, sizeof request, form, "0", "Accept: */*\r\nAccept: text/plain");
    client_expect(&gateway, request, 200, NULL);
    gateway_stop(&gateway);
}

TW_TEST("the functions' routes hand over what the request says") {
    struct gateway gateway;
    gateway_start(&gateway, NULL, NULL);
    client_expect(&gateway,
                  "POST /functions HTTP/1.1\r\n" H
                  "Content-Type: application/json\r\nX-TensorWasm-Tenant: 9\r\nContent-Length: 67\r\n\r\n"
                  "{\"name\":\"edges\",\"wasm_b64\":\"AGFzbQ==\",\"config\":{\"timeout_ms\":1000}}",
                  201, "{\"name\":\"edges\",\"bytes\":4,\"tenant\":9,\"replace\":0,\"config\":1}");
    client_expect(&gateway,
                  "POST /functions?name=a%2Eb HTTP/1.1\r\n" H
                  "Content-Type: application/wasm\r\nContent-Length: 3\r\n\r\nabc",
                  201, "{\"name\":\"a.b\",\"bytes\":3,\"tenant\":0,\"replace\":0,\"config\":0}");
    client_expect(&gateway,
                  "PUT /functions/edges HTTP/1.1\r\n" H
                  "Content-Type: application/wasm\r\nContent-Length: 3\r\n\r\nabc",
                  200, "\"name\":\"edges\",\"bytes\":3,\"tenant\":0,\"replace\":1");
    client_expect(&gateway,
                  "POST /functions HTTP/1.1\r\n" H
                  "Content-Type: application/json\r\nContent-Length: 1\r\n\r\n{",
                  400, "invalid_json");
    client_expect(
        &gateway,
        "POST /functions HTTP/1.1\r\n" H
        "Content-Type: application/json\r\nContent-Length: 23\r\n\r\n{\"name\":\"a\",\"wasm_b64\":1}",
        400, NULL);
    client_expect(
        &gateway,
        "POST /functions HTTP/1.1\r\n" H
        "Content-Type: application/json\r\nContent-Length: 29\r\n\r\n{\"name\":\"a\",\"wasm_b64\":\"A?==\"}",
        400, NULL);
    client_expect(&gateway,
                  "POST /functions HTTP/1.1\r\n" H "Content-Type: text/plain\r\nContent-Length: 1\r\n\r\nx",
                  400, "invalid_request");
    client_expect(&gateway, "GET /functions?cursor=a+b%26&limit=7 HTTP/1.1\r\n" H "\r\n", 200,
                  "{\"cursor\":\"a b&\",\"limit\":7}");
    client_expect(&gateway, "GET /functions?limit=many HTTP/1.1\r\n" H "\r\n", 400, "invalid_request");
    client_expect(&gateway, "GET /functions?limit=x HTTP/1.1\r\n" H "\r\n", 400, "invalid_request");
    client_expect(&gateway, "GET /functions?limit= HTTP/1.1\r\n" H "\r\n", 400, "not ''");
    client_expect(&gateway, "GET /functions?limit HTTP/1.1\r\n" H "\r\n", 400, "not ''");
    client_expect(&gateway, "GET /functions?limit=5&limit=5 HTTP/1.1\r\n" H "\r\n", 400,
                  "limit is there twice");
    client_expect(&gateway, "GET /functions?limit=%37&cursor=a+b%26&limits=8 HTTP/1.1\r\n" H "\r\n", 200,
                  "a b&");
    client_expect(&gateway, "GET /functions/a%2fb HTTP/1.1\r\n" H "\r\n", 200, "{\"id\":\"a/b\"}");
    client_expect(&gateway, "GET /functions/nobody HTTP/1.1\r\n" H "\r\n", 404, "not_found");
    client_expect(&gateway, "DELETE /functions/x HTTP/1.1\r\n" H "\r\n", 204, NULL);
    client_expect(&gateway,
                  "POST /functions/x/prewarm HTTP/1.1\r\n" H "Content-Length: 11\r\n\r\n{\"count\":3}", 200,
                  "{\"warm\":3}");
    client_expect(&gateway,
                  "POST /functions/x/prewarm HTTP/1.1\r\n" H "Content-Length: 12\r\n\r\n{\"count\":-3}", 400,
                  NULL);
    client_expect(&gateway, "GET /devices HTTP/1.1\r\n" H "\r\n", 200, "{\"devices\":[]}");
    client_expect(&gateway, "GET /readyz HTTP/1.1\r\n" H "\r\n", 200, "ready");
    client_expect(&gateway, "GET /version HTTP/1.1\r\n" H "\r\n", 200, "version");
    gateway_stop(&gateway);
}

#define CREATE(key)                                                                                          \
    "POST /functions?name=a HTTP/1.1\r\n" H "Content-Type: application/wasm\r\nIdempotency-Key: " key        \
    "\r\nContent-Length: 3\r\n\r\nabc"

TW_TEST("an idempotency key is asked about first and told of the answer before the client is") {
    struct gateway gateway;
    size_t len;
    gateway_start(&gateway, NULL, NULL);
    struct answer answer = client_ask(&gateway, CREATE("new"));
    ck_assert_int_eq(answer.status, 201);
    ck_assert_ptr_null(answer_header(&answer, "Idempotent-Replayed"));
    ck_assert_int_eq(fake_once_status(gateway.service, &len), 201);
    ck_assert_uint_eq(len, answer.body.len);
    answer_done(&answer);
    answer = client_ask(&gateway, CREATE("again"));
    ck_assert_int_eq(answer.status, 201);
    ck_assert_str_eq(answer_header(&answer, "Idempotent-Replayed"), "true");
    ck_assert_str_eq((char *)answer.body.data, "{\"stored\":1}");
    answer_done(&answer);
    answer = client_ask(&gateway, CREATE("busy"));
    ck_assert_int_eq(answer.status, 409);
    ck_assert_str_eq(answer_header(&answer, "Retry-After"), "1");
    answer_done(&answer);
    client_expect(&gateway, CREATE("other"), 422, "idempotency_key_reused");
    client_expect(&gateway, CREATE(""), 400, "invalid_request");
    client_expect(&gateway, CREATE("a b"), 400, "invalid_request");
    client_expect(&gateway, CREATE("a\xc3\xa4"), 400, "invalid_request");
    client_expect(&gateway, INVOKE("echo") "Idempotency-Key: again\r\nContent-Length: 1\r\n\r\nx", 200, "x");
    // A failure is told too, so that the key is free again.
    client_expect(&gateway,
                  "POST /functions/missing/invoke-async HTTP/1.1\r\n" H
                  "Idempotency-Key: new\r\nContent-Length: 0\r\n\r\n",
                  404, NULL);
    ck_assert_int_eq(fake_once_status(gateway.service, &len), 404);
    gateway_stop(&gateway);
}

TW_TEST("an invoke answers JSON to JSON and bytes to bytes, with the guest's status and type") {
    struct gateway gateway;
    gateway_start(&gateway, NULL, NULL);
    client_expect(
        &gateway,
        INVOKE("echo") "Content-Type: Application/JSON; charset=utf-8\r\nContent-Length: 2\r\n\r\n{}", 200,
        "{\"function_id\":\"echo\",\"result\":2}");
    client_expect(&gateway, INVOKE("echo") "Content-Length: 5\r\n\r\nhello", 200, "hello");
    client_expect(&gateway, INVOKE("missing") "Content-Length: 5\r\n\r\nhello", 404, "not_found");
    struct answer answer = client_ask(&gateway, INVOKE("teapot") "\r\n");
    ck_assert_int_eq(answer.status, 418);
    ck_assert_str_eq(answer_header(&answer, "Content-Type"), "text/tea");
    answer_done(&answer);
    answer = client_ask(&gateway, INVOKE("inject") "\r\n");
    ck_assert_str_eq(answer_header(&answer, "Content-Type"), "application/octet-stream");
    ck_assert_ptr_null(answer_header(&answer, "X-Evil"));
    answer_done(&answer);
    client_expect(&gateway, INVOKE("trap") "\r\n", 502,
                  "{\"error\":{\"kind\":\"guest_trap\",\"message\":\"integer divide by "
                  "zero\",\"trap\":\"divide_by_zero\"}}");
    gateway_stop(&gateway);
}

TW_TEST("pipelined requests are answered in order though the first takes long") {
    struct gateway gateway;
    gateway_start(&gateway, NULL, NULL);
    int fd = client_connect(&gateway);
    client_text(fd, INVOKE("hold") "Content-Length: 0\r\n\r\nGET /healthz HTTP/1.1\r\n" H
                                   "\r\nGET /nothing HTTP/1.1\r\n" H "\r\n");
    ck_assert(fake_wait_running(gateway.service, 1));
    ck_assert(client_is_quiet(fd, 50));
    fake_release(gateway.service);
    static const int wanted[] = {200, 200, 404};
    for (size_t i = 0; i < TW_COUNT(wanted); i++) {
        struct answer answer;
        ck_assert(client_read(fd, false, &answer));
        ck_assert_int_eq(answer.status, wanted[i]);
        answer_done(&answer);
    }
    close(fd);
    gateway_stop(&gateway);
}

TW_TEST("a client that goes away cancels its call, and only its call") {
    struct gateway gateway;
    gateway_start(&gateway, NULL, NULL);
    int stays = client_connect(&gateway), goes = client_connect(&gateway), half = client_connect(&gateway);
    client_text(stays, INVOKE("hold") "\r\n");
    client_text(goes, INVOKE("hold") "\r\n");
    client_text(half, INVOKE("hold") "\r\n");
    ck_assert(fake_wait_running(gateway.service, 3));
    close(goes);
    ck_assert(fake_wait_cancelled(gateway.service, 1));
    shutdown(half, SHUT_WR);
    ck_assert(fake_wait_cancelled(gateway.service, 2));
    ck_assert(client_is_quiet(stays, 50));
    fake_release(gateway.service);
    struct answer answer;
    ck_assert(client_read(stays, false, &answer));
    ck_assert_int_eq(answer.status, 200);
    ck_assert_uint_eq(fake_cancelled(gateway.service), 2);
    answer_done(&answer);
    close(stays);
    close(half);
    gateway_stop(&gateway);
}

static void fill_pattern(uint8_t *bytes, size_t len) {
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 7 + (i >> 11));
}

TW_TEST("10 MiB go up and come back unchanged") {
    enum { LEN = 10 << 20 };
    struct gateway gateway;
    gateway_start(&gateway, NULL, NULL);
    uint8_t *bytes = malloc(LEN);
    char head[128];
    struct answer answer;
    fill_pattern(bytes, LEN);
    int fd = client_connect(&gateway);
    int len = snprintf(head, sizeof head, INVOKE("echo") "Content-Length: %d\r\n\r\n", LEN);
    client_send(fd, head, (size_t)len);
    client_send(fd, bytes, LEN);
    ck_assert(client_read(fd, false, &answer));
    ck_assert_uint_eq(answer.body.len, LEN);
    ck_assert_mem_eq(answer.body.data, bytes, LEN);
    answer_done(&answer);
    // The same in chunks of odd sizes.
    client_text(fd, INVOKE("echo") "Transfer-Encoding: chunked\r\n\r\n");
    for (size_t at = 0; at < LEN;) {
        size_t part = 1 + at * 31 % 99991;
        part = part < LEN - at ? part : LEN - at;
        len = snprintf(head, sizeof head, "%zX\r\n", part);
        client_send(fd, head, (size_t)len);
        client_send(fd, bytes + at, part);
        client_send(fd, "\r\n", 2);
        at += part;
    }
    client_text(fd, "0\r\n\r\n");
    ck_assert(client_read(fd, false, &answer));
    ck_assert_uint_eq(answer.body.len, LEN);
    ck_assert_mem_eq(answer.body.data, bytes, LEN);
    answer_done(&answer);
    close(fd);
    free(bytes);
    gateway_stop(&gateway);
}

TW_TEST("a slow reader gets all of a large answer, and others are served meanwhile") {
    enum { LEN = 30000000 };
    struct gateway gateway;
    gateway_start(&gateway, &(struct tw_http_options){.loops = 1}, NULL);
    int fd = client_connect(&gateway);
    client_text(fd, "POST /functions/size/invoke?export=30000000 HTTP/1.1\r\n" H "\r\n");
    for (int i = 0; i < 20; i++)
        client_expect(&gateway, "GET /healthz HTTP/1.1\r\n" H "\r\n", 200, NULL);
    struct answer answer;
    ck_assert(client_read(fd, false, &answer));
    ck_assert(!answer.is_cut);
    ck_assert_uint_eq(answer.body.len, LEN);
    for (size_t i = 0; i < LEN; i += 4093)
        ck_assert_int_eq(answer.body.data[i], 'x');
    answer_done(&answer);
    close(fd);
    gateway_stop(&gateway);
}

// An answer is counted when it is written: the client may be quicker. True once there is one.
static bool is_counted(struct tw_labels labels) {
    for (int i = 0; i < 100000 && tw_metric_get(TW_METRIC_HTTP_REQUESTS, labels) == 0; i++)
        usleep(1000);
    return tw_metric_get(TW_METRIC_HTTP_REQUESTS, labels) == 1;
}

TW_TEST("metrics have the route's template, and what no route took is 'other'") {
    struct gateway gateway;
    gateway_start(&gateway, NULL, NULL);
    client_expect(&gateway, INVOKE("echo") "\r\n", 200, NULL);
    client_expect(&gateway, "GET /random/1234 HTTP/1.1\r\n" H "\r\n", 404, NULL);
    struct tw_labels labels = {.values = {"/functions/:id/invoke", "POST", "200"}};
    ck_assert(is_counted(labels));
    labels = (struct tw_labels){.values = {"other", "GET", "404"}};
    ck_assert(is_counted(labels));
    client_expect(
        &gateway, "GET /metrics HTTP/1.1\r\n" H "\r\n", 200,
        "tensor_wasm_http_requests_total{route=\"/functions/:id/invoke\",method=\"POST\",status=\"200\"} "
        "1\n");
    struct answer answer =
        client_ask(&gateway, "GET /metrics HTTP/1.1\r\n" H
                             "Accept: application/openmetrics-text; version=1.0.0,text/plain;q=0.5\r\n\r\n");
    ck_assert_ptr_eq(strstr(answer_header(&answer, "Content-Type"), "application/openmetrics-text"),
                     answer_header(&answer, "Content-Type"));
    ck_assert_str_eq((char *)answer.body.data + answer.body.len - 6, "# EOF\n");
    answer_done(&answer);
    gateway_stop(&gateway);
}

TW_TEST("a drain closes idle connections, lets calls end, and then takes nobody") {
    struct gateway gateway;
    gateway_start(&gateway, NULL, NULL);
    int idle = client_connect(&gateway), busy = client_connect(&gateway);
    struct answer answer;
    client_text(idle, "GET /healthz HTTP/1.1\r\n" H "\r\n");
    ck_assert(client_read(idle, false, &answer));
    answer_done(&answer);
    client_text(busy, INVOKE("hold") "\r\n");
    ck_assert(fake_wait_running(gateway.service, 1));
    tw_http_drain(gateway.http);
    ck_assert(client_is_closed(idle, 100000));
    ck_assert(client_is_quiet(busy, 100));
    fake_release(gateway.service);
    ck_assert(client_read(busy, false, &answer));
    ck_assert_int_eq(answer.status, 200);
    ck_assert_str_eq(answer_header(&answer, "Connection"), "close");
    answer_done(&answer);
    ck_assert(tw_http_wait(gateway.http, tw_clock_ns() + 20 * TW_NS_PER_S));
    close(idle);
    close(busy);
    gateway_stop(&gateway);
}

TW_TEST("announced, the end shows in readyz alone") {
    struct gateway gateway;
    gateway_start(&gateway, NULL, NULL);
    client_expect(&gateway, "GET /readyz HTTP/1.1\r\n" H "\r\n", 200, NULL);
    tw_http_announce(gateway.http);
    client_expect(&gateway, "GET /readyz HTTP/1.1\r\n" H "\r\n", 503, "draining");
    client_expect(&gateway, "GET /healthz HTTP/1.1\r\n" H "\r\n", 200, NULL);
    client_expect(&gateway, INVOKE("echo") "Content-Length: 1\r\n\r\nx", 200, "x");
    gateway_stop(&gateway);
}

TW_TEST("at the drain's deadline calls are cancelled and connections closed") {
    struct gateway gateway;
    gateway_start(&gateway, NULL, NULL);
    int fd = client_connect(&gateway);
    client_text(fd, INVOKE("hold") "\r\n");
    ck_assert(fake_wait_running(gateway.service, 1));
    tw_http_drain(gateway.http);
    ck_assert(!tw_http_wait(gateway.http, tw_clock_ns() + 200 * TW_NS_PER_MS));
    tw_http_close(gateway.http);
    struct answer answer;
    ck_assert(client_read(fd, false, &answer));
    ck_assert_int_eq(answer.status, 503);
    ck_assert_str_eq(answer_header(&answer, "Retry-After"), "1");
    ck_assert_uint_eq(strlen(answer_header(&answer, "X-Request-Id")), 16);
    ck_assert_ptr_nonnull(strstr((char *)answer.body.data, "\"kind\":\"draining\""));
    ck_assert(!answer.is_cut && client_is_closed(fd, 100000));
    ck_assert(fake_wait_cancelled(gateway.service, 1));
    answer_done(&answer);
    close(fd);
    gateway_stop(&gateway);
}

TW_TEST("many clients at once each get their own answers") {
    enum { CLIENTS = 64, ROUNDS = 20 };
    struct gateway gateway;
    gateway_start(&gateway, NULL, NULL);
    int fds[CLIENTS];
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = client_connect(&gateway);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < CLIENTS; i++) {
            char request[160];
            int len = snprintf(request, sizeof request, INVOKE("echo") "Content-Length: 8\r\n\r\n%04d%04d",
                               round, i);
            client_send(fds[i], request, (size_t)len);
        }
        for (int i = 0; i < CLIENTS; i++) {
            char wanted[32];
            struct answer answer;
            snprintf(wanted, sizeof wanted, "%04d%04d", round, i);
            ck_assert(client_read(fds[i], false, &answer));
            ck_assert_str_eq((char *)answer.body.data, wanted);
            answer_done(&answer);
        }
    }
    for (int i = 0; i < CLIENTS; i++)
        close(fds[i]);
    gateway_stop(&gateway);
}

TW_TEST("an address that is taken or malformed is refused with a reason") {
    struct gateway gateway;
    struct tw_error err = {};
    char address[32];
    gateway_start(&gateway, NULL, NULL);
    snprintf(address, sizeof address, "127.0.0.1:%u", tw_http_port(gateway.http));
    struct tw_http_options options = {
        .address = address, .service = gateway.service, .tenants = gateway.tenants};
    ck_assert_ptr_null(tw_http_start(&options, &err));
    ck_assert_ptr_nonnull(strstr(err.message, address));
    static const char *const bad[] = {
        "", "nonsense", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:x", "300.1.1.1:0"};
    for (size_t i = 0; i < TW_COUNT(bad); i++) {
        options.address = bad[i];
        ck_assert_msg(!tw_http_start(&options, &err), "'%s' was taken", bad[i]);
        ck_assert_int_eq(err.code, TW_ERR_INVALID_REQUEST);
    }
    gateway_stop(&gateway);
}
