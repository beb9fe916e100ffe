// bf16.cuh   the upper half of an f32 as an element of memory; sixteen bytes of neighbours of either kind
//
// Kernels that only move, compare or add numbers are written once, for float and for Bf16: a thread takes
// the LANES of 16 bytes, four or eight, and works on them as f32. The conversions are integer arithmetic,
// since cvt knows bf16 from sm_80 on alone; where a result is one of the inputs or zero nothing is rounded,
// and two halves are put together by one instruction.

#pragma once

#include "common.cuh"

struct Bf16 {
    unsigned short bits;
};

// Elements of 16 bytes.
template <typename T> constexpr int LANES = 16 / sizeof(T);

// To the nearest, ties to even; NaN stays NaN, as one pattern.
__device__ __forceinline__ unsigned to_bf16(const float x)
{
    if (is_nan(x)) return 0x7fff;
    const unsigned bits = __float_as_uint(x);
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

__device__ __forceinline__ float from_bf16(const unsigned bits) { return __uint_as_float(bits << 16); }

// Of either kind as f32, and back.
__device__ __forceinline__ float widen(const float x) { return x; }
__device__ __forceinline__ float widen(const Bf16 x) { return from_bf16(x.bits); }
__device__ __forceinline__ void narrow(float* to, const float x) { *to = x; }
__device__ __forceinline__ void narrow(Bf16* to, const float x) { to->bits = to_bf16(x); }

// The same of a number that is a bf16.
__device__ __forceinline__ void narrow_exact(float* to, const float x) { *to = x; }
__device__ __forceinline__ void narrow_exact(Bf16* to, const float x) { to->bits = __float_as_uint(x) >> 16; }

// The upper halves of two numbers, the first one below.
__device__ __forceinline__ unsigned upper_halves(const float a, const float b)
{
    return __byte_perm(__float_as_uint(a), __float_as_uint(b), 0x7632);
}

// The numbers from `at` on, of which `left` exist; zero stands for the others. `whole` promises 16-byte
// alignment, and that all exist.
__device__ __forceinline__ void read(const float* __restrict__ at, const int left, const bool whole, float (&v)[4])
{
    const float4 four = whole ? *reinterpret_cast<const float4*>(at) : read4(at, left, false);
    v[0] = four.x;
    v[1] = four.y;
    v[2] = four.z;
    v[3] = four.w;
}

__device__ __forceinline__ void read(const Bf16* __restrict__ at, const int left, const bool whole, float (&v)[8])
{
    if (whole) {
        const uint4 pairs = *reinterpret_cast<const uint4*>(at);
        const unsigned of[4] = {pairs.x, pairs.y, pairs.z, pairs.w};
        #pragma unroll
        for (int k = 0; k < 4; ++k) {
            v[2 * k] = __uint_as_float(of[k] << 16);
            v[2 * k + 1] = __uint_as_float(of[k] & 0xffff0000);
        }
        return;
    }
    #pragma unroll
    for (int k = 0; k < 8; ++k) v[k] = k < left ? widen(at[k]) : 0.0f;
}

// The other way; what does not exist is not written.
__device__ __forceinline__ void write(float* __restrict__ at, const float (&v)[4], const int left, const bool whole)
{
    if (whole) *reinterpret_cast<float4*>(at) = pack4(v);
    else write4(at, pack4(v), left, false);
}

__device__ __forceinline__ void write(Bf16* __restrict__ at, const float (&v)[8], const int left, const bool whole)
{
    if (whole) {
        *reinterpret_cast<uint4*>(at) = make_uint4(
            to_bf16(v[0]) | to_bf16(v[1]) << 16, to_bf16(v[2]) | to_bf16(v[3]) << 16,
            to_bf16(v[4]) | to_bf16(v[5]) << 16, to_bf16(v[6]) | to_bf16(v[7]) << 16);
        return;
    }
    #pragma unroll
    for (int k = 0; k < 8; ++k)
        if (k < left) narrow(at + k, v[k]);
}

// The same of numbers that are bf16.
__device__ __forceinline__ void write_exact(
    float* __restrict__ at, const float (&v)[4], const int left, const bool whole)
{
    write(at, v, left, whole);
}

__device__ __forceinline__ void write_exact(
    Bf16* __restrict__ at, const float (&v)[8], const int left, const bool whole)
{
    if (whole) {
        *reinterpret_cast<uint4*>(at) = make_uint4(upper_halves(v[0], v[1]), upper_halves(v[2], v[3]),
                                                   upper_halves(v[4], v[5]), upper_halves(v[6], v[7]));
        return;
    }
    #pragma unroll
    for (int k = 0; k < 8; ++k)
        if (k < left) narrow_exact(at + k, v[k]);
}
