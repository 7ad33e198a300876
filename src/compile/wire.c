// SPDX-License-Identifier: Apache-2.0
//
// The packets between the server, the fork server and the child. Each is one fixed struct; a packet of any
// other size, or with more or fewer descriptors than its kind carries, is refused as a whole. The child's
// reply is the only thing here that a tenant's input may have a hand in, so its decoding trusts nothing.

#include "compile/internal.h"

#include <limits.h>
#include <sys/socket.h>
#include <unistd.h>

// Room for the descriptors of one packet. One more than any packet carries would be cut by the kernel, which
// we see as MSG_CTRUNC.
union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int) * COMPILE_JOB_FDS)];
};

bool compile_send(int socket, const void *packet, size_t size, const int *fds, size_t fd_count) {
    TW_ASSERT(fd_count <= COMPILE_JOB_FDS);
    struct iovec part = {.iov_base = (void *)(uintptr_t)packet, .iov_len = size};
    union control control = {};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd_count) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        *header = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof(int) * fd_count), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(header), fds, sizeof(int) * fd_count);
    }
    ssize_t sent;
    do
        sent = sendmsg(socket, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)size;
}

// Takes the descriptors out of a received message; how many there were (all of them are open).
static size_t take_fds(struct msghdr *message, int fds[COMPILE_JOB_FDS]) {
    size_t count = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t bytes = header->cmsg_len - CMSG_LEN(0);
        for (size_t at = 0; at + sizeof(int) <= bytes && count < COMPILE_JOB_FDS; at += sizeof(int))
            memcpy(&fds[count++], CMSG_DATA(header) + at, sizeof(int));
    }
    return count;
}

static enum compile_received receive_now(int socket, void *ret_packet, size_t size, int *ret_fds,
                                         size_t fd_count) {
    struct iovec part = {.iov_base = ret_packet, .iov_len = size};
    union control control = {};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    ssize_t got;
    do
        got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got <= 0)
        return got == 0 || errno == ECONNRESET ? COMPILE_CLOSED : COMPILE_BROKEN;
    int fds[COMPILE_JOB_FDS];
    size_t count = take_fds(&message, fds);
    if ((size_t)got == size && count == fd_count && !(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
        if (count)
            memcpy(ret_fds, fds, count * sizeof(int));
        return COMPILE_GOT;
    }
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
    return COMPILE_BROKEN;
}

// For poll: rounded up, so that the deadline has passed when it returns 0.
static int poll_ms(int64_t deadline_ns) {
    if (deadline_ns == TW_NO_DEADLINE)
        return -1;
    int64_t left = deadline_ns - tw_clock_ns();
    if (left <= 0)
        return 0;
    int64_t ms = left / TW_NS_PER_MS + 1;
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

enum compile_received compile_await(struct pollfd *waits, size_t count, int64_t deadline_ns) {
    for (;;) {
        int ready = poll(waits, count, poll_ms(deadline_ns));
        if (ready > 0)
            return COMPILE_GOT;
        if (ready < 0 && errno != EINTR)
            return COMPILE_BROKEN;
        if (deadline_ns != TW_NO_DEADLINE && tw_clock_ns() >= deadline_ns)
            return COMPILE_LATE;
    }
}

enum compile_received compile_receive(int socket, void *ret_packet, size_t size, int *ret_fds,
                                      size_t fd_count, int64_t deadline_ns) {
    struct pollfd wait = {.fd = socket, .events = POLLIN};
    enum compile_received got = compile_await(&wait, 1, deadline_ns);
    return got == COMPILE_GOT ? receive_now(socket, ret_packet, size, ret_fds, fd_count) : got;
}

// Ends in NUL within its array, is UTF-8, and has no control characters: it goes into an HTTP body and
// perhaps to a terminal.
static bool is_clean(const char message[TW_ERROR_MESSAGE_MAX]) {
    const char *end = memchr(message, '\0', TW_ERROR_MESSAGE_MAX);
    if (!end || end == message)
        return false;
    for (const char *at = message; at < end; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return false;
    }
    return tw_utf8_valid(tw_str_of(message, (size_t)(end - message)));
}

enum compile_verdict compile_reply_decode(struct tw_span bytes, uint64_t id, uint64_t file_bytes,
                                          struct tw_error *ret_error) {
    struct compile_reply reply;
    if (bytes.len != sizeof(reply))
        return COMPILE_GARBAGE;
    memcpy(&reply, bytes.data, sizeof(reply));
    if (reply.magic != COMPILE_MAGIC_REPLY || reply.id != id || reply.reserved != 0 ||
        reply.code >= TW_CODE_COUNT)
        return COMPILE_GARBAGE;
    if (reply.code == TW_OK) {
        bool fits = reply.output_bytes == file_bytes && file_bytes > 0 && file_bytes <= COMPILE_MAX_ARTIFACT;
        return fits ? COMPILE_MADE : COMPILE_GARBAGE;
    }
    if (!is_clean(reply.message))
        return COMPILE_GARBAGE;
    tw_fail(ret_error, (enum tw_code)reply.code, "%s", reply.message);
    return COMPILE_REFUSED;
}
