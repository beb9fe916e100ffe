// elementwise   y[i] = f(x[i])
// targets: sm_75 sm_90
//
//   relu_forward    y[i] = x[i] < 0 ? 0 : x[i]                  x, y any shape        NaN stays NaN
//   relu_backward   gradient[i] = y[i] > 0 ? gradient[i] : 0    y the ReLU's output   in place
//   add             into[i] = into[i] + x[i]                                          in place
//   sigmoid         y[i] = 1 / (1 + e^-x[i])                    x, y any shape        f32 alone
//   normalize       y[row,c] = pixels[row,order[c]] · scale[c] + offset[c]
//                   pixels (n·h·w, 3) u8, y (n·h·w, 3)
//
// Those that end in _bf16 or _f16 are the same on 16 bits (normalize: to them). A sum is rounded once, the others
// give numbers that they were given.
//
// One thread per 16 bytes, four neighbours or eight (normalize: per pixel), 256 threads per block, no shared
// memory. All are bound by bandwidth: two elements in and out together (three where two are read; 15 or 9
// bytes per pixel for normalize), 1 to 2 flops (sigmoid: some 20).

#include "common.cuh"
#include "half.cuh"
#include "params.cuh"

// The first of the thread's elements.
template <typename T> __device__ __forceinline__ unsigned mine()
{
    return LANES<T> * (blockIdx.x * LINEAR + threadIdx.x);
}

// Stable for both signs: the exponential is never of a positive number, so it does not overflow.
__device__ __forceinline__ float logistic(const float x)
{
    const float e = expf(-fabsf(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

template <typename T>
__device__ __forceinline__ void forward(const unsigned len, const T* RESTRICT x, T* RESTRICT y)
{
    const unsigned at = mine<T>();
    if (at >= len) return;
    const int left = len - at;
    const bool whole = left >= LANES<T>;
    float v[LANES<T>];
    read(x + at, left, whole, v);
    #pragma unroll
    for (int k = 0; k < LANES<T>; ++k) v[k] = rectify(v[k]);
    write_exact(y + at, v, left, whole);
}

template <typename T>
__device__ __forceinline__ void backward(const unsigned len, const T* RESTRICT y, T* RESTRICT gradient)
{
    const unsigned at = mine<T>();
    if (at >= len) return;
    const int left = len - at;
    const bool whole = left >= LANES<T>;
    float passed[LANES<T>], g[LANES<T>];
    read(y + at, left, whole, passed);
    read(gradient + at, left, whole, g);
    #pragma unroll
    for (int k = 0; k < LANES<T>; ++k) g[k] = passed[k] > 0.0f ? g[k] : 0.0f;
    write_exact(gradient + at, g, left, whole);
}

template <typename T>
__device__ __forceinline__ void sum(const unsigned len, const T* RESTRICT x, T* RESTRICT into)
{
    const unsigned at = mine<T>();
    if (at >= len) return;
    const int left = len - at;
    const bool whole = left >= LANES<T>;
    float a[LANES<T>], b[LANES<T>];
    read(into + at, left, whole, a);
    read(x + at, left, whole, b);
    #pragma unroll
    for (int k = 0; k < LANES<T>; ++k) a[k] += b[k];
    write(into + at, a, left, whole);
}

template <typename T>
__device__ __forceinline__ void scaled(
    const Normalize& p, const unsigned char* RESTRICT pixels, T* RESTRICT y)
{
    const unsigned row = blockIdx.x * LINEAR + threadIdx.x;
    if (row >= p.rows) return;
    #pragma unroll
    for (unsigned c = 0; c < 3; ++c) {
        const float byte = pixels[3 * row + p.order[c]];
        // Rounded twice, as on the cpu: the same pixels give the same bits on every device.
        narrow(y + 3 * row + c, __fadd_rn(__fmul_rn(byte, p.scale[c]), p.offset[c]));
    }
}

extern "C" __global__ __launch_bounds__(LINEAR) void relu_forward(
    const Elements p, const float* RESTRICT x, float* RESTRICT y)
{
    await_predecessor();
    forward(p.len, x, y);
}

extern "C" __global__ __launch_bounds__(LINEAR) void relu_forward_bf16(
    const Elements p, const Bf16* RESTRICT x, Bf16* RESTRICT y)
{
    await_predecessor();
    forward(p.len, x, y);
}

extern "C" __global__ __launch_bounds__(LINEAR) void relu_forward_f16(
    const Elements p, const F16* RESTRICT x, F16* RESTRICT y)
{
    await_predecessor();
    forward(p.len, x, y);
}

extern "C" __global__ __launch_bounds__(LINEAR) void relu_backward(
    const Elements p, const float* RESTRICT y, float* RESTRICT gradient)
{
    await_predecessor();
    backward(p.len, y, gradient);
}

extern "C" __global__ __launch_bounds__(LINEAR) void relu_backward_bf16(
    const Elements p, const Bf16* RESTRICT y, Bf16* RESTRICT gradient)
{
    await_predecessor();
    backward(p.len, y, gradient);
}

extern "C" __global__ __launch_bounds__(LINEAR) void relu_backward_f16(
    const Elements p, const F16* RESTRICT y, F16* RESTRICT gradient)
{
    await_predecessor();
    backward(p.len, y, gradient);
}

extern "C" __global__ __launch_bounds__(LINEAR) void add(
    const Elements p, const float* RESTRICT x, float* RESTRICT into)
{
    await_predecessor();
    sum(p.len, x, into);
}

extern "C" __global__ __launch_bounds__(LINEAR) void add_bf16(
    const Elements p, const Bf16* RESTRICT x, Bf16* RESTRICT into)
{
    await_predecessor();
    sum(p.len, x, into);
}

extern "C" __global__ __launch_bounds__(LINEAR) void add_f16(
    const Elements p, const F16* RESTRICT x, F16* RESTRICT into)
{
    await_predecessor();
    sum(p.len, x, into);
}

extern "C" __global__ __launch_bounds__(LINEAR) void sigmoid(
    const Elements p, const float* RESTRICT x, float* RESTRICT y)
{
    await_predecessor();
    const unsigned at = mine<float>();
    if (at >= p.len) return;
    const int left = p.len - at;
    const bool whole = left >= 4;
    float4 v = read4(x + at, left, whole);
    v = make_float4(logistic(v.x), logistic(v.y), logistic(v.z), logistic(v.w));
    write4(y + at, v, left, whole);
}

extern "C" __global__ __launch_bounds__(LINEAR) void normalize(
    const Normalize p, const unsigned char* RESTRICT pixels, float* RESTRICT y)
{
    await_predecessor();
    scaled(p, pixels, y);
}

extern "C" __global__ __launch_bounds__(LINEAR) void normalize_bf16(
    const Normalize p, const unsigned char* RESTRICT pixels, Bf16* RESTRICT y)
{
    await_predecessor();
    scaled(p, pixels, y);
}

extern "C" __global__ __launch_bounds__(LINEAR) void normalize_f16(
    const Normalize p, const unsigned char* RESTRICT pixels, F16* RESTRICT y)
{
    await_predecessor();
    scaled(p, pixels, y);
}
