// SPDX-License-Identifier: Apache-2.0
//
// Keeps the cache folder below its maximum: when a write takes it over, the artifacts that were used least
// recently (made, or read from disk) are removed until a tenth is free. Runs on the writing thread only. What
// is in use stays usable: a mapping outlives its file's name.

#include "compile/internal.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BLOCK = 4'096,           // a file takes whole blocks, and its signature one more
    LEFTOVER_S = 3'600,      // a temporary file as old as this belongs to no one
    MAX_ENTRIES = 4'000'000, // more than a folder of 8 GiB can hold at two blocks each
};

struct found {
    struct tw_digest key;
    int64_t used_ns;
    uint64_t bytes;
};

// What a walk gathers.
struct walk {
    const struct compile_cache *cache;
    char folder[PATH_MAX];
    struct tw_buf found; // struct found …
    uint64_t bytes;
};

static uint64_t cost(uint64_t len) {
    return tw_align_up(len, BLOCK) + BLOCK;
}

static bool visit_file(void *context, const char *name) {
    struct walk *walk = context;
    char path[PATH_MAX + 256];
    struct stat info;
    snprintf(path, sizeof(path), "%s/%s", walk->folder, name);
    if (lstat(path, &info) != 0 || !S_ISREG(info.st_mode))
        return true;
    if (strncmp(name, ".tmp-", 5) == 0) {
        if (info.st_mtim.tv_sec + LEFTOVER_S < tw_clock_wall_ns() / TW_NS_PER_S)
            unlink(path);
        return true;
    }
    struct found found = {.bytes = cost((uint64_t)info.st_size),
                          .used_ns = info.st_mtim.tv_sec * TW_NS_PER_S + info.st_mtim.tv_nsec};
    struct tw_str text = tw_str_from(name);
    if (text.len != TW_DIGEST_HEX_SIZE - 1 + 3 || strcmp(name + TW_DIGEST_HEX_SIZE - 1, ".tw") != 0 ||
        !tw_digest_parse(tw_str_of(name, TW_DIGEST_HEX_SIZE - 1), &found.key))
        return true;
    walk->bytes += found.bytes;
    return tw_buf_append(&walk->found, &found, sizeof(found));
}

static bool visit_folder(void *context, const char *name) {
    struct walk *walk = context;
    uint8_t byte;
    if (strlen(name) == 2 && tw_hex_parse(tw_str_of(name, 2), &byte, 1)) {
        snprintf(walk->folder, sizeof(walk->folder), "%s/%s", walk->cache->folder, name);
        // A folder that cannot be read holds nothing that can be removed.
        (void)!tw_file_list(walk->folder, visit_file, walk, NULL);
    }
    return true;
}

static int by_use(const void *a, const void *b) {
    const struct found *left = a, *right = b;
    return (left->used_ns > right->used_ns) - (left->used_ns < right->used_ns);
}

// The artifacts there are, and the bytes they take. The caller does tw_buf_done.
static void look(const struct compile_cache *cache, struct walk *ret_walk) {
    *ret_walk = (struct walk){.cache = cache};
    tw_buf_init(&ret_walk->found, MAX_ENTRIES * sizeof(struct found));
    (void)!tw_file_list(cache->folder, visit_folder, ret_walk, NULL);
}

static void remove_oldest(struct compile_cache *cache, struct walk *walk) {
    size_t count = walk->found.len / sizeof(struct found);
    struct found *found = (struct found *)(void *)walk->found.data;
    if (count)
        qsort(found, count, sizeof(*found), by_use);
    uint64_t left = walk->bytes;
    for (size_t i = 0; i < count && left > cache->max_bytes - cache->max_bytes / 10; i++) {
        compile_cache_remove(cache, &found[i].key);
        left -= found[i].bytes;
    }
    cache->used_bytes = left;
}

void compile_cache_sweep(struct compile_cache *cache, size_t written) {
    cache->used_bytes += cost(written);
    if (cache->is_counted && cache->used_bytes <= cache->max_bytes)
        return;
    struct walk walk;
    look(cache, &walk);
    cache->is_counted = true;
    cache->used_bytes = walk.bytes;
    if (walk.bytes > cache->max_bytes)
        remove_oldest(cache, &walk);
    tw_buf_done(&walk.found);
}
