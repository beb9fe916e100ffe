// softmax   y[row,k] = e^(x[row,k] - m) / Σ_j e^(x[row,j] - m),  m = the row's largest
// targets: sm_75 sm_90
//
//   softmax                 x, y (rows, classes)
//
//   softmax_cross_entropy   loss = w·(m + ln Σ_j e^(z_j - m) - Σ_k s_k·z_k)
//                           dlogits[row,k] = w·(e^(z_k - m) / Σ_j e^(z_j - m) - s_k) / denominator
//                           s_k = (1 - smoothing)·[k = label] + smoothing/classes
//     logits    (rows, classes)       in
//     labels    (rows) u32            in
//     weights   (rows)                in   w; null for ones
//     outcome   (rows, 2)             out  the loss; 1 where the first largest logit is the label's
//     dlogits   (rows, classes)       out  null in evaluation
//     fault     (1) u32               in, out  the first row whose label is no class; all ones before. The
//                                     host looks at it at its next wait.
//
// One warp per row, lane l takes the columns l, l+32 …; four rows per block of 128, no shared memory.
// Rows are few and stay in L1, so they are read again rather than kept.
// Reads and writes 4 bytes per element, 2 exponentials (of `softmax_cross_entropy` 1 where no gradient is asked for).

#include "common.cuh"
#include "params.cuh"
#include "warp.cuh"

constexpr unsigned ROWS = 4;

// Σ_j e^(z_j - largest), in every lane.
__device__ __forceinline__ float sum_exp(
    const float* RESTRICT z, const unsigned classes, const unsigned lane, const float largest)
{
    float sum = 0.0f;
    for (unsigned k = lane; k < classes; k += WARP) sum += expf(z[k] - largest);
    return warp_sum(sum);
}

__device__ __forceinline__ float largest_of(
    const float* RESTRICT z, const unsigned classes, const unsigned lane)
{
    float largest = __int_as_float(0xFF800000);                        // -infinity
    for (unsigned k = lane; k < classes; k += WARP) largest = fmaxf(largest, z[k]);
    return warp_max(largest);
}

extern "C" __global__ __launch_bounds__(ROWS * WARP) void softmax(
    const Matrix p, const float* RESTRICT x, float* RESTRICT y)
{
    await_predecessor();
    const unsigned row = blockIdx.x * ROWS + threadIdx.x / WARP, lane = threadIdx.x % WARP;
    if (row >= p.rows) return;                                         // the whole warp
    const float* z = x + row * p.columns;
    const float largest = largest_of(z, p.columns, lane);
    const float sum = sum_exp(z, p.columns, lane, largest);
    for (unsigned k = lane; k < p.columns; k += WARP) y[row * p.columns + k] = expf(z[k] - largest) / sum;
}

extern "C" __global__ __launch_bounds__(ROWS * WARP) void softmax_cross_entropy(
    const Loss p, const float* RESTRICT logits, const unsigned* RESTRICT labels,
    const float* RESTRICT weights, float* RESTRICT outcome, float* RESTRICT dlogits, unsigned* RESTRICT fault)
{
    await_predecessor();
    const unsigned row = blockIdx.x * ROWS + threadIdx.x / WARP, lane = threadIdx.x % WARP;
    if (row >= p.rows) return;                                         // the whole warp
    const float* z = logits + row * p.columns;
    const unsigned label = labels[row];
    if (label >= p.columns) {
        // An integer minimum: whichever order the rows come in, the first one stays.
        if (lane == 0) atomicMin(fault, row);
        return;
    }

    const float largest = largest_of(z, p.columns, lane);
    const float sum = sum_exp(z, p.columns, lane, largest);

    // The first column that holds the largest; the first of all if it holds NaN, which nothing beats.
    unsigned first = is_nan(z[0]) ? 0 : p.columns;
    for (unsigned k = lane; k < p.columns; k += WARP) first = z[k] == largest ? min(first, k) : first;
    first = warp_min(first);

    const float w = weights ? weights[row] : 1.0f;
    const float every = p.smoothing / p.columns, whole = 1.0f - p.smoothing;
    float others = 0.0f;                                               // Σ_k smoothing/classes · z_k
    if (every > 0.0f) {
        for (unsigned k = lane; k < p.columns; k += WARP) others = fmaf(every, z[k], others);
        others = warp_sum(others);
    }
    if (lane == 0) {
        outcome[2 * row] = w * (largest + logf(sum) - fmaf(whole, z[label], others));
        outcome[2 * row + 1] = first == label ? 1.0f : 0.0f;
    }
    if (!dlogits) return;
    for (unsigned k = lane; k < p.columns; k += WARP) {
        const float share = expf(z[k] - largest) / sum;
        dlogits[row * p.columns + k] = w * (share - ((k == label ? whole : 0.0f) + every)) / p.denominator;
    }
}
