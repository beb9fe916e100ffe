// conv2d_parts.cuh   split-K for forward and backward_input of small maps, and the kernels that add the parts
//
// A map of few pixels has fewer tiles than a GPU has room for blocks, but many steps of K: part z takes steps
// z·length to (z+1)·length and leaves its accumulators in f32, rows in the order of the product. The second kernel
// adds the parts in order and runs the epilogue: bias, ReLU, pool, mask. One thread per chunk of 16 bytes of the
// result, LINEAR per block: 4·parts bytes read per number.

#pragma once

#include "conv2d_mma.cuh"

// parts[z] = the product whose rows are pixels over the steps of part z, in the order of its rows.
template <class Tile, Rows ROWS, bool BACKWARD>
__device__ __forceinline__ void convolve_part(
    const Conv2d p, const Split split, const typename Tile::Number* RESTRICT source,
    const typename Tile::Number* RESTRICT weight, float* RESTRICT parts)
{
    const int columns = BACKWARD ? p.c_in : p.c_out;
    const int rows = ROWS == Rows::PIXELS ? p.n * p.h * p.w : 4 * (p.n * (p.h / 2) * (p.w / 2));
    const Spot spot = spot_of<Tile>(columns);
    const int begin = blockIdx.z * split.length;
    const int end = min(begin + int(split.length), steps_of<Tile>(BACKWARD ? p.c_out : p.c_in));
    float acc[Tile::WM / 16][Tile::WN / 8][4];
    convolve<Tile, ROWS, BACKWARD>(p, begin, end, spot, rows, source, weight, acc);
    store_acc<Tile>(acc, spot, rows, columns, columns, parts + blockIdx.z * (rows * columns), true);
}

// A chunk of results as T has them in memory.
template <class T> __device__ __forceinline__ uint4 pack_chunk(const float (&v)[CHUNK<T>])
{
    if constexpr (T::BYTES == 2) {
        return make_uint4(pack<T>(v[0], v[1]), pack<T>(v[2], v[3]), pack<T>(v[4], v[5]), pack<T>(v[6], v[7]));
    } else {
        return make_uint4(__float_as_uint(v[0]), __float_as_uint(v[1]), __float_as_uint(v[2]), __float_as_uint(v[3]));
    }
}

// Σ_k parts[k·len + at] of a chunk, and the bias of its columns if there is one.
template <class T>
__device__ __forceinline__ void sum_chunk(
    const Partials p, const float* RESTRICT parts, const unsigned at, float (&sums)[CHUNK<T>])
{
    #pragma unroll
    for (int c = 0; c < CHUNK<T>; ++c) sums[c] = 0.0f;
    for (unsigned k = 0; k < p.count; ++k) {
        const float* part = parts + (k * p.len + at);
        #pragma unroll
        for (int c = 0; c < CHUNK<T>; c += 4) {
            const float4 four = *reinterpret_cast<const float4*>(part + c);
            sums[c] += four.x;
            sums[c + 1] += four.y;
            sums[c + 2] += four.z;
            sums[c + 3] += four.w;
        }
    }
}

template <class T>
__device__ __forceinline__ uint4 biased_chunk(
    const Partials p, const float* RESTRICT parts, const unsigned at, const float* RESTRICT bias,
    const bool relu)
{
    float sums[CHUNK<T>];
    sum_chunk<T>(p, parts, at, sums);
    #pragma unroll
    for (int c = 0; c < CHUNK<T>; ++c) {
        const float v = sums[c] + bias[c];
        sums[c] = relu ? rectify(v) : v;
    }
    return pack_chunk<T>(sums);
}

template <class T>
__device__ __forceinline__ void forward_reduce(
    const Partials p, const unsigned columns, const bool relu, const float* RESTRICT parts,
    const float* RESTRICT bias, typename T::Number* RESTRICT y)
{
    const unsigned at = (blockIdx.x * LINEAR + threadIdx.x) * CHUNK<T>;
    if (at >= p.len) return;
    *reinterpret_cast<uint4*>(y + at) = biased_chunk<T>(p, parts, at, bias + at % columns, relu);
}

// Rows 4·window + corner: p.len counts all four.
template <class T>
__device__ __forceinline__ void maxpool2d_forward_reduce(
    const Partials p, const unsigned columns, const float* RESTRICT parts, const float* RESTRICT bias,
    typename T::Number* RESTRICT y, unsigned char* RESTRICT winner)
{
    const unsigned at = (blockIdx.x * LINEAR + threadIdx.x) * CHUNK<T>;
    if (at >= p.len / 4) return;
    const unsigned window = at / columns, column = at % columns;
    uint4 corner[4];
    #pragma unroll
    for (unsigned q = 0; q < 4; ++q)
        corner[q] = biased_chunk<T>(p, parts, (window * 4 + q) * columns + column, bias + column, true);
    unsigned winners;
    *reinterpret_cast<uint4*>(y + at) = best_chunk<T>(corner, winners);
    if (winner == nullptr) return;
    if constexpr (T::BYTES == 2) {
        *reinterpret_cast<unsigned short*>(winner + at / 4) = winners;
    } else {
        winner[at / 4] = winners;
    }
}

template <class T>
__device__ __forceinline__ void backward_input_reduce(
    const Partials p, const float* RESTRICT parts, const typename T::Number* RESTRICT mask,
    typename T::Number* RESTRICT dx)
{
    const unsigned at = (blockIdx.x * LINEAR + threadIdx.x) * CHUNK<T>;
    if (at >= p.len) return;
    float sums[CHUNK<T>];
    sum_chunk<T>(p, parts, at, sums);
    uint4 v = pack_chunk<T>(sums);
    if (mask) v = relu_mask_chunk<T>(v, *reinterpret_cast<const uint4*>(mask + at));
    *reinterpret_cast<uint4*>(dx + at) = v;
}
