// sgd_step   w = w - rate·g;  or m = momentum·m - rate·g,  w = w + m, for all tensors in one launch
// targets: sm_75 sm_90
//
// As keras.optimizers.SGD; with `nesterov` w = w + momentum·m - rate·g. Before it, g is scaled and weights
// decay (adjust).
//
//   gradient   any shape     in       g
//   weight     as gradient   in, out  w
//   shadow     as gradient   out      w as bf16, or f16, to the nearest; only where there is one
//   momentum   as gradient   in, out  m, 0 before the first step; only where the rule has momentum
//   scaling    LossScale     in       if the loss was scaled: g is scaled back; a g that is not finite skips the step
//
// One thread per four neighbours, 256 threads per block, no shared memory; a block finds its tensor by
// the first blocks of all (tensors.cuh). Every operation is rounded by name: the cpu's bits, but for states below
// 2^-126, which the cpu sets to 0 (src/device/cpu/tensors.rs, `settled`).
// Reads 8 bytes and writes 4 per element for 2 flops (8 bytes more with momentum): bound by bandwidth.

#include "loss_scale.cuh"
#include "tensors.cuh"

__device__ __forceinline__ void step(const Sgd p, const float g, float& m, float& w)
{
    const float way = __fmul_rn(p.rate, g);
    if (p.momentum > 0.0f) {
        m = __fsub_rn(__fmul_rn(p.momentum, m), way);
        w = __fadd_rn(w, p.nesterov ? __fsub_rn(__fmul_rn(p.momentum, m), way) : m);
    } else {
        w = __fsub_rn(w, way);
    }
}

extern "C" __global__ __launch_bounds__(LINEAR) void sgd_step(
    const Tensors p, const Sgd rule, Adjust adjust, const unsigned f16,
    const LossScale* RESTRICT scaling)
{
    await_predecessor();
    if (skips(scaling, adjust)) return;
    const Share my = my_share(p);
    if (my.left <= 0) return;
    float4 g = my.read(p.gradient[my.k]);
    float4 w = my.read(p.weight[my.k]);
    float4 m = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (rule.momentum > 0.0f) m = my.read(p.momentum[my.k]);
    adjust4(adjust, g, w);
    step(rule, g.x, m.x, w.x);
    step(rule, g.y, m.y, w.y);
    step(rule, g.z, m.z, w.z);
    step(rule, g.w, m.w, w.w);
    if (rule.momentum > 0.0f) my.write(p.momentum[my.k], m);
    my.write(p.weight[my.k], w);
    my.shade(p.shadow[my.k], w, f16);
}
