// conv2d_5_mma   fifth rung: bf16 on tensor cores; a warp multiplies, fragments come straight from memory
// targets: sm_80
// hot: conv2d_5_mma
//
// Formula as conv2d_1_naive; x, weight and y are bf16, bias and accumulators f32; channels and filters in whole eights.
// One instruction, mma.sync, is the work of a whole warp: 16 pixels x 8 filters, K = 16 channels, 2048
// multiply-adds. Each lane has a few numbers of each operand in its registers (PTX ISA, "Matrix fragments for
// mma.m16n8k16"): with group = lane / 4 and member = lane % 4
//
//   A      pixels group and group + 8, of both channels 2·member, + 1, and 8 further
//   B      filter group, the same channels
//   acc    pixels group and group + 8, of both filters 2·member, + 1
//
// A lane's four words of A; in each square are the lanes that hold its rows, a row four lanes:
//
//   channels           0 1   2 3   4 5   6 7     8 9  10 11  12 13  14 15
//   pixel 0             0     1     2     3       0     1      2      3
//   pixel 1             4     5     6     7       4     5      6      7
//     ...                     a[0]                        a[2]
//   pixel 7            28    29    30    31      28    29     30     31
//   pixels 8 to 15            a[1]                        a[3]
//
// Two neighbouring channels are one word of memory, so that a lane loads its fragments as they are. A warp has
// 32 pixels x 32 filters: 16 words a lane for 8 instructions. A block is four warps, one above the other. Grid
// (pixels/128, filters/32). No shared memory. Per step (16 channels) a warp reads 2 KiB for 33 kflop: 16 flops
// per byte.
//
// What to look at: of a sector of 32 bytes a request takes 16, and the next request the others. And nothing is
// multiplied while a warp waits for its loads.

#include "../window.cuh"
#include "pair.cuh"

constexpr int ROWS = 32, COLUMNS = 32, WARPS = 4, DEPTH = 16;

// Two neighbouring numbers, or zeros.
__device__ __forceinline__ unsigned load_pair(const unsigned short* from, const bool there)
{
    return there ? *reinterpret_cast<const unsigned*>(from) : 0;
}

extern "C" __global__ __launch_bounds__(32 * WARPS) void conv2d_5_mma(
    const Conv2d p, const unsigned relu,
    const unsigned short* RESTRICT x, const unsigned short* RESTRICT weight,
    const float* RESTRICT bias, unsigned short* RESTRICT y)
{
    const int h = p.h, w = p.w, c_in = p.c_in, c_out = p.c_out;
    const int pixels = p.n * h * w;
    const int group = threadIdx.x % 32 / 4, member = threadIdx.x % 4;
    const int first_pixel = (blockIdx.x * WARPS + threadIdx.x / 32) * ROWS, first_filter = blockIdx.y * COLUMNS;

    Window window[ROWS / 8];
    #pragma unroll
    for (int q = 0; q < ROWS / 8; ++q) window[q] = window_at(first_pixel + q * 8 + group, pixels, h, w);

    float acc[ROWS / 16][COLUMNS / 8][4] = {};
    for (int tap = 0; tap < 9; ++tap) {
        for (int first = 0; first < c_in; first += DEPTH) {
            // Of a last half step the upper eight channels are zeros.
            const int c = first + 2 * member;
            const bool whole = first + 8 < c_in;
            unsigned a[ROWS / 16][4], b[COLUMNS / 8][2];
            #pragma unroll
            for (int q = 0; q < ROWS / 8; ++q) {
                const bool inside = window[q].inside >> tap & 1;
                const unsigned short* from = x + ((window[q].pixel + shift(tap, w)) * c_in + c);
                a[q / 2][q % 2] = load_pair(from, inside);
                a[q / 2][q % 2 + 2] = load_pair(from + 8, inside && whole);
            }
            #pragma unroll
            for (int j = 0; j < COLUMNS / 8; ++j) {
                const int filter = first_filter + j * 8 + group;
                const unsigned short* from = weight + ((filter * 9 + tap) * c_in + c);
                b[j][0] = load_pair(from, filter < c_out);
                b[j][1] = load_pair(from + 8, filter < c_out && whole);
            }
            #pragma unroll
            for (int i = 0; i < ROWS / 16; ++i)
                #pragma unroll
                for (int j = 0; j < COLUMNS / 8; ++j) multiply<Bf16>(acc[i][j], a[i], b[j][0], b[j][1]);
        }
    }

    #pragma unroll
    for (int q = 0; q < ROWS / 8; ++q)
        #pragma unroll
        for (int j = 0; j < COLUMNS / 8; ++j)
            store_pair(p, relu, bias, y, first_pixel + q * 8 + group, first_filter + j * 8 + 2 * member,
                       acc[q / 2][j][q % 2 * 2], acc[q / 2][j][q % 2 * 2 + 1]);
}
