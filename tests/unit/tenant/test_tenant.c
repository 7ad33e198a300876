// SPDX-License-Identifier: Apache-2.0
//
// Tokens: the grammar, scopes, roles, and the admin token of a first start.

#include "harness/test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "tenant/tenant.h"

static struct tw_error err;

static struct tw_tenants *tenants_of(const char *tokens) {
    struct tw_tenants_options options = {.tokens = tokens};
    struct tw_tenants *tenants = tw_tenants_new(&options, &err);
    tw_assert_ok(tenants, &err);
    return tenants;
}

static enum tw_code ask(struct tw_tenants *tenants, const char *authorization, const char *tenant,
                        struct tw_caller *caller) {
    err = (struct tw_error){};
    if (tw_tenants_authorise(tenants, tw_str_from(authorization), tw_str_from(tenant), caller, &err))
        return TW_OK;
    return err.code;
}

TW_TEST("a token covers the tenants it names and no other") {
    struct tw_tenants *tenants = tenants_of(
        "aaaaaaaaaaaaaaaa1:tenant=1,2:role=deploy,bbbbbbbbbbbbbbbb2,cccccccccccccccc3:role=admin:tenant=*");
    struct tw_caller caller;
    ck_assert_int_eq(ask(tenants, "Bearer aaaaaaaaaaaaaaaa1", "1", &caller), TW_OK);
    ck_assert_uint_eq(caller.tenant, 1);
    ck_assert_int_eq(caller.role, TW_ROLE_DEPLOY);
    ck_assert_int_eq(ask(tenants, "bearer  aaaaaaaaaaaaaaaa1", "2", &caller), TW_OK);
    ck_assert_int_eq(ask(tenants, "Bearer aaaaaaaaaaaaaaaa1", "3", &caller), TW_ERR_TENANT_SCOPE);
    ck_assert_int_eq(ask(tenants, "Bearer aaaaaaaaaaaaaaaa1", "", &caller), TW_ERR_TENANT_SCOPE);
    ck_assert_int_eq(ask(tenants, "Bearer bbbbbbbbbbbbbbbb2", "", &caller), TW_OK);
    ck_assert_int_eq(caller.role, TW_ROLE_INVOKE);
    ck_assert_int_eq(ask(tenants, "Bearer cccccccccccccccc3", "18446744073709551615", &caller), TW_OK);
    ck_assert_uint_eq(caller.tenant, UINT64_MAX);
    tw_tenants_free(tenants);
}

TW_TEST("a missing, unknown or malformed token is unauthorized") {
    struct tw_tenants *tenants = tenants_of("aaaaaaaaaaaaaaaa1");
    struct tw_caller caller;
    static const char *const bad[] = {"",
                                      "Bearer",
                                      "Bearer ",
                                      "Basic aaaaaaaaaaaaaaaa1",
                                      "Bearer aaaaaaaaaaaaaaaa",
                                      "aaaaaaaaaaaaaaaa1",
                                      "Bearer aaaaaaaaaaaaaaaa11"};
    for (size_t i = 0; i < TW_COUNT(bad); i++)
        ck_assert_msg(ask(tenants, bad[i], "", &caller) == TW_ERR_UNAUTHORIZED, "%s", bad[i]);
    tw_tenants_free(tenants);
}

TW_TEST("a tenant header that is not a u64 is refused") {
    struct tw_tenants *tenants = tenants_of("aaaaaaaaaaaaaaaa1:tenant=*");
    struct tw_caller caller;
    static const char *const bad[] = {"-1", "1.0", "x", "18446744073709551616", "1 2", "0x1"};
    for (size_t i = 0; i < TW_COUNT(bad); i++)
        ck_assert_msg(ask(tenants, "Bearer aaaaaaaaaaaaaaaa1", bad[i], &caller) == TW_ERR_INVALID_TENANT,
                      "%s", bad[i]);
    tw_tenants_free(tenants);
}

TW_TEST("a wrong configuration is refused by position and never shows the token") {
    static const char *const bad[] = {"short",
                                      "goodtokengoodtoken,secretsecretsecret:role=king",
                                      "secretsecretsecret:tenant=x",
                                      "secretsecretsecret:colour=red",
                                      "secretsecretsecret:tenant=1,2x",
                                      "secretsecretsecret,,"};
    for (size_t i = 0; i < TW_COUNT(bad); i++) {
        struct tw_tenants_options options = {.tokens = bad[i]};
        err = (struct tw_error){};
        struct tw_tenants *tenants = tw_tenants_new(&options, &err);
        ck_assert_msg(!tenants, "%s", bad[i]);
        ck_assert_int_eq(err.code, TW_ERR_INVALID_REQUEST);
        ck_assert_ptr_null(strstr(err.message, "secret"));
        ck_assert_ptr_nonnull(strstr(err.message, "token "));
    }
}

TW_TEST("roles include those below them") {
    struct tw_caller deploy = {.role = TW_ROLE_DEPLOY};
    ck_assert(tw_caller_may(&deploy, TW_ROLE_INVOKE, &err));
    ck_assert(tw_caller_may(&deploy, TW_ROLE_DEPLOY, &err));
    ck_assert(!tw_caller_may(&deploy, TW_ROLE_ADMIN, &err));
    ck_assert_int_eq(err.code, TW_ERR_ROLE_DENIED);
}

TW_TEST("a first start without tokens makes an admin token that the next start knows") {
    char folder[] = "/tmp/tw-tenant-XXXXXX", path[64], header[128] = "Bearer ";
    ck_assert_ptr_nonnull(mkdtemp(folder));
    struct tw_tenants_options options = {.data_dir = folder};
    struct tw_tenants *first = tw_tenants_new(&options, &err);
    tw_assert_ok(first, &err);
    snprintf(path, sizeof path, "%s/admin-token", folder);
    ck_assert_str_eq(tw_tenants_admin_token_path(first), path);
    struct stat status;
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_uint_eq(status.st_mode & 0777, 0600);
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(fgets(header + 7, 100, file));
    fclose(file);
    header[strcspn(header, "\n")] = 0;
    tw_tenants_free(first);

    struct tw_tenants *second = tw_tenants_new(&options, &err);
    tw_assert_ok(second, &err);
    ck_assert_ptr_null(tw_tenants_admin_token_path(second));
    struct tw_caller caller;
    ck_assert_int_eq(ask(second, header, "9", &caller), TW_OK);
    ck_assert_int_eq(caller.role, TW_ROLE_ADMIN);
    tw_tenants_free(second);
    unlink(path);
    rmdir(folder);
}

TW_TEST("in dev mode everybody is admin of every tenant") {
    struct tw_tenants_options options = {.dev_mode = true};
    struct tw_tenants *tenants = tw_tenants_new(&options, &err);
    struct tw_caller caller;
    ck_assert_int_eq(ask(tenants, "", "42", &caller), TW_OK);
    ck_assert_uint_eq(caller.tenant, 42);
    ck_assert_int_eq(caller.role, TW_ROLE_ADMIN);
    tw_tenants_free(tenants);
}
