// SPDX-License-Identifier: Apache-2.0
//
// Our kernels' own sources as OpenCL, for pocl: `opencl FILE KERNEL REPEAT GX,GY,GZ BX,BY,BZ ARG…` with the
// grid, block and arguments of `tensor-wasm kernel run`. FILE is preprocessed.

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#include "twin.h"

static void check(cl_int code, const char *what) {
    if (code == CL_SUCCESS)
        return;
    fprintf(stderr, "%s: OpenCL error %d\n", what, code);
    exit(1);
}

static cl_kernel build(cl_context context, cl_device_id device, const char *path, const char *name) {
    struct twin_arg source = {0};
    cl_int code;
    twin_read(&source, path, strlen(path));
    const char *text = source.data;
    cl_program program = clCreateProgramWithSource(context, 1, &text, &source.bytes, &code);
    check(code, "program");
    code = clBuildProgram(program, 1, &device, "-cl-mad-enable -cl-fast-relaxed-math", NULL, NULL);
    if (code != CL_SUCCESS) {
        char log[4000] = "";
        clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, sizeof log, log, NULL);
        fputs(log, stderr);
    }
    check(code, "build");
    cl_kernel kernel = clCreateKernel(program, name, &code);
    check(code, "kernel");
    return kernel;
}

static cl_mem set_arg(cl_context context, cl_kernel kernel, cl_uint index, struct twin_arg *arg,
                      int is_float) {
    cl_mem buffer = NULL;
    cl_int code;
    if (!arg->data) {
        check(clSetKernelArg(kernel, index, 4, is_float ? (void *)&arg->f : (void *)&arg->i), "argument");
        return NULL;
    }
    buffer = clCreateBuffer(context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, arg->bytes, arg->data, &code);
    check(code, "buffer");
    check(clSetKernelArg(kernel, index, sizeof buffer, &buffer), "argument");
    return buffer;
}

static void parse_shape(const char *text, size_t ret_shape[3]) {
    for (int i = 0; i < 3; i++) {
        ret_shape[i] = text ? strtoul(text, NULL, 10) : 1;
        text = text ? strchr(text, ',') : NULL;
        text += text ? 1 : 0;
    }
}

static double *time_all(cl_command_queue queue, cl_kernel kernel, const size_t grid[3], const size_t block[3],
                        int repeat) {
    double *times = malloc((size_t)repeat * sizeof *times);
    for (int r = 0; r < repeat; r++) {
        double start = twin_now_us();
        check(clEnqueueNDRangeKernel(queue, kernel, 3, NULL, grid, block, 0, NULL, NULL), "launch");
        check(clFinish(queue), "finish");
        times[r] = twin_now_us() - start;
    }
    return times;
}

int main(int argc, char **argv) {
    if (argc < 7 || argc > 6 + TWIN_ARGS_MAX)
        twin_die("usage: opencl FILE KERNEL REPEAT GRID BLOCK ARG…");
    int repeat = atoi(argv[3]);
    cl_platform_id platform;
    cl_device_id device;
    cl_int code;
    check(clGetPlatformIDs(1, &platform, NULL), "platform");
    check(clGetDeviceIDs(platform, CL_DEVICE_TYPE_CPU, 1, &device, NULL), "device");
    cl_context context = clCreateContext(NULL, 1, &device, NULL, NULL, &code);
    check(code, "context");
    cl_command_queue queue = clCreateCommandQueue(context, device, 0, &code);
    check(code, "queue");
    cl_kernel kernel = build(context, device, argv[1], argv[2]);
    struct twin_arg args[TWIN_ARGS_MAX];
    cl_mem buffers[TWIN_ARGS_MAX];
    for (int i = 6; i < argc; i++) {
        args[i - 6] = twin_parse(argv[i]);
        buffers[i - 6] =
            set_arg(context, kernel, (cl_uint)(i - 6), &args[i - 6], !strncmp(argv[i], "f32:", 4));
    }
    size_t grid[3], block[3];
    parse_shape(argv[4], grid);
    parse_shape(argv[5], block);
    for (int i = 0; i < 3; i++)
        grid[i] *= block[i];
    double *times = time_all(queue, kernel, grid, block, repeat);
    for (int i = 0; i < argc - 6; i++) {
        if (!args[i].to)
            continue;
        check(clEnqueueReadBuffer(queue, buffers[i], CL_TRUE, 0, args[i].bytes, args[i].data, 0, NULL, NULL),
              "read");
        twin_write(&args[i]);
    }
    twin_report(times, repeat);
    return 0;
}
