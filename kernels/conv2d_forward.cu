// conv2d_forward   y[n,i,j,o] = f(bias[o] + Σ_{a,b,c} x[n,i+a-1,j+b-1,c] · weight[o,a,b,c])
// targets: sm_75
// hot: conv2d_forward
//
//   x        (n, h, w, c_in)       in   zero outside the map
//   weight   (c_out, 3, 3, c_in)   in
//   bias     (c_out)               in
//   y        (n, h, w, c_out)      out  f = ReLU or nothing
//
// The product of conv2d.cuh: rows are the n·h·w pixels in their order, columns the c_out filters, grid
// (pixels/128, filters/64) x 128 threads, a thread 8 x 8. 12.25 KiB shared memory. 18·c_in flops and 4
// bytes written per output.

#include "conv2d.cuh"

extern "C" __global__ __launch_bounds__(THREADS, 3) void conv2d_forward(
    const Conv2d p, const unsigned relu,
    const float* RESTRICT x, const float* RESTRICT weight, const float* RESTRICT bias,
    float* RESTRICT y)
{
    const int h = p.h, w = p.w, c_out = p.c_out;
    const int pixels = p.n * h * w;
    const int first_pixel = blockIdx.x * ROWS, first_filter = blockIdx.y * COLUMNS;

    float sums[8][8];
    convolve(p, window_at(first_pixel + threadIdx.x, pixels, h, w), first_filter, x, weight, sums);

    #pragma unroll
    for (int side = 0; side < 8; side += 4) {
        const int column = first_filter + my_column() + side * 8;      // 0 or 32 further
        const int left = c_out - column;
        const float4 bias4 = read4(bias + column, left, c_out % 4 == 0);
        #pragma unroll
        for (int r = 0; r < 8; ++r) {
            const int pixel = first_pixel + my_row() + r / 4 * 64 + r % 4;
            const float4 v = bias_relu4(&sums[r][side], bias4, relu);
            if (pixel < pixels) write4(y + (pixel * c_out + column), v, left, c_out % 4 == 0);
        }
    }
}
