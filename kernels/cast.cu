// cast   y[i] = x[i] in another floating-point format, to the nearest, ties to even
// targets: sm_75 sm_90
//
//   x, y   any shape; each f32, f16 or bf16
//
// What is too large becomes infinite, NaN stays NaN. From 16 bits to 32 nothing is lost.
//
// One thread per four neighbours, 256 threads per block, no shared memory. The formats are the same for all
// threads, so the choice costs a uniform branch. 6 bytes per element between 32 and 16 bits: bound by
// bandwidth.

#include "common.cuh"
#include "half.cuh"
#include "params.cuh"

// As src/device/gpu/lower/layout.rs numbers them.
constexpr unsigned F32 = 0, F16 = 1;

__device__ __forceinline__ float widened(const unsigned format, const unsigned bits)
{
    return format == F16 ? from_f16(bits) : from_bf16(bits);
}

__device__ __forceinline__ unsigned narrowed(const unsigned format, const float x)
{
    return format == F16 ? to_f16(x) : to_bf16(x);
}

// Four halves, as read4.
__device__ __forceinline__ float4 read4(
    const unsigned format, const unsigned short* RESTRICT at, const int left, const bool whole)
{
    uint2 two = make_uint2(0, 0);
    if (whole) {
        two = *reinterpret_cast<const uint2*>(at);
    } else {
        two.x = at[0];
        if (left > 1) two.x |= static_cast<unsigned>(at[1]) << 16;
        if (left > 2) two.y = at[2];
    }
    return make_float4(
        widened(format, two.x & 0xffff), widened(format, two.x >> 16), widened(format, two.y & 0xffff),
        widened(format, two.y >> 16));
}

__device__ __forceinline__ void write4(
    const unsigned format, unsigned short* RESTRICT at, const float4 v, const int left, const bool whole)
{
    const unsigned a = narrowed(format, v.x), b = narrowed(format, v.y), c = narrowed(format, v.z);
    if (whole) {
        *reinterpret_cast<uint2*>(at) = make_uint2(a | b << 16, c | narrowed(format, v.w) << 16);
        return;
    }
    at[0] = static_cast<unsigned short>(a);
    if (left > 1) at[1] = static_cast<unsigned short>(b);
    if (left > 2) at[2] = static_cast<unsigned short>(c);
}

extern "C" __global__ __launch_bounds__(LINEAR) void cast(
    const Cast p, const void* RESTRICT x, void* RESTRICT y)
{
    await_predecessor();
    const unsigned at = 4 * (blockIdx.x * LINEAR + threadIdx.x);
    if (at >= p.len) return;
    const int left = p.len - at;
    const bool whole = left >= 4;
    const float4 v = p.from == F32 ? read4(static_cast<const float*>(x) + at, left, whole)
                                   : read4(p.from, static_cast<const unsigned short*>(x) + at, left, whole);
    if (p.to == F32) write4(static_cast<float*>(y) + at, v, left, whole);
    else write4(p.to, static_cast<unsigned short*>(y) + at, v, left, whole);
}
