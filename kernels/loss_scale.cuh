// loss_scale.cuh   what a loss is multiplied by, so that gradients of f16 neither vanish nor overflow
//
// One struct in memory for a whole run, twin of src/device/loss_scale.rs. It changes on the device alone: a step
// of training that is started as one (a CUDA graph) decides by itself whether its gradients are to be used.

#pragma once

#include "common.cuh"
#include "params.cuh"

// No tensor: all gradients are finite.
constexpr unsigned NOTHING = 0xffffffff;
// The scale at most, so that neither its double nor its inverse leaves f32.
constexpr float MOST = 0x1p126f;

struct LossScale {
    float scale;                                     // a power of two
    float inverse;                                   // 1/scale
    unsigned good;                                   // steps since the scale was changed last
    unsigned found;                                  // the first tensor of this step that is not finite
    unsigned skipped;                                // steps left out so far
};

// Whether a step's gradients are not to be used; otherwise what was scaled is scaled back.
__device__ __forceinline__ bool skips(const LossScale* RESTRICT scaling, Adjust& adjust)
{
    if (!scaling) return false;
    if (scaling->found != NOTHING) return true;
    adjust.scale = __fmul_rn(adjust.scale, scaling->inverse);
    return false;
}
