// dropout   y[i] = unit(word[i]) < rate ? 0 : x[i] · 1/(1 - rate)
// targets: sm_75 sm_90
//
//   x       any shape   in   activations forward, gradients backward
//   y       as x        out
//   word    element i's is number i%4 of Philox4x32-10 at (seed, stream, counter + i/4)
//
// One thread per draw, that is per four neighbours, 256 threads per block, no shared memory.
// Reads and writes 4 bytes per element; 25 integer instructions for its share of the draw.

#include "common.cuh"
#include "params.cuh"
#include "philox.cuh"

__device__ __forceinline__ float keep(const Dropout& p, const unsigned word, const float x)
{
    return unit(word) < p.rate ? 0.0f : x * p.scale;
}

extern "C" __global__ __launch_bounds__(LINEAR) void dropout(
    const Dropout p, const float* RESTRICT x, float* RESTRICT y)
{
    await_predecessor();
    const unsigned draw = blockIdx.x * LINEAR + threadIdx.x;
    const unsigned at = 4 * draw;
    if (at >= p.len) return;

    const unsigned low = p.counter_low + draw;
    const unsigned high = p.counter_high + (low < draw);               // the carry
    const uint4 word = philox(make_uint4(low, high, p.stream, 0), make_uint2(p.seed_low, p.seed_high));

    const int left = p.len - at;
    const bool whole = left >= 4;
    float4 v = read4(x + at, left, whole);
    v = make_float4(keep(p, word.x, v.x), keep(p, word.y, v.y), keep(p, word.z, v.z), keep(p, word.w, v.w));
    write4(y + at, v, left, whole);
}
