// common.cuh   what every kernel shares: the wait for the kernel before, four numbers at a time, ReLU and its mask, NaN
//
// Buffers begin at a multiple of 256 bytes. So four neighbours may be moved by one 16-byte instruction
// wherever the offset is a multiple of four, which a matrix grants in every row if its row length is.

#pragma once

// What the kernel before may still be writing when this one is launched must not be loaded through the read-only
// path: `const __restrict__` and __ldg promise that nobody writes while the kernel runs, and await_predecessor does
// not order such loads. So where kernels may overlap pointers are not __restrict__. scripts/ptx refuses the path in
// kernels that wait.
#if __CUDA_ARCH__ >= 900
#define RESTRICT
#else
#define RESTRICT __restrict__
#endif

// Threads of a block of the kernels that walk a line (LINEAR of src/device/gpu/lower/site.rs).
constexpr unsigned LINEAR = 256;

// Programmatic dependent launch, "griddepcontrol" of the PTX ISA. Where a launch allows it, blocks start while the
// kernel before still runs: when each of its blocks has passed this point or exited, and there is room. Before this
// point a thread may only touch registers, shared memory and parameters. Behind it everything that earlier kernels
// wrote is visible, and none of them still reads what this one writes, since a kernel does not end before its threads
// have passed here. One thread would be enough for that; here every thread begins so, which is easy to check. A
// launch that does not allow it passes at once; older GPUs have no such instruction.
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

// Four gradients where the ReLU's output is above zero.
__device__ __forceinline__ float4 relu_mask4(const float4 gradient, const float4 output)
{
    return make_float4(output.x > 0.0f ? gradient.x : 0.0f, output.y > 0.0f ? gradient.y : 0.0f,
                       output.z > 0.0f ? gradient.z : 0.0f, output.w > 0.0f ? gradient.w : 0.0f);
}

// The four numbers from `at` on, of which `left` exist; zero stands for the others. `aligned` promises
// 16-byte alignment, and that of the four either none exist or all.
__device__ __forceinline__ float4 read4(const float* RESTRICT at, const int left, const bool aligned)
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
    float* RESTRICT at, const float4 value, const int left, const bool aligned)
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
