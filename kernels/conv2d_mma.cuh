// conv2d_mma.cuh   the 3x3 convolution, forward and backward, on tensor cores: the bodies of conv2d_bf16.cu and its kin
//
//   forward           rows are pixels, columns filters, the depth is (tap, c_in)
//   backward_input    rows are pixels, columns channels, the depth is (window position, c_out): the window turned
//   backward_weight   rows are filters, columns channels of one tap, the depth is the pixels
//
// Matrices that are never laid out (implicit GEMM). A block multiplies BM rows by BN columns, its warps WM x WN
// each; BK of depth come per step by 16-byte cp.async into STAGES tiles, STAGES - 1 steps ahead. Numbers outside
// the map, past the last pixel, channel or filter are zeros that cp.async writes without reading. f16, made for
// sm_75 which has no cp.async, goes through registers into two tiles (Held). What a tap may
// see is nine bits per row, found before the loop; pixels that a step walks over carry their row and column: the
// loops divide nothing.
//
// Channels and filters come in whole chunks of 16 bytes (8 of 16 bits, 4 of f32); everything else goes through
// conv2d_any.cuh. The order of a sum is that of the depth, in steps of DEEP<T> (f16: of half of it): no tile changes
// a bit.
//
// What becomes of the sums: conv2d_ends.cuh.

#pragma once

#include "conv2d_ends.cuh"
#include "mma.cuh"
#include "params.cuh"

template <class T_, int BM_, int BN_, int BK_, int WM_, int WN_, int STAGES_>
struct Tile {
    using T = T_;
    using Number = typename T::Number;
    static constexpr int BM = BM_, BN = BN_, BK = BK_, WM = WM_, WN = WN_, STAGES = STAGES_;
    static constexpr int THREADS = BM / WM * (BN / WN) * 32;
    static constexpr int STAGE_A = BM * BK * T::BYTES, STAGE_B = BN * BK * T::BYTES, STAGE = STAGE_A + STAGE_B;
    static constexpr int RESULT_ROW = BN * T::BYTES + (T::COPIES ? (T::BYTES == 2 ? 16 : 32) : 0);
    // Chunks that a thread brings in a step.
    static constexpr int SLOTS = STAGE / 16 / THREADS;
    // Of dynamic shared memory; src/device/gpu/lower/mma/mod.rs computes the same.
    static constexpr int SHARED = STAGES * STAGE;
};

// Whole rows or columns of a map: how far a step of so many pixels goes. Divides, so not in a loop.
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

    __device__ __forceinline__ void forward(const Stride by, const int h, const int w)
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

// Bit t: tap t of pixel (i, j) lies in the map.
__device__ __forceinline__ unsigned taps_inside(const int i, const int j, const int h, const int w)
{
    unsigned rows = 0b010010010, columns = 0b000111000;
    if (j > 0) rows |= 0b001001001;
    if (j + 1 < w) rows |= 0b100100100;
    if (i > 0) columns |= 0b000000111;
    if (i + 1 < h) columns |= 0b111000000;
    return rows & columns;
}

// The order of the rows of a forward product.
enum class Rows {
    PIXELS,                                          // as they lie
    WINDOWS,                                         // row 4·window + corner: what a 2x2 pool takes, and no more
};

template <bool FIRST, class A, class B> struct Either { using Type = A; };
template <class A, class B> struct Either<false, A, B> { using Type = B; };

// sums += A · B of the warp's part, over the step whose tiles begin at `stage`. Row and column: of the warp.
template <class Tile, class A, class B>
__device__ __forceinline__ void multiply_step(
    const unsigned stage, const int row, const int column, float (&sums)[Tile::WM / 16][Tile::WN / 8][4])
{
    using T = typename Tile::T;
    #pragma unroll
    for (int k = 0; k < Tile::BK / DEEP<T>; ++k)
        multiply_tiles<T, A, B>(sums, stage, row, stage + Tile::STAGE_A, column, k);
}

// The steps through registers: while one is multiplied the next one is read, and stored into the other tile, which
// everyone has left since the last barrier.
template <class Tile, class A, class B, class Load, class Look>
__device__ __forceinline__ void product_held(
    const unsigned shared, const int steps, const int row, const int column, Load load, Look look,
    float (&sums)[Tile::WM / 16][Tile::WN / 8][4])
{
    static_assert(Tile::STAGES == 2 && Tile::STAGE % (16 * Tile::THREADS) == 0);
    Held<Tile::SLOTS> held;
    if (steps > 0) {
        load(held, 0, Tile::STAGE_A);
        held.store(shared);
    }
    __syncthreads();
    unsigned reading = shared;
    #pragma unroll 1
    for (int step = 0; step < steps; ++step) {
        const bool more = step + 1 < steps;
        if (more) load(held, 0, Tile::STAGE_A);
        look(reading);
        multiply_step<Tile, A, B>(reading, row, column, sums);
        reading = reading == shared ? shared + Tile::STAGE : shared;
        if (more) held.store(reading);
        __syncthreads();
    }
}

// The steps past the registers, STAGES - 1 ahead.
template <class Tile, class A, class B, class Load, class Look>
__device__ __forceinline__ void product_copied(
    const unsigned shared, const int steps, const int row, const int column, Load load, Look look,
    float (&sums)[Tile::WM / 16][Tile::WN / 8][4])
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
        // The oldest group has arrived, and everyone has read what the next one overwrites. Groups are counted,
        // so there is one per step even when nothing is left to load.
        wait_copies<STAGES - 2>();
        __syncthreads();
        if (step + STAGES - 1 < steps) load(copies, writing, writing + Tile::STAGE_A);
        commit_copies();
        look(reading);
        multiply_step<Tile, A, B>(reading, row, column, sums);
        reading = reading + Tile::STAGE == end ? shared : reading + Tile::STAGE;
        writing = writing + Tile::STAGE == end ? shared : writing + Tile::STAGE;
    }
    // The results go where the tiles are.
    wait_copies<0>();
    __syncthreads();
}

// sums = A · B of the warp's part. `load` brings the next step's chunks by what it is given first (Copies, Held) to
// the two addresses that follow; `look` is given a step's tile of A when it is there.
template <class Tile, class A, class B, class Load, class Look>
__device__ __forceinline__ void product(
    const unsigned shared, const int steps, Load load, Look look, float (&sums)[Tile::WM / 16][Tile::WN / 8][4])
{
    const int warp = threadIdx.x / 32;
    const int row = warp % (Tile::BM / Tile::WM) * Tile::WM, column = warp / (Tile::BM / Tile::WM) * Tile::WN;
    #pragma unroll
    for (int i = 0; i < Tile::WM / 16; ++i)
        #pragma unroll
        for (int j = 0; j < Tile::WN / 8; ++j)
            #pragma unroll
            for (int k = 0; k < 4; ++k) sums[i][j][k] = 0.0f;
    if constexpr (Tile::T::COPIES) {
        product_copied<Tile, A, B>(shared, steps, row, column, load, look, sums);
    } else {
        product_held<Tile, A, B>(shared, steps, row, column, load, look, sums);
    }
}

// The products whose rows are pixels. Steps `begin` to `end` of the depth: BK channels of one window position
// each. Forward: source x, columns filters. Backward: source dy, columns channels, weights of the turned tap.
template <class Tile, Rows ROWS, bool BACKWARD>
__device__ __forceinline__ void convolve(
    const Conv2d p, const int begin, const int end, const Spot spot, const int rows,
    const typename Tile::Number* __restrict__ source, const typename Tile::Number* __restrict__ weight,
    float (&sums)[Tile::WM / 16][Tile::WN / 8][4])
{
    using T = typename Tile::T;
    constexpr int CHUNKS = Tile::BK / CHUNK<T>;
    using A = Along<T, CHUNKS>;
    using B = typename Either<BACKWARD, Across<T, Tile::BN / CHUNK<T>>, Along<T, CHUNKS>>::Type;
    const int h = p.h, w = p.w;
    const int channels = BACKWARD ? p.c_out : p.c_in, columns = BACKWARD ? p.c_in : p.c_out;
    const int thread = threadIdx.x;

    // The thread's rows of A: where their pixels' channels begin, and which taps they see.
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
            place.forward(by, h, w);
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
            place.forward(by, h / 2, w / 2);
        }
    }

    // The window's position in `source`, and how many channels it lies from the pixel.
    const int blocks = (channels + Tile::BK - 1) / Tile::BK;
    int tap = blocks ? begin / blocks : 0, c = blocks ? begin % blocks * Tile::BK : 0;
    int shift = ((tap / 3 - 1) * w + tap % 3 - 1) * channels;

    const auto load = [&](auto& copy, const unsigned a, const unsigned b) {
        const int mine = c + chunk * CHUNK<T>;
        const bool there = mine < channels;
        constexpr int BEFORE = MINE;                 // slots of A
        #pragma unroll
        for (int k = 0; k < MINE; ++k)
            copy(k, a + A::at(row + k * APART, chunk), source + (offset[k] + shift + mine),
                 there && (inside[k] >> tap & 1));
        if constexpr (BACKWARD) {
            constexpr int WIDE = Tile::BN / CHUNK<T>, APART = Tile::THREADS / WIDE, MINE = Tile::BK / APART;
            static_assert(Tile::BK % APART == 0 && MINE > 0);
            const int part = thread % WIDE, deep = thread / WIDE;
            const int column = spot.column + part * CHUNK<T>;
            #pragma unroll
            for (int k = 0; k < MINE; ++k) {
                const int filter = c + deep + k * APART;
                copy(BEFORE + k, b + B::at(deep + k * APART, part),
                     weight + ((filter * 9 + 8 - tap) * columns + column), filter < channels && column < columns);
            }
        } else {
            constexpr int MINE = Tile::BN / APART;
            static_assert(Tile::BN % APART == 0);
            #pragma unroll
            for (int k = 0; k < MINE; ++k) {
                const int filter = spot.column + row + k * APART;
                copy(BEFORE + k, b + B::at(row + k * APART, chunk),
                     weight + ((filter * 9 + tap) * channels + mine), there && filter < columns);
            }
        }
        c += Tile::BK;
        if (c >= channels) {
            c = 0;
            ++tap;
            shift += tap % 3 ? channels : (w - 2) * channels;
        }
    };
    product<Tile, A, B>(shared_address(dynamic), end - begin, load, [](unsigned) {}, sums);
}

// Steps of the depth of `channels` over nine taps.
template <class Tile> __device__ __forceinline__ int steps_of(const int channels)
{
    return 9 * ((channels + Tile::BK - 1) / Tile::BK);
}

// y = f(bias + x * weight).
template <class Tile>
__device__ __forceinline__ void forward(
    const Conv2d p, const bool relu, const typename Tile::Number* __restrict__ x,
    const typename Tile::Number* __restrict__ weight, const float* __restrict__ bias,
    typename Tile::Number* __restrict__ y)
{
    const int pixels = p.n * p.h * p.w;
    const Spot spot = spot_of<Tile>(p.c_out);
    float sums[Tile::WM / 16][Tile::WN / 8][4];
    convolve<Tile, Rows::PIXELS, false>(p, 0, steps_of<Tile>(p.c_in), spot, pixels, x, weight, sums);
    finish_forward<Tile>(sums, spot, pixels, p.c_out, bias, relu, y, true);
}

// y = the maximum over 2x2 of ReLU(bias + x * weight), winner = which.
template <class Tile>
__device__ __forceinline__ void maxpool2d_forward(
    const Conv2d p, const typename Tile::Number* __restrict__ x, const typename Tile::Number* __restrict__ weight,
    const float* __restrict__ bias, typename Tile::Number* __restrict__ y, unsigned char* __restrict__ winner)
{
    const int windows = p.n * (p.h / 2) * (p.w / 2);
    const Spot spot = spot_of<Tile>(p.c_out);
    float sums[Tile::WM / 16][Tile::WN / 8][4];
    convolve<Tile, Rows::WINDOWS, false>(p, 0, steps_of<Tile>(p.c_in), spot, 4 * windows, x, weight, sums);
    finish_pool<Tile>(sums, spot, windows, p.c_out, bias, y, winner, true);
}

// dx = g(dy * the turned weight).
template <class Tile>
__device__ __forceinline__ void backward_input(
    const Conv2d p, const typename Tile::Number* __restrict__ dy, const typename Tile::Number* __restrict__ weight,
    const typename Tile::Number* __restrict__ mask, typename Tile::Number* __restrict__ dx)
{
    const int pixels = p.n * p.h * p.w;
    const Spot spot = spot_of<Tile>(p.c_in);
    float sums[Tile::WM / 16][Tile::WN / 8][4];
    convolve<Tile, Rows::PIXELS, true>(p, 0, steps_of<Tile>(p.c_out), spot, pixels, dy, weight, sums);
    finish_backward_input<Tile>(sums, spot, pixels, p.c_in, mask, dx, true);
}

// Where a block leaves its share of the bias' gradient: a row of c_out sums of each (part, column tile).
__device__ __forceinline__ float* my_biases(float* __restrict__ biases, const int c_out)
{
    return biases + (blockIdx.z * gridDim.x + blockIdx.x) * c_out;
}

// to[row] = the sums of the block's filters, of which a thread has those of a chunk of A and some of the depths.
// The threads that share a chunk meet in shared memory, four filters a time, so that no two lanes meet in a bank.
template <class Tile>
__device__ __forceinline__ void store_biases(
    const float (&sums)[CHUNK<typename Tile::T>], const int row, const int rows, float* __restrict__ to)
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
// biases[z, column tile] = Σ dy, if asked for: every column tile of a filter sees the same dy, so each adds up every
// as many-th step, and all are delayed alike. A thread reads back the chunks that it brought itself, as f32. Split
// factors leave no registers for that: of them nothing is added up.
template <class Tile>
__device__ __forceinline__ void backward_weight(
    const Conv2d p, const Split split, const typename Tile::Number* __restrict__ x,
    const typename Tile::Number* __restrict__ dy, float* __restrict__ parts, float* __restrict__ biases)
{
    using T = typename Tile::T;
    constexpr int WIDE_A = Tile::BM / CHUNK<T>, WIDE_B = Tile::BN / CHUNK<T>;
    using A = Across<T, WIDE_A>;
    using B = Across<T, WIDE_B>;
    const int h = p.h, w = p.w, c_in = p.c_in, c_out = p.c_out;
    const int thread = threadIdx.x;
    const int tap = blockIdx.x % 9, up = tap / 3 - 1, left = tap % 3 - 1;
    const Spot spot = {int(blockIdx.y) * Tile::BM, int(blockIdx.x / 9) * Tile::BN};
    const int begin = blockIdx.z * split.length;
    const int end = min(begin + int(split.length), int(p.n) * h * w);

    constexpr int APART_A = Tile::THREADS / WIDE_A, MINE_A = Tile::BK / APART_A;
    constexpr int APART_B = Tile::THREADS / WIDE_B, MINE_B = Tile::BK / APART_B;
    static_assert(Tile::BK % APART_A == 0 && Tile::BK % APART_B == 0 && MINE_A > 0 && MINE_B > 0);
    const int filter = spot.row + thread % WIDE_A * CHUNK<T>, deep_a = thread / WIDE_A;
    const int channel = spot.column + thread % WIDE_B * CHUNK<T>, deep_b = thread / WIDE_B;

    int pixel = begin + deep_a;                      // of dy
    int other = begin + deep_b;                      // of x, before the tap
    Place place = place_of(other, h, w);
    const Stride by = stride_of(APART_B, h, w);
    const typename Tile::Number* gradient = dy + (pixel * c_out + filter);
    const typename Tile::Number* input = x + ((other + up * w + left) * c_in + channel);

    // Pointers that advance, or, where the registers are full of what is held, places that are computed anew.
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
            copy(k, a + A::at(deep_a + k * APART_A, thread % WIDE_A), gradient_at(k),
                 pixel + k * APART_A < end && filter < c_out);
        pixel += Tile::BK;
        gradient += Tile::BK * c_out;
        #pragma unroll
        for (int k = 0; k < MINE_B; ++k) {
            const bool inside = unsigned(place.i + up) < unsigned(h) && unsigned(place.j + left) < unsigned(w);
            copy(MINE_A + k, b + B::at(deep_b + k * APART_B, thread % WIDE_B), input_at(k),
                 inside && other + k * APART_B < end && channel < c_in);
            place.forward(by, h, w);
        }
        other += Tile::BK;
        input += Tile::BK * c_in;
    };
    float bias[CHUNK<T>] = {};
    int turn = biases ? blockIdx.x : 0x7fffffff;        // steps until the block's next one
    const auto look = [&](const unsigned a) {
        if (SPLIT<T> || turn-- > 0) return;
        turn = gridDim.x - 1;
        #pragma unroll
        for (int k = 0; k < MINE_A; ++k)
            add_chunk<T>(bias, load_chunk(a + A::at(deep_a + k * APART_A, thread % WIDE_A)));
    };
    float sums[Tile::WM / 16][Tile::WN / 8][4];
    const int steps = end > begin ? (end - begin + Tile::BK - 1) / Tile::BK : 0;
    product<Tile, A, B>(shared_address(dynamic), steps, load, look, sums);
    store_sums<Tile>(sums, spot, c_out, c_in, 9 * c_in, parts + blockIdx.z * (c_out * 9 * c_in) + tap * c_in, true);
    if (!SPLIT<T> && biases) store_biases<Tile>(bias, spot.row, c_out, my_biases(biases, c_out));
}
