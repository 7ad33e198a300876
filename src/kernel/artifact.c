// SPDX-License-Identifier: Apache-2.0
//
// The bytes of a compiled kernel, as the compiler process hands them over and the store keeps them. Whoever
// reads them has checked a keyed digest first; the decoder still trusts nothing.
//
//      0  magic  u64      "TWKERN" and the ABI
//      8  size of the info block  u64
//     16  globals: position, bytes  u64 × 2
//     32  relocations: position, count  u64 × 2
//     48  object: position, bytes  u64 × 2
//     64  struct tw_kernel_info, then the three parts, each 64-aligned
//
// Little endian, x86-64 only, and valid for one version of ours: the magic carries TW_KERNEL_ABI.

#include "internal.h"

enum { HEADER_BYTES = 64, PART_ALIGN = 64 };

struct header {
    uint64_t magic, info_bytes;
    struct part {
        uint64_t at, count;
    } globals, relocs, object;
};
_Static_assert(sizeof(struct header) == HEADER_BYTES, "the header is drawn above");

static uint64_t magic(void) {
    return 0x4e52454b5754ULL | (uint64_t)TW_KERNEL_ABI << 48; // "TWKERN"
}

static bool pad(struct tw_buf *out, size_t start) {
    static const uint8_t zeros[PART_ALIGN] = {};
    size_t len = out->len - start;
    return tw_buf_append(out, zeros, tw_align_up(len, PART_ALIGN) - len);
}

bool tw_kernel_artifact_encode(const struct tw_kernel_artifact *artifact, struct tw_buf *out,
                               struct tw_error *err) {
    size_t start = out->len;
    uint64_t info_end = HEADER_BYTES + tw_align_up(sizeof artifact->info, PART_ALIGN);
    uint64_t relocs_at = info_end + tw_align_up(artifact->globals.len, PART_ALIGN);
    uint64_t reloc_bytes = (uint64_t)artifact->global_reloc_count * sizeof(uint64_t);
    struct header header = {
        .magic = magic(),
        .info_bytes = sizeof artifact->info,
        .globals = {info_end, artifact->globals.len},
        .relocs = {relocs_at, artifact->global_reloc_count},
        .object = {relocs_at + tw_align_up(reloc_bytes, PART_ALIGN), artifact->object.len},
    };
    if (tw_buf_append(out, &header, sizeof header) &&
        tw_buf_append(out, &artifact->info, sizeof artifact->info) && pad(out, start) &&
        tw_buf_append(out, artifact->globals.data, artifact->globals.len) && pad(out, start) &&
        tw_buf_append(out, artifact->global_relocs, reloc_bytes) && pad(out, start) &&
        tw_buf_append(out, artifact->object.data, artifact->object.len))
        return true;
    return tw_fail(err, TW_ERR_CUDA_QUOTA,
                   "the compiled kernel is larger than the %zu bytes that a result may have", out->max);
}

static bool not_ours(struct tw_error *err, const char *why) {
    return tw_fail(err, TW_ERR_INTERNAL,
                   "the bytes are no kernel artifact of this version: %s; compile again", why);
}

static bool inside(struct tw_span bytes, const struct part *part, uint64_t size) {
    return part->at % PART_ALIGN == 0 && part->at <= bytes.len &&
           part->count <= (bytes.len - part->at) / size;
}

static bool is_power(unsigned value) {
    return value && (value & (value - 1)) == 0;
}

bool tw_kernel_variant_good(const struct tw_kernel_variant *v) {
    return is_power(v->lanes) && v->lanes >= 8 && v->lanes <= TW_KERNEL_LANES_MAX &&
           is_power(v->x_multiple) &&
           v->x_multiple <= (v->lanes == TW_KERNEL_LANES_MAX ? TW_KERNEL_ROW_MAX : v->lanes) &&
           (v->lanes <= TW_KERNEL_TURNS_MAX || v->x_multiple > 1) && v->opt_level <= TW_KERNEL_INTERPRETED;
}

static bool info_good(const struct tw_kernel_info *info) {
    const struct tw_kernel_variant *v = &info->variant;
    if (!memchr(info->name, 0, sizeof info->name) || info->param_count > TW_KERNEL_PARAMS_MAX ||
        info->param_bytes > TW_KIR_MAX_PARAM_BYTES)
        return false;
    for (uint32_t i = 0; i < info->param_count; i++)
        if ((uint64_t)info->params[i].offset + info->params[i].size > info->param_bytes)
            return false;
    if (!tw_kernel_variant_good(v))
        return false;
    return info->globals_bytes <= TW_KIR_MAX_VARIABLE_BYTES && info->globals_align <= 4'096 &&
           (info->globals_align & (info->globals_align - 1)) == 0;
}

// A bool of another value than 0 and 1 must not even be read.
static bool flags_good(const uint8_t *info) {
    static const size_t flags[] = {
        offsetof(struct tw_kernel_info, uses_warp_ops), offsetof(struct tw_kernel_info, uses_barriers),
        offsetof(struct tw_kernel_info, uses_atomics),  offsetof(struct tw_kernel_info, needs_param_copy),
        offsetof(struct tw_kernel_info, prints),        offsetof(struct tw_kernel_info, guesses),
        offsetof(struct tw_kernel_info, tells_time)};
    for (size_t i = 0; i < TW_COUNT(flags); i++)
        if (info[flags[i]] > 1)
            return false;
    return true;
}

bool tw_kernel_artifact_decode(struct tw_span bytes, struct tw_kernel_artifact *ret_artifact,
                               struct tw_error *err) {
    struct header header;
    if (bytes.len < sizeof header + sizeof ret_artifact->info || (uintptr_t)bytes.data % 8 != 0)
        return not_ours(err, "too short or not aligned");
    memcpy(&header, bytes.data, sizeof header);
    if (header.magic != magic() || header.info_bytes != sizeof ret_artifact->info)
        return not_ours(err, "other magic or ABI");
    if (!inside(bytes, &header.globals, 1) || !inside(bytes, &header.relocs, sizeof(uint64_t)) ||
        !inside(bytes, &header.object, 1) || header.relocs.count > UINT32_MAX)
        return not_ours(err, "a part lies outside");
    if (!flags_good(bytes.data + HEADER_BYTES))
        return not_ours(err, "a flag is neither 0 nor 1");
    struct tw_kernel_artifact artifact = {};
    memcpy(&artifact.info, bytes.data + HEADER_BYTES, sizeof artifact.info);
    if (!info_good(&artifact.info))
        return not_ours(err, "a number is out of range");
    if (header.globals.count && header.globals.count != artifact.info.globals_bytes)
        return not_ours(err, "the variables have another size");
    artifact.globals = tw_span_of(bytes.data + header.globals.at, header.globals.count);
    artifact.global_relocs = (const uint64_t *)(const void *)(bytes.data + header.relocs.at);
    artifact.global_reloc_count = (uint32_t)header.relocs.count;
    artifact.object = tw_span_of(bytes.data + header.object.at, header.object.count);
    for (uint32_t i = 0; i < artifact.global_reloc_count; i++)
        if (artifact.globals.len < 8 || artifact.global_relocs[i] > artifact.globals.len - 8)
            return not_ours(err, "a relocation lies outside the variables");
    *ret_artifact = artifact;
    return true;
}

// The whole block as one vector, or as a few long ones, where the kernel gains by it. Light code is to be made in no time:
// never that.
static bool whole_block(const struct tw_kernel_info *any, const uint32_t block[3],
                        struct tw_kernel_variant *variant) {
    uint64_t threads = (uint64_t)block[0] * block[1];
    // With warp operations: what one warp finds in a row of its own is no concern of the others.
    bool one_row = any->uses_warp_ops || threads > TW_KERNEL_LANES_MAX;
    if (variant->opt_level == TW_KERNEL_LIGHT || (one_row && block[1] != 1) || threads > any->whole_lanes ||
        threads <= TW_KERNEL_TURNS_MAX || !is_power((unsigned)threads) || block[0] < 2 || block[2] != 1)
        return false;
    variant->lanes = (uint16_t)(threads < TW_KERNEL_LANES_MAX ? threads : TW_KERNEL_LANES_MAX);
    variant->x_multiple = (uint16_t)block[0];
    return true;
}

// Light code of half as many lanes takes two thirds of the time to make, and serves more shapes of blocks.
static unsigned most_lanes(unsigned opt_level) {
    return opt_level == TW_KERNEL_LIGHT ? 16 : 32;
}

// Lanes fill whole rows of the block where they can: rows of W or more make tid.x run 0, 1, 2 … in each vector
// and the other coordinates uniform. Short rows lie behind one another. Warp operations need 32 lanes whatever
// the shape.
struct tw_kernel_variant tw_kernel_variant_for(const struct tw_kernel_info *any, const uint32_t block[3],
                                               unsigned opt_level) {
    struct tw_kernel_variant variant = {.opt_level = (uint16_t)opt_level};
    uint32_t x = block[0], row = block[0] * block[1];
    uint64_t threads = (uint64_t)row * block[2];
    unsigned least = any->uses_warp_ops ? 32 : 8, most = any->uses_warp_ops ? 32 : most_lanes(opt_level);
    if (whole_block(any, block, &variant))
        return variant;
    for (unsigned lanes = most; lanes >= least && variant.lanes == 0; lanes /= 2)
        if (x % lanes == 0)
            variant.lanes = variant.x_multiple = (uint16_t)lanes;
    for (unsigned lanes = most; lanes >= least && variant.lanes == 0 && x > 1 && is_power(x); lanes /= 2)
        if (x < lanes && row % lanes == 0) {
            variant.lanes = (uint16_t)lanes;
            variant.x_multiple = (uint16_t)x;
        }
    if (variant.lanes)
        return variant;
    // Rows are cut anyhow; no wider than the block.
    variant.lanes = (uint16_t)(any->uses_warp_ops || threads > 16 ? most : threads > 8 ? 16 : 8);
    variant.x_multiple = 1;
    return variant;
}
