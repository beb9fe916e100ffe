// conv2d_winograd_product   the products between the transforms of conv2d_winograd.cu, one for each point
// targets: sm_75
// hot: conv2d_winograd_forward conv2d_winograd_backward_input conv2d_winograd_backward_weight
//
//   forward           m[p,t,o] = Σ_c v[p,t,c] · u[p,o,c]         rows tiles, columns filters, depth channels
//   backward_input    m[p,t,c] = Σ_o v[p,t,o] · u[p,o,c]         rows tiles, columns channels, depth filters
//   backward_weight   s[p,o,c] = Σ_t g[p,t,o] · v[p,t,c]         rows filters, columns channels, depth tiles
//
//   v, g   (points, tiles, channels)      in    of maps
//   u      (points, c_out, c_in)          in    of weights
//   m      (points, tiles, channels)      out
//   s      (parts, points, c_out, c_in)   out   part k sums the tiles k·length to (k+1)·length
//
// A block of 128 threads computes 128 x 64 of one point's product, grid (rows/128, columns/64, points·parts); a
// thread 8 x 8 (tile.cuh). What is contiguous along the depth is turned on its way to shared memory. Rows, columns
// and, but for the tiles, the depth are multiples of four.
//
// 12.25 KiB shared memory in two stages. Per step 6 KiB are read for 131 kflop: 21 flops per byte, which L2 serves.

#include "params.cuh"
#include "tile.cuh"

// Where the numbers of a factor that belong to one row (or column) lie.
enum class Depth { Contiguous, Strided };

template <Depth A, Depth B>
__device__ __forceinline__ void product(
    const Product& p, const float* RESTRICT a, const float* RESTRICT b, float* RESTRICT to)
{
    __shared__ Stage stages[2];
    const int thread = threadIdx.x;
    const int rows = p.rows, columns = p.columns, depth = p.depth;
    const int first_row = blockIdx.x * ROWS, first_column = blockIdx.y * COLUMNS;
    const int point = blockIdx.z % p.points, part = blockIdx.z / p.points;
    const int begin = part * p.length, end = min(begin + int(p.length), depth);
    a += point * rows * depth;
    b += point * columns * depth;

    // What the thread carries to the next stage: eight numbers of A, four of B.
    float4 low, high, four;
    const auto load = [&](const int k) {
        if (A == Depth::Contiguous) {
            const int row = first_row + thread;
            const float* from = a + (row * depth + k);
            low = read4(from, row < rows ? end - k : 0, true);
            high = read4(from + 4, row < rows ? end - k - 4 : 0, true);
        } else {
            const int row = first_row + thread % 32 * 4, at = k + thread / 32;
            low = read4(a + (at * rows + row), at < end ? rows - row : 0, true);
            high = read4(a + ((at + 4) * rows + row), at + 4 < end ? rows - row : 0, true);
        }
        if (B == Depth::Contiguous) {
            const int column = first_column + thread / 2, at = k + thread % 2 * 4;
            four = read4(b + (column * depth + at), column < columns ? end - at : 0, true);
        } else {
            const int column = first_column + thread % 16 * 4, at = k + thread / 16;
            four = read4(b + (at * columns + column), at < end ? columns - column : 0, true);
        }
    };
    const auto store = [&](Stage& stage) {
        if (A == Depth::Contiguous) {
            fill_row(stage, thread, low, high);
        } else {
            *reinterpret_cast<float4*>(&stage.a[thread / 32][thread % 32 * 4]) = low;
            *reinterpret_cast<float4*>(&stage.a[thread / 32 + 4][thread % 32 * 4]) = high;
        }
        if (B == Depth::Contiguous) {
            const int half = thread % 2 * 4;
            stage.b[half + 0][thread / 2] = four.x;
            stage.b[half + 1][thread / 2] = four.y;
            stage.b[half + 2][thread / 2] = four.z;
            stage.b[half + 3][thread / 2] = four.w;
        } else {
            *reinterpret_cast<float4*>(&stage.b[thread / 16][thread % 16 * 4]) = four;
        }
    };

    float sums[8][8];
    clear(sums);
    load(begin);
    store(stages[0]);
    __syncthreads();
    int k = begin;
    for (int now = 0;; now ^= 1) {
        k += DEPTH;
        if (k < end) load(k);
        multiply(stages[now], sums);
        if (k >= end) break;
        store(stages[now ^ 1]);
        __syncthreads();
    }

    to += blockIdx.z * rows * columns;
    #pragma unroll
    for (int side = 0; side < 8; side += 4) {
        const int column = first_column + my_column() + side * 8;      // 0 or 32 further
        #pragma unroll
        for (int r = 0; r < 8; ++r) {
            const int row = first_row + my_row() + r / 4 * 64 + r % 4;
            if (row < rows) write4(to + (row * columns + column), pack4(&sums[r][side]), columns - column, true);
        }
    }
}

extern "C" __global__ __launch_bounds__(THREADS, 4) void conv2d_winograd_forward(
    const Product p, const float* RESTRICT v, const float* RESTRICT u, float* RESTRICT m)
{
    product<Depth::Contiguous, Depth::Contiguous>(p, v, u, m);
}

extern "C" __global__ __launch_bounds__(THREADS, 4) void conv2d_winograd_backward_input(
    const Product p, const float* RESTRICT v, const float* RESTRICT u, float* RESTRICT m)
{
    product<Depth::Contiguous, Depth::Strided>(p, v, u, m);
}

extern "C" __global__ __launch_bounds__(THREADS, 4) void conv2d_winograd_backward_weight(
    const Product p, const float* RESTRICT g, const float* RESTRICT v, float* RESTRICT s)
{
    product<Depth::Strided, Depth::Strided>(p, g, v, s);
}
