// conv2d_mma.cuh   the 3x3 convolution, forward and backward, on tensor cores: bodies of conv2d_bf16.cu and the like
//
//   forward           M = pixels, N = filters, K = (tap, c_in)
//   backward_input    M = pixels, N = channels, K = (tap, c_out), with the filter rotated by 180 degrees
//   backward_weight   M = filters, N = channels of one tap, K = pixels
//
// Implicit GEMM: the matrices are never laid out. A block computes a tile of BM x BN, its warps WM x WN each; a step of
// K is BK long, and 16-byte cp.async bring it into STAGES stages, STAGES - 1 steps ahead. Numbers outside the map, past
// the last pixel, channel or filter are zeros that cp.async writes without reading. f16, meant for sm_75, which has no
// cp.async, goes through registers into two stages (RegisterStaging). The valid taps of a row are nine bits, found
// before the loop; pixels that a step walks over carry their row and column: the loops divide nothing.
//
// Channels and filters come in whole chunks of 16 bytes (8 of 16 bits, 4 of f32); everything else goes through
// conv2d_any.cuh. K is summed in order, in steps of MMA_K<T> (f16: of half of it), so all tiles give the same bits.
// `_parts` entries do not: they sum each part by itself, and then the parts (conv2d_parts.cuh).
//
// Epilogues: conv2d_ends.cuh.

#pragma once

#include "conv2d_ends.cuh"
#include "mma.cuh"
#include "params.cuh"
#include "window.cuh"

// A block of BM x BN takes K in steps of BK, a warp of it WM x WN; so many stages are in shared memory.
template <class T_, int BM_, int BN_, int BK_, int WM_, int WN_, int STAGES_>
struct Tile {
    using T = T_;
    using Number = typename T::Number;
    static constexpr int BM = BM_, BN = BN_, BK = BK_, WM = WM_, WN = WN_, STAGES = STAGES_;
    static constexpr int THREADS = BM / WM * (BN / WN) * 32;
    static constexpr int STAGE_A = BM * BK * T::BYTES, STAGE_B = BN * BK * T::BYTES, STAGE = STAGE_A + STAGE_B;
    static constexpr int RESULT_ROW = BN * T::BYTES + (T::COPIES ? (T::BYTES == 2 ? 16 : 32) : 0);
    // Chunks that a thread loads in a step.
    static constexpr int SLOTS = STAGE / 16 / THREADS;
    // Dynamic shared memory; src/device/gpu/lower/mma/format.rs says the same.
    static constexpr int SHARED = STAGES * STAGE;
};

// A number of pixels as maps, rows and columns. Divides, so not in a loop.
struct Stride {
    int n, i, j;
};

__device__ __forceinline__ Stride stride_of(const int pixels, const int h, const int w)
{
    return {pixels / w / h, pixels / w % h, pixels % w};
}

// A pixel with its coordinates at hand.
struct Place {
    int n, i, j;

    __device__ __forceinline__ void advance(const Stride by, const int h, const int w)
    {
        j += by.j;
        const bool line = j >= w;
        if (line) j -= w;
        i += by.i + line;
        const bool map = i >= h;
        if (map) i -= h;
        n += by.n + map;
    }
};

__device__ __forceinline__ Place place_of(const int pixel, const int h, const int w)
{
    return {pixel / w / h, pixel / w % h, pixel % w};
}

// The order of the rows of a forward product.
enum class Rows {
    PIXELS,                                          // as they lie
    WINDOWS,                                         // row 4·window + corner: only what a 2x2 pool reads
};

template <bool FIRST, class A, class B> struct Either { using Type = A; };
template <class A, class B> struct Either<false, A, B> { using Type = B; };

// acc += A · B of the warp's tile, over the step whose operands begin at `stage`. Row and column: of the warp.
template <class Tile, class A, class B>
__device__ __forceinline__ void multiply_step(
    const unsigned stage, const int row, const int column, float (&acc)[Tile::WM / 16][Tile::WN / 8][4])
{
    using T = typename Tile::T;
    #pragma unroll
    for (int k = 0; k < Tile::BK / MMA_K<T>; ++k)
        multiply_tiles<T, A, B>(acc, stage, row, stage + Tile::STAGE_A, column, k);
}

// The main loop through registers: while one step is multiplied the next one is read, then stored into the other stage,
// which no warp has read since the last barrier.
template <class Tile, class A, class B, class Load, class Look>
__device__ __forceinline__ void product_staged(
    const unsigned shared, const int steps, const int row, const int column, Load load, Look look,
    float (&acc)[Tile::WM / 16][Tile::WN / 8][4])
{
    static_assert(Tile::STAGES == 2 && Tile::STAGE % (16 * Tile::THREADS) == 0);
    RegisterStaging<Tile::SLOTS> staging;
    if (steps > 0) {
        load(staging, 0, Tile::STAGE_A);
        staging.store(shared);
    }
    __syncthreads();
    unsigned reading = shared;
    #pragma unroll 1
    for (int step = 0; step < steps; ++step) {
        const bool more = step + 1 < steps;
        if (more) load(staging, 0, Tile::STAGE_A);
        look(reading);
        multiply_step<Tile, A, B>(reading, row, column, acc);
        reading = reading == shared ? shared + Tile::STAGE : shared;
        if (more) staging.store(reading);
        __syncthreads();
    }
}

// The main loop by cp.async, STAGES - 1 steps ahead.
template <class Tile, class A, class B, class Load, class Look>
__device__ __forceinline__ void product_async(
    const unsigned shared, const int steps, const int row, const int column, Load load, Look look,
    float (&acc)[Tile::WM / 16][Tile::WN / 8][4])
{
    constexpr int STAGES = Tile::STAGES;
    Copies copies;
    #pragma unroll
    for (int stage = 0; stage < STAGES - 1; ++stage) {
        if (stage < steps) load(copies, shared + stage * Tile::STAGE, shared + stage * Tile::STAGE + Tile::STAGE_A);
        commit_copies();
    }
    unsigned reading = shared, writing = shared + (STAGES - 1) * Tile::STAGE;
    const unsigned end = shared + STAGES * Tile::STAGE;
    #pragma unroll 1
    for (int step = 0; step < steps; ++step) {
        // The oldest group has arrived, and all warps have read what the next one overwrites. Groups are counted, so
        // there is one per step even when nothing is left to load.
        wait_copies<STAGES - 2>();
        __syncthreads();
        if (step + STAGES - 1 < steps) load(copies, writing, writing + Tile::STAGE_A);
        commit_copies();
        look(reading);
        multiply_step<Tile, A, B>(reading, row, column, acc);
        reading = reading + Tile::STAGE == end ? shared : reading + Tile::STAGE;
        writing = writing + Tile::STAGE == end ? shared : writing + Tile::STAGE;
    }
    // The epilogue reuses the stages.
    wait_copies<0>();
    __syncthreads();
}

// acc = A · B of the warp's tile. `load` brings the next step's chunks through its first argument (Copies or
// RegisterStaging) to the two addresses that follow; `look` is called with each step's A once it has arrived.
template <class Tile, class A, class B, class Load, class Look>
__device__ __forceinline__ void product(
    const unsigned shared, const int steps, Load load, Look look, float (&acc)[Tile::WM / 16][Tile::WN / 8][4])
{
    const int warp = threadIdx.x / 32;
    const int row = warp % (Tile::BM / Tile::WM) * Tile::WM, column = warp / (Tile::BM / Tile::WM) * Tile::WN;
    #pragma unroll
    for (int i = 0; i < Tile::WM / 16; ++i)
        #pragma unroll
        for (int j = 0; j < Tile::WN / 8; ++j)
            #pragma unroll
            for (int k = 0; k < 4; ++k) acc[i][j][k] = 0.0f;
    if constexpr (Tile::T::COPIES) {
        product_async<Tile, A, B>(shared, steps, row, column, load, look, acc);
    } else {
        product_staged<Tile, A, B>(shared, steps, row, column, load, look, acc);
    }
}

// The products whose rows are pixels, over steps `begin` to `end` of K: BK channels of one tap each. Forward: source is
// x, columns are filters. Backward: source is dy, columns are channels, and the weights are those of tap 8 - tap.
template <class Tile, Rows ROWS, bool BACKWARD>
__device__ __forceinline__ void convolve(
    const Conv2d p, const int begin, const int end, const Spot spot, const int rows,
    const typename Tile::Number* RESTRICT source, const typename Tile::Number* RESTRICT weight,
    float (&acc)[Tile::WM / 16][Tile::WN / 8][4])
{
    using T = typename Tile::T;
    constexpr int CHUNKS = Tile::BK / CHUNK<T>;
    using A = KMajor<T, CHUNKS>;
    using B = typename Either<BACKWARD, MNMajor<T, Tile::BN / CHUNK<T>>, KMajor<T, CHUNKS>>::Type;
    const int h = p.h, w = p.w;
    const int channels = BACKWARD ? p.c_out : p.c_in, columns = BACKWARD ? p.c_in : p.c_out;
    const int thread = threadIdx.x;

    // The thread's rows of A: where their pixels' channels begin, and which taps are valid.
    constexpr int APART = Tile::THREADS / CHUNKS, MINE = Tile::BM / APART;
    static_assert(Tile::BM % APART == 0 && (ROWS == Rows::PIXELS || APART % 4 == 0));
    const int chunk = thread % CHUNKS, row = thread / CHUNKS;
    int offset[MINE];
    unsigned inside[MINE];
    if constexpr (ROWS == Rows::PIXELS) {
        Place place = place_of(spot.row + row, h, w);
        const Stride by = stride_of(APART, h, w);
        #pragma unroll
        for (int k = 0; k < MINE; ++k) {
            const int pixel = spot.row + row + k * APART;
            offset[k] = pixel * channels;
            inside[k] = pixel < rows ? taps_inside(place.i, place.j, h, w) : 0;
            place.advance(by, h, w);
        }
    } else {
        const int corner = row % 4;
        Place place = place_of((spot.row + row) / 4, h / 2, w / 2);
        const Stride by = stride_of(APART / 4, h / 2, w / 2);
        #pragma unroll
        for (int k = 0; k < MINE; ++k) {
            const int i = place.i * 2 + corner / 2, j = place.j * 2 + corner % 2;
            offset[k] = ((place.n * h + i) * w + j) * channels;
            inside[k] = spot.row + row + k * APART < rows ? taps_inside(i, j, h, w) : 0;
            place.advance(by, h / 2, w / 2);
        }
    }

    // The tap in `source`, and its distance from the pixel in elements.
    const int blocks = (channels + Tile::BK - 1) / Tile::BK;
    int tap = blocks ? begin / blocks : 0, c = blocks ? begin % blocks * Tile::BK : 0;
    int shift = ((tap / 3 - 1) * w + tap % 3 - 1) * channels;

    const auto load = [&](auto& copy, const unsigned a, const unsigned b) {
        const int mine = c + chunk * CHUNK<T>;
        const bool there = mine < channels;
        constexpr int SLOTS_A = MINE;                // those of B follow
        #pragma unroll
        for (int k = 0; k < MINE; ++k)
            copy(k, a + A::at(row + k * APART, chunk), source + (offset[k] + shift + mine),
                 there && (inside[k] >> tap & 1));
        if constexpr (BACKWARD) {
            constexpr int WIDE = Tile::BN / CHUNK<T>, APART_B = Tile::THREADS / WIDE, MINE_B = Tile::BK / APART_B;
            static_assert(Tile::BK % APART_B == 0 && MINE_B > 0);
            const int part = thread % WIDE, k_row = thread / WIDE;
            const int column = spot.column + part * CHUNK<T>;
            #pragma unroll
            for (int k = 0; k < MINE_B; ++k) {
                const int filter = c + k_row + k * APART_B;
                copy(SLOTS_A + k, b + B::at(k_row + k * APART_B, part),
                     weight + ((filter * 9 + 8 - tap) * columns + column), filter < channels && column < columns);
            }
        } else {
            constexpr int MINE_B = Tile::BN / APART;
            static_assert(Tile::BN % APART == 0);
            #pragma unroll
            for (int k = 0; k < MINE_B; ++k) {
                const int filter = spot.column + row + k * APART;
                copy(SLOTS_A + k, b + B::at(row + k * APART, chunk),
                     weight + ((filter * 9 + tap) * channels + mine), there && filter < columns);
            }
        }
        c += Tile::BK;
        if (c >= channels) {
            c = 0;
            ++tap;
            // One pixel to the right; from a row's last tap (0, +1) to the next row's first (+1, -1) it is w - 2.
            shift += tap % 3 ? channels : (w - 2) * channels;
        }
    };
    product<Tile, A, B>(shared_address(dynamic), end - begin, load, [](unsigned) {}, acc);
}

// Steps of a K of nine taps of `channels`.
template <class Tile> __device__ __forceinline__ int steps_of(const int channels)
{
    return 9 * ((channels + Tile::BK - 1) / Tile::BK);
}

// y = f(bias + x * weight).
template <class Tile>
__device__ __forceinline__ void forward(
    const Conv2d p, const bool relu, const typename Tile::Number* RESTRICT x,
    const typename Tile::Number* RESTRICT weight, const float* RESTRICT bias,
    typename Tile::Number* RESTRICT y)
{
    const int pixels = p.n * p.h * p.w;
    const Spot spot = spot_of<Tile>(p.c_out);
    float acc[Tile::WM / 16][Tile::WN / 8][4];
    convolve<Tile, Rows::PIXELS, false>(p, 0, steps_of<Tile>(p.c_in), spot, pixels, x, weight, acc);
    epilogue_forward<Tile>(acc, spot, pixels, p.c_out, bias, relu, y, true);
}

// y = the maximum over 2x2 of ReLU(bias + x * weight), winner = which.
template <class Tile>
__device__ __forceinline__ void maxpool2d_forward(
    const Conv2d p, const typename Tile::Number* RESTRICT x, const typename Tile::Number* RESTRICT weight,
    const float* RESTRICT bias, typename Tile::Number* RESTRICT y, unsigned char* RESTRICT winner)
{
    const int windows = p.n * (p.h / 2) * (p.w / 2);
    const Spot spot = spot_of<Tile>(p.c_out);
    float acc[Tile::WM / 16][Tile::WN / 8][4];
    convolve<Tile, Rows::WINDOWS, false>(p, 0, steps_of<Tile>(p.c_in), spot, 4 * windows, x, weight, acc);
    epilogue_pool<Tile>(acc, spot, windows, p.c_out, bias, y, winner, true);
}

// dx = g(dy * weight, the filter rotated).
template <class Tile>
__device__ __forceinline__ void backward_input(
    const Conv2d p, const typename Tile::Number* RESTRICT dy, const typename Tile::Number* RESTRICT weight,
    const typename Tile::Number* RESTRICT mask, typename Tile::Number* RESTRICT dx)
{
    const int pixels = p.n * p.h * p.w;
    const Spot spot = spot_of<Tile>(p.c_in);
    float acc[Tile::WM / 16][Tile::WN / 8][4];
    convolve<Tile, Rows::PIXELS, true>(p, 0, steps_of<Tile>(p.c_out), spot, pixels, dy, weight, acc);
    epilogue_backward_input<Tile>(acc, spot, pixels, p.c_in, mask, dx, true);
}

// Where a block leaves its share of the bias' gradient: a row of c_out sums of each (part, column tile).
__device__ __forceinline__ float* my_biases(float* RESTRICT biases, const int c_out)
{
    return biases + (blockIdx.z * gridDim.x + blockIdx.x) * c_out;
}

// to[row] = the sums of the block's filters. A thread has sums of one chunk of A over some rows of K; threads of the
// same chunk add up through shared memory, four filters at a time, so that no two lanes hit the same bank.
template <class Tile>
__device__ __forceinline__ void store_biases(
    const float (&sums)[CHUNK<typename Tile::T>], const int row, const int rows, float* RESTRICT to)
{
    constexpr int EACH = CHUNK<typename Tile::T>, WIDE = Tile::BM / EACH, APART = Tile::THREADS / WIDE;
    static_assert(APART * Tile::BM * 4 <= Tile::SHARED && Tile::BM <= Tile::THREADS);
    float* all = reinterpret_cast<float*>(dynamic);
    const int thread = threadIdx.x;
    #pragma unroll
    for (int c = 0; c < EACH; c += 4)
        *reinterpret_cast<float4*>(all + thread / WIDE * Tile::BM + c * WIDE + thread % WIDE * 4) =
            make_float4(sums[c], sums[c + 1], sums[c + 2], sums[c + 3]);
    __syncthreads();
    if (thread >= Tile::BM) return;
    float sum = 0.0f;
    #pragma unroll
    for (int k = 0; k < APART; ++k) sum += all[k * Tile::BM + thread];
    const int four = thread % (WIDE * 4);
    const int filter = row + four / 4 * EACH + thread / (WIDE * 4) * 4 + four % 4;
    if (filter < rows) to[filter] = sum;
}

// parts[z] = Σ dy · x over the pixels of part z. Grid (9 · channel tiles, filter tiles, parts).
//
// biases[z, column tile] = its share of Σ dy, if asked for. All column tiles of a filter see the same dy: with T of
// them, each sums every T-th step, so all take equally long. A thread reads back the chunks that it loaded itself, as
// f32. 3xTF32 leaves no registers for that and sums nothing.
template <class Tile>
__device__ __forceinline__ void backward_weight(
    const Conv2d p, const Split split, const typename Tile::Number* RESTRICT x,
    const typename Tile::Number* RESTRICT dy, float* RESTRICT parts, float* RESTRICT biases)
{
    using T = typename Tile::T;
    constexpr int WIDE_A = Tile::BM / CHUNK<T>, WIDE_B = Tile::BN / CHUNK<T>;
    using A = MNMajor<T, WIDE_A>;
    using B = MNMajor<T, WIDE_B>;
    const int h = p.h, w = p.w, c_in = p.c_in, c_out = p.c_out;
    const int thread = threadIdx.x;
    const int tap = blockIdx.x % 9, up = tap / 3 - 1, left = tap % 3 - 1;
    const Spot spot = {int(blockIdx.y) * Tile::BM, int(blockIdx.x / 9) * Tile::BN};
    const int begin = blockIdx.z * split.length;
    const int end = min(begin + int(split.length), int(p.n) * h * w);

    constexpr int APART_A = Tile::THREADS / WIDE_A, MINE_A = Tile::BK / APART_A;
    constexpr int APART_B = Tile::THREADS / WIDE_B, MINE_B = Tile::BK / APART_B;
    static_assert(Tile::BK % APART_A == 0 && Tile::BK % APART_B == 0 && MINE_A > 0 && MINE_B > 0);
    const int filter = spot.row + thread % WIDE_A * CHUNK<T>, k_row_a = thread / WIDE_A;
    const int channel = spot.column + thread % WIDE_B * CHUNK<T>, k_row_b = thread / WIDE_B;

    int pixel = begin + k_row_a;                     // of dy
    int other = begin + k_row_b;                     // of x, before the tap
    Place place = place_of(other, h, w);
    const Stride by = stride_of(APART_B, h, w);
    const typename Tile::Number* gradient = dy + (pixel * c_out + filter);
    const typename Tile::Number* input = x + ((other + up * w + left) * c_in + channel);

    // Pointers that advance; with RegisterStaging, which leaves no registers for them, addresses computed anew.
    const auto gradient_at = [&](const int k) {
        if constexpr (T::COPIES) return gradient + k * APART_A * c_out;
        else return dy + ((pixel + k * APART_A) * c_out + filter);
    };
    const auto input_at = [&](const int k) {
        if constexpr (T::COPIES) return input + k * APART_B * c_in;
        else return x + ((other + k * APART_B + up * w + left) * c_in + channel);
    };
    const auto load = [&](auto& copy, const unsigned a, const unsigned b) {
        #pragma unroll
        for (int k = 0; k < MINE_A; ++k)
            copy(k, a + A::at(k_row_a + k * APART_A, thread % WIDE_A), gradient_at(k),
                 pixel + k * APART_A < end && filter < c_out);
        pixel += Tile::BK;
        gradient += Tile::BK * c_out;
        #pragma unroll
        for (int k = 0; k < MINE_B; ++k) {
            const bool inside = unsigned(place.i + up) < unsigned(h) && unsigned(place.j + left) < unsigned(w);
            copy(MINE_A + k, b + B::at(k_row_b + k * APART_B, thread % WIDE_B), input_at(k),
                 inside && other + k * APART_B < end && channel < c_in);
            place.advance(by, h, w);
        }
        other += Tile::BK;
        input += Tile::BK * c_in;
    };
    float bias[CHUNK<T>] = {};
    int until = biases ? blockIdx.x : 0x7fffffff;       // steps until the block's next one
    const auto look = [&](const unsigned a) {
        if (IS_3XTF32<T> || until-- > 0) return;
        until = gridDim.x - 1;
        #pragma unroll
        for (int k = 0; k < MINE_A; ++k)
            add_chunk<T>(bias, load_chunk(a + A::at(k_row_a + k * APART_A, thread % WIDE_A)));
    };
    float acc[Tile::WM / 16][Tile::WN / 8][4];
    const int steps = end > begin ? (end - begin + Tile::BK - 1) / Tile::BK : 0;
    product<Tile, A, B>(shared_address(dynamic), steps, load, look, acc);
    store_acc<Tile>(acc, spot, c_out, c_in, 9 * c_in, parts + blockIdx.z * (c_out * 9 * c_in) + tap * c_in, true);
    if (!IS_3XTF32<T> && biases) store_biases<Tile>(bias, spot.row, c_out, my_biases(biases, c_out));
}
