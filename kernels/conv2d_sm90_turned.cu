// conv2d_sm90_turned   the convolutions of bf16 on Hopper (compute capability 9.0) by tiles of any number of pixels
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
//   conv2d_backward_input     dx = Σ dy·weight, window turned, where mask > 0 if `masked`
//
// Formats and shapes are those of conv2d_sm90.cu, and so are the bits; filters (backwards: channels) are multiples of 256.
// All but p and bias come as tensor maps. Names say pixels x filters of a block's tile; blocks come in pairs.
//
// Why: tiles of 128 pixels and 256 filters make 102 of a map of 18x18 with 512 filters, 20 pictures, and 214 of 37x37
// with 256; 132 multiprocessors take as long for them as for 132 and 264. Tiles of 208 pixels and 128 filters are 128 and
// 264, and each has a fifth less to do. `wgmma` has 64 rows, but any multiple of eight for columns: so the product of
// conv2d_sm90.cuh is turned, rows are filters and columns pixels. Each consumer has half of the filters.
//
// And blocks come in clusters of two, with the same pixels and neighbouring filters: each brings half of the pixels to both
// (multicast), so a block's step is 29 KiB from the second cache for 42 (of 208 pixels). On an H200 the tiles of conv2d_sm90.cu
// took from it at 9 to 10 TB/s, no less than TMA alone. A stage is free when the consumers of both blocks have read it.
//
// Results lie in fragments with pixels along a row; stmatrix.trans turns them. A consumer has room for all of its own, so
// it goes on at once with the next tile; a warp of the third warpgroup has TMA store them. Backwards the same warp has
// TMA bring the mask to that room before: each thread finds what belongs to its sums where it will put them. Two mbarriers
// go with the room: `given`, when it is free and the mask is there, and `ready`, an arrival of each warp.

#include "conv2d_sm90.cuh"

template <int BM_, int STAGES_>
struct Turned {
    using T = Bf16;
    static constexpr int DEPTH = 128 / T::BYTES;
    static constexpr int BM = BM_, BN = 128, STAGES = STAGES_, BLOCKS = 1;
    static constexpr bool TURNED = true;
    static constexpr int PRODUCTS = 1, SUMS = BM / 2;
    static constexpr int STAGE_A = BM * 128, STAGE_B = BN * 128, STAGE = STAGE_A + STAGE_B;
    static constexpr int THREADS = 384;
    // Of each consumer BM pixels, 64 filters.
    static constexpr int RESULTS = STAGES * STAGE, ROOM = BM * 128, BARRIERS = RESULTS + 2 * ROOM;
    static constexpr int ROOMS = BARRIERS + 16 * STAGES;
    // Of dynamic shared memory; src/device/gpu/lower/sm90/tile.rs has the same.
    static constexpr int SHARED = ROOMS + 2 * 16;
    static_assert(BM % 16 == 0 && STAGE % 1024 == 0 && ROOM % 1024 == 0 && SHARED <= 232448, "a tile");
};

// What becomes of the sums.
struct TurnedForward {
    static constexpr bool BACKWARD = false;
    const TensorMap* to;                             // y, boxes of BM pixels, 64 filters
    const float* bias;
    bool relu;
};

struct TurnedBackwardInput {
    static constexpr bool BACKWARD = true;
    const TensorMap* to;                             // dx, the same boxes
    const TensorMap* mask;
    bool masked;
};

// One thread for each consumer: gives it room, with the mask in it, and has stored what it puts there.
template <class Tile, class End>
__device__ __forceinline__ void give_and_store(
    const unsigned shared, const End& end, const int tiles, const int across, const int consumer)
{
    const unsigned given = shared + Tile::ROOMS + consumer * 16, ready = given + 8;
    const unsigned room = shared + Tile::RESULTS + consumer * Tile::ROOM;
    int parity = 0;
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const int row = tile / across * Tile::BM, column = tile % across * Tile::BN + consumer * 64;
        bool brings = false;
        if constexpr (End::BACKWARD) brings = end.masked;
        if (brings) {
            expect(given, Tile::ROOM);
            if constexpr (End::BACKWARD) load_box(room, end.mask, given, column, row);
        } else {
            arrive(given);
        }
        wait(ready, parity);
        parity ^= 1;
        store_box(end.to, room, column, row);
        // Nobody may write there, TMA neither, before all has been read.
        wait_stores<0>();
    }
}

// Puts a warp's 16 filters of all pixels into its consumer's room, `chunk` and the next one of each row.
template <class Tile, class End>
__device__ __forceinline__ void put_turned(
    const unsigned room, const int chunk, const End& end, const int filter, const float (&sums)[Tile::SUMS])
{
    const int lane = threadIdx.x % 32;
    float low = 0.0f, high = 0.0f;
    if constexpr (!End::BACKWARD) {
        low = end.bias[filter + lane / 4];
        high = end.bias[filter + 8 + lane / 4];
    }
    // Lanes name rows of the four matrices: 8 pixels of both chunks, and the next 8.
    const unsigned at = room + in_box(lane / 16 * 8 + lane % 8, chunk + lane / 8 % 2);
    #pragma unroll
    for (int j = 0; j < Tile::BM / 16; ++j) {
        unsigned words[4], open[4];
        if constexpr (End::BACKWARD) {
            if (end.masked) load_matrices_turned(open, at + j * 2048);
        }
        #pragma unroll
        for (int q = 0; q < 4; ++q) {
            const float bias = q % 2 ? high : low;
            float one = sums[j * 8 + q * 2] + bias, two = sums[j * 8 + q * 2 + 1] + bias;
            if constexpr (!End::BACKWARD) {
                if (end.relu) {
                    one = rectify_sum(one);
                    two = rectify_sum(two);
                }
            }
            words[q] = pack_bf16(one, two);
            if constexpr (End::BACKWARD) {
                if (end.masked) words[q] = open_pair(words[q], open[q]);
            }
        }
        store_matrices_turned(at + j * 2048, words);
    }
}

// As `produce` of conv2d_sm90.cuh, but for the pixels: of a step each block of the pair brings half, to both.
template <class Tile, bool BACKWARD>
__device__ __forceinline__ void produce_for_both(
    const Conv2d& p, const unsigned shared, const TensorMap* source, const TensorMap* weight, const int tiles,
    const int across)
{
    constexpr int HALF = Tile::BM / 2;
    const int channels = BACKWARD ? p.c_out : p.c_in, columns = BACKWARD ? p.c_in : p.c_out, rank = rank_in_cluster();
    const unsigned barriers = shared + Tile::BARRIERS;
    Ring<Tile::STAGES> ring;
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const int first = tile % across * Tile::BN;
        const Corner corner = corner_of(p, tile / across * Tile::BM + rank * HALF);
        for (int tap = 0; tap < 9; ++tap) {
            const int seen = BACKWARD ? 8 - tap : tap;
            for (int c = 0; c < channels; c += Tile::DEPTH) {
                const unsigned arrived = full(barriers, ring.stage), a = shared + ring.stage * Tile::STAGE;
                wait(empty(barriers, ring.stage), ring.parity ^ 1);
                expect(arrived, Tile::STAGE);
                load_pixels_in(3, a + rank * HALF * 128, source, arrived, c, corner.w, corner.h, corner.n, seen / 3,
                               seen % 3);
                if constexpr (BACKWARD) {
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

template <class Tile, class End>
__device__ __forceinline__ void consume_and_put(
    const Conv2d& p, const unsigned shared, const End& end, const int tiles, const int across, const int consumer)
{
    const int warp = threadIdx.x / 32 % 4, steps = 9 * int(End::BACKWARD ? p.c_out : p.c_in) / Tile::DEPTH;
    const unsigned given = shared + Tile::ROOMS + consumer * 16, ready = given + 8;
    const unsigned room = shared + Tile::RESULTS + consumer * Tile::ROOM;
    Ring<Tile::STAGES> ring;
    int parity = 0;
    // Zeros that nobody reads, as in `convolve`.
    float sums[1][Tile::SUMS] = {};
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        consume<Tile, End::BACKWARD>(shared, steps, consumer, ring, sums);
        wait(given, parity);
        parity ^= 1;
        const int filter = tile % across * Tile::BN + consumer * 64 + warp * 16;
        put_turned<Tile>(room, warp * 2, end, filter, sums[0]);
        show_to_tma();
        __syncwarp();
        if (threadIdx.x % 32 == 0) arrive(ready);
    }
}

template <class Tile, class End>
__device__ __forceinline__ void convolve_turned(
    const Conv2d& p, const TensorMap* source, const TensorMap* weight, const End& end)
{
    const unsigned shared = shared_address(dynamic);
    const int warpgroup = threadIdx.x / 128;
    if (threadIdx.x == 0) {
        #pragma unroll
        for (int consumer = 0; consumer < 2; ++consumer) {
            init_barrier(shared + Tile::ROOMS + consumer * 16, 1);
            init_barrier(shared + Tile::ROOMS + consumer * 16 + 8, 4);
        }
    }
    make_ring<Tile::STAGES>(shared + Tile::BARRIERS, source, weight, 4);
    // Nobody arrives in the other block before that has made its barriers.
    meet_cluster();
    // Both blocks of a pair have as many tiles: filters are fastest, and a map has an even number of tiles.
    const int across = int(End::BACKWARD ? p.c_in : p.c_out) / Tile::BN;
    const int tiles = (p.n * p.h * p.w + Tile::BM - 1) / Tile::BM * across;
    if (warpgroup == 2) {
        give_registers<40>();
        if (threadIdx.x == 256) produce_for_both<Tile, End::BACKWARD>(p, shared, source, weight, tiles, across);
        if (threadIdx.x == 288 || threadIdx.x == 320)
            give_and_store<Tile>(shared, end, tiles, across, int(threadIdx.x) / 32 - 9);
    } else {
        take_registers<232>();
        consume_and_put<Tile>(p, shared, end, tiles, across, warpgroup);
    }
    // Nor does a block end that the other still copies to or arrives in.
    meet_cluster();
}

#define SM90(TILE, name)                                                                                         \
    extern "C" __global__ __launch_bounds__((TILE::THREADS), (TILE::BLOCKS)) __cluster_dims__(2, 1, 1) void name

#define CONV2D_FORWARD(TILE, name)                                                                               \
    SM90(TILE, name)(                                                                                            \
        const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap weight,                           \
        const __grid_constant__ TensorMap y, const __grid_constant__ Conv2d p, const unsigned relu,              \
        const float* __restrict__ bias)                                                                          \
    {                                                                                                            \
        convolve_turned<TILE>(p, &x, &weight, TurnedForward{&y, bias, relu != 0});                               \
    }

#define CONV2D_BACKWARD_INPUT(TILE, name)                                                                        \
    SM90(TILE, name)(                                                                                            \
        const __grid_constant__ TensorMap dy, const __grid_constant__ TensorMap weight,                          \
        const __grid_constant__ TensorMap mask, const __grid_constant__ TensorMap dx,                            \
        const __grid_constant__ Conv2d p, const unsigned masked)                                                 \
    {                                                                                                            \
        convolve_turned<TILE>(p, &dy, &weight, TurnedBackwardInput{&dx, &mask, masked != 0});                    \
    }

using Long = Turned<208, 4>;
using Middle = Turned<160, 5>;
using Short = Turned<112, 6>;

CONV2D_FORWARD(Long, conv2d_forward_sm90_208x128)
CONV2D_FORWARD(Middle, conv2d_forward_sm90_160x128)
CONV2D_FORWARD(Short, conv2d_forward_sm90_112x128)
CONV2D_BACKWARD_INPUT(Long, conv2d_backward_input_sm90_208x128)
CONV2D_BACKWARD_INPUT(Middle, conv2d_backward_input_sm90_160x128)
CONV2D_BACKWARD_INPUT(Short, conv2d_backward_input_sm90_112x128)
