// SPDX-License-Identifier: Apache-2.0
//
// Open addressing with linear probing; a removal shifts the cluster back, so that there are no tombstones. At
// most 3/4 of the slots are taken. Keys of up to 16 bytes (ids, digest prefixes, short names) lie in the slot
// itself. The hash is SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012, with 1
// and 3 rounds) under a random key of this process.

#include "base/map.h"

#include <pthread.h>

#include "base/fault.h"
#include "base/hash.h"

enum { FIRST_CAPACITY = 8, KEY_INLINE = 16 };

// Guarded by the map's owner. Empty when `value` is NULL.
struct tw_map_slot {
    uint64_t hash;
    void *value;
    size_t key_len;
    union {
        uint8_t bytes[KEY_INLINE];
        uint8_t *heap; // when key_len > KEY_INLINE
    } key;
};

static uint64_t hash_key[2]; // frozen after hash_key_once

static void make_hash_key(void) {
    tw_random(hash_key, sizeof(hash_key));
}

static uint64_t rotate(uint64_t value, unsigned bits) {
    return value << bits | value >> (64 - bits);
}

[[gnu::always_inline]] static inline void sip_round(uint64_t v[4]) {
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word) {
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

static uint64_t hash_of(struct tw_span key) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_hash_key);
    uint64_t v[4] = {hash_key[0] ^ 0x736f6d6570736575, hash_key[1] ^ 0x646f72616e646f6d,
                     hash_key[0] ^ 0x6c7967656e657261, hash_key[1] ^ 0x7465646279746573};
    size_t at = 0;
    uint64_t word;
    for (; key.len - at >= sizeof(word); at += sizeof(word)) {
        memcpy(&word, key.data + at, sizeof(word));
        sip_word(v, word);
    }
    word = (uint64_t)key.len << 56;
    for (unsigned shift = 0; at < key.len; at++, shift += 8)
        word |= (uint64_t)key.data[at] << shift;
    sip_word(v, word);
    v[2] ^= 0xff;
    for (unsigned i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static const uint8_t *slot_key(const struct tw_map_slot *slot) {
    return slot->key_len > KEY_INLINE ? slot->key.heap : slot->key.bytes;
}

static void slot_drop_key(struct tw_map_slot *slot) {
    if (slot->key_len > KEY_INLINE)
        free(slot->key.heap);
}

static bool slot_holds(const struct tw_map_slot *slot, uint64_t hash, struct tw_span key) {
    return slot->hash == hash && slot->key_len == key.len &&
           (key.len == 0 || memcmp(slot_key(slot), key.data, key.len) == 0);
}

// The slot that holds the key, or the empty one where it would go. The map has slots, and one of them is
// empty.
static struct tw_map_slot *probe(const struct tw_map *map, uint64_t hash, struct tw_span key) {
    size_t mask = map->capacity - 1;
    size_t index = hash & mask;
    while (map->slots[index].value && !slot_holds(&map->slots[index], hash, key))
        index = (index + 1) & mask;
    return &map->slots[index];
}

void tw_map_init(struct tw_map *map, size_t max) {
    *map = (struct tw_map){.max = max};
}

void tw_map_done(struct tw_map *map) {
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->slots[i].value)
            slot_drop_key(&map->slots[i]);
    }
    free(map->slots);
    *map = (struct tw_map){.max = map->max};
}

void *tw_map_find(const struct tw_map *map, struct tw_span key) {
    return map->count ? probe(map, hash_of(key), key)->value : NULL;
}

static bool grow(struct tw_map *map) {
    size_t capacity = map->capacity ? map->capacity * 2 : FIRST_CAPACITY;
    struct tw_map grown = {.count = map->count, .capacity = capacity, .max = map->max};
    grown.slots = tw_alloc_zero(capacity, sizeof(*grown.slots));
    if (!grown.slots)
        return false;
    for (size_t i = 0; i < map->capacity; i++) {
        const struct tw_map_slot *slot = &map->slots[i];
        if (!slot->value)
            continue;
        size_t index = slot->hash & (capacity - 1);
        while (grown.slots[index].value)
            index = (index + 1) & (capacity - 1);
        grown.slots[index] = *slot;
    }
    free(map->slots);
    *map = grown;
    return true;
}

bool tw_map_put(struct tw_map *map, struct tw_span key, void *value) {
    TW_ASSERT(value);
    uint64_t hash = hash_of(key);
    struct tw_map_slot *slot = map->capacity ? probe(map, hash, key) : NULL;
    if (slot && slot->value) {
        slot->value = value;
        return true;
    }
    if (map->count >= map->max)
        return false;
    uint8_t *copy = NULL;
    if (key.len > KEY_INLINE) {
        copy = tw_alloc(key.len);
        if (!copy)
            return false;
        memcpy(copy, key.data, key.len);
    }
    if ((map->count + 1) * 4 > map->capacity * 3) {
        if (!grow(map)) {
            free(copy);
            return false;
        }
        slot = probe(map, hash, key);
    }
    *slot = (struct tw_map_slot){.hash = hash, .value = value, .key_len = key.len};
    if (copy)
        slot->key.heap = copy;
    else if (key.len)
        memcpy(slot->key.bytes, key.data, key.len);
    map->count++;
    return true;
}

// Fills the hole at `hole` with the next slot of the cluster that may lie there, and so on until the cluster
// ends.
static void close_hole(struct tw_map *map, size_t hole) {
    size_t mask = map->capacity - 1;
    for (size_t index = (hole + 1) & mask; map->slots[index].value; index = (index + 1) & mask) {
        size_t home = map->slots[index].hash & mask;
        // It may move when its home is not within (hole, index].
        if (((index - home) & mask) >= ((index - hole) & mask)) {
            map->slots[hole] = map->slots[index];
            hole = index;
        }
    }
    map->slots[hole] = (struct tw_map_slot){};
}

void *tw_map_remove(struct tw_map *map, struct tw_span key) {
    if (map->count == 0)
        return NULL;
    struct tw_map_slot *slot = probe(map, hash_of(key), key);
    void *value = slot->value;
    if (!value)
        return NULL;
    slot_drop_key(slot);
    map->count--;
    close_hole(map, (size_t)(slot - map->slots));
    return value;
}

bool tw_map_next(const struct tw_map *map, size_t *position, struct tw_span *ret_key, void **ret_value) {
    while (*position < map->capacity) {
        const struct tw_map_slot *slot = &map->slots[(*position)++];
        if (!slot->value)
            continue;
        if (ret_key)
            *ret_key = tw_span_of(slot_key(slot), slot->key_len);
        if (ret_value)
            *ret_value = slot->value;
        return true;
    }
    return false;
}
