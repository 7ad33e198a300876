// SPDX-License-Identifier: Apache-2.0
//
// The tokens file: its lines, expiry, and reloading while others ask.

#include "harness/test.h"

#include <unistd.h>

#include "tenant/tenant.h"

static struct tw_error err;

// sha256 of "first-token-012345" and "second-token-01234", by sha256sum.
#define FIRST  "5458d0ae3f3ae4cc2eb83442eea408cbbf2c23af44dc04b8ad51a5f9cf341b4a"
#define SECOND "709a4e0683ad31eef90f7f0edef2ae0f556fdbbd5a34e560508a8db0fa13b0b3"

static void write_file(const char *path, const char *text) {
    tw_assert_ok(tw_file_write(path, tw_span_of(text, strlen(text)), 0600, &err), &err);
}

static struct tw_tenants *tenants_of(const char *tokens, const char *path, const char *text) {
    write_file(path, text);
    struct tw_tenants_options options = {.tokens = tokens, .tokens_file = path};
    struct tw_tenants *tenants = tw_tenants_new(&options, &err);
    tw_assert_ok(tenants, &err);
    return tenants;
}

static enum tw_code ask(struct tw_tenants *tenants, const char *authorization, const char *tenant,
                        struct tw_caller *caller) {
    struct tw_error error = {};
    return tw_tenants_authorise(tenants, tw_str_from(authorization), tw_str_from(tenant), caller, &error)
               ? TW_OK
               : error.code;
}

static void temporary(char path[32]) {
    snprintf(path, 32, "/tmp/tw-tokens-XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

TW_TEST("a line's token has the line's tenants and role, and one of the environment stays beside it") {
    char path[32];
    temporary(path);
    struct tw_tenants *tenants =
        tenants_of("plain-token-012345:tenant=9", path,
                   "# who\n\n" FIRST ":tenant=1,2:role=deploy # ci\r\n" SECOND ":role=admin:tenant=*");
    struct tw_caller caller;
    ck_assert_int_eq(ask(tenants, "Bearer first-token-012345", "2", &caller), TW_OK);
    ck_assert_int_eq(caller.role, TW_ROLE_DEPLOY);
    ck_assert(!caller.all_tenants);
    ck_assert_int_eq(strncmp(caller.token_id, FIRST, 16), 0);
    ck_assert_int_eq(ask(tenants, "Bearer first-token-012345", "3", &caller), TW_ERR_TENANT_SCOPE);
    ck_assert_uint_eq(caller.tenant, 3);
    ck_assert_int_eq(ask(tenants, "Bearer second-token-01234", "77", &caller), TW_OK);
    ck_assert(caller.all_tenants);
    ck_assert_int_eq(ask(tenants, "Bearer plain-token-012345", "9", &caller), TW_OK);
    ck_assert_int_eq(ask(tenants, "Bearer " FIRST, "", &caller), TW_ERR_UNAUTHORIZED);
    write_file(path, SECOND ":tenant=4\n");
    tw_assert_ok(tw_tenants_reload(tenants, &err), &err);
    ck_assert_int_eq(ask(tenants, "Bearer first-token-012345", "2", &caller), TW_ERR_UNAUTHORIZED);
    ck_assert_int_eq(ask(tenants, "Bearer second-token-01234", "4", &caller), TW_OK);
    ck_assert_int_eq(ask(tenants, "Bearer plain-token-012345", "9", &caller), TW_OK);
    write_file(path, SECOND ":tenant=4\nnonsense\n");
    ck_assert(!tw_tenants_reload(tenants, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "line 2"));
    ck_assert_int_eq(ask(tenants, "Bearer second-token-01234", "4", &caller), TW_OK);
    unlink(path);
    ck_assert(!tw_tenants_reload(tenants, &err));
    ck_assert_int_eq(ask(tenants, "Bearer second-token-01234", "4", &caller), TW_OK);
    tw_tenants_free(tenants);
}

TW_TEST("a token is refused from the day it expires on") {
    char path[32], text[256], day[16];
    temporary(path);
    time_t now = (time_t)(tw_clock_wall_ns() / TW_NS_PER_S), tomorrow = now + 86400;
    struct tm parts;
    gmtime_r(&tomorrow, &parts);
    strftime(day, sizeof day, "%Y-%m-%d", &parts);
    snprintf(text, sizeof text, FIRST ":expires=%s\n" SECOND ":expires=2024-02-29\n", day);
    struct tw_tenants *tenants = tenants_of("", path, text);
    struct tw_caller caller;
    ck_assert_int_eq(ask(tenants, "Bearer first-token-012345", "", &caller), TW_OK);
    ck_assert_int_eq(ask(tenants, "Bearer second-token-01234", "", &caller), TW_ERR_UNAUTHORIZED);
    tw_tenants_free(tenants);
    unlink(path);
}

TW_TEST("a bad line is refused") {
    static const char *const bad[] = {
        "x",
        "first-token-012345",
        FIRST "0",
        FIRST ":role=king",
        FIRST ":tenant=",
        FIRST ":tenant=x",
        FIRST ":expires=tomorrow",
        FIRST ":expires=2025-02-29",
        FIRST ":expires=2025-13-01",
        FIRST ":expires=2025-1-01",
        FIRST ":colour=red",
        FIRST "," SECOND,
        FIRST ":role=admin," SECOND,
    };
    for (size_t i = 0; i < TW_COUNT(bad); i++)
        ck_assert_msg(!tw_tokens_line_check(tw_str_from(bad[i]), &err), "%s", bad[i]);
    static const char *const good[] = {"", "# only words", FIRST,
                                       FIRST ":tenant=*:role=admin:expires=2030-12-31",
                                       "  " FIRST ":tenant=1,22,333  # for ci"};
    for (size_t i = 0; i < TW_COUNT(good); i++)
        ck_assert_msg(tw_tokens_line_check(tw_str_from(good[i]), &err), "%s", good[i]);
}

struct askers {
    struct tw_tenants *tenants;
    struct tw_flag stop;
    struct tw_counter asked, refused;
};

static void *keep_asking(void *context) {
    struct askers *askers = context;
    struct tw_caller caller;
    while (!tw_flag_is_raised(&askers->stop)) {
        tw_counter_add(&askers->asked, 1);
        if (ask(askers->tenants, "Bearer first-token-012345", "1", &caller) != TW_OK)
            tw_counter_add(&askers->refused, 1);
    }
    return NULL;
}

TW_TEST("reloading drops nobody who asks meanwhile") {
    char path[32];
    temporary(path);
    struct askers askers = {.tenants = tenants_of("", path, FIRST ":tenant=1\n")};
    pthread_t threads[4];
    for (size_t i = 0; i < TW_COUNT(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, keep_asking, &askers), 0);
    for (unsigned i = 0; i < 300; i++) {
        write_file(path, i % 2 ? FIRST ":tenant=1\n" : SECOND "\n" FIRST ":tenant=1,2,3\n");
        tw_assert_ok(tw_tenants_reload(askers.tenants, &err), &err);
    }
    tw_flag_raise(&askers.stop);
    for (size_t i = 0; i < TW_COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_gt(tw_counter_get(&askers.asked), 1000);
    ck_assert_int_eq(tw_counter_get(&askers.refused), 0);
    tw_tenants_free(askers.tenants);
    unlink(path);
}
