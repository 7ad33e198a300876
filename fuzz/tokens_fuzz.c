// SPDX-License-Identifier: Apache-2.0
//
// The tokens setting, up to the first line feed, and behind it the two headers a client sends, a line each. A list that
// is refused says why; a caller that is let in has a token of the list.

#include "base/base.h"
#include "tenant/tenant.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tw_error err = {};
    struct tw_caller caller = {};
    struct tw_str rest = tw_str_of((const char *)data, size);
    struct tw_str tokens = tw_str_cut(&rest, '\n'), bearer = tw_str_cut(&rest, '\n');
    char *text = tw_str_dup(tokens);
    TW_ASSERT(text);
    // An empty list would make an admin token in a folder.
    struct tw_tenants *tenants =
        text[0] ? tw_tenants_new(&(struct tw_tenants_options){.tokens = text}, &err) : NULL;
    if (tenants && tw_tenants_authorise(tenants, bearer, rest, &caller, &err)) {
        (void)tw_str_cut(&bearer, ' ');
        struct tw_str token = tw_str_trim(bearer);
        TW_ASSERT(token.len >= 16 && caller.token_id[0] &&
                  memmem(tokens.data, tokens.len, token.data, token.len));
    } else {
        TW_ASSERT(!text[0] || (err.code != TW_OK && err.message[0]));
    }
    tw_tenants_free(tenants);
    free(text);
    return 0;
}
