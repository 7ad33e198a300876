// SPDX-License-Identifier: Apache-2.0
//
// What asking for a token costs: with 1, 1,000 and 100,000 of them, for one that is known and one that is not.
// Rounds alternate over all of these; medians, and every round in the result file.

#include "bench.h"
#include "tenant/tenant.h"

enum { ROUNDS = 9, ASKS = 100000, SIZES = 3 };
static const unsigned sizes[SIZES] = {1, 1000, 100000};

// A set of `count` tokens "bench-token-000000…", all for tenant 7, from a file as operators keep them.
static struct tw_tenants *open_set(unsigned count) {
    char path[] = "/tmp/tw-bench-auth-XXXXXX";
    struct tw_error err = {};
    int fd = mkstemp(path);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!file) {
        perror(path);
        exit(1);
    }
    for (unsigned i = 0; i < count; i++) {
        char token[32], hex[TW_DIGEST_HEX_SIZE];
        int len = snprintf(token, sizeof token, "bench-token-%06u", i);
        struct tw_digest digest = tw_sha256(tw_span_of(token, (size_t)len));
        tw_digest_hex(&digest, hex);
        fprintf(file, "%s:tenant=7:role=invoke\n", hex);
    }
    fclose(file);
    struct tw_tenants_options options = {.tokens_file = path};
    struct tw_tenants *tenants = tw_tenants_new(&options, &err);
    unlink(path);
    if (!tenants)
        bench_die("the tokens", err.message);
    return tenants;
}

// Nanoseconds an ask. The token is another one each time, so that no cache holds just the one.
static double round_of(struct tw_tenants *tenants, unsigned count, bool known) {
    unsigned accepted = 0, number = 1;
    int64_t start_ns = tw_clock_ns();
    for (unsigned i = 0; i < ASKS; i++) {
        char header[48];
        struct tw_caller caller;
        struct tw_error err = {};
        number = number * 1103515245 + 12345;
        unsigned token = known ? (number >> 8) % count : 500000 + (number >> 8) % 400000;
        int len = snprintf(header, sizeof header, "Bearer bench-token-%06u", token);
        accepted += tw_tenants_authorise(tenants, tw_str_of(header, (size_t)len), TW_STR("7"), &caller, &err);
    }
    double ns = (double)(tw_clock_ns() - start_ns) / (double)ASKS;
    if (accepted != (known ? ASKS : 0)) {
        fprintf(stderr, "bench_auth: %u of %d tokens were accepted\n", accepted, ASKS);
        exit(1);
    }
    return ns;
}

int main(void) {
    struct tw_tenants *sets[SIZES];
    double rounds[SIZES][2][ROUNDS];
    for (int s = 0; s < SIZES; s++)
        sets[s] = open_set(sizes[s]);
    for (int r = 0; r < ROUNDS; r++)
        for (int s = 0; s < SIZES; s++)
            for (int known = 0; known < 2; known++)
                rounds[s][known][r] = round_of(sets[s], sizes[s], known);
    mkdir("bench/results", 0755);
    FILE *json = fopen("bench/results/auth.json", "w");
    printf("nanoseconds to ask for a token (median of %d rounds of %d)\n tokens   known  unknown\n", ROUNDS,
           ASKS);
    for (int s = 0; s < SIZES; s++) {
        for (int known = 0; known < 2; known++)
            qsort(rounds[s][known], ROUNDS, sizeof(double), bench_by_value);
        double good = rounds[s][1][ROUNDS / 2], bad = rounds[s][0][ROUNDS / 2];
        printf("%7u  %6.0f  %7.0f\n", sizes[s], good, bad);
        if (json)
            fprintf(json,
                    "%s{\"tokens\": %u, \"known_ns\": %.0f, \"unknown_ns\": %.0f, \"known_min_ns\": %.0f, "
                    "\"known_max_ns\": %.0f}%s\n",
                    s ? " " : "[", sizes[s], good, bad, rounds[s][1][0], rounds[s][1][ROUNDS - 1],
                    s + 1 < SIZES ? "," : "]");
        tw_tenants_free(sets[s]);
    }
    if (json)
        fclose(json);
    return 0;
}
