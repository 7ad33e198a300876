// SPDX-License-Identifier: Apache-2.0
//
// Finds the edges in a photograph: a binary PPM (P6) or PGM (P5) with maxval 255 on standard input, a PGM on
// standard output. The picture becomes grey while it is read; the kernels of edges.cu do the rest. The grey
// picture stays in our own memory (kernels work on it in place), the blurred one is a buffer of the device.
// What is wrong with the input is told on standard error, with exit code 1.

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "tensor_wasm.h"

enum { BLOCK_X = 32, BLOCK_Y = 8, SIDE_MAX = 65535 };

static const char ptx[] = {
#embed "edges.ptx"
};

struct picture {
    int width, height, channels;
    unsigned char *grey;
};

static _Noreturn void fail(const char *what) {
    fprintf(stderr, "edges: %s\n", what);
    exit(1);
}

static _Noreturn void fail_device(const char *what) {
    char text[TW_ERROR_TEXT_MAX];
    fprintf(stderr, "edges: %s: %s\n", what, tw_cuda_last_error(text, sizeof text));
    exit(1);
}

// The next character of the header; a comment, from '#' to the end of its line, counts as that end.
static int next_char(void) {
    int c = getchar();
    if (c == '#')
        while (c != '\n' && c != '\r' && c != EOF)
            c = getchar();
    return c;
}

// A whole number between 1 and `max`, with the one character that ends it.
static int read_number(const char *name, int max) {
    int c = next_char(), value = 0;
    while (isspace(c))
        c = next_char();
    if (c == EOF)
        fail("the input ends within the header");
    for (; isdigit(c); c = next_char()) {
        value = value * 10 + (c - '0');
        if (value > max)
            break;
    }
    if (value < 1 || value > max || !isspace(c)) {
        fprintf(stderr, "edges: the %s has to be a whole number from 1 to %d\n", name, max);
        exit(1);
    }
    return value;
}

static struct picture read_header(void) {
    struct picture picture;
    int p = getchar(), kind = getchar();
    if (p != 'P' || (kind != '5' && kind != '6') || !isspace(next_char()))
        fail("the input is neither a binary PPM (P6) nor a binary PGM (P5); 'convert photo.jpg photo.ppm' "
             "makes one");
    picture.channels = kind == '6' ? 3 : 1;
    picture.width = read_number("width", SIDE_MAX);
    picture.height = read_number("height", SIDE_MAX);
    if (read_number("largest value (maxval)", SIDE_MAX) != 255)
        fail("the largest value (maxval) has to be 255");
    return picture;
}

// Red, green and blue weigh 77, 150 and 29 of 256 (ITU-R BT.601).
static void make_grey(const unsigned char *rgb, unsigned char *grey, int width) {
    for (int x = 0; x < width; x++, rgb += 3)
        grey[x] = (unsigned char)((77 * rgb[0] + 150 * rgb[1] + 29 * rgb[2] + 128) >> 8);
}

static void read_pixels(struct picture *picture) {
    size_t width = (size_t)picture->width, row_size = width * (size_t)picture->channels;
    unsigned long long size = (unsigned long long)width * (unsigned long long)picture->height;
    unsigned char *row = malloc(row_size);
    picture->grey = size <= SIZE_MAX ? malloc((size_t)size) : NULL;
    if (!row || !picture->grey) {
        fprintf(stderr, "edges: a picture of %d x %d pixels does not fit the function's memory\n",
                picture->width, picture->height);
        exit(1);
    }
    for (int y = 0; y < picture->height; y++) {
        unsigned char *grey = picture->grey + (size_t)y * width;
        unsigned char *to = picture->channels == 3 ? row : grey;
        if (fread(to, 1, row_size, stdin) != row_size) {
            fprintf(stderr, "edges: the input ends in row %d of %d\n", y + 1, picture->height);
            exit(1);
        }
        if (picture->channels == 3)
            make_grey(row, grey, picture->width);
    }
    free(row);
    if (getchar() != EOF)
        fail("the input goes on after the last pixel");
}

// One kernel over all pixels; `forth` says that it goes from our memory to the device's buffer, else back.
static void run_kernel(const char *entry, const struct picture *picture, int64_t buffer, int forth) {
    int64_t kernel = tw_load_ptx(ptx, sizeof ptx, entry);
    if (kernel < 0)
        fail_device("the kernel could not be loaded");
    uint32_t width = (uint32_t)picture->width, height = (uint32_t)picture->height;
    struct tw_args args;
    tw_args_reset(&args);
    if (!forth)
        tw_args_buffer(&args, buffer, 0);
    tw_args_range(&args, picture->grey, width * height);
    if (forth)
        tw_args_buffer(&args, buffer, 0);
    tw_args_u32(&args, width);
    tw_args_u32(&args, height);
    struct tw_dim grid = tw_dim2((width + BLOCK_X - 1) / BLOCK_X, (height + BLOCK_Y - 1) / BLOCK_Y);
    if (tw_launch(kernel, grid, tw_dim2(BLOCK_X, BLOCK_Y), 0, &args) != TW_OK)
        fail_device("the kernel could not be run");
}

static void write_picture(const struct picture *picture) {
    size_t size = (size_t)picture->width * (size_t)picture->height;
    tw_set_content_type("image/x-portable-graymap");
    printf("P5\n%d %d\n255\n", picture->width, picture->height);
    if (fwrite(picture->grey, 1, size, stdout) != size || fflush(stdout) != 0)
        fail("the result could not be written; is it larger than the function's output may be?");
}

int main(void) {
    struct picture picture = read_header();
    read_pixels(&picture);
    int64_t blurred = tw_cuda_alloc((uint64_t)picture.width * (uint64_t)picture.height);
    if (blurred < 0)
        fail_device("the device has no room for the picture");
    run_kernel("blur", &picture, blurred, 1);
    run_kernel("sobel", &picture, blurred, 0);
    write_picture(&picture);
    return 0;
}
