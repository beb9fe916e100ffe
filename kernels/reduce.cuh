// reduce.cuh   the second half of a sum that several blocks shared: part by part, in order
//
// No atomics: the order of the summands is a matter of sizes alone, so every run gives the same bits.

#pragma once

#include "common.cuh"
#include "params.cuh"

// Σ load(k), k = begin, begin + STEP, ... below end, in this order, with AT_ONCE loads on their way. (Of a loop that
// says `unroll` the compiler leaves the test between two loads where it cannot count them: each waits for the one before.
// What is past the end is a zero here, which changes no sum: one that began with +0 is never -0.)
template <unsigned STEP, unsigned AT_ONCE = 8, class Load>
__device__ __forceinline__ float sum_every(unsigned k, const unsigned end, const Load load)
{
    float sum = 0.0f;
    #pragma unroll 1
    for (; k < end; k += AT_ONCE * STEP) {
        float v[AT_ONCE];
        #pragma unroll
        for (unsigned j = 0; j < AT_ONCE; ++j) v[j] = k + j * STEP < end ? load(k + j * STEP) : 0.0f;
        #pragma unroll
        for (unsigned j = 0; j < AT_ONCE; ++j) sum += v[j];
    }
    return sum;
}

// Σ_k parts[k·len + at].
__device__ __forceinline__ float sum_of_parts(
    const Partials p, const float* RESTRICT parts, const unsigned at)
{
    return sum_every<1, 16>(0, p.count, [&](const unsigned k) { return parts[k * p.len + at]; });
}
