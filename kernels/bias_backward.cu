// bias_backward   dbias[c] = Σ_row dy[row,c]
// targets: sm_75
//
//   dy      (rows, channels)    in   rows = n·h·w of a convolution, n of a dense layer
//   sums    (parts, channels)   out  part k sums the rows k·length to (k+1)·length; with one part, dbias
//   dbias   (channels)          out  of bias_backward_reduce
//
// bias_backward          32 channels x 8 rows of threads per block, grid (channels/32, parts). A thread
//                        takes every eighth row of its part; the eight sums meet in 1 KiB of shared memory.
// bias_backward_reduce   one thread per channel, 256 per block, adds the parts in order.
//
// Reads 4 bytes for 1 flop: bound by bandwidth. A warp reads 32 neighbours.

#include "common.cuh"
#include "params.cuh"
#include "reduce.cuh"

constexpr unsigned CHANNELS = 32, LINES = 8;

extern "C" __global__ __launch_bounds__(CHANNELS * LINES) void bias_backward(
    const Matrix p, const Split split, const float* __restrict__ dy, float* __restrict__ sums)
{
    __shared__ float part[LINES][CHANNELS];
    const unsigned lane = threadIdx.x % CHANNELS, line = threadIdx.x / CHANNELS;
    const unsigned c = blockIdx.x * CHANNELS + lane;
    const unsigned begin = blockIdx.y * split.length;
    const unsigned end = min(begin + split.length, p.rows);

    float sum = 0.0f;
    if (c < p.columns)
        for (unsigned row = begin + line; row < end; row += LINES) sum += dy[row * p.columns + c];
    part[line][lane] = sum;
    __syncthreads();

    if (line == 0 && c < p.columns) {
        #pragma unroll
        for (unsigned k = 1; k < LINES; ++k) sum += part[k][lane];
        sums[blockIdx.y * p.columns + c] = sum;
    }
}

extern "C" __global__ __launch_bounds__(LINEAR) void bias_backward_reduce(
    const Partials p, const float* __restrict__ parts, float* __restrict__ dbias)
{
    const unsigned c = blockIdx.x * LINEAR + threadIdx.x;
    if (c < p.len) dbias[c] = sum_of_parts(p, parts, c);
}
