// conv2d_sm90.cuh   the 3x3 convolution of pixels, forward and backward, by TMA and wgmma: the bodies of conv2d_sm90.cu
//                   (bf16) and conv2d_sm90_tf32.cu, and the greater part of those of conv2d_sm90_turned.cu
//
//   forward           rows are pixels, columns filters, the depth is (tap, c_in)
//   backward_input    rows are pixels, columns channels, the depth is (window position, c_out): the window turned
//
// The same products as in conv2d_mma.cuh, channels and filters in whole 64s. Matrices of pixels are never laid
// out: TMA in im2col mode gathers what a tap sees of a run of pixels, zeros around the map.
//
// A block is three warpgroups. Two consume: each multiplies half of the tile's rows. Of the third one thread
// produces: it asks TMA for the factors of the next steps, 64 deep each (of tf32 32), into a ring of stages. Per stage there
// are two mbarriers: `full`, one arrival and the bytes that come; `empty`, an arrival of each consumer. Both sides
// count their rounds: in round r the consumers wait for the phase of parity r % 2 of `full`, the producer for that
// of the other parity of `empty`, which a new barrier has behind it. A consumer frees the stage before last: its
// own last product is still on its way.
//
// Where a block has a multiprocessor to itself the producer hands its registers on; where there are two, the
// third "warpgroup" is a single warp and all have the same.
//
// Blocks stay (persistent): block b does tiles b, b + grid, ... While consumers store one tile, the producer
// fills the ring for the next. The order of a sum is that of the depth, whatever the tile (but in conv2d_sm90_split.cu).

#pragma once

#include "hopper.cuh"
#include "params.cuh"

extern __shared__ __align__(1024) unsigned char dynamic[];

// Depth of a step, in elements: 128 bytes, a row of TMA's boxes.
constexpr int STEP = 64;

template <int BM_, int BN_, int STAGES_, int BLOCKS_, class T_ = Bf16>
struct Tile {
    using T = T_;
    static constexpr int DEPTH = 128 / T::BYTES;     // of a step
    static constexpr int BM = BM_, BN = BN_, STAGES = STAGES_, BLOCKS = BLOCKS_;
    static constexpr bool TURNED = false;            // conv2d_sm90_turned.cu
    static constexpr int PRODUCTS = BM / 128;        // of 64 rows, of each consumer
    static constexpr int SUMS = BN / 2;              // of a thread, of each product
    static constexpr int STAGE_A = BM * 128, STAGE_B = BN * 128, STAGE = STAGE_A + STAGE_B;
    static constexpr int THREADS = BLOCKS == 1 ? 384 : 288;
    // Where results are put in order, 16 rows of 64 columns at a time: buffers of each consuming warp.
    // Of tf32 none: four lanes store a sector of f32 from their fragments.
    static constexpr int BUFFERS = T::BYTES == 4 ? 0 : BLOCKS == 1 ? 2 : 1;
    static constexpr int RESULTS = STAGES * STAGE, BARRIERS = RESULTS + 8 * BUFFERS * 2048;
    // Of dynamic shared memory; src/device/gpu/lower/sm90/tile.rs has the same.
    static constexpr int SHARED = BARRIERS + 16 * STAGES;
};

// A place in the ring, and the parity of the round.
template <int STAGES> struct Ring {
    int stage = 0, parity = 0;

    __device__ __forceinline__ void forward()
    {
        if (++stage == STAGES) {
            stage = 0;
            parity ^= 1;
        }
    }
};

__device__ __forceinline__ unsigned full(const unsigned barriers, const int stage) { return barriers + stage * 16; }
__device__ __forceinline__ unsigned empty(const unsigned barriers, const int stage)
{
    return barriers + stage * 16 + 8;
}

// A consumer has read a stage for the last time.
template <class Tile> __device__ __forceinline__ void free_stage(const unsigned barriers, const int stage)
{
    if constexpr (Tile::TURNED) {
        arrive_in(empty(barriers, stage), 0);
        arrive_in(empty(barriers, stage), 1);
    } else {
        arrive(empty(barriers, stage));
    }
}

// Makes a ring's barriers, which two warpgroups empty, or so many readers.
template <int STAGES> __device__ __forceinline__ void make_barriers(const unsigned barriers, const int readers = 2)
{
    #pragma unroll
    for (int stage = 0; stage < STAGES; ++stage) {
        init_barrier(full(barriers, stage), 1);
        init_barrier(empty(barriers, stage), readers);
    }
}

// Makes a block's only or last ring, all that it can do before the kernel before it is done. TMA's swizzle takes shared
// memory to begin at a multiple of 1024 bytes, as it does; a driver that put it elsewhere would give wrong numbers.
template <int STAGES> __device__ __forceinline__ void make_ring(
    const unsigned barriers, const TensorMap* one, const TensorMap* other, const int readers = 2)
{
    if (shared_address(dynamic) % 1024) __trap();
    if (threadIdx.x == 0) {
        make_barriers<STAGES>(barriers, readers);
        show_barriers();
        prefetch(one);
        prefetch(other);
    }
    __syncthreads();
    await_predecessor();
}

// Where a run of pixels begins, less the padding.
struct Corner {
    int n, h, w;
};

__device__ __forceinline__ Corner corner_of(const Conv2d& p, const int pixel)
{
    const int rest = pixel % int(p.h * p.w);
    return {pixel / int(p.h * p.w), rest / int(p.w) - 1, rest % int(p.w) - 1};
}

// A chunk's gradients where their ReLU was open: where its output is above zero.
__device__ __forceinline__ unsigned open_pair(const unsigned gradient, const unsigned output)
{
    const unsigned low = low_of<Bf16>(output) > 0.0f ? 0x0000ffffu : 0, high = high_of<Bf16>(output) > 0.0f ? 0xffff0000u : 0;
    return gradient & (low | high);
}

__device__ __forceinline__ uint4 open_chunk(const uint4 gradient, const uint4 output)
{
    return make_uint4(open_pair(gradient.x, output.x), open_pair(gradient.y, output.y),
                      open_pair(gradient.z, output.z), open_pair(gradient.w, output.w));
}

// What becomes of the sums of a product whose rows are pixels.
struct Forward {
    static constexpr bool BACKWARD = false;
    const TensorMap* y;                              // boxes of 16 pixels, 64 filters
    const float* bias;
    bool relu;
};

struct BackwardInput {
    static constexpr bool BACKWARD = true;
    const unsigned short* mask;                      // or null
    unsigned short* dx;
};

// The producer's part of the products whose rows are pixels. Source x or dy, in runs of BM pixels; weight
// (c_out, 9·c_in) in boxes of BN filters, or of 64 filters by 64 channels; of tf32, whose factors lie along the
// depth, backwards turned: (9·c_in, c_out) in boxes of BN channels.
template <class Tile, bool BACKWARD>
__device__ __forceinline__ void produce(
    const Conv2d& p, const unsigned shared, const TensorMap* source, const TensorMap* weight)
{
    const int channels = BACKWARD ? p.c_out : p.c_in, columns = BACKWARD ? p.c_in : p.c_out;
    const int across = columns / Tile::BN, tiles = (p.n * p.h * p.w + Tile::BM - 1) / Tile::BM * across;
    const unsigned barriers = shared + Tile::BARRIERS;
    Ring<Tile::STAGES> ring;
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const int first = tile % across * Tile::BN;
        const Corner corner = corner_of(p, tile / across * Tile::BM);
        for (int tap = 0; tap < 9; ++tap) {
            const int seen = BACKWARD ? 8 - tap : tap;
            for (int c = 0; c < channels; c += Tile::DEPTH) {
                const unsigned arrived = full(barriers, ring.stage), a = shared + ring.stage * Tile::STAGE;
                wait(empty(barriers, ring.stage), ring.parity ^ 1);
                expect(arrived, Tile::STAGE);
                load_pixels(a, source, arrived, c, corner.w, corner.h, corner.n, seen / 3, seen % 3);
                if constexpr (BACKWARD && Tile::T::BYTES == 4) {
                    load_box(a + Tile::STAGE_A, weight, arrived, c, tap * columns + first);
                } else if constexpr (BACKWARD) {
                    #pragma unroll
                    for (int k = 0; k < Tile::BN / 64; ++k)
                        load_box(a + Tile::STAGE_A + k * 8192, weight, arrived, tap * columns + first + k * 64, c);
                } else {
                    load_box(a + Tile::STAGE_A, weight, arrived, tap * channels + c, first);
                }
                ring.forward();
            }
        }
    }
}

// A consumer's sums of one tile.
template <class Tile, bool BACKWARD>
__device__ __forceinline__ void consume(
    const unsigned shared, const int steps, const int consumer, Ring<Tile::STAGES>& ring,
    float (&sums)[Tile::PRODUCTS][Tile::SUMS])
{
    const unsigned barriers = shared + Tile::BARRIERS;
    const bool speaks = threadIdx.x % 128 == 0;
    int before = 0;
    for (int step = 0; step < steps; ++step) {
        wait(full(barriers, ring.stage), ring.parity);
        const unsigned stage = shared + ring.stage * Tile::STAGE;
        // Of pixels and of columns: each consumer has half of the rows of a product and all of its columns.
        const unsigned a = stage + (Tile::TURNED ? 0 : consumer * Tile::PRODUCTS * 8192);
        const unsigned b = stage + Tile::STAGE_A + (Tile::TURNED ? consumer * 8192 : 0);
        begin_products();
        #pragma unroll
        for (int k = 0; k < 4; ++k)                   // 32 bytes of a row each
            #pragma unroll
            for (int i = 0; i < Tile::PRODUCTS; ++i) {
                const unsigned long long mine = factor<false>(a + i * 8192, k);
                if constexpr (Tile::TURNED) {
                    Product<Tile::BM>::template issue<BACKWARD, false>(
                        sums[i], factor<BACKWARD>(b, k), mine, (step | k) != 0);
                } else if constexpr (Tile::T::BYTES == 4) {
                    ProductTf32<Tile::BN>::issue(sums[i], mine, factor<false>(b, k), (step | k) != 0);
                } else {
                    Product<Tile::BN>::template issue<false, BACKWARD>(
                        sums[i], mine, factor<BACKWARD>(b, k), (step | k) != 0);
                }
            }
        commit_products();
        wait_products<1>();
        if (step > 0 && speaks) free_stage<Tile>(barriers, before);
        before = ring.stage;
        ring.forward();
    }
    wait_products<0>();
    if (speaks) free_stage<Tile>(barriers, before);
    take_sums(sums);
}

// Where chunk `chunk` of row `row` lies in a box of 128-byte rows.
__device__ __forceinline__ unsigned in_box(const int row, const int chunk)
{
    return row * 128 + ((chunk ^ (row & 7)) << 4);
}

// Columns 16·part to 16·part + 15 of a warp's 16 rows and 64 columns of sums, into a box.
template <class End>
__device__ __forceinline__ void put_sums(
    const unsigned box, const int part, const float* sums, const End& end, const int column)
{
    const int lane = threadIdx.x % 32;
    unsigned words[4];
    #pragma unroll
    for (int half = 0; half < 2; ++half) {
        float2 bias = make_float2(0.0f, 0.0f);
        if constexpr (!End::BACKWARD)
            bias = *reinterpret_cast<const float2*>(end.bias + (column + part * 16 + half * 8 + lane % 4 * 2));
        #pragma unroll
        for (int rows = 0; rows < 2; ++rows) {
            float low = sums[half * 4 + rows * 2] + bias.x, high = sums[half * 4 + rows * 2 + 1] + bias.y;
            if constexpr (!End::BACKWARD) {
                if (end.relu) {
                    low = rectify_sum(low);
                    high = rectify_sum(high);
                }
            }
            words[half * 2 + rows] = pack_bf16(low, high);
        }
    }
    store_matrices(box + in_box(lane % 16, part * 2 + lane / 16), words);
}

// Stores the warp's 16 rows and 64 columns of one product: from pixel `row` and column `column` on.
template <class Tile>
__device__ __forceinline__ void finish(
    const Forward& end, const Conv2d& p, const unsigned boxes, const int turn, const int row, const int column,
    const float* sums)
{
    const unsigned box = boxes + turn % Tile::BUFFERS * 2048;
    const bool speaks = threadIdx.x % 32 == 0;
    // The box is free again.
    if (speaks) wait_stores<Tile::BUFFERS - 1>();
    __syncwarp();
    #pragma unroll
    for (int part = 0; part < 4; ++part) put_sums(box, part, sums + part * 8, end, column);
    show_to_tma();
    __syncwarp();
    if (speaks) store_box(end.y, box, column, row);
}

template <class Tile>
__device__ __forceinline__ void finish(
    const BackwardInput& end, const Conv2d& p, const unsigned boxes, const int turn, const int row, const int column,
    const float* sums)
{
    const unsigned box = boxes + turn % Tile::BUFFERS * 2048;
    const int lane = threadIdx.x % 32, pixels = p.n * p.h * p.w;
    const int chunk = lane % 8, place = (row + lane / 8) * int(p.c_in) + column + chunk * 8;
    // Asked for before they are needed, where there are registers for it.
    constexpr bool EARLY = Tile::BLOCKS == 1;
    uint4 outputs[4];
    const auto output = [&](const int k) {
        return *reinterpret_cast<const uint4*>(end.mask + (place + k * 4 * int(p.c_in)));
    };
    if (EARLY && end.mask) {
        #pragma unroll
        for (int k = 0; k < 4; ++k)
            outputs[k] = row + lane / 8 + k * 4 < pixels ? output(k) : make_uint4(0, 0, 0, 0);
    }
    __syncwarp();
    #pragma unroll
    for (int part = 0; part < 4; ++part) put_sums(box, part, sums + part * 8, end, column);
    __syncwarp();
    #pragma unroll(EARLY ? 4 : 1)
    for (int k = 0; k < 4; ++k) {
        if (row + lane / 8 + k * 4 >= pixels) continue;
        uint4 v = load_chunk(box + in_box(lane / 8 + k * 4, chunk));
        if (end.mask) v = open_chunk(v, EARLY ? outputs[k] : output(k));
        *reinterpret_cast<uint4*>(end.dx + (place + k * 4 * int(p.c_in))) = v;
    }
}

// y or dx: the products whose rows are pixels.
template <class Tile, class End>
__device__ __forceinline__ void convolve(
    const Conv2d& p, const TensorMap* source, const TensorMap* weight, const End& end)
{
    const unsigned shared = shared_address(dynamic);
    const int warpgroup = threadIdx.x / 128;
    make_ring<Tile::STAGES>(shared + Tile::BARRIERS, source, weight);
    if (warpgroup == 2) {
        if constexpr (Tile::BLOCKS == 1) give_registers<40>();
        if (threadIdx.x == 256) produce<Tile, End::BACKWARD>(p, shared, source, weight);
        return;
    }
    if constexpr (Tile::BLOCKS == 1) take_registers<232>();
    const int channels = End::BACKWARD ? p.c_out : p.c_in, columns = End::BACKWARD ? p.c_in : p.c_out;
    const int across = columns / Tile::BN, tiles = (p.n * p.h * p.w + Tile::BM - 1) / Tile::BM * across;
    const int warp = threadIdx.x / 32;
    const unsigned boxes = shared + Tile::RESULTS + warp * Tile::BUFFERS * 2048;
    Ring<Tile::STAGES> ring;
    // Zeros that nobody reads: without a value before the loop ptxas of CUDA 12.8 and older makes products wait
    // for each other (C7515).
    float sums[Tile::PRODUCTS][Tile::SUMS] = {};
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        consume<Tile, End::BACKWARD>(shared, 9 * channels / Tile::DEPTH, warpgroup, ring, sums);
        const int row = tile / across * Tile::BM + warpgroup * Tile::PRODUCTS * 64 + warp % 4 * 16;
        const int column = tile % across * Tile::BN;
        #pragma unroll
        for (int i = 0; i < Tile::PRODUCTS; ++i)
            #pragma unroll
            for (int k = 0; k < Tile::BN / 64; ++k)
                finish<Tile>(end, p, boxes, i * (Tile::BN / 64) + k, row + i * 64, column + k * 64, sums[i] + k * 32);
    }
    // Shared memory may not go before TMA has read it.
    if constexpr (!End::BACKWARD && Tile::BUFFERS > 0) {
        if (threadIdx.x % 32 == 0) wait_stores<0>();
    }
}
