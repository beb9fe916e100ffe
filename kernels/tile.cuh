// tile.cuh   the product inside the convolutions: sums += A · B on a tile of 128 x 64
//
//   A   128 rows x K = 8, B K = 8 x 64 columns, both MN-major in shared memory: for each k the rows, or columns,
//       side by side
//   sums   in registers: 8 x 8 per thread, 128 threads as 16 x 8
//
// A thread's rows are two groups of four, 64 apart, its columns two groups of four, 32 apart. So it reads
// each group by one 16-byte load; the eight column groups of a warp are 128 neighbouring bytes and its
// four row groups are broadcasts: no bank conflict. 4 loads feed 64 fused multiply-adds.
//
// Two stages: while one is multiplied, the other is filled from registers that were loaded a step
// before. One barrier per step is enough, because a stage is filled a whole step after it was read.

#pragma once

#include "common.cuh"

constexpr int ROWS = 128, COLUMNS = 64, DEPTH = 8, THREADS = 128;

// Four more than the columns, so that stores of a transposed B meet different banks.
constexpr int STRIDE = COLUMNS + 4;

struct alignas(16) Stage {
    float a[DEPTH][ROWS];
    float b[DEPTH][STRIDE];
};

// The first of the thread's rows and columns; the second groups begin 64 and 32 later.
__device__ __forceinline__ int my_row() { return threadIdx.x / 8 * 4; }
__device__ __forceinline__ int my_column() { return threadIdx.x % 8 * 4; }

__device__ __forceinline__ void clear(float (&sums)[8][8])
{
    #pragma unroll
    for (int r = 0; r < 8; ++r)
        #pragma unroll
        for (int c = 0; c < 8; ++c) sums[r][c] = 0.0f;
}

__device__ __forceinline__ void multiply(const Stage& stage, float (&sums)[8][8])
{
    const int row = my_row(), column = my_column();
    #pragma unroll
    for (int d = 0; d < DEPTH; ++d) {
        float a[8], b[8];
        unpack4(&stage.a[d][row], a);
        unpack4(&stage.a[d][row + 64], a + 4);
        unpack4(&stage.b[d][column], b);
        unpack4(&stage.b[d][column + 32], b + 4);
        #pragma unroll
        for (int r = 0; r < 8; ++r)
            #pragma unroll
            for (int c = 0; c < 8; ++c) sums[r][c] = fmaf(a[r], b[c], sums[r][c]);
    }
}

// Eight depths of one row of A, held by the thread of that row: neighbours write neighbours.
__device__ __forceinline__ void fill_row(Stage& stage, const int row, const float4 low, const float4 high)
{
    stage.a[0][row] = low.x;
    stage.a[1][row] = low.y;
    stage.a[2][row] = low.z;
    stage.a[3][row] = low.w;
    stage.a[4][row] = high.x;
    stage.a[5][row] = high.y;
    stage.a[6][row] = high.z;
    stage.a[7][row] = high.w;
}
