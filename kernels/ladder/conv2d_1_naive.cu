// conv2d_1_naive   the convolution of conv2d_forward, first rung: the formula and nothing else
// targets: sm_75
//
//   y[n,i,j,o] = f(bias[o] + Σ_{a,b,c} x[n,i+a-1,j+b-1,c] · weight[o,a,b,c])
//
//   x        (n, h, w, c_in)       in   zero outside the map
//   weight   (c_out, 3, 3, c_in)   in
//   bias     (c_out)               in
//   y        (n, h, w, c_out)      out  f = ReLU or nothing
//
// A thread per output: neighbouring threads are neighbouring pixels of one filter. Grid (pixels/256, c_out).
// No shared memory. Every multiply-add reads two words: 8 bytes for 2 flops.
//
// What to look at: neighbouring threads read words that lie c_in apart, so a request of a warp touches 32
// sectors of 32 bytes and uses 4 bytes of each.

#include "../params.cuh"
#include "../window.cuh"

extern "C" __global__ __launch_bounds__(256) void conv2d_1_naive(
    const Conv2d p, const unsigned relu,
    const float* __restrict__ x, const float* __restrict__ weight, const float* __restrict__ bias,
    float* __restrict__ y)
{
    const int h = p.h, w = p.w, c_in = p.c_in, c_out = p.c_out;
    const int pixels = p.n * h * w;
    const int pixel = blockIdx.x * 256 + threadIdx.x;
    const int filter = blockIdx.y;
    if (pixel >= pixels) return;

    const Window window = window_at(pixel, pixels, h, w);
    float sum = 0.0f;
    for (int tap = 0; tap < 9; ++tap) {
        if (!(window.inside >> tap & 1)) continue;
        for (int c = 0; c < c_in; ++c)
            sum = fmaf(x[(pixel + shift(tap, w)) * c_in + c], weight[(filter * 9 + tap) * c_in + c], sum);
    }
    sum += bias[filter];
    y[pixel * c_out + filter] = relu && sum < 0.0f ? 0.0f : sum;       // NaN stays NaN
}
