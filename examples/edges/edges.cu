// SPDX-License-Identifier: Apache-2.0
//
// Finds edges: a 5 x 5 Gaussian blur against noise, then Sobel's gradient. One pixel a thread; whole numbers throughout, so
// that every machine gives the same picture. Beyond the border a picture goes on with its outermost pixels.
#include "tensor_wasm_kernel.h"

static __device__ int clamp(int value, int last) {
    return value < 0 ? 0 : value > last ? last : value;
}

static __device__ int pixel(const unsigned char *picture, int width, int height, int x, int y) {
    return picture[(long)clamp(y, height - 1) * width + clamp(x, width - 1)];
}

// The weights 1 4 6 4 1 in both directions; they add up to 256.
extern "C" __global__ void blur(const unsigned char *in, unsigned char *out, int width, int height) {
    const int weights[5] = {1, 4, 6, 4, 1};
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height)
        return;
    int sum = 128; // rounds to the nearest
    for (int dy = -2; dy <= 2; dy++)
        for (int dx = -2; dx <= 2; dx++)
            sum += weights[dy + 2] * weights[dx + 2] * pixel(in, width, height, x + dx, y + dy);
    out[(long)y * width + x] = sum >> 8;
}

// |gradient in x| + |gradient in y|, at most 255.
extern "C" __global__ void sobel(const unsigned char *in, unsigned char *out, int width, int height) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height)
        return;
    int gx = 0, gy = 0;
    for (int d = -1; d <= 1; d++) {
        int weight = d == 0 ? 2 : 1;
        gx += weight * (pixel(in, width, height, x + 1, y + d) - pixel(in, width, height, x - 1, y + d));
        gy += weight * (pixel(in, width, height, x + d, y + 1) - pixel(in, width, height, x + d, y - 1));
    }
    int sum = (gx < 0 ? -gx : gx) + (gy < 0 ? -gy : gy);
    out[(long)y * width + x] = sum > 255 ? 255 : sum;
}
