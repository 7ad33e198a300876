// SPDX-License-Identifier: Apache-2.0
//
// What a compiled kernel's object looks like, for the corpus of loader_fuzz.c: one global function, a local
// one, constants, a switch and a table of addresses.

static const double weights[] = {1.5, -2.25, 3.0, 1e300};

static double first(double x) {
    return x * weights[0];
}

static double second(double x) {
    return x + weights[3];
}

static double (*const table[])(double) = {first, second};

unsigned entry(const unsigned *frame, unsigned long block, unsigned long count);
unsigned entry(const unsigned *frame, unsigned long block, unsigned long count) {
    double sum = 0;
    for (unsigned long i = block; i < block + count; i++) {
        switch (frame[i % 64]) {
        case 1:
            sum += weights[i % 4];
            break;
        case 2:
            sum -= table[i % 2](sum);
            break;
        case 7:
            sum *= 3.25;
            break;
        default:
            sum += 1;
        }
    }
    return sum > 100;
}
