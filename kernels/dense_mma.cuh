// dense_mma.cuh   the dense layer forward on tensor cores: the body of dense_bf16.cu and dense_tf32x3.cu
//
//   parts[z] = Σ x · weight over the inputs z·length to (z+1)·length of every sample and unit
//
// A batch has tens of samples and a weight millions of numbers, each of which is read once: the weight is the
// traffic, and time is what it takes to read it. So operands are swapped: M = BM units, N = the batch, padded with
// zeros to 16, 32 or 64, K = the inputs, and there are as many parts (split-K) as it takes to give every multiprocessor
// two blocks. Steps of the weight come by 16-byte cp.async, STAGES - 1 of them ahead: 12 to 24 copies a thread. Beyond
// 64 samples the weight is read again for each 64.
//
// The weight (c_in, c_out) is MN-major, x (n, c_in) K-major. Where c_in or c_out is no whole chunk of 16
// bytes (`WHOLE`), numbers are fetched one by one and packed on the way.

#pragma once

#include "conv2d_mma.cuh"

// A block for batches of up to COLUMNS samples.
template <class T, int COLUMNS, int DEPTH> using DenseTile = Tile<T, 128, COLUMNS, DEPTH, 32, COLUMNS, 4>;

// Grid (unit tiles, sample tiles, parts). parts (parts, n, c_out).
template <class Tile, bool WHOLE>
__device__ __forceinline__ void dense_part(
    const Dense p, const Split split, const typename Tile::Number* RESTRICT x,
    const typename Tile::Number* RESTRICT weight, float* RESTRICT parts)
{
    using T = typename Tile::T;
    constexpr int WIDE = Tile::BM / CHUNK<T>, CHUNKS = Tile::BK / CHUNK<T>;
    using A = MNMajor<T, WIDE>;
    using B = KMajor<T, CHUNKS>;
    const int n = p.n, c_in = p.c_in, c_out = p.c_out, thread = threadIdx.x;
    const Spot spot = {int(blockIdx.x) * Tile::BM, int(blockIdx.y) * Tile::BN};
    const int begin = blockIdx.z * split.length, end = min(begin + int(split.length), c_in);

    constexpr int APART_A = Tile::THREADS / WIDE, MINE_A = Tile::BK / APART_A;
    constexpr int APART_B = Tile::THREADS / CHUNKS, MINE_B = Tile::BN / APART_B;
    static_assert(Tile::BK % APART_A == 0 && Tile::BN % APART_B == 0 && MINE_B > 0);
    const int unit = spot.row + thread % WIDE * CHUNK<T>, k_row = thread / WIDE;
    const int chunk = thread % CHUNKS, sample = spot.column + thread / CHUNKS;

    int input = begin;                               // the step's first
    const auto load = [&](Copies& copy, const unsigned a, const unsigned b) {
        // 16 bytes, of which `left` numbers exist.
        const auto bring = [&](const int slot, const unsigned to, const typename Tile::Number* from, const int left) {
            if constexpr (WHOLE) {
                copy(slot, to, from, left > 0);
            } else {
                store16(to, read_chunk<T>(from, left, false));
            }
        };
        #pragma unroll
        for (int k = 0; k < MINE_A; ++k) {
            const int i = input + k_row + k * APART_A;
            bring(k, a + A::at(k_row + k * APART_A, thread % WIDE), weight + (i * c_out + unit),
                  i < end ? c_out - unit : 0);
        }
        const int first = input + chunk * CHUNK<T>;
        #pragma unroll
        for (int k = 0; k < MINE_B; ++k) {
            const int row = sample + k * APART_B;
            bring(MINE_A + k, b + B::at(thread / CHUNKS + k * APART_B, chunk), x + (row * c_in + first),
                  row < n ? end - first : 0);
        }
        input += Tile::BK;
    };
    float acc[Tile::WM / 16][Tile::WN / 8][4];
    const int steps = end > begin ? (end - begin + Tile::BK - 1) / Tile::BK : 0;
    product<Tile, A, B>(shared_address(dynamic), steps, load, [](unsigned) {}, acc);

    // Eight lanes store 32 neighbouring bytes.
    float* to = parts + blockIdx.z * (n * c_out);
    each_pair<Tile>(acc, [&](const int row, const int column, const float low, const float high) {
        const int u = spot.row + row, s = spot.column + column;
        if (u >= c_out) return;
        if (s < n) to[s * c_out + u] = low;
        if (s + 1 < n) to[(s + 1) * c_out + u] = high;
    });
}

// What entries take: NAME ends in the format and the tile, units x samples x K of a step.
#define DENSE_FORWARD(NAME, TYPE)                                                                               \
    extern "C" __global__ __launch_bounds__(128, 2) void dense_forward_##NAME(                                  \
        const Dense p, const Split split, const TYPE::Number* RESTRICT x,                                       \
        const TYPE::Number* RESTRICT weight, float* RESTRICT parts)
