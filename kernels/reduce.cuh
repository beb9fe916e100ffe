// reduce.cuh   the second half of a sum that several blocks shared: part by part, in order
//
// No atomics: the order of the summands is a matter of sizes alone, so every run gives the same bits.

#pragma once

#include "params.cuh"

// Σ_k parts[k·len + at].
__device__ __forceinline__ float sum_of_parts(
    const Partials p, const float* RESTRICT parts, const unsigned at)
{
    float sum = 0.0f;
    // Many on their way at once: the sum's order is that of the parts.
    #pragma unroll 16
    for (unsigned k = 0; k < p.count; ++k) sum += parts[k * p.len + at];
    return sum;
}
