// conv2d_sm90_weight.cuh   the gradient of a 3x3 convolution's weights by TMA and wgmma: a body of conv2d_sm90.cu
//
// M = filters, N = (tap, channel), K = pixels. Blocks, warpgroups and the ring are those of conv2d_sm90.cuh, but blocks
// share steps, not tiles (stream-K), and an otherwise idle warp sums dy for the gradient of the bias.

#pragma once

#include "conv2d_sm90.cuh"

// Dynamic shared memory: no buffers for results.
template <class Tile> constexpr int WEIGHT_SHARED = Tile::STAGES * (Tile::STAGE + 16);

// What a block's steps `begin` to `end` give of the bias' gradient, by one warp of the producer's warpgroup:
// consumers, whose wgmma decide the kernel's time, do nothing for it. All column tiles of a filter see the same dy,
// so with T column tiles, each sums every T-th step (3rd to 24th): 16 KiB of shared memory and about 1000
// instructions of a warp, which the ring's other stages hide. A tile's sums go to a row of biases as its parts go to
// a slot.
template <class Tile>
__device__ __forceinline__ void sum_biases(
    const unsigned shared, const int begin, const int end, const int steps, const int down, const int across,
    float* RESTRICT biases)
{
    const unsigned barriers = shared + Tile::STAGES * Tile::STAGE;
    const int lane = threadIdx.x % 32;
    Ring<Tile::STAGES> ring;
    for (int at = begin; at < end;) {
        const int tile = at / steps, first = at % steps, last = min(steps, first + end - at);
        // The tile's first step, from `first` on.
        int mine = first + (tile / down + across - first % across) % across;
        // Eight filters of each box of 64; four lanes share them.
        float sums[Tile::BM / 64][8] = {};
        for (int step = first; step < last; ++step) {
            wait(full(barriers, ring.stage), ring.parity);
            if (step == mine) {
                const unsigned stage = shared + ring.stage * Tile::STAGE;
                #pragma unroll 2
                for (int row = lane / 8; row < BF16_STEP; row += 4)
                    #pragma unroll
                    for (int i = 0; i < Tile::BM / 64; ++i)
                        add_chunk<Bf16>(sums[i], load_chunk(stage + i * BOX_64 + swizzled_offset(row, lane % 8)));
                mine += across;
            }
            __syncwarp();
            if (lane == 0) arrive(empty(barriers, ring.stage));
            ring.advance();
        }
        float* to = biases + ((int(blockIdx.x) + tile) * Tile::BM + lane % 8 * 8);
        #pragma unroll
        for (int i = 0; i < Tile::BM / 64; ++i) {
            #pragma unroll
            for (int k = 0; k < 8; ++k) {
                sums[i][k] += __shfl_xor_sync(~0u, sums[i][k], 8);
                sums[i][k] += __shfl_xor_sync(~0u, sums[i][k], 16);
            }
            if (lane >= 8) continue;
            *reinterpret_cast<float4*>(to + i * 64) = make_float4(sums[i][0], sums[i][1], sums[i][2], sums[i][3]);
            *reinterpret_cast<float4*>(to + i * 64 + 4) = make_float4(sums[i][4], sums[i][5], sums[i][6], sums[i][7]);
        }
        at += last - first;
    }
}

// parts: partial sums of dweight, in slots of BM filters by BN columns (tap, channel). Blocks share the steps evenly,
// 64 pixels of one tile each, tile after tile (stream-K): block g of G computes steps g·all/G to (g+1)·all/G, and its
// part of tile t goes to slot g + t, which no other block or tile uses. Of 3 tiles of 4 steps and 5 blocks, say:
//
//   step     0  1 | 2  3 || 4  5  6 | 7 || 8 | 9 10 11
//   tile         0       ||      1      ||      2
//   block     0   |  1   ||    2    | 3 || 3 |    4
//   slot      0   |  1   ||    3    | 4 || 5 |    6
//
// biases: a row of BM filters for each slot; or null.
template <class Tile>
__device__ __forceinline__ void backward_weight(
    const Conv2d& p, const TensorMap* x, const TensorMap* dy, float* RESTRICT parts, float* RESTRICT biases)
{
    const unsigned shared = shared_address(dynamic);
    const unsigned barriers = shared + Tile::STAGES * Tile::STAGE;
    const int warpgroup = threadIdx.x / 128;
    const int steps = (p.n * p.h * p.w + BF16_STEP - 1) / BF16_STEP;
    const int down = (p.c_out + Tile::BM - 1) / Tile::BM, chunks = 9 * p.c_in / 64;
    const int across = (chunks * 64 + Tile::BN - 1) / Tile::BN;
    const long long all = static_cast<long long>(down) * across * steps;
    const int begin = all * blockIdx.x / gridDim.x, end = all * (blockIdx.x + 1) / gridDim.x;
    make_ring<Tile::STAGES>(barriers, x, dy, biases ? 3 : 2);
    Ring<Tile::STAGES> ring;
    if (warpgroup == 2) {
        // As many as sum_biases needs; that leaves 216 for the consumers, which have 128 accumulators.
        dealloc_registers<72>();
        if (threadIdx.x / 32 == PRODUCER / 32 + 1 && biases)
            sum_biases<Tile>(shared, begin, end, steps, down, across, biases);
        if (threadIdx.x != PRODUCER) return;
        for (int at = begin; at < end;) {
            const int tile = at / steps, first = at % steps, last = min(steps, first + end - at);
            const int filter = tile % down * Tile::BM;
            int channel[Tile::BN / 64], i[Tile::BN / 64], j[Tile::BN / 64];
            #pragma unroll
            for (int k = 0; k < Tile::BN / 64; ++k) {
                // Past the last chunk, the last one again: nobody reads those columns.
                const int chunk = min(tile / down * (Tile::BN / 64) + k, chunks - 1), tap = chunk / int(p.c_in / 64);
                channel[k] = chunk % int(p.c_in / 64) * 64;
                i[k] = tap / 3;
                j[k] = tap % 3;
            }
            for (int step = first; step < last; ++step) {
                const Corner corner = corner_of(p, step * BF16_STEP);
                const unsigned arrived = full(barriers, ring.stage), a = shared + ring.stage * Tile::STAGE;
                wait(empty(barriers, ring.stage), ring.parity ^ 1);
                arrive_expect_tx(arrived, Tile::STAGE);
                #pragma unroll
                for (int k = 0; k < Tile::BM / 64; ++k)
                    load_box(a + k * BOX_64, dy, arrived, filter + k * 64, step * BF16_STEP);
                #pragma unroll
                for (int k = 0; k < Tile::BN / 64; ++k)
                    load_pixels(a + Tile::STAGE_A + k * BOX_64, x, arrived, channel[k], corner.w, corner.h, corner.n,
                                i[k], j[k]);
                ring.advance();
            }
            at += last - first;
        }
        return;
    }
    alloc_registers<216>();
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
    const bool is_elected = threadIdx.x % 128 == 0;
    float acc[Tile::M_TILES][Tile::BN / 2] = {};
    for (int at = begin; at < end;) {
        const int tile = at / steps, first = at % steps, last = min(steps, first + end - at);
        int before = 0;
        for (int step = first; step < last; ++step) {
            wait(full(barriers, ring.stage), ring.parity);
            const unsigned stage = shared + ring.stage * Tile::STAGE;
            const unsigned a = stage + warpgroup * Tile::M_TILES * BOX_64, b = stage + Tile::STAGE_A;
            wgmma_fence();
            #pragma unroll
            for (int k = 0; k < BF16_STEP / 16; ++k)
                #pragma unroll
                for (int i = 0; i < Tile::M_TILES; ++i)
                    Wgmma<Tile::BN>::template issue<true, true>(
                        acc[i], smem_descriptor<true>(a + i * BOX_64, k), smem_descriptor<true>(b, k),
                        step > first || k > 0);
            wgmma_commit();
            wgmma_wait<1>();
            if (step > first && is_elected) arrive(empty(barriers, before));
            before = ring.stage;
            ring.advance();
        }
        wgmma_wait<0>();
        if (is_elected) arrive(empty(barriers, before));
        fence_acc(acc);
        float* slot = parts + static_cast<long long>(int(blockIdx.x) + tile) * (Tile::BM * Tile::BN);
        #pragma unroll
        for (int i = 0; i < Tile::M_TILES; ++i)
            #pragma unroll
            for (int rows = 0; rows < 2; ++rows) {
                const int row = (warpgroup * Tile::M_TILES + i) * 64 + warp * 16 + rows * 8 + lane / 4;
                float* to = slot + (row * Tile::BN + lane % 4 * 2);
                #pragma unroll
                for (int k = 0; k < Tile::BN / 8; ++k)
                    *reinterpret_cast<float2*>(to + k * 8) =
                        make_float2(acc[i][k * 4 + rows * 2], acc[i][k * 4 + rows * 2 + 1]);
            }
        at += last - first;
    }
}
