// tensors.cuh   many tensors in one launch: which one a block works on, and where its thread begins
//
// The pointers travel by value. All threads of a block read the same places of the parameters, which a
// GPU keeps in its constant cache.

#pragma once

#include "common.cuh"
#include "half.cuh"
#include "params.cuh"

constexpr unsigned TENSORS = sizeof(Tensors::first) / sizeof(unsigned);

// The last tensor that does not begin behind this block: six comparisons.
__device__ __forceinline__ unsigned my_tensor(const Tensors& p)
{
    unsigned k = 0;
    #pragma unroll
    for (unsigned half = TENSORS / 2; half > 0; half /= 2)
        if (p.first[k + half] <= blockIdx.x) k += half;
    return k;
}

// Four neighbours of one tensor, of which `left` exist: the thread's share.
struct Share {
    unsigned k;
    unsigned at;
    int left;
    bool whole;

    // Not read4 and write4: RESTRICT promises that nobody writes what they read, and the compiler would load weights
    // and states through the read-only path.
    __device__ __forceinline__ float4 read(const float* from) const
    {
        from += at;
        if (whole) return *reinterpret_cast<const float4*>(from);
        return make_float4(from[0], left > 1 ? from[1] : 0.0f, left > 2 ? from[2] : 0.0f, 0.0f);
    }

    __device__ __forceinline__ void write(float* to, const float4 value) const
    {
        to += at;
        if (whole) {
            *reinterpret_cast<float4*>(to) = value;
            return;
        }
        to[0] = value.x;
        if (left > 1) to[1] = value.y;
        if (left > 2) to[2] = value.z;
    }

    // The weight's shadow, if it has one: the same numbers in 16 bits, to the nearest.
    __device__ __forceinline__ void shade(unsigned short* to, const float4 value, const bool f16) const
    {
        if (!to) return;
        to += at;
        const uint2 both = f16 ? make_uint2(both_of<F16>(value.x, value.y), both_of<F16>(value.z, value.w))
                               : make_uint2(both_of<Bf16>(value.x, value.y), both_of<Bf16>(value.z, value.w));
        if (whole) {
            *reinterpret_cast<uint2*>(to) = both;
            return;
        }
        to[0] = both.x;
        if (left > 1) to[1] = both.x >> 16;
        if (left > 2) to[2] = both.y;
    }
};

__device__ __forceinline__ Share my_share(const Tensors& p)
{
    const unsigned k = my_tensor(p);
    const unsigned at = 4 * ((blockIdx.x - p.first[k]) * LINEAR + threadIdx.x);
    const int left = static_cast<int>(p.len[k]) - static_cast<int>(at);
    return {k, at, left, left >= 4};
}

// What happens before any rule: g = scale·g + l2·w;  w = w - w·decay·rate.
__device__ __forceinline__ void adjust1(const Adjust p, float& g, float& w)
{
    if (p.scale != 1.0f) g = __fmul_rn(p.scale, g);
    if (p.l2 != 0.0f) g = __fadd_rn(g, __fmul_rn(p.l2, w));
    if (p.decay != 0.0f) w = __fsub_rn(w, __fmul_rn(__fmul_rn(w, p.decay), p.rate));
}

__device__ __forceinline__ void adjust4(const Adjust p, float4& g, float4& w)
{
    adjust1(p, g.x, w.x);
    adjust1(p, g.y, w.y);
    adjust1(p, g.z, w.z);
    adjust1(p, g.w, w.w);
}
