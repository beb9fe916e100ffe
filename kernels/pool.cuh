// pool.cuh   the maximum over a 2x2 window, and which corner has it
//
// Corner 2a+b is x[2i+a, 2j+b]. The first of equals wins, or the first NaN. Winners take two bits each, four
// to a byte: element e of the flat output is in bits 2·(e%4) of byte e/4.

#pragma once

#include "common.cuh"

struct Best {
    float value;
    unsigned corner;
};

// Strict: the first of equals stays.
__device__ __forceinline__ void challenge(Best& best, const float other, const unsigned corner)
{
    if (other > best.value || (is_nan(other) && !is_nan(best.value))) best = {other, corner};
}

__device__ __forceinline__ Best best_of(const float a, const float b, const float c, const float d)
{
    Best best = {a, 0};
    challenge(best, b, 1);
    challenge(best, c, 2);
    challenge(best, d, 3);
    return best;
}

// Four neighbours of the output from their four corners; their winners as a byte.
__device__ __forceinline__ float4 best_of4(
    const float4 a, const float4 b, const float4 c, const float4 d, unsigned& winners)
{
    const Best x = best_of(a.x, b.x, c.x, d.x), y = best_of(a.y, b.y, c.y, d.y);
    const Best z = best_of(a.z, b.z, c.z, d.z), w = best_of(a.w, b.w, c.w, d.w);
    winners = x.corner | y.corner << 2 | z.corner << 4 | w.corner << 6;
    return make_float4(x.value, y.value, z.value, w.value);
}
