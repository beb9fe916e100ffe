// rmsprop_step   v[i] = rho·v[i] + (1-rho)·g[i]²;  w[i] = w[i] - rate·g[i] / √(v[i] + epsilon)
// targets: sm_75
//
//   gradient   any shape     in       g
//   velocity   as gradient   in, out  v, the mean square; 0 before the first step
//   weight     as gradient   in, out  w
//
// One thread per four neighbours, 256 threads per block, no shared memory.
// Reads 12 bytes and writes 8 per element for 9 flops: bound by bandwidth.

#include "common.cuh"
#include "params.cuh"
#include "rmsprop.cuh"

extern "C" __global__ __launch_bounds__(LINEAR) void rmsprop_step(
    const Elements p, const Rmsprop rule,
    const float* __restrict__ gradient, float* __restrict__ velocity, float* __restrict__ weight)
{
    const unsigned at = 4 * (blockIdx.x * LINEAR + threadIdx.x);
    if (at >= p.len) return;
    const int left = p.len - at;
    const bool whole = left >= 4;
    const float4 g = read4(gradient + at, left, whole);
    float4 v = read4(velocity + at, left, whole);
    float4 w = read4(weight + at, left, whole);
    step4(rule, g, v, w);
    write4(velocity + at, v, left, whole);
    write4(weight + at, w, left, whole);
}
