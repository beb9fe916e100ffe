// conv2d_weight_reduce   the parts of a convolution's weight's gradient, added in order: stored, or used there and then
// targets: sm_75 sm_90
//
//   conv2d_backward_weight_reduce        dweight = Σ parts,  dbias = Σ biases
//   conv2d_rmsprop_step_reduce           g = Σ parts,  v = rho·v + (1-rho)·g²,  w = w - rate·g / √(v + epsilon),
//                                        dbias = Σ biases
//   …_sm90_reduce                        the same of what conv2d_sm90.cu leaves
//   …_sm90_tf32_reduce                   the same of what conv2d_sm90_tf32_weight.cu leaves
//
//   parts     (parts, c_out, 3, 3, c_in)   in       of …_sm90…: slots of a tile, its first block's and those of the
//                                                   blocks after it that had steps of the tile (stream-K)
//   biases    (rows, c_out)                in       one of each part and column tile, of …_sm90_tf32 one of each 128
//                                                   pixels; of …_sm90 (slots, a tile's filters); or null, and then
//                                                   no dbias
//   dweight   (c_out, 3, 3, c_in)          out
//   velocity  as dweight                   in, out  v, the mean square
//   weight    as dweight                   in, out  w
//   shadow    as dweight                   out      w as bf16, to the nearest; or null
//   dbias     (c_out)                      out      what the bias' own step takes (rmsprop_step)
//
// The step has the bits of rmsprop_step on the stored gradient (rmsprop.cuh). It writes the weight that
// conv2d_backward_input of the same layer reads: that must have run before.
//
// Four neighbours a thread, 256 threads a block. Before these blocks those of dbias, 32 filters each: eight threads
// take every eighth row of a filter and add up through 1 KiB of shared memory.
//
// Bytes per weight: 4·parts read and 4 written; of the step 4·parts + 8 read and 8 written, 2 more with a shadow:
// bound by bandwidth, and 8 less than a gradient that is written and read again.

#include "reduce.cuh"
#include "rmsprop.cuh"
#include "tensors.cuh"

constexpr unsigned FILTERS = 32, LINES = LINEAR / FILTERS;

// Epilogues of a sum of four neighbours; `load` comes before the parts are waited for.
struct Stored {
    float* dweight;

    __device__ __forceinline__ void load(const Share) {}
    __device__ __forceinline__ void apply(const Share my, const float4 g) const { my.write(dweight, g); }
};

struct Stepped {
    Rmsprop rule;
    float* velocity;
    float* weight;
    unsigned short* shadow;
    float4 v, w;

    __device__ __forceinline__ void load(const Share my)
    {
        v = my.read(velocity);
        w = my.read(weight);
    }

    __device__ __forceinline__ void apply(const Share my, const float4 g)
    {
        step4(rule, g, v, w);
        my.write(velocity, v);
        my.write(weight, w);
        my.shade(shadow, w, false);
    }
};

__device__ __forceinline__ void add4(float4& sum, const float4 other)
{
    sum.x += other.x;
    sum.y += other.y;
    sum.z += other.z;
    sum.w += other.w;
}

// Blocks that a bias takes.
__device__ __forceinline__ unsigned bias_blocks(const float* biases, const unsigned filters)
{
    return biases ? (filters + FILTERS - 1) / FILTERS : 0;
}

// dbias[c] = Σ of what `line(filter, l)` gives, l = 0, 1, ... LINES - 1, of the block's filter c of the thread.
template <class Line>
__device__ __forceinline__ void sum_lines(const unsigned filters, Line line, float* RESTRICT dbias)
{
    __shared__ float part[LINES][FILTERS];
    const unsigned lane = threadIdx.x % FILTERS, mine = threadIdx.x / FILTERS;
    const unsigned filter = blockIdx.x * FILTERS + lane;
    part[mine][lane] = filter < filters ? line(filter, mine) : 0.0f;
    __syncthreads();
    if (mine || filter >= filters) return;
    float sum = 0.0f;
    #pragma unroll
    for (unsigned k = 0; k < LINES; ++k) sum += part[k][lane];
    dbias[filter] = sum;
}

// Parts one behind the other, biases too.
template <class Epilogue>
__device__ __forceinline__ void reduce(
    const Partials p, const Partials bias, const float* RESTRICT parts, const float* RESTRICT biases, Epilogue epilogue,
    float* RESTRICT dbias)
{
    const unsigned before = bias_blocks(biases, bias.len);
    if (blockIdx.x < before) {
        return sum_lines(bias.len, [&](const unsigned filter, const unsigned line) {
            return sum_every<LINES>(line, bias.count, [&](const unsigned k) { return biases[k * bias.len + filter]; });
        }, dbias);
    }
    const unsigned at = 4 * ((blockIdx.x - before) * LINEAR + threadIdx.x);
    const int left = static_cast<int>(p.len) - static_cast<int>(at);
    if (left <= 0) return;
    const Share my = {0, at, left, left >= 4};
    epilogue.load(my);
    float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    // Then every part begins at a multiple of 16 bytes.
    if (p.len % 4 == 0) {
        for (unsigned k = 0; k < p.count; ++k)
            add4(sum, __ldcs(reinterpret_cast<const float4*>(parts + (k * p.len + at))));
    } else {
        for (unsigned k = 0; k < p.count; ++k) add4(sum, read4(parts + (k * p.len + at), left, false));
    }
    epilogue.apply(my, sum);
}

// The blocks of a tile. Step s belongs to the last block g that begins at or before it, g·all/blocks <= s:
// g = ((s + 1)·blocks - 1)/all, where all = tiles·steps. For the first and the last step of a tile `steps` cancels, so 32
// bits are enough: a sixth of a thread's instructions less. Block g's part of a tile is in slot g + tile.
struct Blocks {
    unsigned first, last;
};

__device__ __forceinline__ Blocks blocks_of(const StreamK split, const unsigned tiles, const unsigned tile)
{
    return {(tile * split.blocks + (split.blocks - 1) / split.steps) / tiles, ((tile + 1) * split.blocks - 1) / tiles};
}

// `ROWS`: the bias' sums are `bias_rows` rows; else they are in slots too.
template <bool ROWS, class Epilogue>
__device__ __forceinline__ void reduce_slots(
    const Conv2d p, const unsigned bias_rows, const StreamK split, const float* RESTRICT parts,
    const float* RESTRICT biases, Epilogue epilogue, float* RESTRICT dbias)
{
    const unsigned columns = 9 * p.c_in, before = bias_blocks(biases, p.c_out);
    const unsigned down = (p.c_out + split.rows - 1) / split.rows;
    const unsigned across = (columns + split.columns - 1) / split.columns, tiles = down * across;
    if (blockIdx.x < before) {
        return sum_lines(p.c_out, [&](const unsigned filter, const unsigned line) {
            if constexpr (ROWS) {
                // There may be thousands.
                return sum_every<LINES>(line, bias_rows, [&](const unsigned k) { return biases[k * p.c_out + filter]; });
            } else {
                float sum = 0.0f;
                #pragma unroll 1
                for (unsigned k = line; k < across; k += LINES) {
                    const unsigned tile = k * down + filter / split.rows;
                    const Blocks of = blocks_of(split, tiles, tile);
                    for (unsigned g = of.first; g <= of.last; ++g)
                        sum += biases[(g + tile) * split.rows + filter % split.rows];
                }
                return sum;
            }
        }, dbias);
    }
    const unsigned at = (blockIdx.x - before) * LINEAR + threadIdx.x;
    if (at >= p.c_out * (columns / 4)) return;
    const unsigned row = at / (columns / 4), column = at % (columns / 4) * 4;
    const Share my = {0, 4 * at, 4, true};
    epilogue.load(my);
    const unsigned tile = column / split.columns * down + row / split.rows, size = split.rows * split.columns;
    const Blocks of = blocks_of(split, tiles, tile);
    const float* part =
        parts + (1ull * (of.first + tile) * size + row % split.rows * split.columns + column % split.columns);
    float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    for (unsigned g = of.first; g <= of.last; ++g, part += size)
        add4(sum, __ldcs(reinterpret_cast<const float4*>(part)));
    epilogue.apply(my, sum);
}

extern "C" __global__ __launch_bounds__(LINEAR) void conv2d_backward_weight_reduce(
    const Partials p, const Partials bias, const float* RESTRICT parts, const float* RESTRICT biases,
    float* RESTRICT dweight, float* RESTRICT dbias)
{
    await_predecessor();
    reduce(p, bias, parts, biases, Stored{dweight}, dbias);
}

// What the step reads and writes is not RESTRICT: tensors.cuh says why.
extern "C" __global__ __launch_bounds__(LINEAR) void conv2d_rmsprop_step_reduce(
    const Partials p, const Partials bias, const Rmsprop rule, const float* RESTRICT parts,
    const float* RESTRICT biases, float* velocity, float* weight, unsigned short* shadow,
    float* RESTRICT dbias)
{
    await_predecessor();
    reduce(p, bias, parts, biases, Stepped{rule, velocity, weight, shadow}, dbias);
}

extern "C" __global__ __launch_bounds__(LINEAR) void conv2d_backward_weight_sm90_reduce(
    const Conv2d p, const StreamK split, const float* RESTRICT parts, const float* RESTRICT biases,
    float* RESTRICT dweight, float* RESTRICT dbias)
{
    await_predecessor();
    reduce_slots<false>(p, 0, split, parts, biases, Stored{dweight}, dbias);
}

extern "C" __global__ __launch_bounds__(LINEAR) void conv2d_rmsprop_step_sm90_reduce(
    const Conv2d p, const StreamK split, const Rmsprop rule, const float* RESTRICT parts,
    const float* RESTRICT biases, float* velocity, float* weight, unsigned short* shadow,
    float* RESTRICT dbias)
{
    await_predecessor();
    reduce_slots<false>(p, 0, split, parts, biases, Stepped{rule, velocity, weight, shadow}, dbias);
}

extern "C" __global__ __launch_bounds__(LINEAR) void conv2d_backward_weight_sm90_tf32_reduce(
    const Conv2d p, const unsigned bias_rows, const StreamK split, const float* RESTRICT parts,
    const float* RESTRICT biases, float* RESTRICT dweight, float* RESTRICT dbias)
{
    await_predecessor();
    reduce_slots<true>(p, bias_rows, split, parts, biases, Stored{dweight}, dbias);
}

extern "C" __global__ __launch_bounds__(LINEAR) void conv2d_rmsprop_step_sm90_tf32_reduce(
    const Conv2d p, const unsigned bias_rows, const StreamK split, const Rmsprop rule, const float* RESTRICT parts,
    const float* RESTRICT biases, float* velocity, float* weight, unsigned short* shadow,
    float* RESTRICT dbias)
{
    await_predecessor();
    reduce_slots<true>(p, bias_rows, split, parts, biases, Stepped{rule, velocity, weight, shadow}, dbias);
}
