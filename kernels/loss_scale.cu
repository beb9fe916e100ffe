// loss_scale   dynamic loss scaling: gradients of f16 in the range of f16
// targets: sm_75 sm_90
//
//   scale_gradient      gradient[i] = gradient[i] · scale      in place: that of the logits, before the backward pass
//   check_gradients     found = the first tensor with an infinite number or a NaN
//   update_loss_scale   if one was found: scale = max(scale/2, 1), skipped = skipped + 1, good = 0
//                       else: good = good + 1, and after `interval` of them scale = min(2·scale, 2^126),
//                       good = 0
//
//   gradient   any shape     f32
//   scaling    LossScale     loss_scale.cuh
//
// As keras.optimizers.LossScaleOptimizer, which halves and doubles so. Between check and update stand the steps
// of the optimizer, which do nothing if something was found. The scale is a power of two: nothing is rounded.
//
// scale_gradient and check_gradients: one thread per four neighbours, 256 per block; check_gradients finds its tensor
// as the optimizers do (tensors.cuh) and reads 4 bytes per element: bound by bandwidth. update_loss_scale: a thread.

#include "common.cuh"
#include "loss_scale.cuh"
#include "params.cuh"
#include "tensors.cuh"

__device__ __forceinline__ bool is_finite(const float x)
{
    return (__float_as_uint(x) & 0x7f800000) != 0x7f800000;
}

extern "C" __global__ __launch_bounds__(LINEAR) void scale_gradient(
    const Elements p, const LossScale* RESTRICT scaling, float* gradient)
{
    await_predecessor();
    const unsigned at = 4 * (blockIdx.x * LINEAR + threadIdx.x);
    if (at >= p.len) return;
    const int left = p.len - at;
    const bool whole = left >= 4;
    const float scale = scaling->scale;
    float4 g = read4(gradient + at, left, whole);
    g = make_float4(__fmul_rn(scale, g.x), __fmul_rn(scale, g.y), __fmul_rn(scale, g.z), __fmul_rn(scale, g.w));
    write4(gradient + at, g, left, whole);
}

extern "C" __global__ __launch_bounds__(LINEAR) void check_gradients(
    const Tensors p, const unsigned before, LossScale* scaling)
{
    await_predecessor();
    const Share my = my_share(p);
    bool finite = true;
    if (my.left > 0) {
        const float4 g = my.read(p.gradient[my.k]);
        finite = is_finite(g.x) && is_finite(g.y) && is_finite(g.z) && is_finite(g.w);
    }
    // An integer minimum: whichever order the warps come in, the first tensor stays.
    if (!__all_sync(0xffffffff, finite) && threadIdx.x % 32 == 0) atomicMin(&scaling->found, before + my.k);
}

extern "C" __global__ __launch_bounds__(32) void update_loss_scale(const unsigned interval, LossScale* scaling)
{
    await_predecessor();
    if (threadIdx.x > 0) return;
    float scale = scaling->scale;
    unsigned good = scaling->good + 1;
    if (scaling->found != NOTHING) {
        scale = fmaxf(0.5f * scale, 1.0f);
        good = 0;
        scaling->skipped += 1;
    } else if (good >= interval) {
        scale = fminf(2.0f * scale, MOST);
        good = 0;
    }
    scaling->scale = scale;
    scaling->inverse = __fdiv_rn(1.0f, scale);
    scaling->good = good;
    scaling->found = NOTHING;
}
