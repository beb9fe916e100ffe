// conv2d_forward   y[n,i,j,o] = f(bias[o] + Σ_{a,b,c} x[n,i+a-1,j+b-1,c] · weight[o,a,b,c])
// targets: sm_75
// hot: conv2d_forward
//
//   x        (n, h, w, c_in)       in   zero outside the map
//   weight   (c_out, 3, 3, c_in)   in
//   bias     (c_out)               in
//   y        (n, h, w, c_out)      out  f = ReLU or nothing
//
// A product of matrices that is never laid out (implicit GEMM): rows are the n·h·w pixels, columns the
// c_out filters, the depth is (tap, c). A block of 128 threads computes 128 pixels x 64 filters, grid
// (pixels/128, filters/64); a thread 8 x 8 (tile.cuh). A step takes eight channels of one tap: thread t
// reads those of pixel t, and half of those of filter t/2.
//
// 12.25 KiB shared memory in two stages. Per step 6 KiB are read for 128 kflop: 21 flops per byte, which
// the second cache serves. 18·c_in flops and 4 bytes written per output.

#include "params.cuh"
#include "tile.cuh"
#include "window.cuh"

extern "C" __global__ __launch_bounds__(THREADS, 3) void conv2d_forward(
    const Conv2d p, const unsigned relu,
    const float* __restrict__ x, const float* __restrict__ weight, const float* __restrict__ bias,
    float* __restrict__ y)
{
    __shared__ Stage stages[2];
    const int thread = threadIdx.x;
    const int h = p.h, w = p.w, c_in = p.c_in, c_out = p.c_out;
    const int pixels = p.n * h * w;
    const int first_pixel = blockIdx.x * ROWS, first_filter = blockIdx.y * COLUMNS;
    const bool aligned = c_in % 4 == 0;

    const Window window = window_at(first_pixel + thread, pixels, h, w);
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

    float sums[8][8];
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

    #pragma unroll
    for (int side = 0; side < 8; side += 4) {
        const int column = first_filter + my_column() + side * 8;      // 0 or 32 further
        const int left = c_out - column;
        const float4 shift4 = read4(bias + column, left, c_out % 4 == 0);
        #pragma unroll
        for (int r = 0; r < 8; ++r) {
            const int pixel = first_pixel + my_row() + r / 4 * 64 + r % 4;
            float4 v = make_float4(sums[r][side] + shift4.x, sums[r][side + 1] + shift4.y,
                                   sums[r][side + 2] + shift4.z, sums[r][side + 3] + shift4.w);
            if (relu) v = make_float4(rectify(v.x), rectify(v.y), rectify(v.z), rectify(v.w));
            if (pixel < pixels) write4(y + (pixel * c_out + column), v, left, c_out % 4 == 0);
        }
    }
}
