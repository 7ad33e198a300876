// SPDX-License-Identifier: Apache-2.0
//
// Every guest of tests/guests/wasmbin: rewritten, it is valid to wasm-validate, offers what its comments say,
// has as many polls as wabt's disassembly shows, gives the same results in wasm-interp, and is read back by
// our own parser. Refused ones are refused for the reason they give. And whatever is cut off or flipped in
// them, nothing crashes.

#include "guests.h"

enum { GUESTS_MAX = 64 };

// One guest, with what its comments say.
struct guest {
    char path[256];
    char *text;
    struct tw_span bytes;
};
static struct guest guests[GUESTS_MAX];
static size_t guest_count;

// What follows `;; key: ` on its line; "" when there is no such line.
static const char *comment(const struct guest *guest, const char *key) {
    static char value[256];
    char prefix[64];
    snprintf(prefix, sizeof prefix, ";; %s: ", key);
    for (const char *at = guest->text; (at = strstr(at, prefix)); at++) {
        if (at != guest->text && at[-1] != '\n')
            continue;
        at += strlen(prefix);
        snprintf(value, sizeof value, "%.*s", (int)strcspn(at, "\n"), at);
        return value;
    }
    return "";
}

static unsigned expected(const struct guest *guest, const char *name) {
    char assignment[64];
    snprintf(assignment, sizeof assignment, " %s=", name);
    const char *line = comment(guest, "expect");
    char padded[300];
    snprintf(padded, sizeof padded, " %s", line);
    const char *at = strstr(padded, assignment);
    ck_assert_msg(at != NULL, "%s does not say what to expect of %s", guest->path, name);
    return (unsigned)strtoul(at + strlen(assignment), NULL, 10);
}

static bool is_refused(const struct guest *guest) {
    return *comment(guest, "refused") || *comment(guest, "rewrite refused");
}

static void load_guests(void) {
    DIR *folder = opendir(GUESTS);
    ck_assert_ptr_nonnull(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (!strstr(entry->d_name, ".wat"))
            continue;
        ck_assert_uint_lt(guest_count, GUESTS_MAX);
        struct guest *guest = &guests[guest_count++];
        snprintf(guest->path, sizeof guest->path, GUESTS "/%.100s", entry->d_name);
        guest->text = (char *)(uintptr_t)read_whole(guest->path).data;
        guest->bytes = assemble_file(guest->path, comment(guest, "tools"));
    }
    closedir(folder);
    ck_assert_uint_ge(guest_count, 15);
}

// Calls `check` with every guest that is (not) refused.
static void for_each(bool refused, void (*check)(const struct guest *guest)) {
    load_guests();
    unsigned checked = 0;
    for (size_t i = 0; i < guest_count; i++) {
        if (is_refused(&guests[i]) != refused)
            continue;
        check(&guests[i]);
        checked++;
    }
    ck_assert_uint_ge(checked, 5);
}

#define EXPECT(guest, name, found)                                                                           \
    ck_assert_msg(expected((guest), (name)) == (unsigned)(found), "%s: %s is %u, expected %u",               \
                  (guest)->path, (name), (unsigned)(found), expected((guest), (name)))

// ---- what the rewrite offers ------------------------------------------------------------------------------
static void check_offer(const struct guest *guest) {
    struct tw_span out = rewrite(guest->bytes, true);
    validate(guest->bytes, comment(guest, "tools"));
    validate(out, comment(guest, "tools"));
    EXPECT(guest, "memories", rewritten.memory_count);
    EXPECT(guest, "globals", rewritten.global_count);
    EXPECT(guest, "tables", rewritten.table_count);
    EXPECT(guest, "start", rewritten.has_start);
    EXPECT(guest, "mutates", wasm.mutates_tables);
    EXPECT(guest, "drops", wasm.uses_data_drop);
    EXPECT(guest, "polls", rewritten.poll_count);
    EXPECT(guest, "polls", count_polls(out, expected(guest, "poll_memory")));
    // The same from wabt's listing of exports and sections.
    char *listing = objdump(out, "-x");
    char poll[64];
    snprintf(poll, sizeof poll, " - memory[%u] -> \"tw:poll\"\n", expected(guest, "poll_memory"));
    EXPECT(guest, "memories", count_of(listing, " -> \"tw:m"));
    EXPECT(guest, "globals", count_of(listing, " -> \"tw:g"));
    EXPECT(guest, "tables", count_of(listing, " -> \"tw:t"));
    EXPECT(guest, "start", count_of(listing, " -> \"tw:start\""));
    ck_assert_uint_eq(count_of(listing, poll), 1);
    ck_assert_uint_eq(count_of(listing, "Start:"), 0);
    snprintf(poll, sizeof poll, " - memory[%u] pages: initial=1 max=1\n", expected(guest, "poll_memory"));
    ck_assert_msg(strstr(listing, poll) != NULL, "%s: %s", guest->path, listing);
    free(listing);
}

TW_TEST("rewritten guests are valid and offer what their comments say") {
    for_each(false, check_offer);
}

// ---- the same without polls -------------------------------------------------------------------------------
static void check_plain(const struct guest *guest) {
    struct tw_span out = rewrite(guest->bytes, false);
    validate(out, comment(guest, "tools"));
    ck_assert(!rewritten.has_poll);
    ck_assert_uint_eq(rewritten.poll_count, 0);
    char *before = objdump(guest->bytes, "-d"), *after = objdump(out, "-d");
    // The same instructions, wherever they lie now.
    ck_assert_uint_eq(count_of(before, "| "), count_of(after, "| "));
    char *listing = objdump(out, "-x");
    ck_assert_uint_eq(count_of(listing, "tw:poll"), 0);
    EXPECT(guest, "memories", count_of(listing, " -> \"tw:m"));
    EXPECT(guest, "poll_memory", count_of(listing, " pages: initial="));
    free(before);
    free(after);
    free(listing);
}

TW_TEST("without polls the code stays as it is and no memory comes in") {
    for_each(false, check_plain);
}

// ---- behaviour --------------------------------------------------------------------------------------------
static char *interpret(struct tw_span bytes) {
    char path[96];
    temp_path(path, ".wasm");
    write_file(path, bytes);
    char *said = shell("wasm-interp " TOOL_FLAGS " --run-all-exports %s 2>&1", path);
    unlink(path);
    ck_assert_ptr_nonnull(said);
    return said;
}

static void check_behaviour(const struct guest *guest) {
    if (!*comment(guest, "run"))
        return;
    struct tw_span out = rewrite(guest->bytes, true);
    char *before = interpret(guest->bytes), *after = interpret(out);
    ck_assert_str_ne(before, "");
    ck_assert_str_eq(before, after);
    free(before);
    free(after);
}

TW_TEST("rewritten guests give the results of the original") {
    for_each(false, check_behaviour);
}

// ---- refusals ---------------------------------------------------------------------------------------------
// The message without its advice.
static const char *reason(char *message) {
    message[strcspn(message, ";")] = 0;
    return message;
}

static void check_refusal(const struct guest *guest) {
    if (*comment(guest, "refused")) {
        refuse(guest->bytes, TW_ERR_INVALID_WASM, comment(guest, "refused"));
        return;
    }
    struct tw_buf out;
    struct tw_error error = {};
    struct tw_wasm_rewrite_options options = {.poll = true};
    tw_buf_init(&out, GUEST_MAX);
    parse(guest->bytes);
    ck_assert(!tw_wasm_rewrite(&arena, &wasm, &options, &out, &rewritten, &error));
    ck_assert_int_eq(error.code, TW_ERR_INVALID_WASM);
    ck_assert_str_eq(comment(guest, "rewrite refused"), reason(error.message));
}

TW_TEST("guests that use what this host does not take are refused by name") {
    for_each(true, check_refusal);
}

// ---- damage -----------------------------------------------------------------------------------------------
// Whatever parses can be rewritten, unless it has reserved names or too many memories, and the result parses.
static unsigned survive(struct tw_span bytes) {
    struct tw_arena scratch;
    struct tw_wasm first, second;
    struct tw_buf out;
    struct tw_error error = {};
    struct tw_wasm_rewrite_options options = {.poll = true};
    tw_arena_init(&scratch, 64 << 20);
    tw_buf_init(&out, 1 << 20);
    bool parsed = tw_wasm_parse(&scratch, bytes, &first, &error);
    ck_assert(parsed || error.code == TW_ERR_INVALID_WASM || error.code == TW_ERR_MODULE_TOO_LARGE);
    ck_assert(parsed || error.message[0]);
    if (parsed && tw_wasm_rewrite(&scratch, &first, &options, &out, &rewritten, &error))
        tw_assert_ok(tw_wasm_parse(&scratch, tw_buf_span(&out), &second, &error), &error);
    tw_buf_done(&out);
    tw_arena_done(&scratch);
    return parsed;
}

static void damage(const struct guest *guest) {
    // In a block of its very size, so that the address sanitizer sees every byte read too many.
    for (size_t len = 0; len <= guest->bytes.len; len++) {
        uint8_t *copy = malloc(len ? len : 1);
        memcpy(copy, guest->bytes.data, len);
        survive(tw_span_of(copy, len));
        free(copy);
    }
    unsigned alive = 0;
    uint8_t *copy = malloc(guest->bytes.len);
    for (size_t i = 0; i < guest->bytes.len; i++) {
        static const uint8_t flips[] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff, 0x7f};
        for (size_t k = 0; k < TW_COUNT(flips); k++) {
            memcpy(copy, guest->bytes.data, guest->bytes.len);
            copy[i] ^= flips[k];
            alive += survive(tw_span_of(copy, guest->bytes.len));
        }
    }
    free(copy);
    // Constants and names may be anything.
    ck_assert(alive || guest->bytes.len < 20 || is_refused(guest));
}

TW_TEST("cut off or flipped guests never crash") {
    for_each(false, damage);
}

TW_TEST("cut off or flipped guests that are refused never crash either") {
    for_each(true, damage);
}
