// conv2d_3_padded   third rung: the same tiles, read without bank conflicts and four words at a time
// targets: sm_75
//
// As conv2d_2_tiled, with two changes. A row of a tile is four words longer than it must be, so that
// eight neighbouring rows begin in eight different groups of four banks. And four channels are
// read by one 16-byte instruction, from shared memory always, from global memory where c_in % 4 == 0:
// a quarter of the load instructions for the same bytes.
//
// 2.5 KiB shared memory; grid (pixels/16, c_out/16), 16 x 16 threads, of which 4 x 16 load each tile.
//
// What to look at: two loads feed four multiply-adds. The arithmetic still waits for loads. Stores into the tiles still
// conflict, a ninth of all passes: eight lanes write two rows, whose banks overlap (docs/exercises.md mends it).

#include "../common.cuh"
#include "../params.cuh"
#include "../window.cuh"

constexpr int TILE = 16, STRIDE = TILE + 4;

extern "C" __global__ __launch_bounds__(TILE * TILE) void conv2d_3_padded(
    const Conv2d p, const unsigned relu,
    const float* RESTRICT x, const float* RESTRICT weight, const float* RESTRICT bias,
    float* RESTRICT y)
{
    __shared__ __align__(16) float pixels_tile[TILE][STRIDE];
    __shared__ __align__(16) float filters_tile[TILE][STRIDE];
    const int h = p.h, w = p.w, c_in = p.c_in, c_out = p.c_out;
    const int pixels = p.n * h * w;
    const int column = threadIdx.x, row = threadIdx.y;
    const int first_pixel = blockIdx.x * TILE, first_filter = blockIdx.y * TILE;
    const bool aligned = c_in % 4 == 0;

    // The first 64 threads load pixels, the next 64 filters: a row and a group of four channels each.
    const int thread = row * TILE + column;
    const int loads = thread % 64 / 4, group = thread % 4 * 4;
    const Window window = window_at(first_pixel + loads, pixels, h, w);
    const int filter_loaded = first_filter + loads;

    float sum = 0.0f;
    for (int tap = 0; tap < 9; ++tap) {
        for (int first = 0; first < c_in; first += TILE) {
            const int c = first + group;
            if (thread < 64) {
                const bool inside = window.inside >> tap & 1;
                const float* from = x + ((window.pixel + shift(tap, w)) * c_in + c);
                write4(&pixels_tile[loads][group], read4(from, inside ? c_in - c : 0, aligned), 4, true);
            } else if (thread < 128) {
                const float* from = weight + ((filter_loaded * 9 + tap) * c_in + c);
                const int left = filter_loaded < c_out ? c_in - c : 0;
                write4(&filters_tile[loads][group], read4(from, left, aligned), 4, true);
            }
            __syncthreads();
            #pragma unroll
            for (int k = 0; k < TILE; k += 4) {
                float a[4], b[4];
                unpack4(&pixels_tile[row][k], a);
                unpack4(&filters_tile[column][k], b);
                #pragma unroll
                for (int i = 0; i < 4; ++i) sum = fmaf(a[i], b[i], sum);
            }
            __syncthreads();
        }
    }
    const int pixel = first_pixel + row, filter = first_filter + column;
    if (pixel >= pixels || filter >= c_out) return;
    sum += bias[filter];
    y[pixel * c_out + filter] = relu && sum < 0.0f ? 0.0f : sum;
}
