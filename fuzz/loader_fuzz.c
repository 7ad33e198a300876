// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as what a compiler process might send: as an object file to the loader, and as a kernel artifact
// to its decoder. What is accepted must keep what the loader promises: the entry lies in the code, the code
// cannot be written, the rest cannot be executed, and every part of an artifact lies inside its bytes.

#include <fcntl.h>
#include <unistd.h>

#include "gpu/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// The rights of the page at `address`, as the kernel says.
static void rights_at(uintptr_t address, char ret_rights[5]) {
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    memcpy(ret_rights, "none", 5);
    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        char rights[5];
        if (sscanf(line, "%lx-%lx %4s", &from, &to, rights) == 3 && address >= from && address < to)
            memcpy(ret_rights, rights, 5);
    }
    if (maps)
        fclose(maps);
}

static void check_text(const struct gpu_text *text) {
    uintptr_t base = (uintptr_t)text->mapping, entry = (uintptr_t)text->entry;
    char rights[5];
    if (entry < base || entry >= base + text->code_bytes || text->code_bytes > text->mapping_bytes)
        abort();
    rights_at(base, rights);
    if (strncmp(rights, "r-x", 3) != 0)
        abort();
    rights_at(base + text->code_bytes, rights);
    if (text->mapping_bytes > text->code_bytes && strncmp(rights, "r--", 3) != 0)
        abort();
}

static void try_object(struct tw_span object) {
    struct gpu_text text;
    struct tw_error err = {};
    if (gpu_object_load(object, &text, &err)) {
        check_text(&text);
        gpu_text_done(&text);
    } else if (err.code == TW_OK) {
        abort();
    }
}

static bool is_within(struct tw_span bytes, const void *part, size_t len) {
    return len == 0 ||
           ((const uint8_t *)part >= bytes.data && (const uint8_t *)part + len <= bytes.data + bytes.len);
}

static void try_artifact(struct tw_span bytes) {
    struct tw_kernel_artifact artifact;
    struct tw_error err = {};
    if (!tw_kernel_artifact_decode(bytes, &artifact, &err))
        return;
    if (!is_within(bytes, artifact.globals.data, artifact.globals.len) ||
        !is_within(bytes, artifact.object.data, artifact.object.len) ||
        !is_within(bytes, artifact.global_relocs, artifact.global_reloc_count * sizeof(uint64_t)) ||
        artifact.info.param_count > TW_KERNEL_PARAMS_MAX)
        abort();
    try_object(artifact.object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    try_object(tw_span_of(data, size));
    if ((uintptr_t)data % 8 == 0) // mappings are; so are heap blocks
        try_artifact(tw_span_of(data, size));
    return 0;
}
