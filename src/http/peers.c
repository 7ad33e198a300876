// SPDX-License-Identifier: Apache-2.0
//
// How many connections each address has, so that one client cannot take all of them. What counts is the
// address that the kernel sees: X-Forwarded-For says whatever its sender likes. IPv6 is counted by /64, which is
// what one customer of a provider has at least.

#include <netinet/in.h>
#include <sys/socket.h>

#include "http/internal.h"

// Guarded by lock. A count is kept in the map as the pointer itself.
struct http_peers {
    struct tw_lock lock;
    struct tw_map counts;
    uint32_t per_address;
};

struct http_peers *http_peers_new(uint32_t connections_max, uint32_t per_address, struct tw_error *err) {
    struct http_peers *peers = tw_alloc_zero(1, sizeof *peers);
    if (!peers) {
        tw_fail(err, TW_ERR_CAPACITY, "no memory to count connections by address");
        return NULL;
    }
    tw_lock_init(&peers->lock);
    tw_map_init(&peers->counts, connections_max);
    peers->per_address = per_address;
    return peers;
}

void http_peers_free(struct http_peers *peers) {
    if (!peers)
        return;
    tw_map_done(&peers->counts);
    tw_lock_done(&peers->lock);
    free(peers);
}

static struct http_peer peer_of(int fd) {
    struct http_peer peer = {};
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    if (getpeername(fd, (struct sockaddr *)&address, &size) != 0)
        return peer;
    if (address.ss_family == AF_INET) {
        peer.len = sizeof(struct in_addr);
        memcpy(peer.bytes, &((struct sockaddr_in *)&address)->sin_addr, peer.len);
    } else if (address.ss_family == AF_INET6) {
        const struct in6_addr *six = &((struct sockaddr_in6 *)&address)->sin6_addr;
        bool is_four = IN6_IS_ADDR_V4MAPPED(six);
        peer.len = is_four ? sizeof(struct in_addr) : sizeof peer.bytes;
        memcpy(peer.bytes, is_four ? &six->s6_addr[12] : six->s6_addr, peer.len);
    }
    return peer;
}

bool http_peers_enter(struct http_peers *peers, int fd, struct http_peer *ret_peer) {
    *ret_peer = (struct http_peer){};
    if (!peers)
        return true;
    struct http_peer peer = peer_of(fd);
    if (!peer.len)
        return true;
    struct tw_span key = tw_span_of(peer.bytes, peer.len);
    TW_LOCK_SCOPE(&peers->lock);
    uintptr_t count = (uintptr_t)tw_map_find(&peers->counts, key);
    if (count >= peers->per_address || !tw_map_put(&peers->counts, key, (void *)(count + 1)))
        return false;
    *ret_peer = peer;
    return true;
}

void http_peers_leave(struct http_peers *peers, const struct http_peer *peer) {
    if (!peers || !peer->len)
        return;
    struct tw_span key = tw_span_of(peer->bytes, peer->len);
    TW_LOCK_SCOPE(&peers->lock);
    uintptr_t count = (uintptr_t)tw_map_find(&peers->counts, key);
    // Replacing a value needs no memory.
    if (count <= 1 || !tw_map_put(&peers->counts, key, (void *)(count - 1)))
        tw_map_remove(&peers->counts, key);
}
