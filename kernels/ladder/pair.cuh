// pair.cuh   the epilogue of the rungs on tensor cores: bias, ReLU and bf16 of two accumulators

#pragma once

#include "../mma.cuh"
#include "../params.cuh"

// y[pixel][filter] and its neighbour. Filters are even in number, so that both exist or neither.
__device__ __forceinline__ void store_pair(
    const Conv2d& p, const bool relu, const float* RESTRICT bias, unsigned short* RESTRICT y,
    const int pixel, const int filter, float low, float high)
{
    if (pixel >= int(p.n * p.h * p.w) || filter >= int(p.c_out)) return;
    const float2 add = *reinterpret_cast<const float2*>(bias + filter);
    low += add.x;
    high += add.y;
    if (relu) {
        low = rectify(low);
        high = rectify(high);
    }
    *reinterpret_cast<unsigned*>(y + (pixel * int(p.c_out) + filter)) = pack_bf16(low, high);
}
