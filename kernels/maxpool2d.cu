// maxpool2d   y[n,i,j,c] = max x[n,2i+a,2j+b,c] over a, b in {0, 1}
// targets: sm_75
//
//   x, dx    (n, h, w, c)          an odd last row or column is dropped, its gradient is zero
//   y, dy    (n, h/2, w/2, c)
//   winner   n·(h/2)·(w/2)·c/4 u8  2a+b of the maximum: the first of equals, or the first NaN; two bits
//                                  each, four neighbours of y to a byte, zero past the last
//
// maxpool2d_forward    one thread per four neighbours of y and their byte; winner may be null (inference)
// maxpool2d_backward   one thread per four neighbours of the windows, those cut off at the border too: each
//                      corner gets dy if it is the winner and mask > 0, else zero. mask is y, if x is a
//                      ReLU's output, or null: the winner's x is y, so this is the ReLU's way back too
//
// 256 threads per block along (row, column, channel), channels fastest, so a warp reads neighbours. Where c
// is a multiple of four, the four are channels of one window and move by 16-byte loads. No shared memory.
// Forward reads 16 bytes and writes 4.25 per output, backward reads 1.06 (2.06 with a mask) and writes 4 per
// element: bound by bandwidth.

#include "params.cuh"
#include "pool.cuh"

// Where in x the window of element `at` of y begins.
__device__ __forceinline__ unsigned corner_of(const Pool2d p, const unsigned at)
{
    const unsigned rows = p.h / 2, columns = p.w / 2;
    const unsigned c = at % p.c, j = at / p.c % columns;
    const unsigned line = at / p.c / columns;                          // n·rows + i
    const unsigned n = line / rows, i = line % rows;
    return ((n * p.h + 2 * i) * p.w + 2 * j) * p.c + c;
}

extern "C" __global__ __launch_bounds__(LINEAR) void maxpool2d_forward(
    const Pool2d p, const float* __restrict__ x, float* __restrict__ y, unsigned char* __restrict__ winner)
{
    const unsigned first = (blockIdx.x * LINEAR + threadIdx.x) * 4;
    const unsigned len = p.n * (p.h / 2) * (p.w / 2) * p.c;
    if (first >= len) return;

    const unsigned down = p.w * p.c;
    const int left = len - first;
    float4 best;
    unsigned winners;
    if (p.c % 4 == 0) {
        const float* corner = x + corner_of(p, first);
        best = best_of4(read4(corner, 4, true), read4(corner + p.c, 4, true),
                        read4(corner + down, 4, true), read4(corner + down + p.c, 4, true), winners);
    } else {
        float values[4] = {};
        winners = 0;
        #pragma unroll
        for (int e = 0; e < 4; ++e) {
            if (e >= left) break;
            const float* corner = x + corner_of(p, first + e);
            const Best one = best_of(corner[0], corner[p.c], corner[down], corner[down + p.c]);
            values[e] = one.value;
            winners |= one.corner << 2 * e;
        }
        best = pack4(values);
    }
    write4(y + first, best, left, left >= 4);
    if (winner) winner[first / 4] = winners;
}

// Goes back through element `at` of the windows; of four lanes, through its three neighbours too.
__device__ __forceinline__ void back(
    const Pool2d p, const unsigned at, const int lanes, const float* __restrict__ dy,
    const unsigned char* __restrict__ winner, const float* __restrict__ mask, float* __restrict__ dx)
{
    const unsigned rows = (p.h + 1) / 2, columns = (p.w + 1) / 2;
    const unsigned c = at % p.c, j = at / p.c % columns;
    const unsigned line = at / p.c / columns;                          // n·rows + i
    const unsigned n = line / rows, i = line % rows;

    float4 gradient = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    unsigned winners = 0;
    if (i < p.h / 2 && j < p.w / 2) {
        const unsigned window = ((n * (p.h / 2) + i) * (p.w / 2) + j) * p.c + c;
        gradient = read4(dy + window, lanes, lanes == 4);
        winners = winner[window / 4] >> window % 4 * 2;
        if (mask) gradient = opened(gradient, read4(mask + window, lanes, lanes == 4));
    }
    #pragma unroll
    for (unsigned k = 0; k < 4; ++k) {
        const unsigned row = 2 * i + k / 2, column = 2 * j + k % 2;
        if (row >= p.h || column >= p.w) continue;
        const float4 mine = make_float4((winners & 3) == k ? gradient.x : 0.0f,
                                        (winners >> 2 & 3) == k ? gradient.y : 0.0f,
                                        (winners >> 4 & 3) == k ? gradient.z : 0.0f,
                                        (winners >> 6 & 3) == k ? gradient.w : 0.0f);
        write4(dx + (((n * p.h + row) * p.w + column) * p.c + c), mine, lanes, lanes == 4);
    }
}

extern "C" __global__ __launch_bounds__(LINEAR) void maxpool2d_backward(
    const Pool2d p, const float* __restrict__ dy, const unsigned char* __restrict__ winner,
    const float* __restrict__ mask, float* __restrict__ dx)
{
    const unsigned first = (blockIdx.x * LINEAR + threadIdx.x) * 4;
    const unsigned len = p.n * ((p.h + 1) / 2) * ((p.w + 1) / 2) * p.c;
    if (first >= len) return;

    if (p.c % 4 == 0) {
        back(p, first, 4, dy, winner, mask, dx);
    } else {
        #pragma unroll 1
        for (unsigned at = first; at < first + 4 && at < len; ++at) back(p, at, 1, dy, winner, mask, dx);
    }
}
