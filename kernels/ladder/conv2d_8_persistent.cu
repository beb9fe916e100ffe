// conv2d_8_persistent   eighth rung: one warpgroup loads, two multiply; persistent blocks
// targets: sm_90a
// hot: conv2d_8_persistent
// dynamic-shared: conv2d_8_persistent 196672
//
// Instructions and layouts as conv2d_7_wgmma. What is new is who waits for whom:
//
//   producer    one thread of the third warpgroup asks for step after step, as far ahead as there are stages
//   consumers   two warpgroups, each with half of the tile's pixels; a wgmma is in flight while the next is issued
//   ring        four stages. `full` of a stage: its bytes have come. `empty`: both consumers have done with it. A
//               barrier's phases change parity each time around; that before the first counts as over.
//   setmaxnreg  the producer's registers go to the consumers: accumulators of 128 x 128 take 128 of each thread. A
//               thread has a multiple of eight registers: 384 threads begin with 168 each (65536 / 384 = 170), 64512
//               in all, and share no more later: 128 · 40 + 256 · 232 = 64512. 40 is enough for the producer's
//               addresses; the next step, 24 and 240, would be tight for them
//   persistent  a block for each multiprocessor does tiles b, b + grid, ...: the producer is at the next tile while
//               the consumers store the last one
//
// A block's tile is 256 pixels x 128 filters: 85 flops per byte. Filters past the last are zeros, and not stored.
// 192 KiB shared memory, one block to a multiprocessor. Grid min(tiles, multiprocessors).
//
// What is left for conv2d_sm90.cuh: tiles by the layer, stores by TMA, a mask, a pool.

#include "../hopper.cuh"
#include "pair.cuh"

constexpr int ROWS = 256, COLUMNS = 128, DEPTH = 64, STAGES = 4;
constexpr int TILE_A = ROWS * DEPTH * 2, TILE_B = COLUMNS * DEPTH * 2, STAGE = TILE_A + TILE_B;    // bytes
constexpr int ROWS_64 = 64 * DEPTH * 2;                                   // of the rows that a wgmma takes

extern __shared__ __align__(1024) unsigned char dynamic[];

extern "C" __global__ __launch_bounds__(384, 1) void conv2d_8_persistent(
    const __grid_constant__ Conv2d p, const unsigned relu,
    const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap weight,
    const float* RESTRICT bias, unsigned short* RESTRICT y)
{
    const int h = p.h, w = p.w, c_in = p.c_in, pixels = p.n * h * w;
    const int across = (p.c_out + COLUMNS - 1) / COLUMNS, tiles = (pixels + ROWS - 1) / ROWS * across;
    const int warpgroup = threadIdx.x / 128;
    const unsigned stages = shared_address(dynamic), barriers = stages + STAGES * STAGE;
    const auto full = [&](const int stage) { return barriers + stage * 16; };
    const auto empty = [&](const int stage) { return barriers + stage * 16 + 8; };
    if (threadIdx.x == 0) {
        #pragma unroll
        for (int k = 0; k < STAGES; ++k) {
            init_barrier(full(k), 1);
            init_barrier(empty(k), 2);
        }
        fence_barrier_init();
    }
    __syncthreads();

    // Producer and consumers go around the ring by themselves.
    int stage = 0, parity = 0;
    const auto advance = [&] {
        if (++stage == STAGES) {
            stage = 0;
            parity ^= 1;
        }
    };
    if (warpgroup == 2) {
        dealloc_registers<40>();
        if (threadIdx.x != 256) return;
        for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
            const int first = tile / across * ROWS;
            const int n = first / (h * w), top = first / w % h - 1, left = first % w - 1;
            for (int tap = 0; tap < 9; ++tap) {
                for (int c = 0; c < c_in; c += DEPTH) {
                    const unsigned a = stages + stage * STAGE;
                    wait(empty(stage), parity ^ 1);
                    arrive_expect_tx(full(stage), STAGE);
                    load_pixels(a, &x, full(stage), c, left, top, n, tap / 3, tap % 3);
                    load_box(a + TILE_A, &weight, full(stage), tap * c_in + c, tile % across * COLUMNS);
                    advance();
                }
            }
        }
        return;
    }

    alloc_registers<232>();
    const bool is_elected = threadIdx.x % 128 == 0;
    const int lane = threadIdx.x % 32, row = warpgroup * 128 + threadIdx.x / 32 % 4 * 16 + lane / 4;
    float acc[2][COLUMNS / 2] = {};                  // nobody reads these zeros; ptxas wants a value before the loop
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        int before = 0;
        for (int step = 0; step < 9 * c_in / DEPTH; ++step) {
            wait(full(stage), parity);
            const unsigned a = stages + stage * STAGE + warpgroup * 2 * ROWS_64, b = stages + stage * STAGE + TILE_A;
            wgmma_fence();
            #pragma unroll
            for (int k = 0; k < DEPTH / 16; ++k)
                #pragma unroll
                for (int m = 0; m < 2; ++m)
                    Wgmma<COLUMNS>::issue<false, false>(
                        acc[m], smem_descriptor<false>(a + m * ROWS_64, k), smem_descriptor<false>(b, k), (step | k) != 0);
            wgmma_commit();
            // The wgmma before these are done, of all four warps (docs/ladder.md): their stage is free.
            wgmma_wait<1>();
            if (step > 0 && is_elected) arrive(empty(before));
            before = stage;
            advance();
        }
        wgmma_wait<0>();
        if (is_elected) arrive(empty(before));
        fence_acc(acc);
        const int pixel = tile / across * ROWS + row, filter = tile % across * COLUMNS + lane % 4 * 2;
        #pragma unroll
        for (int q = 0; q < 4; ++q)
            #pragma unroll
            for (int k = 0; k < COLUMNS / 8; ++k)
                store_pair(p, relu, bias, y, pixel + q / 2 * 64 + q % 2 * 8, filter + k * 8,
                           acc[q / 2][k * 4 + q % 2 * 2], acc[q / 2][k * 4 + q % 2 * 2 + 1]);
    }
}
