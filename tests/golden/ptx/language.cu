// SPDX-License-Identifier: Apache-2.0
//
// What the language offers: pointers to functions, virtual ones, recursion, jumps into loops, constant tables, printf.
#include "cuda_min.h"

extern "C" __device__ int vprintf(const char *, void *);
extern __shared__ int dynamic[];

typedef int (*operation)(int, int);
static __device__ __noinline__ int plus(int a, int b) {
    return a + b;
}
static __device__ __noinline__ int minus(int a, int b) {
    return a - b;
}
static __device__ __noinline__ int times(int a, int b) {
    return a * b;
}
__device__ operation operations[3] = {plus, minus, times};
extern "C" __global__ void pointers(const int *which, int *out) {
    int i = thread();
    out[i] = operations[which[i]](i, 7);
}
extern "C" __global__ void no_function(int *out) {
    out[0] = ((operation)(out + 1))(1, 2);
}

struct shape {
    int size;
    __device__ virtual int area() const = 0;
};
struct square : shape {
    __device__ __noinline__ int area() const override {
        return size * size;
    }
};
struct circle : shape {
    __device__ __noinline__ int area() const override {
        return 3 * size * size;
    }
};
extern "C" __global__ void virtuals(int *out) {
    square s;
    circle c;
    s.size = c.size = threadIdx.x;
    const shape *any = threadIdx.x % 3 ? (shape *)&s : (shape *)&c;
    asm volatile("" : "+l"(any));
    out[threadIdx.x] = any->area();
}

static __device__ __noinline__ int fibonacci(int n) {
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}
extern "C" __global__ void recursion(int *out) {
    out[threadIdx.x] = fibonacci(threadIdx.x % 13);
}

static __device__ __noinline__ int ackermann(int m, int n) {
    return m == 0 ? n + 1 : n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1));
}
extern "C" __global__ void double_recursion(int *out) {
    out[threadIdx.x] = ackermann(threadIdx.x % 3, threadIdx.x % 5);
}

static __device__ __noinline__ bool is_odd(int n);
static __device__ __noinline__ bool is_even(int n) {
    return n == 0 || is_odd(n - 1);
}
static __device__ __noinline__ bool is_odd(int n) {
    return n != 0 && is_even(n - 1);
}
extern "C" __global__ void mutual(int *out) {
    out[threadIdx.x] = is_even(threadIdx.x) + 2 * is_odd(threadIdx.x);
}

static __device__ __noinline__ void quicksort(int *a, int low, int high) {
    if (low >= high)
        return;
    int pivot = a[(low + high) / 2], i = low, j = high;
    while (i <= j) {
        while (a[i] < pivot)
            i++;
        while (a[j] > pivot)
            j--;
        if (i <= j) {
            int t = a[i];
            a[i++] = a[j];
            a[j--] = t;
        }
    }
    quicksort(a, low, j);
    quicksort(a, i, high);
}
extern "C" __global__ void sort_rows(int *rows, int n) {
    quicksort(rows + threadIdx.x * n, 0, n - 1);
}

static __device__ __noinline__ int endless(int n) {
    return n == -1 ? 0 : endless(n + 1) * 3 + n;
}
extern "C" __global__ void too_deep(int *out) {
    out[0] = endless(out[0]);
}

// Duff's device: a jump into the middle of a loop.
extern "C" __global__ void duff(const int *in, int *out, int n) {
    int count = threadIdx.x % n + 1, sum = 0, rounds = (count + 3) / 4;
    const int *at = in;
    switch (count % 4) {
    case 0: do { sum = sum * 3 + *at++; [[fallthrough]];
    case 3: sum = sum * 3 + *at++; [[fallthrough]];
    case 2: sum = sum * 3 + *at++; [[fallthrough]];
    case 1: sum = sum * 3 + *at++;
        } while (--rounds > 0);
    }
    out[threadIdx.x] = sum;
}

__constant__ unsigned crc_nibbles[16] = {0,          0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
                                         0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
extern "C" __global__ void crc(const unsigned char *text, unsigned *out, int n) {
    unsigned c = ~0u;
    for (int i = 0; i < n; i++) {
        c ^= text[thread() * n + i];
        c = crc_nibbles[c & 15] ^ c >> 4;
        c = crc_nibbles[c & 15] ^ c >> 4;
    }
    out[thread()] = ~c;
}

// Two arrays in the launch's shared memory; threads that leave early do not hold up the others.
extern "C" __global__ void shares(const int *in, int *out, int n) {
    int *first = dynamic, *second = dynamic + blockDim.x, i = threadIdx.x;
    if (i >= n)
        return;
    first[i] = in[i];
    second[n - 1 - i] = in[i] * 10;
    __syncthreads();
    out[i] = first[n - 1 - i] + second[i];
}

template <int N> static __device__ int nth(const int *in) {
    int local[N], best = 0;
    for (int i = 0; i < N; i++)
        local[(i * 5 + in[0]) % N] = in[i];
    for (int i = 0; i < N; i++)
        best = best * 3 + local[i];
    return best;
}
extern "C" __global__ void templates(const int *in, int *out) {
    out[threadIdx.x] = threadIdx.x & 1 ? nth<7>(in + threadIdx.x) : nth<12>(in + threadIdx.x);
}

extern "C" __global__ void prints(int n) {
    struct {
        int thread;
        double half;
        const char *word;
        long big;
    } arguments = {(int)threadIdx.x, threadIdx.x * 0.5, "word", 5000000000};
    if ((int)threadIdx.x < n)
        vprintf("%d: %6.3f|%-6s|%ld%%\n", &arguments);
}
