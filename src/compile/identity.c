// SPDX-License-Identifier: Apache-2.0
//
// What an artifact's key is made of: the digest of the compiler program, the target it names, the input's
// digest and the options that matter for its kind. The target is asked from a compiler process once, and kept
// in the cache folder under a stamp of program and processor, so that a restarted server knows its keys
// without starting one.

#include "compile/internal.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CPU_TEXT_MAX = 64 << 10, CPU_LINE_COUNT = 5 };

// The lines of /proc/cpuinfo that decide which instructions there are; those of the first processor.
static bool append_cpu(struct tw_buf *out, struct tw_str text) {
    static const char *const lines[CPU_LINE_COUNT] = {"vendor_id", "cpu family", "model\t", "stepping",
                                                      "flags"};
    unsigned found = 0;
    while (text.len && found < CPU_LINE_COUNT) {
        struct tw_str line = tw_str_cut(&text, '\n');
        for (size_t i = 0; i < CPU_LINE_COUNT; i++) {
            if (!tw_str_starts(line, tw_str_from(lines[i])))
                continue;
            found++;
            if (!tw_buf_append_str(out, line))
                return false;
        }
    }
    return true;
}

// The file has no size of its own; it is cut at the maximum, far behind the first processor.
static bool read_cpu(struct tw_buf *out) {
    int fd = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    char *text = tw_alloc(CPU_TEXT_MAX);
    size_t len = 0;
    while (text && len < CPU_TEXT_MAX) {
        ssize_t got = read(fd, text + len, CPU_TEXT_MAX - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        len += (size_t)got;
    }
    close(fd);
    bool ok = text && len && append_cpu(out, tw_str_of(text, len));
    free(text);
    return ok;
}

bool compile_identity_stamp(int program_fd, struct tw_digest *ret_stamp, struct tw_error *err) {
    struct stat info;
    if (fstat(program_fd, &info) != 0)
        return tw_fail_errno(err, TW_ERR_INTERNAL, errno, "the compiler program could not be examined");
    struct tw_buf text;
    tw_buf_init(&text, CPU_TEXT_MAX);
    bool ok = read_cpu(&text) &&
              tw_buf_printf(&text, "%ju %ju %jd %jd.%09ld %jd.%09ld", (uintmax_t)info.st_dev,
                            (uintmax_t)info.st_ino, (intmax_t)info.st_size, (intmax_t)info.st_mtim.tv_sec,
                            info.st_mtim.tv_nsec, (intmax_t)info.st_ctim.tv_sec, info.st_ctim.tv_nsec);
    if (ok)
        *ret_stamp = tw_sha256(tw_buf_span(&text));
    tw_buf_done(&text);
    return ok || tw_fail(err, TW_ERR_INTERNAL, "/proc/cpuinfo could not be read; mount /proc");
}

bool compile_program_digest(int program_fd, struct tw_digest *ret_digest, struct tw_error *err) {
    struct stat info;
    void *data = MAP_FAILED;
    if (fstat(program_fd, &info) == 0 && info.st_size > 0)
        data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, program_fd, 0);
    if (data == MAP_FAILED)
        return tw_fail(err, TW_ERR_INTERNAL, "the compiler program could not be read");
    *ret_digest = tw_sha256(tw_span_of(data, (size_t)info.st_size));
    munmap(data, (size_t)info.st_size);
    return true;
}

// Everything of fixed size that a key depends on. Zeroed first, so that fields a kind does not use are equal.
struct key_fields {
    char version[16];
    uint32_t kind, interrupt, abi;
    struct tw_kernel_variant variant;
    char stage[16];
    char entry[TW_KERNEL_NAME_MAX + 1];
};

struct tw_digest compile_key(const struct compile_identity *identity,
                             const struct tw_compile_request *request) {
    struct key_fields fields;
    memset(&fields, 0, sizeof(fields));
    snprintf(fields.version, sizeof(fields.version), "tw-artifact-1");
    fields.kind = (uint32_t)request->kind;
    fields.abi = TW_KERNEL_ABI;
    switch (request->kind) {
    case TW_COMPILE_WASM:
        fields.interrupt = request->interrupt;
        break;
    case TW_COMPILE_DUMP:
        snprintf(fields.stage, sizeof(fields.stage), "%s", request->stage);
        [[fallthrough]];
    case TW_COMPILE_PTX:
        fields.variant = request->variant;
        snprintf(fields.entry, sizeof(fields.entry), "%s", request->entry);
        break;
    case TW_COMPILE_INFO:
        break;
    }
    struct tw_digest input = request->digest ? *request->digest : tw_sha256(request->input);
    const struct tw_span parts[] = {{(const uint8_t *)&fields, sizeof(fields)},
                                    {identity->program.bytes, sizeof(identity->program.bytes)},
                                    {(const uint8_t *)identity->target, sizeof(identity->target)},
                                    {input.bytes, sizeof(input.bytes)}};
    return tw_sha256_parts(parts, TW_COUNT(parts));
}
