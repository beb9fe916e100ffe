// adamw_step   m = m + (g-m)·new_1;  v = v + (g²-v)·new_2;  w = w - m·alpha / (√v + epsilon), for all tensors
// targets: sm_75 sm_90
//
// As keras.optimizers.AdamW: new = 1 - beta, alpha = rate·√(1-beta_2^t) / (1-beta_1^t) of step t, which the
// host computes. torch.optim.AdamW adds its epsilon to the corrected root, which is the same with
// epsilon·√(1-beta_2^t) here. Before it, g is scaled and weights decay (adjust).
//
//   gradient   any shape     in       g
//   weight     as gradient   in, out  w
//   shadow     as gradient   out      w as bf16, or f16, to the nearest; only where there is one
//   velocity   as gradient   in, out  v, the mean square; 0 before the first step
//   momentum   as gradient   in, out  m, the mean; 0 before the first step
//   scaling    LossScale     in       if the loss was scaled: g is scaled back; a g that is not finite skips the step
//
// One thread per four neighbours, 256 threads per block, no shared memory; a block finds its tensor by
// the first blocks of all (tensors.cuh). Every operation is rounded by name: the cpu's bits, but for states below
// 2^-126, which the cpu sets to 0 where epsilon is 1e-10 or more (src/device/cpu/tensors.rs, `settled`).
// Reads 16 bytes and writes 12 per element for 12 flops: bound by bandwidth.

#include "loss_scale.cuh"
#include "tensors.cuh"

__device__ __forceinline__ void step(const Adamw p, const float g, float& v, float& m, float& w)
{
    m = __fadd_rn(m, __fmul_rn(__fsub_rn(g, m), p.new_1));
    v = __fadd_rn(v, __fmul_rn(__fsub_rn(__fmul_rn(g, g), v), p.new_2));
    w = __fsub_rn(w, __fdiv_rn(__fmul_rn(m, p.alpha), __fadd_rn(__fsqrt_rn(v), p.epsilon)));
}

extern "C" __global__ __launch_bounds__(LINEAR) void adamw_step(
    const Tensors p, const Adamw rule, Adjust adjust, const unsigned f16,
    const LossScale* RESTRICT scaling)
{
    await_predecessor();
    if (skips(scaling, adjust)) return;
    const Share my = my_share(p);
    if (my.left <= 0) return;
    float4 g = my.read(p.gradient[my.k]);
    float4 w = my.read(p.weight[my.k]);
    float4 v = my.read(p.velocity[my.k]);
    float4 m = my.read(p.momentum[my.k]);
    adjust4(adjust, g, w);
    step(rule, g.x, v.x, m.x, w.x);
    step(rule, g.y, v.y, m.y, w.y);
    step(rule, g.z, v.z, m.z, w.z);
    step(rule, g.w, v.w, m.w, w.w);
    my.write(p.velocity[my.k], v);
    my.write(p.momentum[my.k], m);
    my.write(p.weight[my.k], w);
    my.shade(p.shadow[my.k], w, f16);
}
