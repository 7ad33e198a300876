// SPDX-License-Identifier: Apache-2.0
//
// Shows what WASI gives a guest. The first word of standard input says what is asked for.

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void show_random(void) {
    unsigned char bytes[32];
    if (getentropy(bytes, sizeof bytes) != 0)
        exit(3);
    for (size_t i = 0; i < sizeof bytes; i++)
        printf("%02x", bytes[i]);
}

static long long now_ns(clockid_t clock) {
    struct timespec time;
    if (clock_gettime(clock, &time) != 0)
        exit(3);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void sleep_ms(int ms) {
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    long long start = now_ns(CLOCK_MONOTONIC);
    nanosleep(&pause, NULL);
    printf("%lld", (now_ns(CLOCK_MONOTONIC) - start) / 1000000);
}

static void count_input(void) {
    static char block[65536];
    size_t total = 0, sum = 0, got;
    while ((got = fread(block, 1, sizeof block, stdin)) > 0)
        for (size_t i = 0; i < got; i++, total++)
            sum += (unsigned char)block[i];
    printf("%zu %zu", total, sum);
}

int main(int argc, char **argv) {
    char word[32];
    int number = 0;
    if (scanf("%31s", word) != 1)
        return 2;
    if (strcmp(word, "args") == 0)
        for (int i = 0; i < argc; i++)
            printf("%s\n", argv[i]);
    else if (strcmp(word, "env") == 0)
        for (char **entry = environ; *entry; entry++)
            printf("%s\n", *entry);
    else if (strcmp(word, "random") == 0)
        show_random();
    else if (strcmp(word, "wall") == 0)
        printf("%lld", now_ns(CLOCK_REALTIME));
    else if (strcmp(word, "sleep") == 0 && scanf("%d", &number) == 1)
        sleep_ms(number);
    else if (strcmp(word, "count") == 0)
        count_input();
    else if (strcmp(word, "open") == 0)
        printf("%s %s", fopen("/etc/passwd", "r") ? "opened" : "refused", strerror(errno));
    else if (strcmp(word, "exit") == 0 && scanf("%d", &number) == 1) {
        printf("said before");
        fprintf(stderr, "leaving with %d\n", number);
        exit(number);
    } else if (strcmp(word, "abort") == 0)
        abort();
    else
        return 2;
    return 0;
}
