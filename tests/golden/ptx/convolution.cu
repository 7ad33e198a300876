// SPDX-License-Identifier: Apache-2.0
//
// 3 x 3 convolution of an image with weights in constant memory, zeros beyond the edge. One pixel a thread.
#include "cuda_min.h"

__constant__ float weights[9] = {1, 2, 1, 2, 4, 2, 1, 2, 1};

extern "C" __global__ void convolution(const float *in, float *out, int width, int height) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height)
        return;
    float sum = 0;
    for (int dy = -1; dy <= 1; dy++)
        for (int dx = -1; dx <= 1; dx++)
            if (x + dx >= 0 && x + dx < width && y + dy >= 0 && y + dy < height)
                sum += weights[(dy + 1) * 3 + dx + 1] * in[(y + dy) * width + x + dx];
    out[y * width + x] = sum;
}
