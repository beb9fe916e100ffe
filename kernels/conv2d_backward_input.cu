// conv2d_backward_input   dx[n,i,j,c] = g(Σ_{a,b,o} dy[n,i-a+1,j-b+1,o] · weight[o,a,b,c])
// targets: sm_75
// hot: conv2d_backward_input
//
//   dy       (n, h, w, c_out)      in   zero outside the map
//   weight   (c_out, 3, 3, c_in)   in
//   mask     (n, h, w, c_in)       in   the convolution's x, if that is a ReLU's output; or null
//   dx       (n, h, w, c_in)       out  g = the sum where mask > 0, else 0
//
// Output pixel q reads x at q + (a-1, b-1), so x at p is read by the pixels p - (a-1, b-1): they are where tap 8 - t
// looks, if (a, b) is tap t. So this is the forward product with the filter rotated by 180 degrees: rows are the n·h·w
// pixels, columns the c_in channels, K is (tap, o). A block of 128 threads computes 128 pixels x 64 channels, grid
// (pixels/128, channels/64); a thread 8 x 8 (tile.cuh). A step takes eight filters of one tap: thread t reads those of
// pixel t, and four channels of filter t/16, which lie as the tile wants them.
//
// 12.25 KiB shared memory in two stages. Per step 6 KiB are read for 131 kflop: 21 flops per byte.
// 18·c_out flops, 4 bytes written and 4 of the mask read per output.

#include "params.cuh"
#include "tile.cuh"
#include "window.cuh"

extern "C" __global__ __launch_bounds__(THREADS, 4) void conv2d_backward_input(
    const Conv2d p, const float* RESTRICT dy, const float* RESTRICT weight,
    const float* RESTRICT mask, float* RESTRICT dx)
{
    __shared__ Stage stages[2];
    const int thread = threadIdx.x;
    const int h = p.h, w = p.w, c_in = p.c_in, c_out = p.c_out;
    const int pixels = p.n * h * w;
    const int first_pixel = blockIdx.x * ROWS, first_channel = blockIdx.y * COLUMNS;

    const Window window = window_at(first_pixel + thread, pixels, h, w);
    const int k_row = thread / 16;
    const int channel = first_channel + thread % 16 * 4;

    // What the thread carries to the next stage: eight filters' gradients at its pixel, four weights.
    float4 low, high, four;
    const auto load = [&](const int tap, const int o) {
        const int flipped_tap = 8 - tap;
        const int left = window.inside >> flipped_tap & 1 ? c_out - o : 0;
        const float* pixel = dy + ((window.pixel + shift(flipped_tap, w)) * c_out + o);
        low = read4(pixel, left, c_out % 4 == 0);
        high = read4(pixel + 4, left - 4, c_out % 4 == 0);
        four = read4(weight + (((o + k_row) * 9 + tap) * c_in + channel),
                     o + k_row < c_out ? c_in - channel : 0, c_in % 4 == 0);
    };
    const auto store = [&](Stage& stage) {
        fill_row(stage, thread, low, high);
        *reinterpret_cast<float4*>(&stage.b[k_row][thread % 16 * 4]) = four;
    };

    float sums[8][8];
    clear(sums);
    int tap = 0, o = 0;
    load(tap, o);
    store(stages[0]);
    __syncthreads();
    for (int now = 0;; now ^= 1) {
        o += DEPTH;
        if (o >= c_out) {
            o = 0;
            ++tap;
        }
        if (tap < 9) load(tap, o);
        multiply(stages[now], sums);
        if (tap == 9) break;
        store(stages[now ^ 1]);
        __syncthreads();
    }

    #pragma unroll
    for (int side = 0; side < 8; side += 4) {
        const int column = first_channel + my_column() + side * 8;     // 0 or 32 further
        #pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int pixel = first_pixel + my_row() + half * 64, left = c_in - column;
            const auto place = [&](const int r) { return (pixel + r) * c_in + column; };
            // Four of the mask before the first store: a load stays behind a store that could be to the same place.
            float4 outputs[4];
            #pragma unroll
            for (int r = 0; r < 4; ++r)
                if (mask) outputs[r] = read4(mask + place(r), pixel + r < pixels ? left : 0, c_in % 4 == 0);
            #pragma unroll
            for (int r = 0; r < 4; ++r) {
                if (pixel + r >= pixels) continue;
                float4 v = pack4(&sums[4 * half + r][side]);
                if (mask) v = relu_mask4(v, outputs[r]);
                write4(dx + place(r), v, left, c_in % 4 == 0);
            }
        }
    }
}
