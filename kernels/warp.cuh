// warp.cuh   sums and maxima over the 32 lanes of a warp, the same in every lane
//
// A butterfly: lane k exchanges with lane k^16, then k^8 … so five steps reach all. The partners of a step add the
// same two numbers, so all lanes get the same bits, and the order never changes.

#pragma once

constexpr unsigned WARP = 32;
constexpr unsigned EVERYONE = 0xFFFFFFFFu;

__device__ __forceinline__ float warp_sum(float x)
{
    #pragma unroll
    for (unsigned distance = WARP / 2; distance > 0; distance /= 2)
        x += __shfl_xor_sync(EVERYONE, x, distance);
    return x;
}

// NaN loses.
__device__ __forceinline__ float warp_max(float x)
{
    #pragma unroll
    for (unsigned distance = WARP / 2; distance > 0; distance /= 2)
        x = fmaxf(x, __shfl_xor_sync(EVERYONE, x, distance));
    return x;
}

__device__ __forceinline__ unsigned warp_min(unsigned x)
{
    #pragma unroll
    for (unsigned distance = WARP / 2; distance > 0; distance /= 2)
        x = min(x, __shfl_xor_sync(EVERYONE, x, distance));
    return x;
}
