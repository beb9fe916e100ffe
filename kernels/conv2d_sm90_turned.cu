// conv2d_sm90_turned   the convolutions of bf16 on Hopper (compute capability 9.0), operands swapped
// targets: sm_90a
// hot: conv2d_forward_sm90_208x128 conv2d_forward_sm90_160x128 conv2d_forward_sm90_112x128
// hot: conv2d_backward_input_sm90_208x128 conv2d_backward_input_sm90_160x128 conv2d_backward_input_sm90_112x128
// dynamic-shared: conv2d_forward_sm90_208x128 225376
// dynamic-shared: conv2d_forward_sm90_160x128 225392
// dynamic-shared: conv2d_forward_sm90_112x128 213120
// dynamic-shared: conv2d_backward_input_sm90_208x128 225376
// dynamic-shared: conv2d_backward_input_sm90_160x128 225392
// dynamic-shared: conv2d_backward_input_sm90_112x128 213120
//
//   conv2d_forward            y  = f(bias + Σ x·weight)
//   conv2d_backward_input     dx = Σ dy·weight, filter rotated, where mask > 0 if `masked`
//
// Formats and shapes are those of conv2d_sm90.cu, and so are the bits; filters (backward: channels) are multiples of
// 256. All but p and bias come as tensor maps. Names say pixels x filters of a block's tile; a cluster is a pair of
// blocks.
//
// Why: with tiles of 128 pixels x 256 filters a map of 18x18 with 512 filters, 20 images, has 102 tiles, and one of
// 37x37 with 256 filters has 214; on 132 multiprocessors that takes as long as 132 and 264 would. Tiles of 208 x 128
// are 128 and 264, each a fifth smaller. wgmma fixes M at 64 but allows N in multiples of 8, so the operands of
// conv2d_sm90.cu are swapped: M = filters, N = pixels. Each consumer has half of the filters.
//
// The blocks of a pair have the same pixels and neighbouring filters. Each loads half of the pixels and multicasts it
// to both, so a block's step takes 29 KiB from L2 instead of 42 (of 208 pixels): on an H200 the tiles of
// conv2d_sm90.cu read L2 at 9 to 10 TB/s, which is all that TMA alone reaches. A stage is free when the consumers of
// both blocks have read it.
//
// Accumulator fragments have pixels along a row; stmatrix.trans transposes them on the way to shared memory. A consumer
// has a staging buffer for all of its results, so it goes on at once with the next tile while a warp of the third
// warpgroup, one for each consumer, has TMA store them. Backward, the same warp first has TMA load the mask into that buffer: each thread finds
// what belongs to its accumulators where it will put them. Two mbarriers guard the buffer: `free`, when it has been
// stored and holds the mask, and `filled`, with an arrival of each warp.

#include "conv2d_sm90_entries.cuh"

// The first of the threads that store, one for each consumer, each in a warp of its own behind the producer's.
constexpr int FIRST_STORER = PRODUCER + 32;

template <int BM_, int STAGES_>
struct SwappedTile {
    using T = Bf16;
    static constexpr int DEPTH = BF16_STEP;
    static constexpr int BM = BM_, BN = 128, STAGES = STAGES_, BLOCKS = 1;
    static constexpr bool SWAPPED = true;
    static constexpr int M_TILES = 1, ACC = BM / 2;
    static constexpr int STAGE_A = BM * 128, STAGE_B = BN * 128, STAGE = STAGE_A + STAGE_B;
    static constexpr int THREADS = 384;
    // A staging buffer of each consumer: BM pixels, 64 filters.
    static constexpr int RESULTS = STAGES * STAGE, STAGING = BM * 128, BARRIERS = RESULTS + 2 * STAGING;
    static constexpr int STAGING_BARRIERS = BARRIERS + 16 * STAGES;
    // Dynamic shared memory: what `// dynamic-shared:` and src/device/gpu/lower/sm90/tile.rs say.
    static constexpr int SHARED = STAGING_BARRIERS + 2 * 16;
    static_assert(BM % 16 == 0 && STAGE % 1024 == 0 && STAGING % 1024 == 0 && SHARED <= 232448, "a tile");
};

// Epilogues.
struct SwappedForwardEpilogue {
    static constexpr bool BACKWARD = false;
    const TensorMap* to;                             // y, boxes of BM pixels, 64 filters
    const float* bias;
    bool relu;
};

struct SwappedBackwardInputEpilogue {
    static constexpr bool BACKWARD = true;
    const TensorMap* to;                             // dx, the same boxes
    const TensorMap* mask;
    bool masked;
};

// One thread for each consumer: hands it the free buffer, with the mask in it, and has TMA store what it puts there.
template <class Tile, class Epilogue>
__device__ __forceinline__ void store_staged(
    const unsigned shared, const Epilogue& epilogue, const TileGrid grid, const int consumer)
{
    const unsigned free = shared + Tile::STAGING_BARRIERS + consumer * 16, filled = free + 8;
    const unsigned staging = shared + Tile::RESULTS + consumer * Tile::STAGING;
    int parity = 0;
    for (int tile = blockIdx.x; tile < grid.tiles; tile += gridDim.x) {
        const int row = tile / grid.across * Tile::BM;
        const int column = tile % grid.across * Tile::BN + consumer * 64;
        bool masked = false;
        if constexpr (Epilogue::BACKWARD) masked = epilogue.masked;
        if (masked) {
            arrive_expect_tx(free, Tile::STAGING);
            if constexpr (Epilogue::BACKWARD) load_box(staging, epilogue.mask, free, column, row);
        } else {
            arrive(free);
        }
        wait(filled, parity);
        parity ^= 1;
        store_box(epilogue.to, staging, column, row);
        // Nobody, TMA included, may write there before all of it has been read.
        wait_stores<0>();
    }
}

// Puts a warp's 16 filters of all pixels into its consumer's buffer, `chunk` and the next one of each row.
template <class Tile, class Epilogue>
__device__ __forceinline__ void put_swapped(
    const unsigned staging, const int chunk, const Epilogue& epilogue, const int filter, const float (&acc)[Tile::ACC])
{
    const int lane = threadIdx.x % 32;
    float low = 0.0f, high = 0.0f;
    if constexpr (!Epilogue::BACKWARD) {
        low = epilogue.bias[filter + lane / 4];
        high = epilogue.bias[filter + 8 + lane / 4];
    }
    // Lanes name rows of the four 8x8 matrices: 8 pixels of both chunks, and the next 8.
    const unsigned at = staging + swizzled_offset(lane / 16 * 8 + lane % 8, chunk + lane / 8 % 2);
    #pragma unroll
    for (int j = 0; j < Tile::BM / 16; ++j) {
        unsigned words[4], mask[4];
        if constexpr (Epilogue::BACKWARD) {
            if (epilogue.masked) load_matrices_trans(mask, at + j * BOX_16);
        }
        #pragma unroll
        for (int q = 0; q < 4; ++q) {
            const float bias = q % 2 ? high : low;
            float one = acc[j * 8 + q * 2] + bias, two = acc[j * 8 + q * 2 + 1] + bias;
            if constexpr (!Epilogue::BACKWARD) {
                if (epilogue.relu) {
                    one = rectify_sum(one);
                    two = rectify_sum(two);
                }
            }
            words[q] = pack_bf16(one, two);
            if constexpr (Epilogue::BACKWARD) {
                if (epilogue.masked) words[q] = relu_mask_pair(words[q], mask[q]);
            }
        }
        store_matrices_trans(at + j * BOX_16, words);
    }
}

// As `consume`, with an epilogue that leaves the results in the staging buffer.
template <class Tile, class Epilogue>
__device__ __forceinline__ void consume_swapped(
    const Conv2d& p, const unsigned shared, const Epilogue& epilogue, const TileGrid grid, const int consumer)
{
    const int warp = threadIdx.x / 32 % 4, steps = 9 * int(Epilogue::BACKWARD ? p.c_out : p.c_in) / Tile::DEPTH;
    const unsigned free = shared + Tile::STAGING_BARRIERS + consumer * 16, filled = free + 8;
    const unsigned staging = shared + Tile::RESULTS + consumer * Tile::STAGING;
    Ring<Tile::STAGES> ring;
    int parity = 0;
    // Zeros that nobody reads, as in `convolve`.
    float acc[1][Tile::ACC] = {};
    for (int tile = blockIdx.x; tile < grid.tiles; tile += gridDim.x) {
        consume<Tile, Epilogue::BACKWARD>(shared, steps, consumer, ring, acc);
        wait(free, parity);
        parity ^= 1;
        const int filter = tile % grid.across * Tile::BN + consumer * 64 + warp * 16;
        put_swapped<Tile>(staging, warp * 2, epilogue, filter, acc[0]);
        fence_proxy_async();
        __syncwarp();
        if (threadIdx.x % 32 == 0) arrive(filled);
    }
}

template <class Tile, class Epilogue>
__device__ __forceinline__ void convolve_swapped(
    const Conv2d& p, const TensorMap* source, const TensorMap* weight, const Epilogue& epilogue)
{
    const unsigned shared = shared_address(dynamic);
    const int warpgroup = threadIdx.x / 128;
    if (threadIdx.x == 0) {
        #pragma unroll
        for (int consumer = 0; consumer < 2; ++consumer) {
            init_barrier(shared + Tile::STAGING_BARRIERS + consumer * 16, 1);
            init_barrier(shared + Tile::STAGING_BARRIERS + consumer * 16 + 8, 4);
        }
    }
    make_ring<Tile::STAGES>(shared + Tile::BARRIERS, source, weight, 2 * PAIR);
    // No block may arrive at the other's barriers before the other has initialized them.
    cluster_sync_relaxed();
    // Both blocks of a pair have equally many tiles: column tiles are fastest, and their number is even.
    const TileGrid grid = grid_of<Tile, Epilogue::BACKWARD>(p);
    if (warpgroup == 2) {
        dealloc_registers<40>();
        if (threadIdx.x == PRODUCER) {
            const int channels = Epilogue::BACKWARD ? p.c_out : p.c_in;
            produce<Tile, Epilogue::BACKWARD>(p, shared, source, weight, channels, grid);
        }
        if (threadIdx.x == FIRST_STORER || threadIdx.x == FIRST_STORER + 32)
            store_staged<Tile>(shared, epilogue, grid, int(threadIdx.x) / 32 - FIRST_STORER / 32);
    } else {
        alloc_registers<232>();
        consume_swapped<Tile>(p, shared, epilogue, grid, warpgroup);
    }
    // A block exits when the other has no more to do with its memory: `consume` has waited for every copy to it, `produce`
    // for every arrival at its barriers.
}

#define CONV2D_FORWARD(TILE, name)                                                                               \
    CONV2D_FORWARD_BF16(convolve_swapped, SwappedForwardEpilogue, TILE, name, __cluster_dims__(PAIR, 1, 1))

#define CONV2D_BACKWARD_INPUT(TILE, name)                                                                        \
    SM90(TILE, name, __cluster_dims__(PAIR, 1, 1))(                                                              \
        const __grid_constant__ TensorMap dy, const __grid_constant__ TensorMap weight,                          \
        const __grid_constant__ TensorMap mask, const __grid_constant__ TensorMap dx,                            \
        const __grid_constant__ Conv2d p, const unsigned masked)                                                 \
    {                                                                                                            \
        convolve_swapped<TILE>(p, &dy, &weight, SwappedBackwardInputEpilogue{&dx, &mask, masked != 0});          \
    }

using Long = SwappedTile<208, 4>;
using Middle = SwappedTile<160, 5>;
using Short = SwappedTile<112, 6>;
static_assert(Long::SHARED == 225376 && Middle::SHARED == 225392 && Short::SHARED == 213120, "dynamic-shared, above");

CONV2D_FORWARD(Long, conv2d_forward_sm90_208x128)
CONV2D_FORWARD(Middle, conv2d_forward_sm90_160x128)
CONV2D_FORWARD(Short, conv2d_forward_sm90_112x128)
CONV2D_BACKWARD_INPUT(Long, conv2d_backward_input_sm90_208x128)
CONV2D_BACKWARD_INPUT(Middle, conv2d_backward_input_sm90_160x128)
CONV2D_BACKWARD_INPUT(Short, conv2d_backward_input_sm90_112x128)
