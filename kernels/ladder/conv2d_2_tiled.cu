// conv2d_2_tiled   second rung: a tile of each operand in shared memory
// targets: sm_75
//
// Formula and layouts as conv2d_1_naive. Rows of a matrix product are the pixels, columns the filters,
// the depth is (tap, c). A block of 16 x 16 threads computes 16 pixels x 16 filters; per step it reads
// 16 channels of one tap for each pixel and each filter, neighbours along the channels, and uses every
// word 16 times. Grid (pixels/16, c_out/16).
//
// 2 KiB shared memory. Per step 2 KiB are read for 8 kflop: 4 flops per byte, 16 times the naive one's.
//
// What to look at: the filters' tile is read at [threadIdx.x][k]: 16 words apart, so sixteen threads meet
// in two of the 32 banks and wait for each other.

#include "../params.cuh"
#include "../window.cuh"

constexpr int TILE = 16;

extern "C" __global__ __launch_bounds__(TILE * TILE) void conv2d_2_tiled(
    const Conv2d p, const unsigned relu,
    const float* __restrict__ x, const float* __restrict__ weight, const float* __restrict__ bias,
    float* __restrict__ y)
{
    __shared__ float pixels_tile[TILE][TILE];                          // pixel, channel
    __shared__ float filters_tile[TILE][TILE];                         // filter, channel
    const int h = p.h, w = p.w, c_in = p.c_in, c_out = p.c_out;
    const int pixels = p.n * h * w;
    const int column = threadIdx.x, row = threadIdx.y;
    const int pixel = blockIdx.x * TILE + row;
    const int first_filter = blockIdx.y * TILE;

    const Window window = window_at(pixel, pixels, h, w);
    float sum = 0.0f;
    for (int tap = 0; tap < 9; ++tap) {
        for (int first = 0; first < c_in; first += TILE) {
            // While loading, the column is a channel; while multiplying, a filter.
            const int c = first + column, filter = first_filter + row;
            const bool inside = window.inside >> tap & 1;
            pixels_tile[row][column] = inside && c < c_in ? x[(pixel + shift(tap, w)) * c_in + c] : 0.0f;
            filters_tile[row][column] =
                filter < c_out && c < c_in ? weight[(filter * 9 + tap) * c_in + c] : 0.0f;
            __syncthreads();
            #pragma unroll
            for (int k = 0; k < TILE; ++k) sum = fmaf(pixels_tile[row][k], filters_tile[column][k], sum);
            __syncthreads();
        }
    }
    const int filter = first_filter + column;
    if (pixel >= pixels || filter >= c_out) return;
    sum += bias[filter];
    y[pixel * c_out + filter] = relu && sum < 0.0f ? 0.0f : sum;
}
