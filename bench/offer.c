// SPDX-License-Identifier: Apache-2.0
//
// Offers requests at a rate, whatever becomes of them: one is sent when it is due, at random times (Poisson), on a connection that
// is free, and what it takes counts from when it was due. A client that waits for answers before it asks again cannot overload
// a server, and one that is slow itself would measure itself: this one spins on a core of its own and allocates nothing on the
// way. How late it sent is part of the result.
//
//     bench_offer PORT RATE LEAD_IN_S SECONDS CONNECTIONS SEED METHOD TARGET [TYPE BODY]      one line of JSON, times in us

#include "bench.h"

#include <arpa/inet.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { ANSWER_MAX = 4096, CONNECTIONS_MAX = 16384, EVENTS = 256, TAIL_S = 30 };

struct connection {
    int fd;
    int64_t due_ns; // of the request it has sent
    bool counts;    // it was due after the lead-in
    size_t len;
    char answer[ANSWER_MAX];
    struct connection *next_free;
};

// What one kind of answer took.
struct times {
    double *us;
    size_t count, capacity;
};

static struct {
    struct connection *all, *free;
    size_t busy;
    int epoll_fd;
    char request[ANSWER_MAX];
    size_t request_len;
    struct times good, bad, late; // status 2xx; 429 and 503; how late requests were sent
} offer;

static void note(struct times *times, int64_t ns) {
    if (times->count == times->capacity) {
        times->capacity = times->capacity ? 2 * times->capacity : 1 << 20;
        times->us = realloc(times->us, times->capacity * sizeof(*times->us));
        if (!times->us)
            bench_die("times", "no memory");
    }
    times->us[times->count++] = (double)ns / (double)TW_NS_PER_US;
}

// ---- requests ----

static void send_one(int64_t due_ns, bool counts) {
    struct connection *connection = offer.free;
    offer.free = connection->next_free;
    offer.busy++;
    connection->due_ns = due_ns;
    connection->counts = counts;
    connection->len = 0;
    if (counts)
        note(&offer.late, tw_clock_ns() - due_ns);
    if (send(connection->fd, offer.request, offer.request_len, MSG_NOSIGNAL) != (ssize_t)offer.request_len)
        bench_die("send", strerror(errno));
}

// Its length once it is whole, else 0.
static size_t whole_answer(const struct connection *connection) {
    const char *end = memmem(connection->answer, connection->len, "\r\n\r\n", 4);
    if (!end)
        return 0;
    const char *header = strcasestr(connection->answer, "\r\ncontent-length:");
    size_t body = header && header < end ? strtoul(header + 17, NULL, 10) : 0;
    size_t len = (size_t)(end + 4 - connection->answer) + body;
    return len <= connection->len ? len : 0;
}

static void receive(struct connection *connection) {
    ssize_t got = recv(connection->fd, connection->answer + connection->len, ANSWER_MAX - 1 - connection->len,
                       MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0)
        bench_die("recv", got ? strerror(errno) : "the server hung up, or an answer is too long");
    connection->len += (size_t)got;
    connection->answer[connection->len] = '\0';
    if (!whole_answer(connection))
        return;
    int status = (int)strtol(connection->answer + strlen("HTTP/1.1 "), NULL, 10);
    if (status / 100 != 2 && status != 429 && status != 503)
        bench_die("an answer", connection->answer);
    if (connection->counts)
        note(status / 100 == 2 ? &offer.good : &offer.bad, tw_clock_ns() - connection->due_ns);
    connection->next_free = offer.free;
    offer.free = connection;
    offer.busy--;
}

static void take_answers(void) {
    struct epoll_event events[EVENTS];
    int count = epoll_wait(offer.epoll_fd, events, EVENTS, 0);
    for (int i = 0; i < count; i++)
        receive(events[i].data.ptr);
}

// ---- the run ----

static void connect_all(uint16_t port, size_t count) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    offer.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    offer.all = calloc(count, sizeof(*offer.all));
    if (!offer.all || offer.epoll_fd < 0)
        bench_die("connections", "no memory");
    for (size_t i = 0; i < count; i++) {
        struct connection *connection = &offer.all[i];
        connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int on = 1;
        setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (connect(connection->fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
            bench_die("connect", strerror(errno));
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        if (epoll_ctl(offer.epoll_fd, EPOLL_CTL_ADD, connection->fd, &event) != 0)
            bench_die("epoll_ctl", strerror(errno));
        connection->next_free = offer.free;
        offer.free = connection;
    }
}

// splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014); above 0, at most 1.
static double next_random(uint64_t *state) {
    uint64_t z = *state += 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return ((double)((z ^ (z >> 31)) >> 11) + 1) / (double)(1ULL << 53);
}

static void run(double rate, double lead_in_s, double seconds, uint64_t seed) {
    int64_t begin_ns = tw_clock_ns(), counts_ns = begin_ns + (int64_t)(lead_in_s * 1e9);
    int64_t end_ns = counts_ns + (int64_t)(seconds * 1e9), due_ns = begin_ns;
    while (due_ns < end_ns) {
        for (int64_t now_ns = tw_clock_ns(); due_ns <= now_ns && due_ns < end_ns && offer.free;) {
            send_one(due_ns, due_ns >= counts_ns);
            due_ns += (int64_t)(-log(next_random(&seed)) / rate * 1e9);
        }
        take_answers();
    }
    while (offer.busy && tw_clock_ns() < end_ns + TAIL_S * TW_NS_PER_S)
        take_answers();
    if (offer.busy)
        bench_die("answers", "some did not come");
}

static void print(const char *name, struct times *times, const char *end) {
    if (times->count)
        qsort(times->us, times->count, sizeof(*times->us), bench_by_value);
    double p50 = times->count ? times->us[times->count / 2] : 0;
    double p99 = times->count ? times->us[times->count * 99 / 100] : 0;
    printf("\"%s\":{\"count\":%zu,\"p50_us\":%.1f,\"p99_us\":%.1f}%s", name, times->count, p50, p99, end);
}

int main(int argc, char **argv) {
    if (argc != 9 && argc != 11)
        bench_die("usage", "PORT RATE LEAD_IN_S SECONDS CONNECTIONS SEED METHOD TARGET [TYPE BODY]");
    size_t connections = strtoul(argv[5], NULL, 10);
    if (connections == 0 || connections > CONNECTIONS_MAX)
        bench_die("CONNECTIONS", argv[5]);
    const char *type = argc == 11 ? argv[9] : "text/plain", *body = argc == 11 ? argv[10] : "";
    int len = snprintf(offer.request, sizeof(offer.request),
                       "%s %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s",
                       argv[7], argv[8], type, strlen(body), body);
    if (len < 0 || (size_t)len >= sizeof(offer.request))
        bench_die("the request", "too long");
    offer.request_len = (size_t)len;
    connect_all((uint16_t)strtoul(argv[1], NULL, 10), connections);
    run(strtod(argv[2], NULL), strtod(argv[3], NULL), strtod(argv[4], NULL), strtoull(argv[6], NULL, 10));
    printf("{");
    print("good", &offer.good, ",");
    print("bad", &offer.bad, ",");
    print("late", &offer.late, "}\n");
    return 0;
}
