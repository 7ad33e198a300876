// SPDX-License-Identifier: Apache-2.0
//
// The same kernels in OpenCL, for pocl: `opencl KERNEL N REPEAT` prints the median microseconds of a launch
// as the last number.

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char source[] =
    "__kernel void vector_add(__global const float *a, __global const float *b, __global float *c, uint n) "
    "{\n"
    "    uint i = get_global_id(0);\n"
    "    if (i < n) c[i] = a[i] + b[i];\n"
    "}\n"
    "__kernel void sgemm(__global const float *a, __global const float *b, __global float *c, uint n) {\n"
    "    __local float ta[16][16], tb[16][16];\n"
    "    uint x = get_local_id(0), y = get_local_id(1), col = get_global_id(0), row = get_global_id(1);\n"
    "    float sum = 0;\n"
    "    for (uint k = 0; k < n; k += 16) {\n"
    "        ta[y][x] = row < n && k + x < n ? a[row * n + k + x] : 0;\n"
    "        tb[y][x] = col < n && k + y < n ? b[(k + y) * n + col] : 0;\n"
    "        barrier(CLK_LOCAL_MEM_FENCE);\n"
    "        for (uint i = 0; i < 16; i++) sum += ta[y][i] * tb[i][x];\n"
    "        barrier(CLK_LOCAL_MEM_FENCE);\n"
    "    }\n"
    "    if (row < n && col < n) c[row * n + col] = sum;\n"
    "}\n";

static void check(cl_int code, const char *what) {
    if (code == CL_SUCCESS)
        return;
    fprintf(stderr, "%s: OpenCL error %d\n", what, code);
    exit(1);
}

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static int compare(const void *x, const void *y) {
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static void run(cl_command_queue queue, cl_kernel kernel, int is_gemm, size_t n, size_t repeat) {
    size_t edge = (n + 15) / 16 * 16;
    size_t global[2] = {is_gemm ? edge : (n + 255) / 256 * 256, is_gemm ? edge : 1},
           local[2] = {is_gemm ? 16 : 256, is_gemm ? 16 : 1};
    double *times = malloc(repeat * sizeof *times);
    for (size_t r = 0; r < repeat; r++) {
        double start = now_us();
        check(clEnqueueNDRangeKernel(queue, kernel, is_gemm ? 2 : 1, NULL, global, local, 0, NULL, NULL),
              "launch");
        check(clFinish(queue), "finish");
        times[r] = now_us() - start;
    }
    qsort(times, repeat, sizeof *times, compare);
    printf("%.3f\n", times[repeat / 2]);
}

int main(int argc, char **argv) {
    if (argc != 4)
        return fprintf(stderr, "usage: opencl vector_add|sgemm N REPEAT\n"), 2;
    size_t n = strtoul(argv[2], NULL, 10), repeat = strtoul(argv[3], NULL, 10);
    int is_gemm = strcmp(argv[1], "sgemm") == 0;
    size_t count = is_gemm ? n * n : n;
    cl_platform_id platform;
    cl_device_id device;
    cl_int code;
    check(clGetPlatformIDs(1, &platform, NULL), "platform");
    check(clGetDeviceIDs(platform, CL_DEVICE_TYPE_CPU, 1, &device, NULL), "device");
    cl_context context = clCreateContext(NULL, 1, &device, NULL, NULL, &code);
    check(code, "context");
    cl_command_queue queue = clCreateCommandQueue(context, device, 0, &code);
    check(code, "queue");
    const char *text = source;
    cl_program program = clCreateProgramWithSource(context, 1, &text, NULL, &code);
    check(clBuildProgram(program, 1, &device, "-cl-mad-enable", NULL, NULL), "build");
    cl_kernel kernel = clCreateKernel(program, is_gemm ? "sgemm" : "vector_add", &code);
    check(code, "kernel");
    float *host = malloc(count * 4);
    for (int i = 0; i < 3; i++) {
        for (size_t j = 0; j < count; j++)
            host[j] = (float)(j % (i ? 5 : 7));
        cl_mem buffer =
            clCreateBuffer(context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, count * 4, host, &code);
        check(code, "buffer");
        check(clSetKernelArg(kernel, (cl_uint)i, sizeof buffer, &buffer), "argument");
    }
    cl_uint size = (cl_uint)n;
    check(clSetKernelArg(kernel, 3, sizeof size, &size), "argument");
    run(queue, kernel, is_gemm, n, repeat);
    return 0;
}
