// SPDX-License-Identifier: Apache-2.0
//
// Packets and replies: what is right is taken, and every single wrong thing is not.

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/test.h"
#include "internal.h"

enum { ID = 7, FILE_BYTES = 1'000 };

static struct compile_reply made(void) {
    return (struct compile_reply){.magic = COMPILE_MAGIC_REPLY, .id = ID, .output_bytes = FILE_BYTES};
}

static struct compile_reply refused(const char *message) {
    struct compile_reply reply = {.magic = COMPILE_MAGIC_REPLY, .id = ID, .code = TW_ERR_INVALID_WASM};
    snprintf(reply.message, sizeof(reply.message), "%s", message);
    return reply;
}

static enum compile_verdict decode(struct compile_reply reply) {
    struct tw_error err = {};
    enum compile_verdict verdict =
        compile_reply_decode(tw_span_of(&reply, sizeof(reply)), ID, FILE_BYTES, &err);
    ck_assert_int_eq(err.code != TW_OK, verdict == COMPILE_REFUSED);
    return verdict;
}

TW_TEST("a right reply is believed") {
    ck_assert_int_eq(decode(made()), COMPILE_MADE);
    ck_assert_int_eq(decode(refused("no: \xc3\xa9")), COMPILE_REFUSED);
    struct compile_reply longest = refused("");
    memset(longest.message, 'x', sizeof(longest.message) - 1);
    ck_assert_int_eq(decode(longest), COMPILE_REFUSED);
}

TW_TEST("a reply that is wrong in one thing is garbage") {
    struct compile_reply reply = made();
    reply.magic++;
    ck_assert_int_eq(decode(reply), COMPILE_GARBAGE);
    reply = made();
    reply.id++;
    ck_assert_int_eq(decode(reply), COMPILE_GARBAGE);
    reply = made();
    reply.output_bytes++;
    ck_assert_int_eq(decode(reply), COMPILE_GARBAGE);
    reply = made();
    reply.reserved = 1;
    ck_assert_int_eq(decode(reply), COMPILE_GARBAGE);
    reply = made();
    reply.code = TW_CODE_COUNT;
    ck_assert_int_eq(decode(reply), COMPILE_GARBAGE);
    ck_assert_int_eq(decode(refused("")), COMPILE_GARBAGE);
    ck_assert_int_eq(decode(refused("a\nb")), COMPILE_GARBAGE);
    ck_assert_int_eq(decode(refused("a\xff")), COMPILE_GARBAGE);
    ck_assert_int_eq(decode(refused("a\x1b[2J")), COMPILE_GARBAGE);
    reply = refused("");
    memset(reply.message, 'x', sizeof(reply.message)); // does not end
    ck_assert_int_eq(decode(reply), COMPILE_GARBAGE);
}

TW_TEST("a reply of another length, or to an output that is empty or too large, is garbage") {
    struct tw_error err = {};
    struct compile_reply reply = made();
    for (size_t len = 0; len < sizeof(reply); len++)
        ck_assert_int_eq(compile_reply_decode(tw_span_of(&reply, len), ID, FILE_BYTES, &err),
                         COMPILE_GARBAGE);
    reply.output_bytes = 0;
    ck_assert_int_eq(compile_reply_decode(tw_span_of(&reply, sizeof(reply)), ID, 0, &err), COMPILE_GARBAGE);
    reply.output_bytes = (uint64_t)COMPILE_MAX_ARTIFACT + 1;
    ck_assert_int_eq(compile_reply_decode(tw_span_of(&reply, sizeof(reply)), ID, reply.output_bytes, &err),
                     COMPILE_GARBAGE);
    ck_assert_int_eq(err.code, TW_OK);
}

static void make_pair(int pair[2]) {
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
}

static unsigned open_fds(void) {
    unsigned count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

TW_TEST("a packet arrives whole, its descriptors open and close-on-exec") {
    int pair[2], got[2];
    uint64_t sent = 42, received = 0;
    struct stat before, after;
    make_pair(pair);
    int fds[2] = {STDIN_FILENO, pair[0]};
    ck_assert(compile_send(pair[0], &sent, sizeof(sent), fds, 2));
    ck_assert_int_eq(compile_receive(pair[1], &received, sizeof(received), got, 2, TW_NO_DEADLINE),
                     COMPILE_GOT);
    ck_assert_uint_eq(received, 42);
    ck_assert_int_eq(fcntl(got[1], F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(fstat(pair[0], &before), 0);
    ck_assert_int_eq(fstat(got[1], &after), 0);
    ck_assert_uint_eq(before.st_ino, after.st_ino);
}

TW_TEST("a packet of another size or number of descriptors is refused, and leaves none open") {
    int pair[2], got[COMPILE_JOB_FDS];
    uint64_t sent[2] = {1, 2}, received = 0;
    make_pair(pair);
    int fds[COMPILE_JOB_FDS] = {pair[0], pair[0], pair[0]};
    unsigned open_before = open_fds();
    for (size_t count = 0; count <= COMPILE_JOB_FDS; count++) {
        for (size_t size = 4; size <= 16; size += 4) {
            if (size == sizeof(received) && count == 1)
                continue;
            ck_assert(compile_send(pair[0], sent, size, fds, count));
            ck_assert_int_eq(compile_receive(pair[1], &received, sizeof(received), got, 1, TW_NO_DEADLINE),
                             COMPILE_BROKEN);
            ck_assert_uint_eq(open_fds(), open_before);
        }
    }
}

TW_TEST("waiting ends at the deadline, and when the other end closes") {
    int pair[2];
    uint64_t received;
    make_pair(pair);
    int64_t deadline_ns = tw_clock_ns() + 20 * TW_NS_PER_MS;
    ck_assert_int_eq(compile_receive(pair[1], &received, sizeof(received), NULL, 0, deadline_ns),
                     COMPILE_LATE);
    ck_assert_int_ge(tw_clock_ns(), deadline_ns);
    close(pair[0]);
    ck_assert_int_eq(compile_receive(pair[1], &received, sizeof(received), NULL, 0, TW_NO_DEADLINE),
                     COMPILE_CLOSED);
    ck_assert(!compile_send(pair[1], &received, sizeof(received), NULL, 0));
}
