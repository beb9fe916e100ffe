// conv2d_sm90_split   the convolutions of bf16 on Hopper (compute capability 9.0) for few tiles with a long K
// targets: sm_90a
// hot: conv2d_forward_sm90_128x256_split conv2d_backward_input_sm90_128x256_split
// dynamic-shared: conv2d_forward_sm90_128x256_split 229440
// dynamic-shared: conv2d_backward_input_sm90_128x256_split 229440
//
//   conv2d_forward            y  = f(bias + Σ x·weight)
//   conv2d_backward_input     dx = Σ dy·weight, filter rotated, where mask > 0
//   parts   (tiles, 4, 4, 8, 256, 4)   scratch: what block `from` of a tile's cluster leaves for block `to`
//
// Formats and shapes are those of conv2d_sm90.cu; filters (backward: channels) are multiples of 256. The grid is of
// clusters of four blocks.
//
// Why: 20 maps of 9x9 with 512 filters have 1620 pixels. Tiles of 128x64 make 104, each of 72 steps, and a step of such
// a tile loads 24 KiB for a quarter of the arithmetic that 48 KiB serve in a tile of 128x256, of which there are 26. So
// the four blocks of a cluster share a tile (split-K): each computes the whole tile over a quarter of K and leaves the
// accumulators in `parts`, a quarter of the columns for each block (itself included: registers are short). After a
// cluster barrier it adds what is left for it in the order of K, so the bits are the same every time (but not those of
// one long sum). A part is laid out as threads hold it, 16 bytes of each side by side, and stays in L2.

#include "conv2d_sm90_entries.cuh"

constexpr int SHARERS = 4;

// Steps `begin` to `end` of one tile.
template <class Tile, bool BACKWARD>
__device__ __forceinline__ void produce_share(
    const Conv2d& p, const unsigned shared, const TensorMap* source, const TensorMap* weight, const TileGrid grid,
    const int tile, const int begin, const int end, Ring<Tile::STAGES>& ring)
{
    const int channels = BACKWARD ? p.c_out : p.c_in, columns = BACKWARD ? p.c_in : p.c_out;
    const int first = tile % grid.across * Tile::BN, chunks = channels / Tile::DEPTH;
    const Corner corner = corner_of(p, tile / grid.across * Tile::BM);
    int tap = begin / chunks, c = begin % chunks * Tile::DEPTH;
    for (int step = begin; step < end; ++step) {
        const int source_tap = BACKWARD ? 8 - tap : tap;
        produce_step<Tile, BACKWARD>(
            shared, ring, source, weight, channels, columns, corner, first, tap, source_tap, c, 0);
        c += Tile::DEPTH;
        if (c == channels) {
            c = 0;
            ++tap;
        }
    }
}

// The thread's share of what block `from` leaves for block `to`: eight times 16 bytes, 4 KiB apart.
__device__ __forceinline__ float4* part_of(float* RESTRICT parts, const int tile, const int from, const int to)
{
    return reinterpret_cast<float4*>(parts) + (((tile * SHARERS + from) * SHARERS + to) * 8 * 256 + int(threadIdx.x));
}

template <class Tile, class Epilogue>
__device__ __forceinline__ void convolve_share(
    const Conv2d& p, const TensorMap* source, const TensorMap* weight, const Epilogue& epilogue, float* parts)
{
    static_assert(Tile::M_TILES == 1 && Tile::BN == SHARERS * 64, "a quarter of the columns is a box");
    const unsigned shared = shared_address(dynamic);
    const int warpgroup = threadIdx.x / 128, rank = rank_in_cluster();
    make_ring<Tile::STAGES>(shared + Tile::BARRIERS, source, weight);
    const int channels = Epilogue::BACKWARD ? p.c_out : p.c_in;
    const TileGrid grid = grid_of<Tile, Epilogue::BACKWARD>(p);
    const int steps = 9 * channels / Tile::DEPTH;
    const int begin = steps * rank / SHARERS, end = steps * (rank + 1) / SHARERS;
    const int clusters = gridDim.x / SHARERS;
    Ring<Tile::STAGES> ring;
    if (warpgroup == 2) {
        dealloc_registers<40>();
        for (int tile = blockIdx.x / SHARERS; tile < grid.tiles; tile += clusters) {
            if (threadIdx.x == PRODUCER)
                produce_share<Tile, Epilogue::BACKWARD>(p, shared, source, weight, grid, tile, begin, end, ring);
            cluster_sync();
        }
        return;
    }
    alloc_registers<232>();
    const int warp = threadIdx.x / 32;
    const unsigned boxes = shared + Tile::RESULTS + warp * Tile::BUFFERS * BOX_16;
    // Zeros that nobody reads, as in `convolve`.
    float acc[1][Tile::ACC] = {};
    int turn = 0;
    for (int tile = blockIdx.x / SHARERS; tile < grid.tiles; tile += clusters) {
        consume<Tile, Epilogue::BACKWARD>(shared, end - begin, warpgroup, ring, acc);
        #pragma unroll
        for (int to = 0; to < SHARERS; ++to) {
            float4* part = part_of(parts, tile, rank, to);
            #pragma unroll
            for (int i = 0; i < 8; ++i) part[i * 256] = pack4(&acc[0][to * 32 + i * 4]);
        }
        cluster_sync();
        // Two parts are loaded at a time: all four would take every register.
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
        const int row = tile / grid.across * Tile::BM + warpgroup * 64 + warp % 4 * 16;
        const int column = tile % grid.across * Tile::BN + rank * 64;
        run_epilogue<Tile>(epilogue, p, boxes, turn++, row, column, total);
    }
    // Shared memory must stay until TMA has read it.
    if constexpr (!Epilogue::BACKWARD) {
        if (threadIdx.x % 32 == 0) wait_stores<0>();
    }
}

using Wide = Tile<128, 256, 4, 1>;
static_assert(Wide::SHARED == 229440, "dynamic-shared, above");

SM90(Wide, conv2d_forward_sm90_128x256_split, __cluster_dims__(SHARERS, 1, 1))(
    const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap weight, const __grid_constant__ TensorMap y,
    const __grid_constant__ Conv2d p, const unsigned relu, const float* RESTRICT bias, float* RESTRICT parts)
{
    convolve_share<Wide>(p, &x, &weight, ForwardEpilogue{&y, bias, relu != 0}, parts);
}

SM90(Wide, conv2d_backward_input_sm90_128x256_split, __cluster_dims__(SHARERS, 1, 1))(
    const __grid_constant__ TensorMap dy, const __grid_constant__ TensorMap weight, const __grid_constant__ Conv2d p,
    const unsigned short* RESTRICT mask, unsigned short* RESTRICT dx, float* RESTRICT parts)
{
    convolve_share<Wide>(p, &dy, &weight, BackwardInputEpilogue{mask, dx}, parts);
}
