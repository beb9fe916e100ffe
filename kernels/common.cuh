// common.cuh   what every kernel shares: four numbers at a time, the rectifier, NaN
//
// Buffers begin at a multiple of 256 bytes. So four neighbours may be moved by one 16-byte instruction
// wherever the offset is a multiple of four, which a matrix grants in every row if its row length is.

#pragma once

// What a kernel before may still be writing when this one is launched must not be loaded by the read-only path: its
// promise, that nobody writes while the kernel runs, would be false, and no wait binds such a load. `const __restrict__`
// and __ldg make the promise. scripts/ptx refuses the path in kernels that wait.
#if __CUDA_ARCH__ >= 900
#define __restrict__
#endif

// Blocks of elementwise kernels.
constexpr unsigned LINEAR = 256;

// Programmatic dependent launch, "griddepcontrol" of the PTX ISA: where a launch allows it, blocks start while the kernel
// before them still runs: when each of its blocks has passed this point or ended, and there is room. Until here a thread
// may touch registers, shared memory and parameters; behind it all that the kernels before have written is there, and none
// of them reads any more what this one writes, since a kernel does not end before its threads have passed here. One thread
// would do for that; in ours every thread begins so, which is easy to check. A launch that allows nothing passes at once,
// and an older card has no such point.
__device__ __forceinline__ void await_predecessor()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// max(x, 0), and NaN for NaN: fmaxf would hide that a network left the finite world.
__device__ __forceinline__ float rectify(const float x) { return x < 0.0f ? 0.0f : x; }

__device__ __forceinline__ bool is_nan(const float x) { return x != x; }

// A gradient's four numbers where their ReLU was open: where its output is above zero.
__device__ __forceinline__ float4 opened(const float4 gradient, const float4 output)
{
    return make_float4(output.x > 0.0f ? gradient.x : 0.0f, output.y > 0.0f ? gradient.y : 0.0f,
                       output.z > 0.0f ? gradient.z : 0.0f, output.w > 0.0f ? gradient.w : 0.0f);
}

// The four numbers from `at` on, of which `left` exist; zero stands for the others. `aligned` promises
// 16-byte alignment, and that of the four either none exist or all.
__device__ __forceinline__ float4 read4(const float* __restrict__ at, const int left, const bool aligned)
{
    float4 out = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (aligned) {
        if (left > 0) out = *reinterpret_cast<const float4*>(at);
        return out;
    }
    if (left > 0) out.x = at[0];
    if (left > 1) out.y = at[1];
    if (left > 2) out.z = at[2];
    if (left > 3) out.w = at[3];
    return out;
}

// The other way; what does not exist is not written.
__device__ __forceinline__ void write4(
    float* __restrict__ at, const float4 value, const int left, const bool aligned)
{
    if (aligned) {
        if (left > 0) *reinterpret_cast<float4*>(at) = value;
        return;
    }
    if (left > 0) at[0] = value.x;
    if (left > 1) at[1] = value.y;
    if (left > 2) at[2] = value.z;
    if (left > 3) at[3] = value.w;
}

// Four numbers of shared memory into registers; `at` is 16-byte aligned.
__device__ __forceinline__ void unpack4(const float* at, float* to)
{
    const float4 four = *reinterpret_cast<const float4*>(at);
    to[0] = four.x;
    to[1] = four.y;
    to[2] = four.z;
    to[3] = four.w;
}

// Four numbers of an array in registers; with indices known to the compiler it stays there.
__device__ __forceinline__ float4 pack4(const float* from)
{
    return make_float4(from[0], from[1], from[2], from[3]);
}
