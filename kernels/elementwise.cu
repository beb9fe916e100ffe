// elementwise   y[i] = f(x[i])
// targets: sm_75
//
//   relu_forward    y[i] = x[i] < 0 ? 0 : x[i]                  x, y any shape        NaN stays NaN
//   relu_backward   gradient[i] = y[i] > 0 ? gradient[i] : 0    y the ReLU's output   in place
//   add             into[i] = into[i] + x[i]                                          in place
//   sigmoid         y[i] = 1 / (1 + e^-x[i])                    x, y any shape
//   normalize       y[row,c] = pixels[row,order[c]] · scale[c] + offset[c]
//                   pixels (n·h·w, 3) u8, y (n·h·w, 3)
//
// One thread per four neighbours (normalize: per pixel), 256 threads per block, no shared memory.
// All are bound by bandwidth: 8 bytes per element in and out together (12 where two are read, 15 per
// pixel for normalize), 1 to 2 flops.

#include "common.cuh"
#include "params.cuh"

// The first of the thread's four elements.
__device__ __forceinline__ unsigned my_four() { return 4 * (blockIdx.x * LINEAR + threadIdx.x); }

// Stable for both signs: the exponential is never of a positive number, so it does not overflow.
__device__ __forceinline__ float logistic(const float x)
{
    const float e = expf(-fabsf(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

extern "C" __global__ __launch_bounds__(LINEAR) void relu_forward(
    const Elements p, const float* __restrict__ x, float* __restrict__ y)
{
    const unsigned at = my_four();
    if (at >= p.len) return;
    const int left = p.len - at;
    const bool whole = left >= 4;
    float4 v = read4(x + at, left, whole);
    v = make_float4(rectify(v.x), rectify(v.y), rectify(v.z), rectify(v.w));
    write4(y + at, v, left, whole);
}

extern "C" __global__ __launch_bounds__(LINEAR) void relu_backward(
    const Elements p, const float* __restrict__ y, float* __restrict__ gradient)
{
    const unsigned at = my_four();
    if (at >= p.len) return;
    const int left = p.len - at;
    const bool whole = left >= 4;
    const float4 passed = read4(y + at, left, whole);
    float4 g = read4(gradient + at, left, whole);
    g.x = passed.x > 0.0f ? g.x : 0.0f;
    g.y = passed.y > 0.0f ? g.y : 0.0f;
    g.z = passed.z > 0.0f ? g.z : 0.0f;
    g.w = passed.w > 0.0f ? g.w : 0.0f;
    write4(gradient + at, g, left, whole);
}

extern "C" __global__ __launch_bounds__(LINEAR) void add(
    const Elements p, const float* __restrict__ x, float* __restrict__ into)
{
    const unsigned at = my_four();
    if (at >= p.len) return;
    const int left = p.len - at;
    const bool whole = left >= 4;
    const float4 a = read4(into + at, left, whole);
    const float4 b = read4(x + at, left, whole);
    write4(into + at, make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w), left, whole);
}

extern "C" __global__ __launch_bounds__(LINEAR) void sigmoid(
    const Elements p, const float* __restrict__ x, float* __restrict__ y)
{
    const unsigned at = my_four();
    if (at >= p.len) return;
    const int left = p.len - at;
    const bool whole = left >= 4;
    float4 v = read4(x + at, left, whole);
    v = make_float4(logistic(v.x), logistic(v.y), logistic(v.z), logistic(v.w));
    write4(y + at, v, left, whole);
}

extern "C" __global__ __launch_bounds__(LINEAR) void normalize(
    const Normalize p, const unsigned char* __restrict__ pixels, float* __restrict__ y)
{
    const unsigned row = blockIdx.x * LINEAR + threadIdx.x;
    if (row >= p.rows) return;
    #pragma unroll
    for (unsigned c = 0; c < 3; ++c) {
        const float byte = pixels[3 * row + p.order[c]];
        // Rounded twice, as on the cpu: the same pixels give the same bits on every device.
        y[3 * row + c] = __fadd_rn(__fmul_rn(byte, p.scale[c]), p.offset[c]);
    }
}
