// conv2d_7_wgmma   seventh rung: Hopper's product of four warps, on tiles that TMA brings
// targets: sm_90a
// hot: conv2d_7_wgmma
//
// As conv2d_6_pipelined, channels and filters in multiples of 64. Two units work by themselves where threads did:
//
//   TMA      one thread asks for a box of a tensor that the host has described (a tensor map); addresses, zeros
//            outside and the swizzle are the unit's business. In its im2col mode a box is what one tap sees of a
//            run of pixels, 64 channels of each. An mbarrier counts the bytes that have come.
//   wgmma    a warpgroup, four warps, multiplies 64 pixels by 64 filters, K = 16. Both operands are read from shared
//            memory, where descriptors say they lie; registers hold only accumulators. It is issued, then waited for.
//
// A block is one warpgroup, 128 pixels x 64 filters. Grid (pixels/128, filters/64). 24 KiB shared memory, one
// stage. Per step (64 channels) a block reads 24 KiB for 1 Mflop: 43 flops per byte.
//
// What to look at: asked for, waited for, multiplied, waited for, one after the other. Only other blocks of the
// multiprocessor fill the gaps; how many fit decides the speed.

#include "../hopper.cuh"
#include "pair.cuh"

constexpr int ROWS = 128, COLUMNS = 64, DEPTH = 64;
constexpr int TILE_A = ROWS * DEPTH * 2, TILE_B = COLUMNS * DEPTH * 2;    // bytes
constexpr int ROWS_64 = 64 * DEPTH * 2;                                   // of the rows that a wgmma takes

extern "C" __global__ __launch_bounds__(128) void conv2d_7_wgmma(
    const Conv2d p, const unsigned relu,
    const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap weight,
    const float* RESTRICT bias, unsigned short* RESTRICT y)
{
    // The swizzle goes by the address and repeats after 1024 bytes: so row r of either tile is permuted by r % 8.
    __shared__ __align__(1024) unsigned char tiles[TILE_A + TILE_B];
    __shared__ unsigned long long barrier;
    const int h = p.h, w = p.w, c_in = p.c_in;
    const int first_pixel = blockIdx.x * ROWS, first_filter = blockIdx.y * COLUMNS;
    const unsigned a = shared_address(tiles), b = a + TILE_A, arrived = shared_address(&barrier);
    if (threadIdx.x == 0) {
        init_barrier(arrived, 1);
        fence_barrier_init();
    }
    __syncthreads();

    // Where the window of the first pixel begins, which the padding puts one row and column before it.
    const int n = first_pixel / (h * w), top = first_pixel / w % h - 1, left = first_pixel % w - 1;
    float acc[ROWS / 64][COLUMNS / 2] = {};
    int parity = 0;
    #pragma unroll 1
    for (int tap = 0; tap < 9; ++tap) {
        #pragma unroll 1
        for (int c = 0; c < c_in; c += DEPTH) {
            if (threadIdx.x == 0) {
                arrive_expect_tx(arrived, TILE_A + TILE_B);
                load_pixels(a, &x, arrived, c, left, top, n, tap / 3, tap % 3);
                load_box(b, &weight, arrived, tap * c_in + c, first_filter);
            }
            wait(arrived, parity);
            parity ^= 1;
            wgmma_fence();
            #pragma unroll
            for (int k = 0; k < DEPTH / 16; ++k)
                #pragma unroll
                for (int m = 0; m < ROWS / 64; ++m)
                    Wgmma<COLUMNS>::issue<false, false>(
                        acc[m], smem_descriptor<false>(a + m * ROWS_64, k), smem_descriptor<false>(b, k), 1);
            wgmma_commit();
            wgmma_wait<0>();
            // All four warps have waited for their part of the products: the tiles are free. (In rung 8 one warp's wait
            // speaks for all four.)
            __syncthreads();
        }
    }
    fence_acc(acc);

    // Accumulators lie as those of mma.sync do: sixteen pixels a warp, eight filters after eight.
    const int lane = threadIdx.x % 32, row = first_pixel + threadIdx.x / 32 * 16 + lane / 4;
    #pragma unroll
    for (int q = 0; q < ROWS / 32; ++q)
        #pragma unroll
        for (int k = 0; k < COLUMNS / 8; ++k)
            store_pair(p, relu, bias, y, row + q / 2 * 64 + q % 2 * 8, first_filter + k * 8 + lane % 4 * 2,
                       acc[q / 2][k * 4 + q % 2 * 2], acc[q / 2][k * 4 + q % 2 * 2 + 1]);
}
