// conv2d_ends.cuh   epilogues of a convolution on tensor cores: bias, ReLU, pool, mask, stores
//
// Results go from fragments through shared memory, so that whole lines are stored: a row is padded by 16 bytes (bf16)
// or 32 (f32), which spreads the fragments' eight rows over all banks. For f16, where two blocks share the 64 KiB of
// sm_75, a row's chunks are swizzled instead. 16-bit results are rounded before anything is compared: the pool of a
// map is that of the map as it would have been stored.
//
// `whole` promises that channels come in chunks of 16 bytes; where it is a constant, nothing else is compiled.

#pragma once

#include "mma.cuh"
#include "pool.cuh"

extern __shared__ __align__(128) unsigned char dynamic[];

// The block's place among column tiles (fastest) and row tiles.
struct Spot {
    int row, column;
};

template <class Tile> __device__ __forceinline__ Spot spot_of(const unsigned columns)
{
    const unsigned tiles = (columns + Tile::BN - 1) / Tile::BN;
    return {int(blockIdx.x / tiles) * Tile::BM, int(blockIdx.x % tiles) * Tile::BN};
}

// Calls `take(row, column, low, high)` for the lane's accumulators, two neighbouring columns at a time; row and column
// are those in the block's tile.
template <class Tile, class Take>
__device__ __forceinline__ void each_pair(const float (&acc)[Tile::WM / 16][Tile::WN / 8][4], Take take)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int row = warp % (Tile::BM / Tile::WM) * Tile::WM + lane / 4;
    const int column = warp / (Tile::BM / Tile::WM) * Tile::WN + lane % 4 * 2;
    #pragma unroll
    for (int j = 0; j < Tile::WN / 8; ++j)
        #pragma unroll
        for (int i = 0; i < Tile::WM / 16; ++i) {
            take(row + i * 16, column + j * 8, acc[i][j][0], acc[i][j][1]);
            take(row + i * 16 + 8, column + j * 8, acc[i][j][2], acc[i][j][3]);
        }
}

// Where byte `at` of a row of the block's result lies in shared memory.
template <class Tile> __device__ __forceinline__ int result_at(const int row, const int at)
{
    return row * Tile::RESULT_ROW + (Tile::T::COPIES ? at : at ^ (row & 7) * 16);
}

// Two numbers into it.
template <class Tile>
__device__ __forceinline__ void put_pair(const int row, const int column, const float low, const float high)
{
    static_assert(Tile::BM * Tile::RESULT_ROW <= Tile::SHARED, "the result does not fit into the stages");
    using T = typename Tile::T;
    unsigned char* at = dynamic + result_at<Tile>(row, column * T::BYTES);
    if constexpr (T::BYTES == 2) {
        *reinterpret_cast<unsigned*>(at) = pack<T>(low, high);
    } else {
        *reinterpret_cast<float2*>(at) = make_float2(low, high);
    }
}

template <class Tile> __device__ __forceinline__ uint4 chunk_at(const int row, const int chunk)
{
    return *reinterpret_cast<const uint4*>(dynamic + result_at<Tile>(row, chunk * 16));
}

// Word k of a chunk; k is known to the compiler.
__device__ __forceinline__ unsigned word_of(const uint4 chunk, const int k)
{
    return k == 0 ? chunk.x : k == 1 ? chunk.y : k == 2 ? chunk.z : chunk.w;
}

template <class T> __device__ __forceinline__ typename T::Number number_of(const uint4 chunk, const int k)
{
    if constexpr (T::BYTES == 2) {
        return word_of(chunk, k / 2) >> k % 2 * 16;
    } else {
        return __uint_as_float(word_of(chunk, k));
    }
}

// A chunk, of which `left` numbers exist.
template <class T>
__device__ __forceinline__ void write_chunk(
    typename T::Number* RESTRICT to, const uint4 chunk, const int left, const bool whole)
{
    if (whole) {
        if (left > 0) *reinterpret_cast<uint4*>(to) = chunk;
        return;
    }
    #pragma unroll
    for (int k = 0; k < CHUNK<T>; ++k)
        if (k < left) to[k] = number_of<T>(chunk, k);
}

template <class T>
__device__ __forceinline__ uint4 read_chunk(
    const typename T::Number* RESTRICT from, const int left, const bool whole)
{
    uint4 chunk = make_uint4(0, 0, 0, 0);
    if (whole) {
        if (left > 0) chunk = *reinterpret_cast<const uint4*>(from);
        return chunk;
    }
    unsigned words[4] = {};
    #pragma unroll
    for (int k = 0; k < CHUNK<T>; ++k)
        if (k < left) {
            if constexpr (T::BYTES == 2) {
                words[k / 2] |= unsigned(from[k]) << k % 2 * 16;
            } else {
                words[k] = __float_as_uint(from[k]);
            }
        }
    return make_uint4(words[0], words[1], words[2], words[3]);
}

// The accumulators with their bias, through ReLU if asked, into shared memory.
template <class Tile>
__device__ __forceinline__ void put_biased(
    const float (&acc)[Tile::WM / 16][Tile::WN / 8][4], const int first, const int columns,
    const float* RESTRICT bias, const bool relu)
{
    each_pair<Tile>(acc, [&](const int row, const int column, float low, float high) {
        const int c = first + column;
        low += c < columns ? bias[c] : 0.0f;
        high += c + 1 < columns ? bias[c + 1] : 0.0f;
        put_pair<Tile>(row, column, relu ? rectify(low) : low, relu ? rectify(high) : high);
    });
    __syncthreads();
}

// y (rows, columns) = f(bias + acc).
template <class Tile>
__device__ __forceinline__ void epilogue_forward(
    const float (&acc)[Tile::WM / 16][Tile::WN / 8][4], const Spot spot, const int rows, const int columns,
    const float* RESTRICT bias, const bool relu, typename Tile::Number* RESTRICT y, const bool whole)
{
    using T = typename Tile::T;
    put_biased<Tile>(acc, spot.column, columns, bias, relu);
    constexpr int WIDE = Tile::BN / CHUNK<T>;
    #pragma unroll 4
    for (int k = threadIdx.x; k < Tile::BM * WIDE; k += Tile::THREADS) {
        const int row = spot.row + k / WIDE, column = spot.column + k % WIDE * CHUNK<T>;
        if (row < rows)
            write_chunk<T>(y + (row * columns + column), chunk_at<Tile>(k / WIDE, k % WIDE), columns - column, whole);
    }
}

// A chunk's maximum over the four rows of a window, and two bits each of who has it, in order.
template <class T>
__device__ __forceinline__ uint4 best_chunk(const uint4 (&corner)[4], unsigned& winners)
{
    unsigned best[4];
    winners = 0;
    #pragma unroll
    for (int w = 0; w < 4; ++w) {
        const unsigned a = word_of(corner[0], w), b = word_of(corner[1], w);
        const unsigned c = word_of(corner[2], w), d = word_of(corner[3], w);
        if constexpr (T::BYTES == 2) {
            const Best low = best_of(low_of<T>(a), low_of<T>(b), low_of<T>(c), low_of<T>(d));
            const Best high = best_of(high_of<T>(a), high_of<T>(b), high_of<T>(c), high_of<T>(d));
            best[w] = both_exact<T>(low.value, high.value);
            winners |= (low.corner | high.corner << 2) << w * 4;
        } else {
            const Best one = best_of(
                __uint_as_float(a), __uint_as_float(b), __uint_as_float(c), __uint_as_float(d));
            best[w] = __float_as_uint(one.value);
            winners |= one.corner << w * 2;
        }
    }
    return make_uint4(best[0], best[1], best[2], best[3]);
}

// y (windows, columns) = the maximum over rows 4·window to 4·window + 3 of ReLU(bias + acc), winner = which.
// Winners are asked for only where columns are a multiple of four: otherwise windows share bytes.
template <class Tile>
__device__ __forceinline__ void epilogue_pool(
    const float (&acc)[Tile::WM / 16][Tile::WN / 8][4], const Spot spot, const int windows, const int columns,
    const float* RESTRICT bias, typename Tile::Number* RESTRICT y, unsigned char* RESTRICT winner,
    const bool whole)
{
    using T = typename Tile::T;
    put_biased<Tile>(acc, spot.column, columns, bias, true);
    constexpr int WIDE = Tile::BN / CHUNK<T>;
    for (int k = threadIdx.x; k < Tile::BM / 4 * WIDE; k += Tile::THREADS) {
        const int window = spot.row / 4 + k / WIDE, column = spot.column + k % WIDE * CHUNK<T>;
        if (window >= windows || column >= columns) continue;
        uint4 corner[4];
        #pragma unroll
        for (int q = 0; q < 4; ++q) corner[q] = chunk_at<Tile>(k / WIDE * 4 + q, k % WIDE);
        unsigned winners;
        const int place = window * columns + column;
        write_chunk<T>(y + place, best_chunk<T>(corner, winners), columns - column, whole);
        if (winner == nullptr) continue;
        if constexpr (T::BYTES == 4) {
            winner[place / 4] = winners;
        } else if (whole) {
            *reinterpret_cast<unsigned short*>(winner + place / 4) = winners;
        } else {
            winner[place / 4] = winners;
            if (column + 4 < columns) winner[place / 4 + 1] = winners >> 8;
        }
    }
}

// A chunk's gradients where the ReLU's output is above zero.
template <class T> __device__ __forceinline__ uint4 relu_mask_chunk(const uint4 gradient, const uint4 output)
{
    const auto one = [](const unsigned g, const unsigned y) {
        if constexpr (T::BYTES == 2) {
            return (low_of<T>(y) > 0.0f ? g & 0xffffu : 0u) | (high_of<T>(y) > 0.0f ? g & 0xffff0000u : 0u);
        } else {
            return __uint_as_float(y) > 0.0f ? g : 0u;
        }
    };
    return make_uint4(one(gradient.x, output.x), one(gradient.y, output.y), one(gradient.z, output.z),
                      one(gradient.w, output.w));
}

// dx (rows, columns) = acc where mask > 0.
template <class Tile>
__device__ __forceinline__ void epilogue_backward_input(
    const float (&acc)[Tile::WM / 16][Tile::WN / 8][4], const Spot spot, const int rows, const int columns,
    const typename Tile::Number* RESTRICT mask, typename Tile::Number* RESTRICT dx, const bool whole)
{
    using T = typename Tile::T;
    each_pair<Tile>(acc, [&](const int row, const int column, const float low, const float high) {
        put_pair<Tile>(row, column, low, high);
    });
    __syncthreads();
    // Some chunks of the mask before the first of them is stored: else each would be loaded when the one before has come.
    constexpr int WIDE = Tile::BN / CHUNK<T>, TOGETHER = 4;
    static_assert(Tile::BM * WIDE % (Tile::THREADS * TOGETHER) == 0);
    #pragma unroll 1
    for (int first = threadIdx.x; first < Tile::BM * WIDE; first += Tile::THREADS * TOGETHER) {
        const int row = spot.row + first / WIDE, column = spot.column + first % WIDE * CHUNK<T>;
        constexpr int FURTHER = Tile::THREADS / WIDE;
        static_assert(Tile::THREADS % WIDE == 0, "all chunks of a thread are of one column");
        uint4 outputs[TOGETHER];
        #pragma unroll
        for (int q = 0; q < TOGETHER; ++q)
            if (mask && row + q * FURTHER < rows)
                outputs[q] =
                    read_chunk<T>(mask + ((row + q * FURTHER) * columns + column), columns - column, whole);
        #pragma unroll
        for (int q = 0; q < TOGETHER; ++q) {
            if (row + q * FURTHER >= rows) break;
            uint4 v = chunk_at<Tile>(first / WIDE + q * FURTHER, first % WIDE);
            if (mask) v = relu_mask_chunk<T>(v, outputs[q]);
            write_chunk<T>(dx + ((row + q * FURTHER) * columns + column), v, columns - column, whole);
        }
    }
}

// to[row · length + column] = acc, for rows and columns that exist. Four lanes store a sector of 32 bytes.
template <class Tile>
__device__ __forceinline__ void store_acc(
    const float (&acc)[Tile::WM / 16][Tile::WN / 8][4], const Spot spot, const int rows, const int columns,
    const int length, float* RESTRICT to, const bool whole)
{
    each_pair<Tile>(acc, [&](const int row, const int column, const float low, const float high) {
        const int r = spot.row + row, c = spot.column + column;
        if (r >= rows || c >= columns) return;
        float* at = to + (r * length + c);
        if (whole) {
            *reinterpret_cast<float2*>(at) = make_float2(low, high);
        } else {
            at[0] = low;
            if (c + 1 < columns) at[1] = high;
        }
    });
}
