// dense_backward_weight   dweight[i,o] = Σ_n x[n,i] · dy[n,o]
// targets: sm_75 sm_90
// hot: dense_backward_weight dense_rmsprop_step
//
//   x         (n, c_in)       in
//   dy        (n, c_out)      in
//   dweight   (c_in, c_out)   out
//
// dense_rmsprop_step   the same sum as g, used where it arises and never stored:
//                      v = rho·v + (1-rho)·g²,  w = w - rate·g / √(v + epsilon)
//   velocity  (c_in, c_out)   in, out   v
//   weight    (c_in, c_out)   in, out   w
//
// 256 threads per block compute 64 inputs x 64 units, a thread 4 x 4. The grid is a line of c_out/64 · c_in/64
// blocks, those of the same inputs side by side: there may be more of inputs than a grid has along y. A step
// takes sixteen samples: 8 KiB shared memory, where thread t brings four inputs and four units of sample
// t/16. Samples are added one after the other, so both kernels find the same bits.
//
// 4 bytes written per element for 2·n flops (8 read and 8 written with the optimizer): bound by bandwidth.

#include "common.cuh"
#include "params.cuh"
#include "rmsprop.cuh"

constexpr int SIDE = 64, DEPTH = 16, THREADS = 256;

// The first input and unit of the block.
struct Tile {
    int input, unit;
};

__device__ __forceinline__ Tile my_tile(int c_out)
{
    const unsigned across = (c_out + SIDE - 1) / SIDE, row = blockIdx.x / across;
    return {static_cast<int>(row * SIDE), static_cast<int>((blockIdx.x - row * across) * SIDE)};
}

struct alignas(16) Stage {
    float a[DEPTH][SIDE];
    float b[DEPTH][SIDE];
};

// g[r] = Σ_n x[n, input + r] · dy[n, unit …] of the thread's first input and unit, which it returns.
__device__ __forceinline__ Tile gradient(
    Stage& stage, const Dense& p, const float* RESTRICT x, const float* RESTRICT dy, float4 (&g)[4])
{
    const int n = p.n, c_in = p.c_in, c_out = p.c_out;
    const int k_row = threadIdx.x / 16, four = threadIdx.x % 16 * 4;
    const Tile tile = my_tile(c_out);
    const int input = tile.input + four, unit = tile.unit + four;

    float sums[4][4] = {};
    for (int first = 0; first < n; first += DEPTH) {
        const int sample = first + k_row;
        const float4 from_x =
            read4(x + (sample * c_in + input), sample < n ? c_in - input : 0, c_in % 4 == 0);
        const float4 from_dy =
            read4(dy + (sample * c_out + unit), sample < n ? c_out - unit : 0, c_out % 4 == 0);
        __syncthreads();                                               // the last step was read
        *reinterpret_cast<float4*>(&stage.a[k_row][four]) = from_x;
        *reinterpret_cast<float4*>(&stage.b[k_row][four]) = from_dy;
        __syncthreads();
        #pragma unroll
        for (int d = 0; d < DEPTH; ++d) {
            float i[4], o[4];
            unpack4(&stage.a[d][threadIdx.x / 16 * 4], i);
            unpack4(&stage.b[d][four], o);
            #pragma unroll
            for (int r = 0; r < 4; ++r)
                #pragma unroll
                for (int c = 0; c < 4; ++c) sums[r][c] = fmaf(i[r], o[c], sums[r][c]);
        }
    }
    #pragma unroll
    for (int r = 0; r < 4; ++r) g[r] = pack4(sums[r]);
    return {tile.input + k_row * 4, unit};
}

extern "C" __global__ __launch_bounds__(THREADS) void dense_backward_weight(
    const Dense p, const float* RESTRICT x, const float* RESTRICT dy, float* RESTRICT dweight)
{
    await_predecessor();
    __shared__ Stage stage;
    float4 g[4];
    const Tile mine = gradient(stage, p, x, dy, g);
    const int c_in = p.c_in, c_out = p.c_out;
    #pragma unroll
    for (int r = 0; r < 4; ++r) {
        const int left = mine.input + r < c_in ? c_out - mine.unit : 0;
        write4(dweight + ((mine.input + r) * c_out + mine.unit), g[r], left, c_out % 4 == 0);
    }
}

extern "C" __global__ __launch_bounds__(THREADS) void dense_rmsprop_step(
    const Dense p, const Rmsprop rule, const float* RESTRICT x, const float* RESTRICT dy,
    float* RESTRICT velocity, float* RESTRICT weight)
{
    await_predecessor();
    __shared__ Stage stage;
    float4 g[4];
    const Tile mine = gradient(stage, p, x, dy, g);
    const int c_in = p.c_in, c_out = p.c_out;
    // Two rows are loaded before the first is stored, since a load stays behind a store that could be to the same place. Of
    // all four three blocks fit on a multiprocessor instead of four: 8192 x 256, 512 blocks, would take a second turn on 132.
    #pragma unroll
    for (int first = 0; first < 4; first += 2) {
        float4 v[2], w[2];
        const auto left = [&](const int r) { return mine.input + first + r < c_in ? c_out - mine.unit : 0; };
        const auto at = [&](const int r) { return (mine.input + first + r) * c_out + mine.unit; };
        #pragma unroll
        for (int r = 0; r < 2; ++r) {
            v[r] = read4(velocity + at(r), left(r), c_out % 4 == 0);
            w[r] = read4(weight + at(r), left(r), c_out % 4 == 0);
        }
        #pragma unroll
        for (int r = 0; r < 2; ++r) {
            step4(rule, g[first + r], v[r], w[r]);
            write4(velocity + at(r), v[r], left(r), c_out % 4 == 0);
            write4(weight + at(r), w[r], left(r), c_out % 4 == 0);
        }
    }
}
