// transpose   y[n,c,r] = x[n,r,c]
// targets: sm_75 sm_90
//
//   x   (batch, rows, columns)   in
//   y   (batch, columns, rows)   out
//
// NHWC to NCHW with rows = h·w and columns = c; HWIO to OHWI with batch 1, rows = h·w·i, columns = o;
// OIHW to OHWI with batch = o, rows = i, columns = h·w.
//
// A block of 256 threads takes a tile of 32 x 32: read by rows, written by columns, both 128 bytes at a
// time. In shared memory (4.1 KiB) a row has 33 numbers, so that the 32 of a column lie in 32 banks.
// 8 bytes per element, no flops: bound by bandwidth.

#include "common.cuh"
#include "params.cuh"

constexpr int TILE = 32, THREADS = 256, LINES = THREADS / TILE;

extern "C" __global__ __launch_bounds__(THREADS) void transpose(
    const Transpose p, const float* RESTRICT x, float* RESTRICT y)
{
    await_predecessor();
    __shared__ float tile[TILE][TILE + 1];
    const int rows = p.rows, columns = p.columns;
    const int across = (columns + TILE - 1) / TILE, down = (rows + TILE - 1) / TILE;
    const int block = blockIdx.x;
    const int left = block % across * TILE, top = block / across % down * TILE;
    const int first = block / across / down * (rows * columns);
    const int lane = threadIdx.x % TILE, line = threadIdx.x / TILE;
    #pragma unroll
    for (int k = 0; k < TILE; k += LINES) {
        const int r = top + line + k, c = left + lane;
        if (r < rows && c < columns) tile[line + k][lane] = x[first + r * columns + c];
    }
    __syncthreads();
    #pragma unroll
    for (int k = 0; k < TILE; k += LINES) {
        const int r = top + lane, c = left + line + k;
        if (r < rows && c < columns) y[first + c * rows + r] = tile[lane][line + k];
    }
}
