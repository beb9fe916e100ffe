// conv2d_maxpool2d_forward   y[n,i,j,o] = max_{a,b in {0,1}} z[n,2i+a,2j+b,o],  z = ReLU(conv2d(x))
// targets: sm_75
// hot: conv2d_maxpool2d_forward
//
//   x        (n, h, w, c_in)          in   zero outside the map
//   weight   (c_out, 3, 3, c_in)      in
//   bias     (c_out)                  in
//   y        (n, h/2, w/2, c_out)     out  an odd last row or column of z is dropped and never computed
//   winner   n·(h/2)·(w/2)·c_out/4 u8 out  as maxpool2d_forward leaves it; null in inference, and where
//                                          c_out is no multiple of four: threads would share bytes
//
// z, four times as large as y, is written nowhere. The product of conv2d.cuh with its rows ordered by
// window: row 4·window + corner. So the four consecutive rows that a thread holds are one window, and the
// maximum is taken in registers. Grid (4·windows/128, filters/64) x 128 threads, a thread 2 windows x 8
// filters. 12.25 KiB shared memory. 72·c_in + 3 flops and 4.25 bytes written per output.

#include "conv2d.cuh"
#include "pool.cuh"

extern "C" __global__ __launch_bounds__(THREADS, 3) void conv2d_maxpool2d_forward(
    const Conv2d p,
    const float* RESTRICT x, const float* RESTRICT weight, const float* RESTRICT bias,
    float* RESTRICT y, unsigned char* RESTRICT winner)
{
    const int h = p.h, w = p.w, c_out = p.c_out;
    const int rows = h / 2, columns = w / 2;
    const int windows = p.n * rows * columns, pixels = p.n * h * w;
    const int first_row = blockIdx.x * ROWS, first_filter = blockIdx.y * COLUMNS;

    const int corner = threadIdx.x % 4, at = (first_row + threadIdx.x) / 4;
    const int j = at % columns, line = at / columns;                   // n·rows + i
    const int pixel = (line / rows * h + line % rows * 2 + corner / 2) * w + j * 2 + corner % 2;
    float sums[8][8];
    convolve(p, window_at(at < windows ? pixel : pixels, pixels, h, w), first_filter, x, weight, sums);

    #pragma unroll
    for (int side = 0; side < 8; side += 4) {
        const int column = first_filter + my_column() + side * 8;      // 0 or 32 further
        const int left = c_out - column;
        const float4 bias4 = read4(bias + column, left, c_out % 4 == 0);
        #pragma unroll
        for (int r = 0; r < 8; r += 4) {
            const int window = (first_row + my_row() + r * 16) / 4;    // rows 0 or 64 further
            unsigned winners;
            const float4 best = best_of4(
                bias_relu4(&sums[r][side], bias4, true), bias_relu4(&sums[r + 1][side], bias4, true),
                bias_relu4(&sums[r + 2][side], bias4, true), bias_relu4(&sums[r + 3][side], bias4, true), winners);
            if (window >= windows || left <= 0) continue;
            write4(y + (window * c_out + column), best, left, c_out % 4 == 0);
            if (winner) winner[(window * c_out + column) / 4] = winners;
        }
    }
}
