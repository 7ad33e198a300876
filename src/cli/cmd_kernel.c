// SPDX-License-Identifier: Apache-2.0
//
// `kernel run` and `kernel dump`: one PTX kernel in this process, without a server.

#include <math.h>

#include "cli/config.h"

// The arguments as given, with the storage their buffers need.
struct kernel_args {
    struct tw_kernel_arg items[CLI_KERNEL_ARGS_MAX];
    struct tw_buf buffers[CLI_KERNEL_ARGS_MAX];
    const char *out_files[CLI_KERNEL_ARGS_MAX]; // NULL: not an output
    uint32_t count;
};

static void free_args(struct kernel_args *args) {
    for (uint32_t i = 0; i < args->count; i++)
        tw_buf_done(&args->buffers[i]);
}

// X[,Y[,Z]]; what is not given is 1.
static bool parse_dims(const char *option, const char *text, uint32_t ret_dims[3]) {
    struct tw_str rest = tw_str_from(text);
    for (int i = 0; i < 3; i++) {
        uint64_t value = 1;
        if ((rest.len || i == 0) && (!tw_str_u64(tw_str_cut(&rest, ','), &value) || value > UINT32_MAX)) {
            cli_usage("--%s takes X[,Y[,Z]], whole numbers, not '%s'", option, text);
            return false;
        }
        ret_dims[i] = (uint32_t)value;
    }
    if (rest.len)
        cli_usage("--%s takes at most three numbers, not '%s'", option, text);
    return rest.len == 0;
}

static bool parse_hex(struct tw_str text, uint64_t *ret_bits) {
    char *end, copy[32];
    if (text.len < 3 || text.len >= sizeof copy || text.data[0] != '0' || (text.data[1] | 0x20) != 'x')
        return false;
    snprintf(copy, sizeof copy, "%.*s", TW_STR_ARG(text));
    errno = 0;
    *ret_bits = strtoull(copy + 2, &end, 16);
    return errno == 0 && *end == 0;
}

static bool parse_integer(struct tw_str text, bool is_signed, unsigned bits, uint64_t *ret_bits) {
    bool negative = is_signed && text.len && text.data[0] == '-';
    uint64_t magnitude, top = bits == 32 ? UINT32_MAX : UINT64_MAX;
    if (!tw_str_u64(tw_str_of(text.data + negative, text.len - negative), &magnitude))
        return false;
    if (is_signed && magnitude > (top >> 1) + negative)
        return false;
    *ret_bits = negative ? 0 - magnitude : magnitude;
    return magnitude <= top;
}

static bool parse_float(struct tw_str text, unsigned bits, uint64_t *ret_bits) {
    char *end, copy[64];
    if (text.len == 0 || text.len >= sizeof copy)
        return false;
    snprintf(copy, sizeof copy, "%.*s", TW_STR_ARG(text));
    double value = strtod(copy, &end);
    float narrow = (float)value;
    *ret_bits = 0;
    if (bits == 32)
        memcpy(ret_bits, &narrow, sizeof narrow);
    else
        memcpy(ret_bits, &value, sizeof value);
    return *end == 0;
}

static bool parse_scalar(struct kernel_args *args, uint8_t tag, struct tw_str text) {
    // By the guest ABI's tags: i32 i64 f32 f64 u32 u64.
    bool is_float = tag == 3 || tag == 4, is_signed = tag <= 2;
    unsigned bits = tag == 1 || tag == 3 || tag == 5 ? 32 : 64;
    struct tw_kernel_arg *arg = &args->items[args->count];
    bool ok = parse_hex(text, &arg->bits) ? bits == 64 || arg->bits <= UINT32_MAX
                                          : (is_float ? parse_float(text, bits, &arg->bits)
                                                      : parse_integer(text, is_signed, bits, &arg->bits));
    arg->kind = TW_KERNEL_ARG_SCALAR;
    arg->tag = tag;
    return ok;
}

static bool bad_arg(const char *text) {
    cli_usage(
        "argument '%s' is none of i32:V i64:V u32:V u64:V f32:V f64:V in:FILE out:BYTES:FILE inout:FILE:FILE",
        text);
    return false;
}

// A buffer of zeros, `size` bytes as text.
static bool make_zeros(struct tw_str size, struct tw_buf *ret_buffer) {
    uint64_t bytes;
    if (!tw_str_u64(size, &bytes) || bytes > CLI_BODY_MAX) {
        cli_usage("out:BYTES:FILE takes at most %d bytes, not '%.*s'", CLI_BODY_MAX, TW_STR_ARG(size));
        return false;
    }
    uint8_t *at = tw_buf_reserve(ret_buffer, bytes);
    if (!at) {
        cli_message("no memory for a buffer of %" PRIu64 " bytes", bytes);
        return false;
    }
    memset(at, 0, bytes);
    tw_buf_commit(ret_buffer, bytes);
    return true;
}

// `text` is in:FILE, out:BYTES:FILE or inout:FILE:FILE; `rest` what follows the kind. Tells what is wrong.
static bool parse_buffer(struct kernel_args *args, struct tw_str kind, const char *rest, const char *text) {
    struct tw_kernel_arg *arg = &args->items[args->count];
    struct tw_buf *buffer = &args->buffers[args->count];
    bool is_in = tw_str_equal(kind, TW_STR("in")), is_out = tw_str_equal(kind, TW_STR("out"));
    const char *colon = is_in ? NULL : strrchr(rest, ':');
    tw_buf_init(buffer, CLI_BODY_MAX);
    *arg = (struct tw_kernel_arg){.kind = TW_KERNEL_ARG_BUFFER, .buffer = buffer, .is_output = !is_in};
    if (is_in)
        return cli_read_file(rest, buffer);
    if (!colon)
        return bad_arg(text);
    struct tw_str first = tw_str_of(rest, (size_t)(colon - rest));
    args->out_files[args->count] = colon + 1;
    if (is_out)
        return make_zeros(first, buffer);
    char *path = tw_str_dup(first);
    bool ok = path && cli_read_file(path, buffer);
    free(path);
    return ok;
}

static bool parse_arg(struct kernel_args *args, const char *text) {
    static const char *const scalars[] = {"i32", "i64", "f32", "f64", "u32", "u64"};
    struct tw_str rest = tw_str_from(text);
    struct tw_str kind = tw_str_cut(&rest, ':');
    bool ok = false, is_buffer = tw_str_equal(kind, TW_STR("in")) || tw_str_equal(kind, TW_STR("out")) ||
                                 tw_str_equal(kind, TW_STR("inout"));
    for (uint8_t i = 0; i < TW_COUNT(scalars); i++)
        if (tw_str_equal(kind, tw_str_from(scalars[i])))
            ok = parse_scalar(args, i + 1, rest);
    if (is_buffer)
        ok = parse_buffer(args, kind, rest.data, text);
    else if (!ok)
        bad_arg(text);
    args->count++;
    return ok;
}

static bool write_outputs(const struct kernel_args *args) {
    for (uint32_t i = 0; i < args->count; i++)
        if (args->out_files[i] && !cli_write_file(args->out_files[i], tw_buf_span(&args->buffers[i])))
            return false;
    return true;
}

enum { LOG_MAX_BYTES = 1 << 20 }; // of what a kernel prints

// "interpreted", "light code", "interpreted, then light code" …: what took over comes behind what was there before.
static void name_code(unsigned ran, char text[64]) {
    static const struct {
        enum tw_kernel_tier tier;
        const char *name;
    } steps[] = {{TW_KERNEL_INTERPRETED, "interpreted"},
                 {TW_KERNEL_LIGHT, "light code"},
                 {TW_KERNEL_FULL, "full code"}};
    size_t len = 0;
    text[0] = '\0';
    for (size_t i = 0; i < TW_COUNT(steps); i++)
        if (ran & 1U << steps[i].tier)
            len += (size_t)snprintf(text + len, 64 - len, "%s%s", len ? ", then " : "", steps[i].name);
}

static void print_times(const struct tw_kernel_run *run) {
    char first[64], all[64];
    name_code(run->first_ran, first);
    name_code(run->ran, all);
    printf("loaded in %.1f microseconds, first launch %.1f (%s)\n", run->load_us, run->first_us, first);
    printf("%.*s (%s): least and median of %" PRIu32 " launches in microseconds: %.3f %.3f\n",
           TW_STR_ARG(run->entry), all, run->repeat, run->least_us, run->median_us);
}

static int run_kernel(const struct cli *cli, struct tw_kernel_run *run, const struct kernel_args *args) {
    struct tw_error err = {};
    uint64_t timeout_ms;
    if (!cli_config_number(cli, CONFIG_KERNEL_TIMEOUT, &timeout_ms))
        return CLI_USAGE;
    struct cli_local_options local = {.kernel_timeout_ms = (unsigned)timeout_ms,
                                      .data_dir = cli_value(cli, "data-dir"),
                                      .device = cli_value(cli, "device"),
                                      .unconfined = cli_value(cli, "unconfined")};
    if (cli_value(cli, "tier") && !tw_gpu_tier_parse(cli_value(cli, "tier"), &local.tier))
        return cli_usage("--tier takes " TW_GPU_TIER_WORDS ", not '%s'", cli_value(cli, "tier"));
    struct tw_service *service = cli_local_service(&local, &err);
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf log;
    tw_buf_init(&log, LOG_MAX_BYTES);
    run->log = &log;
    bool ok = service && tw_service_kernel_run(service, run, &err);
    tw_service_free(service);
    cli_write_out(tw_buf_span(&log));
    if (!ok)
        return cli_fail_at(run->ptx, &err);
    if (!write_outputs(args))
        return CLI_FAILED;
    if (cli_value(cli, "time"))
        print_times(run);
    return CLI_OK;
}

static const struct cli_option run_options[] = {
    {"entry", "NAME", "the kernel"},
    {"grid", "X[,Y[,Z]]", "blocks"},
    {"block", "X[,Y[,Z]]", "threads of a block"},
    {"shared", "BYTES", "dynamic shared memory"},
    {"device", "cpu|cuda", "where to run (default: auto)"},
    {"data-dir", "DIR", "where compiled kernels are kept for the next time (default: nowhere)"},
    {"repeat", "N", "launches (default 1)"},
    {"kernel-timeout-ms", "N",
     "a launch that takes longer is ended and has failed (default 10000, as a server's)"},
    {"tier", "auto|light|full|interpreted",
     "the code to run: soon there, fast, none where it can be interpreted, or what is busy made fast "
     "(default: auto)"},
    {"unconfined", NULL,
     "without the sandbox's masks, to measure what they cost; a wrong address then ends this program"},
    {"time", NULL,
     "print what loading and the first launch took, and the median microseconds of a launch as the last "
     "number"},
    {}};

int cli_kernel_run(int argc, char **argv) {
    struct cli cli;
    int status;
    uint64_t shared, repeat;
    if (!cli_parse(&cli, cli_kernel_run, run_options, argc, argv, 1, 1 + CLI_KERNEL_ARGS_MAX, &status))
        return status;
    if (!cli_value(&cli, "entry") || !cli_value(&cli, "grid") || !cli_value(&cli, "block"))
        return cli_usage("--entry, --grid and --block are needed");
    struct tw_kernel_run run = {.entry = tw_str_from(cli_value(&cli, "entry"))};
    [[gnu::cleanup(free_args)]] struct kernel_args args = {};
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf ptx;
    tw_buf_init(&ptx, CLI_BODY_MAX);
    if (!parse_dims("grid", cli_value(&cli, "grid"), run.grid) ||
        !parse_dims("block", cli_value(&cli, "block"), run.block) ||
        !cli_number(&cli, "shared", 0, 0, UINT32_MAX, &shared) ||
        !cli_number(&cli, "repeat", 1, 1, 1000000, &repeat) || !cli_read_file(cli.args[0], &ptx))
        return CLI_USAGE;
    for (int i = 1; i < cli.arg_count; i++)
        if (!parse_arg(&args, cli.args[i]))
            return CLI_USAGE;
    run.ptx = tw_buf_str(&ptx);
    run.shared_bytes = (uint32_t)shared;
    run.repeat = (uint32_t)repeat;
    run.args = args.items;
    run.arg_count = args.count;
    return run_kernel(&cli, &run, &args);
}

// What the compiler is asked for; NULL (told): there is no such stage.
static const char *read_stage(const struct cli *cli) {
    static const char *const stages[] = {"parse", "ir", "opt", "program", "llvm", "asm", "ptx", "time"};
    const char *stage = cli_value(cli, "stage");
    bool fence = cli_value(cli, "fence");
    for (size_t i = 0; stage && i < TW_COUNT(stages); i++) {
        if (strcmp(stage, stages[i]) != 0)
            continue;
        if (!fence || strcmp(stage, "ptx") == 0)
            return fence ? "fence" : stage;
        cli_usage("--fence goes with --stage ptx");
        return NULL;
    }
    cli_usage("--stage takes parse, ir, opt, program, llvm, asm, ptx or time%s%s%s", stage ? ", not '" : "",
              stage ? stage : "", stage ? "'" : "");
    return NULL;
}

// Says which of the text's kernels cannot be compiled, and why.
static void warn_refused(struct tw_service *service, struct tw_str ptx) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf text;
    tw_buf_init(&text, CLI_BODY_MAX);
    if (!tw_service_kernel_entries(service, 0, ptx, &text, NULL))
        return; // the dump itself tells what is wrong
    struct tw_json *entries = tw_json_parse(tw_buf_span(&text), NULL);
    for (size_t i = 0; entries && i < tw_json_count(entries); i++) {
        const struct tw_json *entry = tw_json_at(entries, i);
        struct tw_str refusal = tw_json_str(tw_json_get(entry, "refused"));
        if (refusal.len)
            cli_warn_at(ptx, tw_json_str(tw_json_get(entry, "name")), refusal);
    }
    tw_json_free(entries);
}

int cli_kernel_dump(int argc, char **argv) {
    static const struct cli_option options[] = {
        {"stage", "STAGE",
         "parse, ir, opt, program, llvm, asm, ptx, or time: microseconds that each part took"},
        {"entry", "NAME", "the kernel (needed when the file has several)"},
        {"tier", "light|full",
         "llvm, asm, time: as for a first launch, or as for a kernel that is busy (default)"},
        {"block", "X[,Y[,Z]]", "as made for hot launches with blocks of this shape"},
        {"fence", NULL, "ptx: with every access kept inside one range of memory, as on a GPU that is shared"},
        {}};
    struct cli cli;
    int status;
    if (!cli_parse(&cli, cli_kernel_dump, options, argc, argv, 1, 1, &status))
        return status;
    const char *stage = read_stage(&cli), *tier = cli_value(&cli, "tier");
    if (tier && strcmp(tier, "light") != 0 && strcmp(tier, "full") != 0)
        return cli_usage("--tier takes light or full, not '%s'", tier);
    bool light = tier && strcmp(tier, "light") == 0;
    uint32_t block[3] = {};
    if (!stage || (cli_value(&cli, "block") && !parse_dims("block", cli_value(&cli, "block"), block)))
        return CLI_USAGE;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf ptx, out;
    tw_buf_init(&ptx, CLI_BODY_MAX);
    tw_buf_init(&out, CLI_BODY_MAX);
    if (!cli_read_file(cli.args[0], &ptx))
        return CLI_USAGE;
    struct tw_error err = {};
    struct tw_service *service = cli_local_service(&(struct cli_local_options){}, &err);
    bool ok =
        service && tw_service_kernel_dump(service, tw_buf_str(&ptx), tw_str_from(cli_value(&cli, "entry")),
                                          stage, !light, block, &out, &err);
    if (ok)
        warn_refused(service, tw_buf_str(&ptx));
    tw_service_free(service);
    if (!ok)
        return cli_fail_at(tw_buf_str(&ptx), &err);
    return cli_write_out(tw_buf_span(&out)) ? CLI_OK : CLI_FAILED;
}
