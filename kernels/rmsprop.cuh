// rmsprop.cuh   one number's step: v = rho·v + (1-rho)·g²,  w = w - rate·g / √(v + epsilon)
//
// As keras.optimizers.RMSprop, epsilon inside the root. Every operation is rounded by name, so that the
// compiler fuses nothing: the step has the same bits wherever it is inlined, and the cpu's, but for a v below
// 2^-126, which the cpu sets to 0 where epsilon is 1e-10 or more (src/device/cpu/tensors.rs, `settled`).

#pragma once

#include "params.cuh"

// rho·old + (1-rho)·fresh.
__device__ __forceinline__ float average(const Rmsprop p, const float old, const float fresh)
{
    return __fadd_rn(__fmul_rn(p.rho, old), __fmul_rn(__fsub_rn(1.0f, p.rho), fresh));
}

// The plain rule: without momentum, not centered, epsilon inside.
__device__ __forceinline__ void step(const Rmsprop p, const float g, float& v, float& w)
{
    v = average(p, v, __fmul_rn(g, g));
    w = __fsub_rn(w, __fdiv_rn(__fmul_rn(p.rate, g), __fsqrt_rn(__fadd_rn(v, p.epsilon))));
}

__device__ __forceinline__ void step4(const Rmsprop p, const float4 g, float4& v, float4& w)
{
    step(p, g.x, v.x, w.x);
    step(p, g.y, v.y, w.y);
    step(p, g.z, v.z, w.z);
    step(p, g.w, v.w, w.w);
}

// Any of its rules; what the rule does not keep stays as it is.
__device__ __forceinline__ void step(
    const Rmsprop p, const float g, float& v, float& momentum, float& mean, float& w)
{
    v = average(p, v, __fmul_rn(g, g));
    float d = v;
    if (p.centered) {
        mean = average(p, mean, g);
        d = __fsub_rn(v, __fmul_rn(mean, mean));
        // No variance is negative; its rounding may be, and then has no root. (fmaxf would hide a NaN.)
        if (d < 0.0f) d = 0.0f;
    }
    const float root =
        p.outside ? __fadd_rn(__fsqrt_rn(d), p.epsilon) : __fsqrt_rn(__fadd_rn(d, p.epsilon));
    float way = __fdiv_rn(__fmul_rn(p.rate, g), root);
    if (p.momentum > 0.0f) way = momentum = __fadd_rn(__fmul_rn(p.momentum, momentum), way);
    w = __fsub_rn(w, way);
}
