// SPDX-License-Identifier: Apache-2.0
//
// The cache folder:
//
//     key                         32 random bytes, 0600, made at the first start: the HMAC key. A folder
//     copied without it is worth nothing identity                    struct identity_file: what the compiler
//     program said its target is 4f/4f03…d1.tw               an artifact, exactly its bytes, so that the file
//     maps (and Wasmtime maps) as it is 4f/4f03…d1.sig              struct signature_file: its length and
//     HMAC
//
// An artifact is believed only when its HMAC is right over its key and bytes; a file that is damaged, cut,
// old or of another origin counts as missing and is replaced. Nothing here is worth failing a compilation
// for.

#include "compile/internal.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint64_t signature_magic = 0x3130'3074'7241'7754; // "TwArt001"
static const uint64_t identity_magic = 0x3130'306e'6449'7754;  // "TwIdn001"

struct signature_file {
    uint64_t magic;
    uint64_t len;
    struct tw_digest hmac;
};

struct identity_file {
    uint64_t magic;
    struct tw_digest stamp;
    struct compile_identity identity;
    struct tw_digest hmac; // over all before it
};

// ---- the folder and its key ----

static bool path_in(const struct compile_cache *cache, char ret_path[PATH_MAX], const char *name) {
    int len = snprintf(ret_path, PATH_MAX, "%s/%s", cache->folder, name);
    return len > 0 && len < PATH_MAX;
}

// "<folder>/4f/4f03…d1<suffix>"
static bool artifact_path(const struct compile_cache *cache, const struct tw_digest *key, const char *suffix,
                          char ret_path[PATH_MAX]) {
    char hex[TW_DIGEST_HEX_SIZE];
    tw_digest_hex(key, hex);
    int len = snprintf(ret_path, PATH_MAX, "%s/%.2s/%s%s", cache->folder, hex, hex, suffix);
    return len > 0 && len < PATH_MAX;
}

// True when the whole file is exactly `size` bytes.
static bool read_exactly(const char *path, void *ret_bytes, size_t size) {
    struct tw_buf text;
    tw_buf_init(&text, size);
    bool ok = tw_file_read(path, &text, NULL) && text.len == size;
    if (ok)
        memcpy(ret_bytes, text.data, size);
    tw_buf_done(&text);
    return ok;
}

// Makes the key unless there is one. It comes into place by link(2), which never replaces: of two servers
// that start at once one wins, and both read what is there.
static bool make_secret(const struct compile_cache *cache, const char *path, struct tw_error *err) {
    uint8_t secret[TW_DIGEST_SIZE], random[8];
    char digits[2 * sizeof(random) + 1], name[32], temporary[PATH_MAX];
    tw_random(secret, sizeof(secret));
    tw_random(random, sizeof(random));
    tw_hex(tw_span_of(random, sizeof(random)), digits);
    snprintf(name, sizeof(name), ".tmp-key-%s", digits);
    if (!path_in(cache, temporary, name))
        return tw_fail(err, TW_ERR_STORE, "the path of the cache folder is too long");
    if (!tw_file_write(temporary, tw_span_of(secret, sizeof(secret)), 0600, err))
        return false;
    bool ok = link(temporary, path) == 0 || errno == EEXIST;
    if (!ok)
        tw_fail_errno(err, TW_ERR_STORE, errno, "the key of the cache could not be put in place");
    unlink(temporary);
    return ok;
}

static bool open_secret(struct compile_cache *cache, struct tw_error *err) {
    char path[PATH_MAX];
    if (!path_in(cache, path, "key"))
        return tw_fail(err, TW_ERR_STORE, "the path of the cache folder is too long");
    if (read_exactly(path, cache->secret, sizeof(cache->secret)))
        return true;
    // A key of another length was never one: a crash cannot leave it, so somebody wrote it.
    struct stat info;
    if (stat(path, &info) == 0 && info.st_size != TW_DIGEST_SIZE && !tw_file_remove(path, err))
        return false;
    if (!make_secret(cache, path, err))
        return false;
    return read_exactly(path, cache->secret, sizeof(cache->secret)) ||
           tw_fail(err, TW_ERR_STORE, "%s could not be read", path);
}

struct compile_cache *compile_cache_new(const char *folder, uint64_t max_bytes, struct tw_error *err) {
    struct compile_cache *cache = tw_alloc_zero(1, sizeof(*cache));
    if (cache)
        *cache = (struct compile_cache){.folder = tw_str_dup(tw_str_from(folder)), .max_bytes = max_bytes};
    if (!cache || !cache->folder) {
        tw_fail(err, TW_ERR_CAPACITY, "no memory to open the artifact cache");
    } else if (tw_file_make_dirs(folder, 0700, err) && open_secret(cache, err)) {
        return cache;
    }
    compile_cache_free(cache);
    return NULL;
}

void compile_cache_free(struct compile_cache *cache) {
    if (!cache)
        return;
    explicit_bzero(cache->secret, sizeof(cache->secret));
    free(cache->folder);
    free(cache);
}

// ---- artifacts ----

static struct tw_span secret_of(const struct compile_cache *cache) {
    return tw_span_of(cache->secret, sizeof(cache->secret));
}

static struct tw_digest sign(const struct compile_cache *cache, const struct tw_digest *key,
                             struct tw_span bytes) {
    uint64_t len = bytes.len;
    const struct tw_span parts[] = {{(const uint8_t *)&signature_magic, sizeof(signature_magic)},
                                    {key->bytes, sizeof(key->bytes)},
                                    {(const uint8_t *)&len, sizeof(len)},
                                    bytes};
    return tw_hmac_sha256(secret_of(cache), parts, TW_COUNT(parts));
}

static int open_artifact(const struct compile_cache *cache, const struct tw_digest *key, size_t len) {
    char path[PATH_MAX];
    if (tw_fault_strikes(TW_FAULT_IO) || !artifact_path(cache, key, ".tw", path))
        return -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat info;
    if (fd < 0 || (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && (uint64_t)info.st_size == len))
        return fd;
    close(fd);
    return -1;
}

// For sweep.c, which needs no finer time than a minute: writing the inode would be a sixth of what loading takes.
static void note_use(int fd) {
    struct stat info;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (fstat(fd, &info) != 0 || llabs((long long)now.tv_sec - (long long)info.st_mtim.tv_sec) > 60)
        (void)!futimens(fd, NULL);
}

struct tw_artifact *compile_cache_load(const struct compile_cache *cache, const struct tw_digest *key) {
    char path[PATH_MAX];
    struct signature_file signature;
    if (!artifact_path(cache, key, ".sig", path) || !read_exactly(path, &signature, sizeof(signature)) ||
        signature.magic != signature_magic || signature.len == 0 || signature.len > COMPILE_MAX_ARTIFACT)
        return NULL;
    int fd = open_artifact(cache, key, signature.len);
    struct tw_artifact *artifact = fd < 0 ? NULL : compile_artifact_new(fd, signature.len, key, NULL);
    if (!artifact)
        return NULL;
    struct tw_digest hmac = sign(cache, key, tw_artifact_bytes(artifact));
    if (tw_digest_equal(&hmac, &signature.hmac)) {
        note_use(fd);
        return artifact;
    }
    tw_artifact_unref(artifact);
    return NULL;
}

// Not synced either, unless somebody has removed the cache meanwhile.
static bool make_folder(const char *path, struct tw_error *err) {
    bool is_new;
    struct tw_error ignored = {};
    return tw_file_make_dir(path, 0700, &is_new, &ignored) || tw_file_make_dirs(path, 0700, err);
}

bool compile_cache_store(const struct compile_cache *cache, const struct tw_artifact *artifact,
                         struct tw_error *err) {
    char path[PATH_MAX], hex[TW_DIGEST_HEX_SIZE], prefix[3] = "";
    struct tw_digest key = tw_artifact_key(artifact);
    struct tw_span bytes = tw_artifact_bytes(artifact);
    tw_digest_hex(&key, hex);
    memcpy(prefix, hex, 2);
    if (!path_in(cache, path, prefix) || !make_folder(path, err) ||
        !artifact_path(cache, &key, ".tw", path) || !tw_file_write_loose(path, bytes, 0600, err))
        return false;
    // Not synced: what a crash of the machine leaves half written does not verify, and is compiled again.
    // Bytes first: a signature without its bytes, or with older ones, says no; bytes without a signature are
    // never looked at.
    struct signature_file signature = {
        .magic = signature_magic, .len = bytes.len, .hmac = sign(cache, &key, bytes)};
    return artifact_path(cache, &key, ".sig", path) &&
           tw_file_write_loose(path, tw_span_of(&signature, sizeof(signature)), 0600, err);
}

void compile_cache_remove(const struct compile_cache *cache, const struct tw_digest *key) {
    char path[PATH_MAX];
    if (artifact_path(cache, key, ".sig", path))
        unlink(path);
    if (artifact_path(cache, key, ".tw", path))
        unlink(path);
}

// ---- the identity ----

static struct tw_digest sign_identity(const struct compile_cache *cache, const struct identity_file *file) {
    const struct tw_span part = tw_span_of(file, offsetof(struct identity_file, hmac));
    return tw_hmac_sha256(secret_of(cache), &part, 1);
}

bool compile_cache_load_identity(const struct compile_cache *cache, const struct tw_digest *stamp,
                                 struct compile_identity *ret_identity) {
    char path[PATH_MAX];
    struct identity_file file;
    if (!path_in(cache, path, "identity") || !read_exactly(path, &file, sizeof(file)) ||
        file.magic != identity_magic)
        return false;
    struct tw_digest hmac = sign_identity(cache, &file);
    if (!tw_digest_equal(&hmac, &file.hmac) || !tw_digest_equal(stamp, &file.stamp))
        return false;
    *ret_identity = file.identity;
    return true;
}

bool compile_cache_store_identity(const struct compile_cache *cache, const struct tw_digest *stamp,
                                  const struct compile_identity *identity, struct tw_error *err) {
    char path[PATH_MAX];
    struct identity_file file = {.magic = identity_magic, .stamp = *stamp, .identity = *identity};
    file.hmac = sign_identity(cache, &file);
    return path_in(cache, path, "identity") &&
           tw_file_write(path, tw_span_of(&file, sizeof(file)), 0600, err);
}
