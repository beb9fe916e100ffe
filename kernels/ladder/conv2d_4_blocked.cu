// conv2d_4_blocked   fourth rung: 4 x 4 sums per thread, in registers
// targets: sm_75
// hot: conv2d_4_blocked
//
// Formula and layouts as conv2d_1_naive. A block of 16 x 16 threads computes 64 pixels x 64 filters, a
// thread 4 x 4 of them: eight words read from shared memory feed sixteen multiply-adds, where the third
// rung's eight fed four. The depth is slowest in both tiles, so that a thread's four pixels and four
// filters are neighbours and come by one 16-byte load each. Grid (pixels/64, c_out/64).
//
// 8 KiB shared memory. Per step (16 channels of a tap) 8 KiB are read for 131 kflop: 16 flops per byte.
//
// What is left for conv2d_forward (tile.cuh): 8 x 8 sums per thread, and a second stage that is filled
// while the first is multiplied.

#include "../common.cuh"
#include "../params.cuh"
#include "../window.cuh"

constexpr int SIDE = 64, DEPTH = 16;

extern "C" __global__ __launch_bounds__(256) void conv2d_4_blocked(
    const Conv2d p, const unsigned relu,
    const float* RESTRICT x, const float* RESTRICT weight, const float* RESTRICT bias,
    float* RESTRICT y)
{
    __shared__ __align__(16) float pixels_tile[DEPTH][SIDE];         // channel, pixel
    __shared__ __align__(16) float filters_tile[DEPTH][SIDE];        // channel, filter
    const int h = p.h, w = p.w, c_in = p.c_in, c_out = p.c_out;
    const int pixels = p.n * h * w;
    const int thread = threadIdx.x;
    const int first_pixel = blockIdx.x * SIDE, first_filter = blockIdx.y * SIDE;
    const bool aligned = c_in % 4 == 0;

    // Every thread loads four channels of one pixel and of one filter. Threads of a warp take neighbouring
    // pixels, so that each of its four stores is one row of neighbouring words.
    const int loads = thread % SIDE, group = thread / SIDE * 4;
    const Window window = window_at(first_pixel + loads, pixels, h, w);
    const int filter_loaded = first_filter + loads;
    const int row = thread / 16 * 4, column = thread % 16 * 4;

    float sums[4][4];
    #pragma unroll
    for (int r = 0; r < 4; ++r)
        #pragma unroll
        for (int c = 0; c < 4; ++c) sums[r][c] = 0.0f;

    for (int tap = 0; tap < 9; ++tap) {
        for (int first = 0; first < c_in; first += DEPTH) {
            const int c = first + group;
            const bool inside = window.inside >> tap & 1;
            const float* pixel = x + ((window.pixel + shift(tap, w)) * c_in + c);
            const float* filter = weight + ((filter_loaded * 9 + tap) * c_in + c);
            const float4 a = read4(pixel, inside ? c_in - c : 0, aligned);
            const float4 b = read4(filter, filter_loaded < c_out ? c_in - c : 0, aligned);
            pixels_tile[group + 0][loads] = a.x;
            pixels_tile[group + 1][loads] = a.y;
            pixels_tile[group + 2][loads] = a.z;
            pixels_tile[group + 3][loads] = a.w;
            filters_tile[group + 0][loads] = b.x;
            filters_tile[group + 1][loads] = b.y;
            filters_tile[group + 2][loads] = b.z;
            filters_tile[group + 3][loads] = b.w;
            __syncthreads();
            #pragma unroll
            for (int k = 0; k < DEPTH; ++k) {
                float m[4], n[4];
                unpack4(&pixels_tile[k][row], m);
                unpack4(&filters_tile[k][column], n);
                #pragma unroll
                for (int r = 0; r < 4; ++r)
                    #pragma unroll
                    for (int q = 0; q < 4; ++q) sums[r][q] = fmaf(m[r], n[q], sums[r][q]);
            }
            __syncthreads();
        }
    }

    const int filter = first_filter + column, left = c_out - filter;
    const float4 bias4 = read4(bias + filter, left, c_out % 4 == 0);
    #pragma unroll
    for (int r = 0; r < 4; ++r) {
        const int pixel = first_pixel + row + r;
        float4 v = make_float4(sums[r][0] + bias4.x, sums[r][1] + bias4.y, sums[r][2] + bias4.z,
                               sums[r][3] + bias4.w);
        if (relu) v = make_float4(rectify(v.x), rectify(v.y), rectify(v.z), rectify(v.w));
        if (pixel < pixels) write4(y + (pixel * c_out + filter), v, left, c_out % 4 == 0);
    }
}
