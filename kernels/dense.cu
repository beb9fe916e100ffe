// dense   y[n,o] = f(bias[o] + Σ_i x[n,i] · weight[i,o]),  dx[n,i] = Σ_o dy[n,o] · weight[i,o]
// targets: sm_75 sm_90
// hot: dense_forward dense_backward_input
//
//   x, dx    (n, c_in)
//   weight   (c_in, c_out)
//   bias     (c_out)
//   y, dy    (n, c_out)           f = ReLU or nothing
//   parts    (parts, n, c_out)    out of dense_forward: part k sums the inputs k·length to (k+1)·length
//
// dense_forward          32 samples x 128 units per block, grid (c_out/128, n/32, parts)
// dense_forward_reduce   adds the parts in order, then bias and f; one thread per output, 256 per block
// dense_backward_input   32 samples x 64 inputs per block, grid (c_in/64, n/32)
//
// A batch has tens of samples and the weight millions of numbers, so the weight is the traffic: a tile as
// tall as a batch reads each of its numbers once, and the inputs of dense_forward are cut into parts until
// there are blocks for every processor; backward, where K is short and nothing is cut, blocks are half as
// wide. 128 threads as 8 x 16, each 4 samples x 8 columns (4 backward); a step has
// K = 16. 20.5 KiB shared memory (12.5) in two stages, filled from registers that were loaded a step
// before; one barrier per step. 4 bytes of weight for 2·n flops.

#include "common.cuh"
#include "params.cuh"
#include "reduce.cuh"

constexpr int SAMPLES = 32, DEPTH = 16, THREADS = 128;
// Columns of a block: sides of 64.
constexpr int COLUMNS = 128, BACK = 64;

// Four more than the samples, so that transposed stores meet two by two and not four by four.
constexpr int STRIDE = SAMPLES + 4;

template <int SIDES> struct alignas(16) Stage {
    float a[DEPTH][STRIDE];                          // samples
    float b[DEPTH][64 * SIDES];                      // units, or inputs going back
};

// A thread's four samples, and its columns: four of each side.
__device__ __forceinline__ int my_sample() { return threadIdx.x / 16 * 4; }
__device__ __forceinline__ int my_column() { return threadIdx.x % 16 * 4; }

template <int SIDES>
__device__ __forceinline__ void multiply(const Stage<SIDES>& stage, float (&sums)[4][4 * SIDES])
{
    #pragma unroll
    for (int d = 0; d < DEPTH; ++d) {
        float a[4], b[4 * SIDES];
        unpack4(&stage.a[d][my_sample()], a);
        #pragma unroll
        for (int side = 0; side < SIDES; ++side) unpack4(&stage.b[d][my_column() + 64 * side], b + 4 * side);
        #pragma unroll
        for (int r = 0; r < 4; ++r)
            #pragma unroll
            for (int c = 0; c < 4 * SIDES; ++c) sums[r][c] = fmaf(a[r], b[c], sums[r][c]);
    }
}

// sums = A · B over K from begin to end. A is (n, depth), K-major: thread t reads
// four depths of sample t/4. `read_b` gives the float4s of B that the thread carries, two for a side, `fill_b` stores
// them.
template <int SIDES, class ReadB, class FillB>
__device__ __forceinline__ void product(
    Stage<SIDES> (&stages)[2], float (&sums)[4][4 * SIDES], const float* RESTRICT a, const int first_sample,
    const int n, const int depth, const int begin, const int end, const ReadB read_b, const FillB fill_b)
{
    const int sample = first_sample + threadIdx.x / 4, quarter = threadIdx.x % 4 * 4;
    float4 mine, four[2 * SIDES];
    const auto load = [&](const int d) {
        mine = read4(a + (sample * depth + d + quarter), sample < n ? end - d - quarter : 0, depth % 4 == 0);
        #pragma unroll
        for (int k = 0; k < 2 * SIDES; ++k) four[k] = read_b(d, k);
    };
    const auto store = [&](Stage<SIDES>& stage) {
        stage.a[quarter + 0][threadIdx.x / 4] = mine.x;
        stage.a[quarter + 1][threadIdx.x / 4] = mine.y;
        stage.a[quarter + 2][threadIdx.x / 4] = mine.z;
        stage.a[quarter + 3][threadIdx.x / 4] = mine.w;
        #pragma unroll
        for (int k = 0; k < 2 * SIDES; ++k) fill_b(stage, k, four[k]);
    };

    #pragma unroll
    for (int r = 0; r < 4; ++r)
        #pragma unroll
        for (int c = 0; c < 4 * SIDES; ++c) sums[r][c] = 0.0f;
    int d = begin;
    load(d);
    store(stages[0]);
    __syncthreads();
    for (int now = 0;; now ^= 1) {
        d += DEPTH;
        if (d < end) load(d);
        multiply(stages[now], sums);
        if (d >= end) break;
        store(stages[now ^ 1]);
        __syncthreads();
    }
}

// The thread's sums into a matrix (n, columns).
template <int SIDES>
__device__ __forceinline__ void write(
    const float (&sums)[4][4 * SIDES], float* RESTRICT to, const int first_sample, const int n,
    const int first_column, const int columns)
{
    #pragma unroll
    for (int r = 0; r < 4; ++r) {
        const int sample = first_sample + my_sample() + r;
        #pragma unroll
        for (int side = 0; side < SIDES; ++side) {
            const int column = first_column + my_column() + 64 * side;
            const float4 v = pack4(&sums[r][4 * side]);
            if (sample < n) write4(to + (sample * columns + column), v, columns - column, columns % 4 == 0);
        }
    }
}

extern "C" __global__ __launch_bounds__(THREADS) void dense_forward(
    const Dense p, const Split split,
    const float* RESTRICT x, const float* RESTRICT weight, float* RESTRICT parts)
{
    await_predecessor();
    __shared__ Stage<2> stages[2];
    const int n = p.n, c_in = p.c_in, c_out = p.c_out;
    const int first_sample = blockIdx.y * SAMPLES, first_unit = blockIdx.x * COLUMNS;
    const int begin = blockIdx.z * split.length;
    const int end = min(begin + int(split.length), c_in);

    // Of four rows of the weight, four apart, four units: a warp reads 512 neighbouring bytes.
    const int k_row = threadIdx.x / 32, unit = threadIdx.x % 32 * 4;
    const auto read_b = [&](const int d, const int k) {
        const int i = d + k_row + 4 * k;
        const int left = i < end ? c_out - first_unit - unit : 0;
        return read4(weight + (i * c_out + first_unit + unit), left, c_out % 4 == 0);
    };
    const auto fill_b = [&](Stage<2>& stage, const int k, const float4 four) {
        *reinterpret_cast<float4*>(&stage.b[k_row + 4 * k][unit]) = four;
    };

    float sums[4][8];
    product(stages, sums, x, first_sample, n, c_in, begin, end, read_b, fill_b);
    write<2>(sums, parts + blockIdx.z * n * c_out, first_sample, n, first_unit, c_out);
}

extern "C" __global__ __launch_bounds__(LINEAR) void dense_forward_reduce(
    const Partials p, const Dense dense, const unsigned relu,
    const float* RESTRICT parts, const float* RESTRICT bias, float* RESTRICT y)
{
    await_predecessor();
    const unsigned at = blockIdx.x * LINEAR + threadIdx.x;
    if (at >= p.len) return;
    const float v = sum_of_parts(p, parts, at) + bias[at % dense.c_out];
    y[at] = relu ? rectify(v) : v;
}

extern "C" __global__ __launch_bounds__(THREADS) void dense_backward_input(
    const Dense p, const float* RESTRICT dy, const float* RESTRICT weight, float* RESTRICT dx)
{
    await_predecessor();
    __shared__ Stage<1> stages[2];
    const int n = p.n, c_in = p.c_in, c_out = p.c_out;
    const int first_sample = blockIdx.y * SAMPLES, first_input = blockIdx.x * BACK;

    // Eight units of row t % 64 of the weight, the first or the last of a step, transposed on the way into shared
    // memory.
    const int row = threadIdx.x % BACK, input = first_input + row, first = threadIdx.x / BACK * 8;
    const auto read_b = [&](const int d, const int k) {
        const int unit = d + first + 4 * k;
        return read4(weight + (input * c_out + unit), input < c_in ? c_out - unit : 0, c_out % 4 == 0);
    };
    const auto fill_b = [&](Stage<1>& stage, const int k, const float4 four) {
        stage.b[first + 4 * k + 0][row] = four.x;
        stage.b[first + 4 * k + 1][row] = four.y;
        stage.b[first + 4 * k + 2][row] = four.z;
        stage.b[first + 4 * k + 3][row] = four.w;
    };

    float sums[4][4];
    product(stages, sums, dy, first_sample, n, c_out, 0, c_out, read_b, fill_b);
    write<1>(sums, dx, first_sample, n, first_input, c_in);
}
