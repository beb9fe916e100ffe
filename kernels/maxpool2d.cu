// maxpool2d   y[n,i,j,c] = max x[n,2i+a,2j+b,c] over a, b in {0, 1}
// targets: sm_75
//
//   x, dx    (n, h, w, c)          an odd last row or column is dropped, its gradient is zero
//   y, dy    (n, h/2, w/2, c)
//   winner   (n, h/2, w/2, c) u8   2a+b of the maximum: the first of equals, or the first NaN
//
// maxpool2d_forward    one thread per output; winner may be null (inference)
// maxpool2d_backward   one thread per element of dx: dy where its window's winner is this corner
//
// 256 threads per block along (row, column, channel), channels fastest, so a warp reads neighbours.
// No shared memory. Forward reads 16 bytes and writes 5 per output, backward reads 5/4 and writes 4 per
// element: bound by bandwidth.

#include "common.cuh"
#include "params.cuh"

extern "C" __global__ __launch_bounds__(LINEAR) void maxpool2d_forward(
    const Pool2d p, const float* __restrict__ x, float* __restrict__ y, unsigned char* __restrict__ winner)
{
    const unsigned me = blockIdx.x * LINEAR + threadIdx.x;
    const unsigned rows = p.h / 2, columns = p.w / 2;
    if (me >= p.n * rows * columns * p.c) return;

    const unsigned c = me % p.c;
    const unsigned j = me / p.c % columns;
    const unsigned line = me / p.c / columns;                          // n·rows + i
    const unsigned n = line / rows, i = line % rows;
    const float* corner = x + (((n * p.h + 2 * i) * p.w + 2 * j) * p.c + c);

    float best = corner[0];
    unsigned char which = 0;
    #pragma unroll
    for (unsigned k = 1; k < 4; ++k) {
        const float other = corner[(k / 2 * p.w + k % 2) * p.c];
        if (other > best || (is_nan(other) && !is_nan(best))) {        // strict: the first of equals stays
            best = other;
            which = k;
        }
    }
    y[me] = best;
    if (winner) winner[me] = which;
}

extern "C" __global__ __launch_bounds__(LINEAR) void maxpool2d_backward(
    const Pool2d p, const float* __restrict__ dy, const unsigned char* __restrict__ winner,
    float* __restrict__ dx)
{
    const unsigned me = blockIdx.x * LINEAR + threadIdx.x;
    if (me >= p.n * p.h * p.w * p.c) return;

    const unsigned rows = p.h / 2, columns = p.w / 2;
    const unsigned c = me % p.c;
    const unsigned j = me / p.c % p.w;
    const unsigned line = me / p.c / p.w;                              // n·h + i
    const unsigned n = line / p.h, i = line % p.h;

    float gradient = 0.0f;
    if (i / 2 < rows && j / 2 < columns) {
        const unsigned window = ((n * rows + i / 2) * columns + j / 2) * p.c + c;
        if (winner[window] == i % 2 * 2 + j % 2) gradient = dy[window];
    }
    dx[me] = gradient;
}
