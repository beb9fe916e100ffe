// conv2d_sm90_split   the convolutions of bf16 on Hopper (compute capability 9.0) whose tiles are few and deep
// targets: sm_90a
// hot: conv2d_forward_sm90_128x256_split conv2d_backward_input_sm90_128x256_split
// dynamic-shared: conv2d_forward_sm90_128x256_split 229440
// dynamic-shared: conv2d_backward_input_sm90_128x256_split 229440
//
//   conv2d_forward            y  = f(bias + Σ x·weight)
//   conv2d_backward_input     dx = Σ dy·weight, window turned, where mask > 0
//   parts   (tiles, 4, 4, 8, 256, 4)   scratch: of each tile what block `from` leaves for block `to`, 128x64 sums
//
// Formats and shapes are those of conv2d_sm90.cu; filters (backwards: channels) are multiples of 256. Grid of clusters of four.
//
// Why: 20 maps of 9x9 with 512 filters are 1620 rows. Of 128x64 those make 104 tiles, each 72 steps deep, and a step of such a
// tile brings 24 KiB for a quarter of the products that 48 KiB serve in a tile of 128x256, of which there are 26. So the four
// blocks of a cluster have one tile, and each a quarter of its depth. Then each has sums of the whole tile, of a quarter of the
// depth: it leaves them in `parts`, a quarter of the columns for each block (its own, too: registers are short), and when all
// have met it adds what is left for it, in the order of the depth, so the bits are the same every time (but not those of one
// long sum). A part lies as the threads have it, 16 bytes of each side by side; it goes no further than the second cache.

#include "conv2d_sm90.cuh"

constexpr int SHARERS = 4;

// As `produce` of conv2d_sm90.cuh, but for a share of the steps: from `begin` to `end` of each tile.
template <class Tile, bool BACKWARD>
__device__ __forceinline__ void produce_share(
    const Conv2d& p, const unsigned shared, const TensorMap* source, const TensorMap* weight, const int tile, const int across,
    const int begin, const int end, Ring<Tile::STAGES>& ring)
{
    const int channels = BACKWARD ? p.c_out : p.c_in, columns = BACKWARD ? p.c_in : p.c_out;
    const unsigned barriers = shared + Tile::BARRIERS;
    const int first = tile % across * Tile::BN, chunks = channels / Tile::DEPTH;
    const Corner corner = corner_of(p, tile / across * Tile::BM);
    int tap = begin / chunks, c = begin % chunks * Tile::DEPTH;
    for (int step = begin; step < end; ++step) {
        const int seen = BACKWARD ? 8 - tap : tap;
        const unsigned arrived = full(barriers, ring.stage), a = shared + ring.stage * Tile::STAGE;
        wait(empty(barriers, ring.stage), ring.parity ^ 1);
        expect(arrived, Tile::STAGE);
        load_pixels(a, source, arrived, c, corner.w, corner.h, corner.n, seen / 3, seen % 3);
        if constexpr (BACKWARD) {
            #pragma unroll
            for (int k = 0; k < Tile::BN / 64; ++k)
                load_box(a + Tile::STAGE_A + k * 8192, weight, arrived, tap * columns + first + k * 64, c);
        } else {
            load_box(a + Tile::STAGE_A, weight, arrived, tap * channels + c, first);
        }
        ring.forward();
        c += Tile::DEPTH;
        if (c == channels) {
            c = 0;
            ++tap;
        }
    }
}

// Where the thread's part lies that block `from` leaves for block `to`: eight times 16 bytes, 4 KiB apart.
__device__ __forceinline__ float4* part_of(float* __restrict__ parts, const int tile, const int from, const int to)
{
    return reinterpret_cast<float4*>(parts) + (((tile * SHARERS + from) * SHARERS + to) * 8 * 256 + int(threadIdx.x));
}

template <class Tile, class End>
__device__ __forceinline__ void convolve_share(
    const Conv2d& p, const TensorMap* source, const TensorMap* weight, const End& end, float* parts)
{
    static_assert(Tile::PRODUCTS == 1 && Tile::BN == SHARERS * 64, "a quarter of the columns is a box");
    const unsigned shared = shared_address(dynamic);
    const int warpgroup = threadIdx.x / 128, rank = rank_in_cluster();
    make_ring<Tile::STAGES>(shared + Tile::BARRIERS, source, weight);
    const int channels = End::BACKWARD ? p.c_out : p.c_in, columns = End::BACKWARD ? p.c_in : p.c_out;
    const int across = columns / Tile::BN, tiles = (p.n * p.h * p.w + Tile::BM - 1) / Tile::BM * across;
    const int steps = 9 * channels / Tile::DEPTH, begin = steps * rank / SHARERS, after = steps * (rank + 1) / SHARERS;
    const int clusters = gridDim.x / SHARERS;
    Ring<Tile::STAGES> ring;
    if (warpgroup == 2) {
        give_registers<40>();
        for (int tile = blockIdx.x / SHARERS; tile < tiles; tile += clusters) {
            if (threadIdx.x == 256)
                produce_share<Tile, End::BACKWARD>(p, shared, source, weight, tile, across, begin, after, ring);
            show_to_cluster();
        }
        return;
    }
    take_registers<232>();
    const int warp = threadIdx.x / 32;
    const unsigned boxes = shared + Tile::RESULTS + warp * Tile::BUFFERS * 2048;
    // Zeros that nobody reads, as in `convolve`.
    float sums[1][Tile::SUMS] = {};
    int turn = 0;
    for (int tile = blockIdx.x / SHARERS; tile < tiles; tile += clusters) {
        consume<Tile, End::BACKWARD>(shared, after - begin, warpgroup, ring, sums);
        #pragma unroll
        for (int to = 0; to < SHARERS; ++to) {
            float4* part = part_of(parts, tile, rank, to);
            #pragma unroll
            for (int i = 0; i < 8; ++i) part[i * 256] = pack4(&sums[0][to * 32 + i * 4]);
        }
        show_to_cluster();
        // Two parts at a time are asked for: with all four there are registers for nothing else.
        float total[32] = {};
        #pragma unroll(2)
        for (int from = 0; from < SHARERS; ++from) {
            const float4* part = part_of(parts, tile, from, rank);
            #pragma unroll
            for (int i = 0; i < 8; ++i) {
                float more[4];
                unpack4(&part[i * 256].x, more);
                #pragma unroll
                for (int k = 0; k < 4; ++k) total[i * 4 + k] += more[k];
            }
        }
        const int row = tile / across * Tile::BM + warpgroup * 64 + warp % 4 * 16;
        const int column = tile % across * Tile::BN + rank * 64;
        finish<Tile>(end, p, boxes, turn++, row, column, total);
    }
    // Shared memory may not go before TMA has read it.
    if constexpr (!End::BACKWARD) {
        if (threadIdx.x % 32 == 0) wait_stores<0>();
    }
}

#define SM90(TILE, name)                                                                                         \
    extern "C" __global__ __launch_bounds__((TILE::THREADS), (TILE::BLOCKS)) __cluster_dims__(4, 1, 1) void name

using Wide = Tile<128, 256, 4, 1>;

SM90(Wide, conv2d_forward_sm90_128x256_split)(
    const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap weight, const __grid_constant__ TensorMap y,
    const __grid_constant__ Conv2d p, const unsigned relu, const float* __restrict__ bias, float* __restrict__ parts)
{
    convolve_share<Wide>(p, &x, &weight, Forward{&y, bias, relu != 0}, parts);
}

SM90(Wide, conv2d_backward_input_sm90_128x256_split)(
    const __grid_constant__ TensorMap dy, const __grid_constant__ TensorMap weight, const __grid_constant__ Conv2d p,
    const unsigned short* __restrict__ mask, unsigned short* __restrict__ dx, float* __restrict__ parts)
{
    convolve_share<Wide>(p, &dy, &weight, BackwardInput{mask, dx}, parts);
}
