// conv2d_sm90.cuh   the 3x3 convolution on Hopper, forward and backward_input, by TMA and wgmma: the bodies of
//                   conv2d_sm90.cu (bf16) and conv2d_sm90_tf32.cu, and most of conv2d_sm90_turned.cu and _split.cu
//
//   forward           M = pixels, N = filters, K = (tap, c_in)
//   backward_input    M = pixels, N = channels, K = (tap, c_out), with the filter rotated by 180 degrees
//
// The same implicit GEMM as in conv2d_mma.cuh, for channels and filters in multiples of 64. The matrix of pixels is
// never laid out: TMA in im2col mode gathers what a tap sees of a run of pixels, with zeros around the map. (`Tile` and
// `convolve` here are not those of conv2d_mma.cuh; no file includes both.)
//
// A block is three warpgroups. Two are consumers: each computes half of the tile's rows. One thread of the third is
// the producer: it asks TMA for the operands of the next steps, K = 64 each (32 of tf32), into a ring of stages. A
// stage has two mbarriers: `full`, with one arrival and the bytes that come; `empty`, with an arrival of each
// consumer. Both sides count their rounds: in round r consumers wait for the phase of parity r % 2 of `full`, the
// producer for that of the other parity of `empty`, which a new barrier counts as over. A consumer frees the stage
// before the one it has just issued: its last wgmma is still in flight.
//
// Where a block has a multiprocessor to itself the producer gives registers to the consumers. Where two blocks share
// one, the third "warpgroup" is a single warp and all warps have as many registers.
//
// Blocks are persistent: block b computes tiles b, b + grid, ... While consumers store one tile, the producer fills
// the ring for the next. K is summed in order, whatever the tile (except in conv2d_sm90_split.cu).

#pragma once

#include "hopper.cuh"
#include "params.cuh"

extern __shared__ __align__(1024) unsigned char dynamic[];

// K of a step of bf16: 128 bytes, a row of TMA's boxes.
constexpr int BF16_STEP = 64;

// Bytes of 64 and of 16 rows of a box: of one wgmma, and of one of its warps.
constexpr int BOX_64 = 64 * 128, BOX_16 = 16 * 128;

// The first thread of the third warpgroup.
constexpr int PRODUCER = 256;

// Blocks of a cluster that share their pixels (conv2d_sm90_turned.cu), and the multicast mask that names all of them.
constexpr int PAIR = 2, BOTH = (1 << PAIR) - 1;

template <int BM_, int BN_, int STAGES_, int BLOCKS_, class T_ = Bf16>
struct Tile {
    using T = T_;
    static constexpr int DEPTH = 128 / T::BYTES;     // K of a step
    static constexpr int BM = BM_, BN = BN_, STAGES = STAGES_, BLOCKS = BLOCKS_;
    static constexpr bool SWAPPED = false;           // conv2d_sm90_turned.cu
    static constexpr int M_TILES = BM / 128;         // of 64 rows, of each consumer
    static constexpr int ACC = BN / 2;               // accumulators of a thread, of each of them
    static constexpr int STAGE_A = BM * 128, STAGE_B = BN * 128, STAGE = STAGE_A + STAGE_B;
    static constexpr int THREADS = BLOCKS == 1 ? 384 : 288;
    // Buffers of each consuming warp for results on their way to memory, 16 rows of 64 columns each. tf32 has none:
    // four lanes store a sector of f32 from their fragments.
    static constexpr int BUFFERS = T::BYTES == 4 ? 0 : BLOCKS == 1 ? 2 : 1;
    static constexpr int RESULTS = STAGES * STAGE, BARRIERS = RESULTS + 8 * BUFFERS * BOX_16;
    // Dynamic shared memory: what `// dynamic-shared:` and src/device/gpu/lower/sm90/tile.rs say.
    static constexpr int SHARED = BARRIERS + 16 * STAGES;
};

// A place in the ring, and the parity of the round.
template <int STAGES> struct Ring {
    int stage = 0, parity = 0;

    __device__ __forceinline__ void advance()
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

// A consumer has read a stage for the last time. Of a pair both blocks hear of it: each fills half of both's pixels.
template <class Tile> __device__ __forceinline__ void free_stage(const unsigned barriers, const int stage)
{
    if constexpr (Tile::SWAPPED) {
        #pragma unroll
        for (int rank = 0; rank < PAIR; ++rank) arrive_remote(empty(barriers, stage), rank);
    } else {
        arrive(empty(barriers, stage));
    }
}

// Initializes a ring's barriers; a stage is empty once `readers` have arrived.
template <int STAGES> __device__ __forceinline__ void make_barriers(const unsigned barriers, const int readers = 2)
{
    #pragma unroll
    for (int stage = 0; stage < STAGES; ++stage) {
        init_barrier(full(barriers, stage), 1);
        init_barrier(empty(barriers, stage), readers);
    }
}

// Initializes a block's only or last ring, then waits for the kernel before: everything above the wait overlaps with
// it. Tiles begin at multiples of 1024 (hopper.cuh): `dynamic` is declared so, and the PTX says it to the driver
// (.align 1024), which places it. The compiler believes the declaration too: a check here would be folded away.
template <int STAGES> __device__ __forceinline__ void make_ring(
    const unsigned barriers, const TensorMap* one, const TensorMap* other, const int readers = 2)
{
    if (threadIdx.x == 0) {
        make_barriers<STAGES>(barriers, readers);
        fence_barrier_init();
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

// Gradients of a pair, and of a chunk, where the ReLU's output is above zero. Not relu_mask_chunk of conv2d_ends.cuh,
// of which the compiler makes more instructions here, as it does of this one there.
__device__ __forceinline__ unsigned relu_mask_pair(const unsigned gradient, const unsigned output)
{
    const unsigned low = low_of<Bf16>(output) > 0.0f ? 0x0000ffffu : 0;
    const unsigned high = high_of<Bf16>(output) > 0.0f ? 0xffff0000u : 0;
    return gradient & (low | high);
}

__device__ __forceinline__ uint4 relu_mask_bf16(const uint4 gradient, const uint4 output)
{
    return make_uint4(relu_mask_pair(gradient.x, output.x), relu_mask_pair(gradient.y, output.y),
                      relu_mask_pair(gradient.z, output.z), relu_mask_pair(gradient.w, output.w));
}

// Epilogues: what becomes of the accumulators.
struct ForwardEpilogue {
    static constexpr bool BACKWARD = false;
    const TensorMap* y;                              // boxes of 16 pixels, 64 filters
    const float* bias;
    bool relu;
};

struct BackwardInputEpilogue {
    static constexpr bool BACKWARD = true;
    const unsigned short* mask;                      // or null
    unsigned short* dx;
};

// Tiles of a product whose rows are pixels: in a row of tiles, and in all. Column tiles are fastest.
struct TileGrid {
    int across, tiles;
};

template <class Tile, bool BACKWARD> __device__ __forceinline__ TileGrid grid_of(const Conv2d& p)
{
    const int columns = BACKWARD ? p.c_in : p.c_out, across = columns / Tile::BN;
    return {across, int((p.n * p.h * p.w + Tile::BM - 1) / Tile::BM * across)};
}

// Asks for one step of a tile whose first column is `first`: the BM pixels that `source_tap` sees, and the weights of
// `tap`, both from channel c on. Source is x or dy. The weight (c_out, 9·c_in) comes in boxes of BN filters forward,
// and of 64 filters by 64 channels backward. tf32 operands must be K-major, so backward its weight is transposed,
// (9·c_in, c_out), in boxes of BN channels. In a pair each block loads half of the pixels for both.
template <class Tile, bool BACKWARD>
__device__ __forceinline__ void produce_step(
    const unsigned shared, Ring<Tile::STAGES>& ring, const TensorMap* source, const TensorMap* weight,
    const int channels, const int columns, const Corner& corner, const int first, const int tap, const int source_tap,
    const int c, const int rank)
{
    const unsigned barriers = shared + Tile::BARRIERS;
    const unsigned arrived = full(barriers, ring.stage), a = shared + ring.stage * Tile::STAGE;
    wait(empty(barriers, ring.stage), ring.parity ^ 1);
    arrive_expect_tx(arrived, Tile::STAGE);
    if constexpr (Tile::SWAPPED) {
        load_pixels_multicast(BOTH, a + rank * (Tile::STAGE_A / PAIR), source, arrived, c, corner.w, corner.h, corner.n,
                              source_tap / 3, source_tap % 3);
    } else {
        load_pixels(a, source, arrived, c, corner.w, corner.h, corner.n, source_tap / 3, source_tap % 3);
    }
    if constexpr (BACKWARD && Tile::T::BYTES == 4) {
        load_box(a + Tile::STAGE_A, weight, arrived, c, tap * columns + first);
    } else if constexpr (BACKWARD) {
        #pragma unroll
        for (int k = 0; k < Tile::BN / 64; ++k)
            load_box(a + Tile::STAGE_A + k * BOX_64, weight, arrived, tap * columns + first + k * 64, c);
    } else {
        load_box(a + Tile::STAGE_A, weight, arrived, tap * channels + c, first);
    }
    ring.advance();
}

// The producer: all steps of all tiles of the block.
template <class Tile, bool BACKWARD>
__device__ __forceinline__ void produce(
    const Conv2d& p, const unsigned shared, const TensorMap* source, const TensorMap* weight, const int channels,
    const TileGrid grid)
{
    const int columns = BACKWARD ? p.c_in : p.c_out;
    const int rank = Tile::SWAPPED ? rank_in_cluster() : 0;
    Ring<Tile::STAGES> ring;
    for (int tile = blockIdx.x; tile < grid.tiles; tile += gridDim.x) {
        const int first = tile % grid.across * Tile::BN;
        const Corner corner = corner_of(p, tile / grid.across * Tile::BM + rank * (Tile::BM / PAIR));
        for (int tap = 0; tap < 9; ++tap) {
            const int source_tap = BACKWARD ? 8 - tap : tap;
            for (int c = 0; c < channels; c += Tile::DEPTH)
                produce_step<Tile, BACKWARD>(
                    shared, ring, source, weight, channels, columns, corner, first, tap, source_tap, c, rank);
        }
    }
    if constexpr (Tile::SWAPPED) {
        // The other block's consumers still arrive at this one's barriers: it may not exit before the last of them.
        for (int stage = 0; stage < Tile::STAGES; ++stage) {
            wait(empty(shared + Tile::BARRIERS, ring.stage), ring.parity ^ 1);
            ring.advance();
        }
    }
}

// A consumer's accumulators of one tile.
template <class Tile, bool BACKWARD>
__device__ __forceinline__ void consume(
    const unsigned shared, const int steps, const int consumer, Ring<Tile::STAGES>& ring,
    float (&acc)[Tile::M_TILES][Tile::ACC])
{
    const unsigned barriers = shared + Tile::BARRIERS;
    const bool is_elected = threadIdx.x % 128 == 0;
    int before = 0;
    for (int step = 0; step < steps; ++step) {
        wait(full(barriers, ring.stage), ring.parity);
        const unsigned stage = shared + ring.stage * Tile::STAGE;
        // Each consumer has half of the product's rows (pixels, or filters if operands are swapped), and all columns.
        const unsigned a = stage + (Tile::SWAPPED ? 0 : consumer * Tile::M_TILES * BOX_64);
        const unsigned b = stage + Tile::STAGE_A + (Tile::SWAPPED ? consumer * BOX_64 : 0);
        wgmma_fence();
        #pragma unroll
        for (int k = 0; k < 4; ++k)                   // 32 bytes of a row each
            #pragma unroll
            for (int i = 0; i < Tile::M_TILES; ++i) {
                const unsigned long long pixels = smem_descriptor<false>(a + i * BOX_64, k);
                if constexpr (Tile::SWAPPED) {
                    Wgmma<Tile::BM>::template issue<BACKWARD, false>(
                        acc[i], smem_descriptor<BACKWARD>(b, k), pixels, (step | k) != 0);
                } else if constexpr (Tile::T::BYTES == 4) {
                    WgmmaTf32<Tile::BN>::issue(acc[i], pixels, smem_descriptor<false>(b, k), (step | k) != 0);
                } else {
                    Wgmma<Tile::BN>::template issue<false, BACKWARD>(
                        acc[i], pixels, smem_descriptor<BACKWARD>(b, k), (step | k) != 0);
                }
            }
        wgmma_commit();
        wgmma_wait<1>();
        if (step > 0 && is_elected) free_stage<Tile>(barriers, before);
        before = ring.stage;
        ring.advance();
    }
    wgmma_wait<0>();
    if (is_elected) free_stage<Tile>(barriers, before);
    fence_acc(acc);
}

// Columns 16·part to 16·part + 15 of a warp's 16 rows and 64 columns of accumulators, into a box.
template <class Epilogue>
__device__ __forceinline__ void put_acc(
    const unsigned box, const int part, const float* acc, const Epilogue& epilogue, const int column)
{
    const int lane = threadIdx.x % 32;
    unsigned words[4];
    #pragma unroll
    for (int half = 0; half < 2; ++half) {
        float2 bias = make_float2(0.0f, 0.0f);
        if constexpr (!Epilogue::BACKWARD)
            bias = *reinterpret_cast<const float2*>(epilogue.bias + (column + part * 16 + half * 8 + lane % 4 * 2));
        #pragma unroll
        for (int rows = 0; rows < 2; ++rows) {
            float low = acc[half * 4 + rows * 2] + bias.x, high = acc[half * 4 + rows * 2 + 1] + bias.y;
            if constexpr (!Epilogue::BACKWARD) {
                if (epilogue.relu) {
                    low = rectify_sum(low);
                    high = rectify_sum(high);
                }
            }
            words[half * 2 + rows] = pack_bf16(low, high);
        }
    }
    store_matrices(box + swizzled_offset(lane % 16, part * 2 + lane / 16), words);
}

// Stores the warp's 16 rows and 64 columns of one M tile: from pixel `row` and column `column` on. `turn` picks the
// buffer.
template <class Tile>
__device__ __forceinline__ void run_epilogue(
    const ForwardEpilogue& epilogue, const Conv2d&, const unsigned boxes, const int turn, const int row,
    const int column, const float* acc)
{
    const unsigned box = boxes + turn % Tile::BUFFERS * BOX_16;
    const bool is_elected = threadIdx.x % 32 == 0;
    // The box is free again.
    if (is_elected) wait_stores<Tile::BUFFERS - 1>();
    __syncwarp();
    #pragma unroll
    for (int part = 0; part < 4; ++part) put_acc(box, part, acc + part * 8, epilogue, column);
    fence_proxy_async();
    __syncwarp();
    if (is_elected) store_box(epilogue.y, box, column, row);
}

template <class Tile>
__device__ __forceinline__ void run_epilogue(
    const BackwardInputEpilogue& epilogue, const Conv2d& p, const unsigned boxes, const int turn, const int row,
    const int column, const float* acc)
{
    const unsigned box = boxes + turn % Tile::BUFFERS * BOX_16;
    const int lane = threadIdx.x % 32, pixels = p.n * p.h * p.w;
    const int chunk = lane % 8, place = (row + lane / 8) * int(p.c_in) + column + chunk * 8;
    // The mask is loaded before it is needed: behind a store to what could be the same place each load would wait for the
    // one before it.
    uint4 outputs[4];
    if (epilogue.mask) {
        #pragma unroll
        for (int k = 0; k < 4; ++k) {
            const auto at = reinterpret_cast<const uint4*>(epilogue.mask + (place + k * 4 * int(p.c_in)));
            outputs[k] = row + lane / 8 + k * 4 < pixels ? *at : make_uint4(0, 0, 0, 0);
        }
    }
    __syncwarp();
    #pragma unroll
    for (int part = 0; part < 4; ++part) put_acc(box, part, acc + part * 8, epilogue, column);
    __syncwarp();
    #pragma unroll
    for (int k = 0; k < 4; ++k) {
        if (row + lane / 8 + k * 4 >= pixels) continue;
        uint4 v = load_chunk(box + swizzled_offset(lane / 8 + k * 4, chunk));
        if (epilogue.mask) v = relu_mask_bf16(v, outputs[k]);
        *reinterpret_cast<uint4*>(epilogue.dx + (place + k * 4 * int(p.c_in))) = v;
    }
}

// y or dx, of tiles that a block computes alone.
template <class Tile, class Epilogue>
__device__ __forceinline__ void convolve(
    const Conv2d& p, const TensorMap* source, const TensorMap* weight, const Epilogue& epilogue)
{
    const unsigned shared = shared_address(dynamic);
    const int warpgroup = threadIdx.x / 128;
    make_ring<Tile::STAGES>(shared + Tile::BARRIERS, source, weight);
    if (warpgroup == 2) {
        if constexpr (Tile::BLOCKS == 1) dealloc_registers<40>();
        if (threadIdx.x == PRODUCER) {
            const int channels = Epilogue::BACKWARD ? p.c_out : p.c_in;
            const TileGrid grid = grid_of<Tile, Epilogue::BACKWARD>(p);
            produce<Tile, Epilogue::BACKWARD>(p, shared, source, weight, channels, grid);
        }
        return;
    }
    if constexpr (Tile::BLOCKS == 1) alloc_registers<232>();
    const int channels = Epilogue::BACKWARD ? p.c_out : p.c_in;
    const TileGrid grid = grid_of<Tile, Epilogue::BACKWARD>(p);
    const int warp = threadIdx.x / 32;
    const unsigned boxes = shared + Tile::RESULTS + warp * Tile::BUFFERS * BOX_16;
    Ring<Tile::STAGES> ring;
    // Zeros that nobody reads: without a value before the loop ptxas of CUDA 12.8 and older serializes the wgmma
    // (warning C7515).
    float acc[Tile::M_TILES][Tile::ACC] = {};
    for (int tile = blockIdx.x; tile < grid.tiles; tile += gridDim.x) {
        consume<Tile, Epilogue::BACKWARD>(shared, 9 * channels / Tile::DEPTH, warpgroup, ring, acc);
        const int row = tile / grid.across * Tile::BM + warpgroup * Tile::M_TILES * 64 + warp % 4 * 16;
        const int column = tile % grid.across * Tile::BN;
        #pragma unroll
        for (int i = 0; i < Tile::M_TILES; ++i)
            #pragma unroll
            for (int k = 0; k < Tile::BN / 64; ++k)
                run_epilogue<Tile>(epilogue, p, boxes, i * (Tile::BN / 64) + k, row + i * 64, column + k * 64,
                                   acc[i] + k * 32);
    }
    // Shared memory must stay until TMA has read it.
    if constexpr (!Epilogue::BACKWARD && Tile::BUFFERS > 0) {
        if (threadIdx.x % 32 == 0) wait_stores<0>();
    }
}
