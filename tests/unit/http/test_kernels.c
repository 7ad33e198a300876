// SPDX-License-Identifier: Apache-2.0
//
// The registry's routes over the fake service: what a request says reaches it.

#include "gateway.h"
#include "harness/test.h"

#define H "Host: x\r\n"

TW_TEST("publishing takes JSON and bare text") {
    struct gateway gateway;
    gateway_start(&gateway, NULL, NULL);
    client_expect(
        &gateway,
        "POST /kernels HTTP/1.1\r\n" H
        "Content-Type: application/json\r\nX-TensorWasm-Tenant: 9\r\nContent-Length: 69\r\n\r\n"
        "{\"name\":\"k\",\"version\":\"1.0\",\"ptx\":\"abc\",\"entry\":\"e\",\"signature\":\"s\"}\n",
        201,
        "{\"name\":\"k\",\"version\":\"1.0\",\"entry\":\"e\",\"signature\":\"s\",\"ptx\":\"abc\","
        "\"tenant\":9}");
    client_expect(&gateway,
                  "POST /kernels HTTP/1.1\r\n" H
                  "Content-Type: application/json\r\nContent-Length: 46\r\n\r\n"
                  "{\"name\":\"k\",\"version\":\"1\",\"ptx_b64\":\"eHl6\"   }",
                  201, "\"ptx\":\"xyz\"");
    client_expect(
        &gateway,
        "POST /kernels?name=k&version=2&signature=a%2Bb HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc", 201,
        "{\"name\":\"k\",\"version\":\"2\",\"entry\":\"\",\"signature\":\"a+b\",\"ptx\":\"abc\"");
    gateway_stop(&gateway);
}

TW_TEST("a refusal shows the line and the column of the text") {
    struct gateway gateway;
    gateway_start(&gateway, NULL, NULL);
    client_expect(&gateway,
                  "POST /kernels?name=k&version=2 HTTP/1.1\r\n" H
                  "Content-Length: 15\r\n\r\nwrong\nnext \"ine",
                  400, "\"line\":2,\"column\":5,\"source\":\"next \\\"ine\",\"caret\":\"    ^\"}}");
    client_expect(&gateway,
                  "POST /kernels HTTP/1.1\r\n" H
                  "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n[]",
                  400, "\"invalid_request\"");
    gateway_stop(&gateway);
}

TW_TEST("reading and deleting pass name and version on") {
    struct gateway gateway;
    gateway_start(&gateway, NULL, NULL);
    client_expect(&gateway, "GET /kernels?limit=3&cursor=a%2Fb HTTP/1.1\r\n" H "\r\n", 200,
                  "{\"cursor\":\"a/b\",\"limit\":3}");
    client_expect(&gateway, "GET /kernels/k/1.0 HTTP/1.1\r\n" H "\r\n", 200,
                  "{\"name\":\"k\",\"version\":\"1.0\",\"with_ptx\":0}");
    client_expect(&gateway, "GET /kernels/k/1?ptx=true HTTP/1.1\r\n" H "\r\n", 200, "\"with_ptx\":1");
    client_expect(&gateway, "GET /kernels/k/1?ptx=maybe HTTP/1.1\r\n" H "\r\n", 400, "invalid_request");
    client_expect(&gateway, "DELETE /kernels/k/1 HTTP/1.1\r\n" H "\r\n", 204, NULL);
    client_expect(&gateway, "DELETE /kernels/nobody/1 HTTP/1.1\r\n" H "\r\n", 404, NULL);
    gateway_stop(&gateway);
}
