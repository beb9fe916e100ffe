// conv2d_6_pipelined   sixth rung: asynchronous copies, into tiles without bank conflicts
// targets: sm_80
// hot: conv2d_6_pipelined
//
// As conv2d_5_mma, with the tiles of the earlier rungs again, filled and read otherwise:
//
//   cp.async    moves 16 bytes from global to shared memory past the registers; the thread goes on and waits
//               later. Three stages: while one is multiplied two are in flight.
//   ldmatrix    gives a warp whole fragments: each lane names a row of 16 bytes and gets the numbers that it needs
//               of others' rows.
//   swizzle     both move chunks of 16 bytes, eight lanes at a time. Rows of 128 bytes would put the chunks that
//               eight rows have at one depth into the same four banks; so chunk k of row r stands at place k xor
//               r % 8: those eight fill all banks once, and so do the eight chunks of a row.
//
//                 place (four banks)   0  1  2  3  4  5  6  7
//                 chunk of row 0       0  1  2  3  4  5  6  7
//                 chunk of row 1       1  0  3  2  5  4  7  6
//                 chunk of row 2       2  3  0  1  6  7  4  5
//                   ...
//                 chunk of row 7       7  6  5  4  3  2  1  0
//
// A block of 2 x 2 warps has 64 pixels x 64 filters, a warp 32 x 32 as before. Grid (pixels/64, filters/64).
// 48 KiB shared memory. Per step (64 channels) a block reads 16 KiB for 524 kflop: 32 flops per byte.
//
// What to look at: one barrier a step is left; it says both that the stage has arrived and that the one before
// is free. The engine's tiles (conv2d_mma.cuh) are larger.

#include "../window.cuh"
#include "pair.cuh"

constexpr int SIDE = 64, DEPTH = 64, STAGES = 3;
constexpr int ROW = DEPTH * 2, TILE = SIDE * ROW, STAGE = 2 * TILE;       // bytes
constexpr int THREADS = 128, CHUNKS = ROW / 16, APART = THREADS / CHUNKS, MINE = SIDE / APART;

// Where chunk `chunk` of row `row` stands in a tile.
__device__ __forceinline__ int swizzled(const int row, const int chunk) { return row * ROW + (chunk ^ row % 8) * 16; }

extern "C" __global__ __launch_bounds__(THREADS) void conv2d_6_pipelined(
    const Conv2d p, const unsigned relu,
    const unsigned short* RESTRICT x, const unsigned short* RESTRICT weight,
    const float* RESTRICT bias, unsigned short* RESTRICT y)
{
    __shared__ __align__(128) unsigned char stages[STAGES * STAGE];
    const int h = p.h, w = p.w, c_in = p.c_in, c_out = p.c_out;
    const int pixels = p.n * h * w;
    const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    const int first_pixel = blockIdx.x * SIDE, first_filter = blockIdx.y * SIDE;

    // A thread copies one chunk of every sixteenth row of either tile.
    const int chunk = thread % CHUNKS, loads = thread / CHUNKS;
    Window window[MINE];
    #pragma unroll
    for (int k = 0; k < MINE; ++k) window[k] = window_at(first_pixel + loads + k * APART, pixels, h, w);
    const int blocks = (c_in + DEPTH - 1) / DEPTH, steps = 9 * blocks;
    int tap = 0, c = chunk * 8;
    const auto load = [&](const unsigned stage) {
        #pragma unroll
        for (int k = 0; k < MINE; ++k) {
            const int row = loads + k * APART, filter = first_filter + row;
            copy16(stage + swizzled(row, chunk), x + ((window[k].pixel + shift(tap, w)) * c_in + c),
                   c < c_in && (window[k].inside >> tap & 1));
            copy16(stage + TILE + swizzled(row, chunk), weight + ((filter * 9 + tap) * c_in + c),
                   c < c_in && filter < c_out);
        }
        c += DEPTH;
        if (c - chunk * 8 >= c_in) {
            c = chunk * 8;
            ++tap;
        }
    };

    const unsigned shared = shared_address(stages);
    const int row = warp / 2 * 32, column = warp % 2 * 32;
    float acc[2][4][4] = {};
    #pragma unroll
    for (int stage = 0; stage < STAGES - 1; ++stage) {
        load(shared + stage * STAGE);                 // nine taps are more than two steps
        commit_copies();
    }
    unsigned reading = shared, writing = shared + (STAGES - 1) * STAGE;
    #pragma unroll 1
    for (int step = 0; step < steps; ++step) {
        // Groups are counted, so there is one per step even when nothing is left to load.
        wait_copies<STAGES - 2>();
        __syncthreads();
        if (step + STAGES - 1 < steps) load(writing);
        commit_copies();
        #pragma unroll
        for (int k = 0; k < DEPTH / 16; ++k) {
            unsigned a[2][4], b[2][4];
            #pragma unroll
            for (int i = 0; i < 2; ++i) {
                load_matrices(a[i], reading + swizzled(row + i * 16 + lane % 16, k * 2 + lane / 16));
                load_matrices(b[i], reading + TILE + swizzled(column + i * 16 + lane % 8 + lane / 16 * 8,
                                                              k * 2 + lane / 8 % 2));
            }
            #pragma unroll
            for (int i = 0; i < 2; ++i)
                #pragma unroll
                for (int j = 0; j < 4; ++j)
                    multiply<Bf16>(acc[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
        }
        reading = reading + STAGE == shared + STAGES * STAGE ? shared : reading + STAGE;
        writing = writing + STAGE == shared + STAGES * STAGE ? shared : writing + STAGE;
    }

    #pragma unroll
    for (int q = 0; q < 4; ++q)
        #pragma unroll
        for (int j = 0; j < 4; ++j)
            store_pair(p, relu, bias, y, first_pixel + row + q * 8 + lane / 4,
                       first_filter + column + j * 8 + lane % 4 * 2, acc[q / 2][j][q % 2 * 2],
                       acc[q / 2][j][q % 2 * 2 + 1]);
}
