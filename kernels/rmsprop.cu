// rmsprop_step   v = rho·v + (1-rho)·g²;  w = w - rate·g / √(v + epsilon), for all tensors in one launch
// targets: sm_75 sm_90
//
// As keras.optimizers.RMSprop; with `outside` as torch.optim.RMSprop: √v + epsilon. Centered, the square
// of the gradient's mean is taken from v under the root; with momentum, w follows the sum of such steps
// (params.cuh has the formulas). Before it all, g is scaled and weights decay (adjust).
//
//   gradient   any shape     in       g
//   weight     as gradient   in, out  w
//   shadow     as gradient   out      w as bf16, or f16, to the nearest; only where there is one
//   velocity   as gradient   in, out  v, the mean square; 0 before the first step
//   momentum   as gradient   in, out  the running step; only where the rule has momentum
//   mean       as gradient   in, out  the mean gradient; only where the rule is centered
//   scaling    LossScale     in       if the loss was scaled: g is scaled back; a g that is not finite skips the step
//
// One thread per four neighbours, 256 threads per block, no shared memory; a block finds its tensor by
// the first blocks of all (tensors.cuh).
// Reads 12 bytes and writes 8 per element for 9 flops (8 bytes more for each further state, 2 for a shadow): bound by
// bandwidth.

#include "loss_scale.cuh"
#include "rmsprop.cuh"
#include "tensors.cuh"

extern "C" __global__ __launch_bounds__(LINEAR) void rmsprop_step(
    const Tensors p, const Rmsprop rule, Adjust adjust, const unsigned f16,
    const LossScale* RESTRICT scaling)
{
    await_predecessor();
    if (skips(scaling, adjust)) return;
    const Share my = my_share(p);
    if (my.left <= 0) return;
    float4 g = my.read(p.gradient[my.k]);
    float4 w = my.read(p.weight[my.k]);
    float4 v = my.read(p.velocity[my.k]);
    float4 m = make_float4(0.0f, 0.0f, 0.0f, 0.0f), a = m;
    if (rule.momentum > 0.0f) m = my.read(p.momentum[my.k]);
    if (rule.centered) a = my.read(p.mean[my.k]);
    adjust4(adjust, g, w);
    step(rule, g.x, v.x, m.x, a.x, w.x);
    step(rule, g.y, v.y, m.y, a.y, w.y);
    step(rule, g.z, v.z, m.z, a.z, w.z);
    step(rule, g.w, v.w, m.w, a.w, w.w);
    my.write(p.velocity[my.k], v);
    if (rule.momentum > 0.0f) my.write(p.momentum[my.k], m);
    if (rule.centered) my.write(p.mean[my.k], a);
    my.write(p.weight[my.k], w);
    my.shade(p.shadow[my.k], w, f16);
}
