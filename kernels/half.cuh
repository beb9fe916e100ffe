// half.cuh   sixteen bits as an element of memory, bf16 or f16; sixteen bytes of neighbours of any kind
//
// Kernels that only move, compare or add numbers are written once, for float, Bf16 and F16: a thread takes
// the LANES of 16 bytes, four or eight, and works on them as f32. Where a result is one of the inputs or zero
// nothing is rounded.
//
// bf16 is the upper half of an f32: its conversions are integer arithmetic, since cvt knows it from sm_80 on
// alone, and two halves are put together by one instruction. f16 is converted by cvt, which sm_75 has for one
// number at a time; beyond 65504 it becomes infinite, and NaN becomes 0x7fff.

#pragma once

#include "common.cuh"

// In memory, and what kernels on tensor cores call it (mma.cuh).
struct Bf16 {
    using Number = unsigned short;
    static constexpr int BYTES = 2;
    static constexpr bool COPIES = true;             // by cp.async, which sm_80 has, as it has products of bf16

    Number bits;
};
struct F16 {
    using Number = unsigned short;
    static constexpr int BYTES = 2;
    static constexpr bool COPIES = false;            // through registers: for sm_75

    Number bits;
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

// Inline, since cuda_fp16.h would bring calls and a libc.
__device__ __forceinline__ unsigned to_f16(const float x)
{
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}

__device__ __forceinline__ float from_f16(const unsigned bits)
{
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(static_cast<unsigned short>(bits)));
    return x;
}

// Of any kind as f32, and back.
__device__ __forceinline__ float widen(const float x) { return x; }
__device__ __forceinline__ float widen(const Bf16 x) { return from_bf16(x.bits); }
__device__ __forceinline__ float widen(const F16 x) { return from_f16(x.bits); }
__device__ __forceinline__ void narrow(float* to, const float x) { *to = x; }
__device__ __forceinline__ void narrow(Bf16* to, const float x) { to->bits = to_bf16(x); }
__device__ __forceinline__ void narrow(F16* to, const float x) { to->bits = to_f16(x); }

// The same of a number that is of that kind.
__device__ __forceinline__ void narrow_exact(float* to, const float x) { *to = x; }
__device__ __forceinline__ void narrow_exact(Bf16* to, const float x) { to->bits = __float_as_uint(x) >> 16; }
__device__ __forceinline__ void narrow_exact(F16* to, const float x) { to->bits = to_f16(x); }

// Two neighbours in a word, the first one below.
template <class T> __device__ __forceinline__ float low_of(unsigned both);
template <class T> __device__ __forceinline__ float high_of(unsigned both);
template <> __device__ __forceinline__ float low_of<Bf16>(const unsigned both) { return from_bf16(both); }
template <> __device__ __forceinline__ float high_of<Bf16>(const unsigned both)
{
    return __uint_as_float(both & 0xffff0000);
}
template <> __device__ __forceinline__ float low_of<F16>(const unsigned both) { return from_f16(both & 0xffff); }
template <> __device__ __forceinline__ float high_of<F16>(const unsigned both) { return from_f16(both >> 16); }

template <class T> __device__ __forceinline__ unsigned both_of(float low, float high);
template <> __device__ __forceinline__ unsigned both_of<Bf16>(const float low, const float high)
{
    return to_bf16(low) | to_bf16(high) << 16;
}
template <> __device__ __forceinline__ unsigned both_of<F16>(const float low, const float high)
{
    return to_f16(low) | to_f16(high) << 16;
}

// The same of numbers that are of that kind.
template <class T> __device__ __forceinline__ unsigned both_exact(float low, float high);
template <> __device__ __forceinline__ unsigned both_exact<Bf16>(const float low, const float high)
{
    return __byte_perm(__float_as_uint(low), __float_as_uint(high), 0x7632);
}
template <> __device__ __forceinline__ unsigned both_exact<F16>(const float low, const float high)
{
    return both_of<F16>(low, high);
}

// The numbers from `at` on, of which `left` exist; zero stands for the others. `whole` promises 16-byte
// alignment, and that all exist.
__device__ __forceinline__ void read(const float* RESTRICT at, const int left, const bool whole, float (&v)[4])
{
    const float4 four = whole ? *reinterpret_cast<const float4*>(at) : read4(at, left, false);
    v[0] = four.x;
    v[1] = four.y;
    v[2] = four.z;
    v[3] = four.w;
}

template <class T>
__device__ __forceinline__ void read(const T* RESTRICT at, const int left, const bool whole, float (&v)[8])
{
    if (whole) {
        const uint4 pairs = *reinterpret_cast<const uint4*>(at);
        const unsigned of[4] = {pairs.x, pairs.y, pairs.z, pairs.w};
        #pragma unroll
        for (int k = 0; k < 4; ++k) {
            v[2 * k] = low_of<T>(of[k]);
            v[2 * k + 1] = high_of<T>(of[k]);
        }
        return;
    }
    #pragma unroll
    for (int k = 0; k < 8; ++k) v[k] = k < left ? widen(at[k]) : 0.0f;
}

// The other way; what does not exist is not written.
__device__ __forceinline__ void write(float* RESTRICT at, const float (&v)[4], const int left, const bool whole)
{
    if (whole) *reinterpret_cast<float4*>(at) = pack4(v);
    else write4(at, pack4(v), left, false);
}

template <class T>
__device__ __forceinline__ void write(T* RESTRICT at, const float (&v)[8], const int left, const bool whole)
{
    if (whole) {
        *reinterpret_cast<uint4*>(at) = make_uint4(both_of<T>(v[0], v[1]), both_of<T>(v[2], v[3]),
                                                   both_of<T>(v[4], v[5]), both_of<T>(v[6], v[7]));
        return;
    }
    #pragma unroll
    for (int k = 0; k < 8; ++k)
        if (k < left) narrow(at + k, v[k]);
}

// The same of numbers that are of the kind that they are written as.
__device__ __forceinline__ void write_exact(
    float* RESTRICT at, const float (&v)[4], const int left, const bool whole)
{
    write(at, v, left, whole);
}

template <class T>
__device__ __forceinline__ void write_exact(
    T* RESTRICT at, const float (&v)[8], const int left, const bool whole)
{
    if (whole) {
        *reinterpret_cast<uint4*>(at) = make_uint4(both_exact<T>(v[0], v[1]), both_exact<T>(v[2], v[3]),
                                                   both_exact<T>(v[4], v[5]), both_exact<T>(v[6], v[7]));
        return;
    }
    #pragma unroll
    for (int k = 0; k < 8; ++k)
        if (k < left) narrow_exact(at + k, v[k]);
}
