// global_avgpool2d   y[n,c] = Σ_pixel x[n,pixel,c] / pixels, and back: dx[n,pixel,c] = dy[n,c] / pixels
// targets: sm_75 sm_90
//
//   x   (n, pixels, c)   in    pixels = h·w, rows first
//   y   (n, c)           out
//
// Forward: one thread per element of y, 256 per block. Neighbours have neighbouring channels, so each of its loads
// is 128 bytes for a warp; the loads of a thread do not depend on each other, and the sum is in the order of the
// pixels, as on the cpu: the same bits. 4 bytes and one addition per element of x. A batch of 20 has no more than
// 10,240 threads, too few to fill a large GPU: the model gives them 2.7 microseconds on an H200 (16 pixels, images of
// 150x150), which is about what any launch takes. A sum by several threads would only pay for far larger maps.
// Backward: one thread per four neighbours of dx, which is the larger side; each dy is read `pixels` times.
// Divided and not multiplied by the inverse, as TensorFlow does it: one rounding less.

#include "common.cuh"
#include "params.cuh"

extern "C" __global__ __launch_bounds__(LINEAR) void global_avgpool2d_forward(
    const GlobalPool2d p, const float* RESTRICT x, float* RESTRICT y)
{
    await_predecessor();
    const unsigned at = blockIdx.x * LINEAR + threadIdx.x;
    if (at >= p.n * p.c) return;
    const float* from = x + at / p.c * (p.pixels * p.c) + at % p.c;
    float sum = 0.0f;
    #pragma unroll 8
    for (unsigned pixel = 0; pixel < p.pixels; ++pixel) sum += from[pixel * p.c];
    y[at] = sum / static_cast<float>(p.pixels);
}

extern "C" __global__ __launch_bounds__(LINEAR) void global_avgpool2d_backward(
    const GlobalPool2d p, const float* RESTRICT dy, float* RESTRICT dx)
{
    await_predecessor();
    const unsigned at = 4 * (blockIdx.x * LINEAR + threadIdx.x);
    const unsigned len = p.n * p.pixels * p.c;
    if (at >= len) return;
    const float pixels = static_cast<float>(p.pixels);
    const int left = static_cast<int>(len - at);
    float mean[4];
    #pragma unroll
    for (unsigned k = 0; k < 4; ++k) {
        // Beyond the end the last one again, which write4 leaves out.
        const unsigned e = min(at + k, len - 1);
        mean[k] = dy[e / (p.pixels * p.c) * p.c + e % p.c] / pixels;
    }
    write4(dx + at, pack4(mean), left, left >= 4);
}
