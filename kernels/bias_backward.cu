// bias_backward   dbias[c] = Σ_row dy[row,c]
// targets: sm_75 sm_90
//
//   dy      (rows, channels)    in   rows = n·h·w of a convolution, n of a dense layer; f32, or the 16 bits that
//                                    the name ends in
//   sums    (parts, channels)   out  part k sums the rows k·length to (k+1)·length; with one part, dbias
//   dbias   (channels)          out  of the _reduce
//
// bias_backward               32 channels x 8 rows of threads per block, grid (channels/32, parts). A thread
//                             takes every eighth row of its part; the eight sums are added in 1 KiB of
//                             shared memory.
// bias_backward_reduce        one thread per channel, 256 per block, adds the parts in order.
// bias_backward_bf16, _f16    64 channels x 32 rows per block, grid (channels/64, parts): a thread takes eight
//                             channels, 16 bytes, of every 32nd row of its part, four rows in flight; the 32
//                             sums are added in 8 KiB of shared memory.
// bias_backward_…_reduce      as bias_backward, of the parts as rows.
//
// Reads 4 bytes (2 of 16 bits) for 1 flop: bound by bandwidth. A warp reads 32 neighbours, or 4 rows of 64.

#include "common.cuh"
#include "half.cuh"
#include "params.cuh"
#include "reduce.cuh"

constexpr unsigned CHANNELS = 32, LINES = 8;
constexpr unsigned WIDE = 64, ROWS = 32, EACH = LANES<Bf16>;

// Σ of the rows from `begin` to `end` of the block's 32 channels, into a row of as many sums.
__device__ __forceinline__ void sum_rows(
    const unsigned begin, const unsigned end, const unsigned columns, const float* RESTRICT dy,
    float* RESTRICT sums)
{
    __shared__ float part[LINES][CHANNELS];
    const unsigned lane = threadIdx.x % CHANNELS, line = threadIdx.x / CHANNELS;
    const unsigned c = blockIdx.x * CHANNELS + lane;

    float sum = 0.0f;
    if (c < columns)
        sum = sum_every<LINES>(begin + line, end, [&](const unsigned row) { return dy[row * columns + c]; });
    part[line][lane] = sum;
    __syncthreads();

    if (line == 0 && c < columns) {
        #pragma unroll
        for (unsigned k = 1; k < LINES; ++k) sum += part[k][lane];
        sums[c] = sum;
    }
}

// The same of 16 bits, by 64 channels.
template <class T>
__device__ __forceinline__ void sum_wide_rows(
    const Matrix& p, const Split& split, const T* RESTRICT dy, float* RESTRICT sums)
{
    __shared__ __align__(16) float part[ROWS][WIDE];   // written as float4
    const unsigned lane = threadIdx.x % (WIDE / EACH), line = threadIdx.x / (WIDE / EACH);
    const unsigned c = blockIdx.x * WIDE + EACH * lane;
    const int left = static_cast<int>(p.columns) - static_cast<int>(c);
    const unsigned begin = blockIdx.y * split.length;
    const unsigned end = min(begin + split.length, p.rows);
    // Then every row begins at a multiple of 16 bytes, and of a thread's channels all exist or none.
    const bool aligned = p.columns % EACH == 0;

    float sum[EACH] = {};
    if (left > 0 && aligned) {
        #pragma unroll 1
        for (unsigned row = begin + line; row < end; row += 4 * ROWS) {
            // Rows past the end are zeros, which change no sum (reduce.cuh).
            float v[4][EACH] = {};
            #pragma unroll
            for (unsigned j = 0; j < 4; ++j)
                if (row + j * ROWS < end) read(dy + (row + j * ROWS) * p.columns + c, EACH, true, v[j]);
            #pragma unroll
            for (unsigned j = 0; j < 4; ++j)
                #pragma unroll
                for (unsigned k = 0; k < EACH; ++k) sum[k] += v[j][k];
        }
    } else if (left > 0) {
        #pragma unroll 1
        for (unsigned row = begin + line; row < end; row += ROWS) {
            float v[EACH];
            read(dy + row * p.columns + c, left, false, v);
            #pragma unroll
            for (unsigned k = 0; k < EACH; ++k) sum[k] += v[k];
        }
    }
    float4* to = reinterpret_cast<float4*>(&part[line][EACH * lane]);
    to[0] = make_float4(sum[0], sum[1], sum[2], sum[3]);
    to[1] = make_float4(sum[4], sum[5], sum[6], sum[7]);
    __syncthreads();

    const unsigned mine = blockIdx.x * WIDE + threadIdx.x;
    if (threadIdx.x < WIDE && mine < p.columns) {
        float all = 0.0f;
        #pragma unroll
        for (unsigned k = 0; k < ROWS; ++k) all += part[k][threadIdx.x];
        sums[blockIdx.y * p.columns + mine] = all;
    }
}

extern "C" __global__ __launch_bounds__(CHANNELS * LINES) void bias_backward(
    const Matrix p, const Split split, const float* RESTRICT dy, float* RESTRICT sums)
{
    await_predecessor();
    const unsigned begin = blockIdx.y * split.length;
    sum_rows(begin, min(begin + split.length, p.rows), p.columns, dy, sums + blockIdx.y * p.columns);
}

extern "C" __global__ __launch_bounds__(LINEAR) void bias_backward_reduce(
    const Partials p, const float* RESTRICT parts, float* RESTRICT dbias)
{
    await_predecessor();
    const unsigned c = blockIdx.x * LINEAR + threadIdx.x;
    if (c < p.len) dbias[c] = sum_of_parts(p, parts, c);
}

extern "C" __global__ __launch_bounds__(WIDE / EACH * ROWS) void bias_backward_bf16(
    const Matrix p, const Split split, const Bf16* RESTRICT dy, float* RESTRICT sums)
{
    await_predecessor();
    sum_wide_rows(p, split, dy, sums);
}

extern "C" __global__ __launch_bounds__(CHANNELS * LINES) void bias_backward_bf16_reduce(
    const Partials p, const float* RESTRICT parts, float* RESTRICT dbias)
{
    await_predecessor();
    sum_rows(0, p.count, p.len, parts, dbias);
}

extern "C" __global__ __launch_bounds__(WIDE / EACH * ROWS) void bias_backward_f16(
    const Matrix p, const Split split, const F16* RESTRICT dy, float* RESTRICT sums)
{
    await_predecessor();
    sum_wide_rows(p, split, dy, sums);
}

extern "C" __global__ __launch_bounds__(CHANNELS * LINES) void bias_backward_f16_reduce(
    const Partials p, const float* RESTRICT parts, float* RESTRICT dbias)
{
    await_predecessor();
    sum_rows(0, p.count, p.len, parts, dbias);
}
