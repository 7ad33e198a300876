// SPDX-License-Identifier: Apache-2.0
//
// What the two programs that our kernels are compared with share: the arguments of `tensor-wasm kernel run`
// (in:FILE, out:BYTES:FILE, inout:FILE:FILE, i32:V, f32:V), a clock, and the line they end with.
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TWIN_ARGS_MAX = 16 };

struct twin_arg {
    void *data; // a buffer, 64-aligned; NULL: a number
    size_t bytes;
    const char *to; // where it is written at the end, or NULL
    int i;
    float f;
};

static inline void twin_die(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static inline double twin_now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static inline void *twin_buffer(size_t bytes) {
    void *data = aligned_alloc(64, (bytes + 127) / 64 * 64);
    if (!data)
        twin_die("out of memory");
    memset(data, 0, bytes);
    return data;
}

static inline void twin_read(struct twin_arg *arg, const char *path, size_t path_len) {
    char name[512];
    snprintf(name, sizeof name, "%.*s", (int)path_len, path);
    FILE *file = fopen(name, "rb");
    if (!file || fseek(file, 0, SEEK_END))
        twin_die(name);
    arg->bytes = (size_t)ftell(file);
    arg->data = twin_buffer(arg->bytes);
    rewind(file);
    if (fread(arg->data, 1, arg->bytes, file) != arg->bytes)
        twin_die(name);
    fclose(file);
}

static inline struct twin_arg twin_parse(const char *text) {
    struct twin_arg arg = {0};
    const char *value = strchr(text, ':'), *last = strrchr(text, ':');
    if (!value++)
        twin_die("an argument without a colon");
    if (!strncmp(text, "i32:", 4))
        arg.i = atoi(value);
    else if (!strncmp(text, "f32:", 4))
        arg.f = strtof(value, NULL);
    else if (!strncmp(text, "in:", 3))
        twin_read(&arg, value, strlen(value));
    else if (!strncmp(text, "inout:", 6))
        twin_read(&arg, value, (size_t)(last - value));
    else
        arg.data = twin_buffer(arg.bytes = strtoul(value, NULL, 10));
    if (strstr(text, "out:"))
        arg.to = last + 1;
    return arg;
}

static inline int twin_compare(const void *x, const void *y) {
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static inline void twin_report(double *times, int repeat) {
    qsort(times, (size_t)repeat, sizeof *times, twin_compare);
    printf("least and median microseconds: %.3f %.3f\n", times[0], times[repeat / 2]);
}

static inline void twin_write(const struct twin_arg *arg) {
    FILE *file = arg->to ? fopen(arg->to, "wb") : NULL;
    if (file)
        fwrite(arg->data, 1, arg->bytes, file);
    if (file)
        fclose(file);
}
