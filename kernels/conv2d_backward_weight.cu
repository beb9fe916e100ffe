// conv2d_backward_weight   dweight[o,a,b,c] = Σ_{n,i,j} dy[n,i,j,o] · x[n,i+a-1,j+b-1,c]
// targets: sm_75
// hot: conv2d_backward_weight
//
//   x         (n, h, w, c_in)              in   zero outside the map
//   dy        (n, h, w, c_out)             in
//   parts     (parts, c_out, 3, 3, c_in)   out  part k sums the pixels k·length to (k+1)·length; with one
//                                               part, dweight
//
// A product whose depth is the pixels: rows are the 9·c_in numbers (tap, c) of a filter, which lie side by
// side in dweight, columns the c_out filters. A block of 128 threads computes 128 rows x 64 filters, grid
// (9·c_in/128, c_out/64, parts); a thread 8 x 8 (tile.cuh). The result is small and the depth long, so the
// host cuts the depth into parts. A step takes eight pixels: a warp reads 128 rows' numbers of a pixel.
//
// conv2d_weight_reduce.cu adds the parts.
//
// 12.25 KiB shared memory in two stages. Per step 6 KiB are read for 131 kflop: 21 flops per byte.
// 2·n·h·w flops and 4·parts bytes written per element of dweight.

#include "params.cuh"
#include "tile.cuh"

// A pixel that walks through the maps with its row and column at hand.
struct Walker {
    int pixel, i, j;

    __device__ __forceinline__ void advance(const int pixels, const int h, const int w)
    {
        pixel += pixels;
        j += pixels;
        while (j >= w) {
            j -= w;
            if (++i == h) i = 0;
        }
    }
};

// A row of the product: a tap and a channel, as what the tap adds to a pixel's place and coordinates.
struct Row {
    int offset, a, b;
    bool real;
};

__device__ __forceinline__ Row row_at(const int row, const int rows, const int w, const int c_in)
{
    const int tap = row / c_in;
    const int a = tap / 3 - 1, b = tap % 3 - 1;
    return {(a * w + b) * c_in + row % c_in, a, b, row < rows};
}

__device__ __forceinline__ bool inside(const Row row, const Walker at, const int h, const int w)
{
    return row.real && unsigned(at.i + row.a) < unsigned(h) && unsigned(at.j + row.b) < unsigned(w);
}

extern "C" __global__ __launch_bounds__(THREADS, 4) void conv2d_backward_weight(
    const Conv2d p, const Split split,
    const float* RESTRICT x, const float* RESTRICT dy, float* RESTRICT parts)
{
    __shared__ Stage stages[2];
    const int thread = threadIdx.x;
    const int h = p.h, w = p.w, c_in = p.c_in, c_out = p.c_out;
    const int rows = 9 * c_in;
    const int first_row = blockIdx.x * ROWS, first_filter = blockIdx.y * COLUMNS;
    const int begin = blockIdx.z * split.length;
    const int end = min(begin + int(split.length), int(p.n) * h * w);

    // The thread's four rows, at K = `k_row` and `k_row + 4` of each step.
    const int mine = first_row + thread % 32 * 4, k_row = thread / 32;
    const Row row = row_at(mine, rows, w, c_in);
    const int filter = first_filter + thread % 16 * 4;

    const auto one = [&](const int r, const Walker at) {
        const Row row = row_at(r, rows, w, c_in);
        return at.pixel < end && inside(row, at, h, w) ? x[at.pixel * c_in + row.offset] : 0.0f;
    };
    const auto gather = [&](const Walker at) {
        // Four channels of one tap, or (three channels of an image) each row by itself.
        if (c_in % 4 == 0) {
            const int left = at.pixel < end && inside(row, at, h, w) ? 4 : 0;
            return read4(x + (at.pixel * c_in + row.offset), left, true);
        }
        return make_float4(one(mine, at), one(mine + 1, at), one(mine + 2, at), one(mine + 3, at));
    };

    Walker at = {begin + k_row, (begin + k_row) / w % h, (begin + k_row) % w};
    int pixel = begin + thread / 16;                                   // of dy

    // What the thread carries to the next stage: its rows at two pixels, four filters at one.
    float4 low, high, four;
    const auto load = [&]() {
        low = gather(at);
        at.advance(4, h, w);
        high = gather(at);
        at.advance(4, h, w);
        four = read4(dy + (pixel * c_out + filter), pixel < end ? c_out - filter : 0, c_out % 4 == 0);
        pixel += DEPTH;
    };
    const auto store = [&](Stage& stage) {
        *reinterpret_cast<float4*>(&stage.a[k_row][thread % 32 * 4]) = low;
        *reinterpret_cast<float4*>(&stage.a[k_row + 4][thread % 32 * 4]) = high;
        *reinterpret_cast<float4*>(&stage.b[thread / 16][thread % 16 * 4]) = four;
    };

    float sums[8][8];
    clear(sums);
    load();
    store(stages[0]);
    __syncthreads();
    int step = begin;
    for (int now = 0;; now ^= 1) {
        step += DEPTH;
        if (step < end) load();
        multiply(stages[now], sums);
        if (step >= end) break;
        store(stages[now ^ 1]);
        __syncthreads();
    }

    float* part = parts + blockIdx.z * rows * c_out;
    #pragma unroll
    for (int c = 0; c < 8; ++c) {
        const int filter = first_filter + my_column() + c / 4 * 32 + c % 4;
        #pragma unroll
        for (int side = 0; side < 8; side += 4) {
            const int r = first_row + my_row() + side * 16;            // 0 or 64 further
            const float4 v =
                make_float4(sums[side][c], sums[side + 1][c], sums[side + 2][c], sums[side + 3][c]);
            if (filter < c_out) write4(part + (filter * rows + r), v, rows - r, rows % 4 == 0);
        }
    }
}
