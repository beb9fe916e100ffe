// sigmoid_cross_entropy   loss = w·(max(z,0) - z·s + ln(1 + e^-|z|)),  dlogit = w·(sigmoid(z) - s) / denominator
// targets: sm_75 sm_90
//
//   logits    (rows)      in   z
//   targets   (rows)      in   t: 0 or 1, or between; s = t·(1 - smoothing) + smoothing/2
//   weights   (rows)      in   w; null for ones
//   outcome   (rows, 2)   out  the loss; 1 where (z > 0) == (t > 0.5)
//   dlogits   (rows)      out  the gradient of the losses' sum over the denominator; null in evaluation
//
// Never e^|z|: the exponential is at most 1, so no logit overflows. NaN gives a NaN loss.
// One thread per row, 256 per block, no shared memory. Reads 12 bytes and writes 12 per row, about 60
// flops; a batch has tens of rows, so this is the time of a launch.

#include "common.cuh"
#include "params.cuh"

extern "C" __global__ __launch_bounds__(LINEAR) void sigmoid_cross_entropy(
    const Loss p, const float* RESTRICT logits, const float* RESTRICT targets,
    const float* RESTRICT weights, float* RESTRICT outcome, float* RESTRICT dlogits)
{
    await_predecessor();
    const unsigned row = blockIdx.x * LINEAR + threadIdx.x;
    if (row >= p.rows) return;
    const float z = logits[row], t = targets[row];
    const float soft = fmaf(t, 1.0f - p.smoothing, 0.5f * p.smoothing);
    const float w = weights ? weights[row] : 1.0f;
    const float e = expf(-fabsf(z));
    outcome[2 * row] = w * (fmaf(-z, soft, rectify(z)) + log1pf(e));
    outcome[2 * row + 1] = (z > 0.0f) == (t > 0.5f) ? 1.0f : 0.0f;
    if (dlogits) dlogits[row] = w * ((z < 0.0f ? e : 1.0f) / (1.0f + e) - soft) / p.denominator;
}
