// conv2d.cuh   the forward convolution's product, for the kernels that differ in their epilogues
//
//   sums[r][q]   Σ_{tap,c} x[pixel of row r, shifted by tap, c] · weight[filter q, tap, c]
//
// A product of matrices that is never laid out (implicit GEMM): rows are pixels in an order that the kernel
// chooses, columns the c_out filters, the depth is (tap, c). A block of 128 threads computes 128 rows x 64
// filters, a thread 8 x 8 (tile.cuh). A step takes eight channels of one tap: thread t reads those of row
// t's pixel, and half of those of filter t/2.
//
// 12.25 KiB shared memory in two stages. Per step 6 KiB are read for 131 kflop: 21 flops per byte, which
// L2 serves.

#pragma once

#include "params.cuh"
#include "tile.cuh"
#include "window.cuh"

// `window` is that of row threadIdx.x of the block.
__device__ __forceinline__ void convolve(
    const Conv2d p, const Window window, const int first_filter, const float* RESTRICT x,
    const float* RESTRICT weight, float (&sums)[8][8])
{
    __shared__ Stage stages[2];
    const int thread = threadIdx.x;
    const int w = p.w, c_in = p.c_in, c_out = p.c_out;
    const bool aligned = c_in % 4 == 0;
    const int filter = first_filter + thread / 2;
    const int half = thread % 2 * 4;

    // What the thread carries to the next stage: eight channels of its pixel, four of its filter.
    float4 low, high, four;
    const auto load = [&](const int tap, const int c) {
        const int left = window.inside >> tap & 1 ? c_in - c : 0;
        const float* pixel = x + ((window.pixel + shift(tap, w)) * c_in + c);
        low = read4(pixel, left, aligned);
        high = read4(pixel + 4, left - 4, aligned);
        four = read4(weight + ((filter * 9 + tap) * c_in + c + half),
                     filter < c_out ? c_in - c - half : 0, aligned);
    };
    const auto store = [&](Stage& stage) {
        fill_row(stage, thread, low, high);
        stage.b[half + 0][thread / 2] = four.x;
        stage.b[half + 1][thread / 2] = four.y;
        stage.b[half + 2][thread / 2] = four.z;
        stage.b[half + 3][thread / 2] = four.w;
    };

    clear(sums);
    int tap = 0, c = 0;
    load(tap, c);
    store(stages[0]);
    __syncthreads();
    for (int now = 0;; now ^= 1) {
        c += DEPTH;
        if (c >= c_in) {
            c = 0;
            ++tap;
        }
        if (tap < 9) load(tap, c);
        multiply(stages[now], sums);
        if (tap == 9) break;
        store(stages[now ^ 1]);
        __syncthreads();
    }
}

// Four neighbouring sums of a row plus the bias of their filters, through ReLU if asked.
__device__ __forceinline__ float4 bias_relu4(const float* sums, const float4 bias, const bool relu)
{
    const float4 v = make_float4(sums[0] + bias.x, sums[1] + bias.y, sums[2] + bias.z, sums[3] + bias.w);
    return relu ? make_float4(rectify(v.x), rectify(v.y), rectify(v.z), rectify(v.w)) : v;
}
