// conv2d_w_winograd   beside the ladder: four multiply-adds where the formula has nine, by Winograd's F(2x2,3x3)
// targets: sm_75
// hot: conv2d_w_winograd
//
// Formula and layouts as conv2d_1_naive, computed another way. A tile d of 4x4 inputs and a filter g of 3x3 make 2x2
// outputs (winograd.cuh shows why, in one dimension; these are its matrices for the points 0, 1, -1 and infinity):
//
//   y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A
//
// with 16 products where the direct sum takes 36. The products of all channels are added before the way back, which is
// linear. So each of the 16 points is a matrix product of its own, tiles x channels times channels x filters, and is
// computed as in conv2d_4_blocked.
//
// A block of 256 threads has 16 tiles (64 pixels) x 32 filters. A step takes eight channels:
//
//   all                each transforms one channel of one filter: 9 numbers in, 16 points out
//   threads 0 to 127   each transforms one channel of one tile: 16 numbers in, 16 points out
//   all                16 threads to a point, each with 4 x 8 of its sums
//
// In the end sums go through shared memory once more, since an output needs all points of its tile. Rows are four words
// longer than they must be, as in conv2d_3_padded: the eight channels that neighbouring threads write begin in eight
// different banks. (The way back has conflicts. --stats shows twice the passes that its 16-byte stores need, and its
// reads, where half a warp's row begins four banks behind the other's; and 3.5 times at the first line of stores, where
// nvcc makes four of one of them, a word and eight passes each.)
//
// 36 KiB shared memory. Grid (tiles/16, c_out/32). Per step a block reads 17 KiB and does 131 kflop of products, for
// 295 kflop of the formula, and 15 kflop of transforms.
//
// What is left for the engine (conv2d_winograd.cu, conv2d_winograd_product.cu): here every block transforms its filters
// and tiles again, though others have the same; transforms are launches of their own there, and F(4x4) does a quarter
// of the multiply-adds instead of 4/9.

#include "../common.cuh"
#include "../params.cuh"

constexpr int POINTS = 16, TILES = 16, FILTERS = 32, DEPTH = 8, TILE_ROW = 20, FILTER_ROW = 36;

// Bᵀ d, of a row or a column.
__device__ __forceinline__ void transform_input(const float (&d)[4], float (&to)[4])
{
    to[0] = d[0] - d[2];
    to[1] = d[1] + d[2];
    to[2] = d[2] - d[1];
    to[3] = d[3] - d[1];
}

// G g.
__device__ __forceinline__ void transform_filter(const float (&g)[3], float (&to)[4])
{
    to[0] = g[0];
    to[1] = 0.5f * (g[0] + g[1] + g[2]);
    to[2] = 0.5f * (g[0] - g[1] + g[2]);
    to[3] = g[2];
}

// Aᵀ m.
__device__ __forceinline__ void transform_back(const float (&m)[4], float (&to)[2])
{
    to[0] = m[0] + m[1] + m[2];
    to[1] = m[1] - m[2] + m[3];
}

extern "C" __global__ __launch_bounds__(256) void conv2d_w_winograd(
    const Conv2d p, const unsigned relu,
    const float* RESTRICT x, const float* RESTRICT weight, const float* RESTRICT bias,
    float* RESTRICT y)
{
    // Points of tiles, [point][channel][tile], and of filters; in the end the sums, [point][tile][filter].
    __shared__ __align__(16) float memory[POINTS * TILES * FILTER_ROW];
    float* const tile_points = memory;
    float* const filter_points = memory + POINTS * DEPTH * TILE_ROW;

    const int h = p.h, w = p.w, c_in = p.c_in, c_out = p.c_out;
    const int high = (h + 1) / 2, wide = (w + 1) / 2, tiles = p.n * high * wide;
    const int thread = threadIdx.x;
    const int first_tile = blockIdx.x * TILES, first_filter = blockIdx.y * FILTERS;

    // What the thread transforms: neighbours have neighbouring channels, which are one sector of memory.
    const bool has_tile = thread < TILES * DEPTH;
    const int channel = thread % DEPTH, mine = thread / DEPTH;
    const int tile = first_tile + mine, filter = first_filter + mine;
    // Its window begins a pixel up and left of its outputs. Bit 4a + b: number (a, b) of it lies in the map.
    const int i = tile / wide % high * 2 - 1, j = tile % wide * 2 - 1;
    unsigned inside = 0;
    #pragma unroll
    for (int k = 0; k < 16; ++k)
        if (unsigned(i + k / 4) < unsigned(h) && unsigned(j + k % 4) < unsigned(w)) inside |= 1u << k;
    if (tile >= tiles) inside = 0;
    const int corner = ((tile / wide / high * h + i) * w + j) * c_in;

    const int point = thread / 16, row = thread % 16 / 4 * 4, column = thread % 4 * 8;
    float sums[4][8];
    #pragma unroll
    for (int r = 0; r < 4; ++r)
        #pragma unroll
        for (int q = 0; q < 8; ++q) sums[r][q] = 0.0f;

    for (int first = 0; first < c_in; first += DEPTH) {
        const int c = first + channel;
        if (has_tile) {
            const unsigned there = c < c_in ? inside : 0;
            float half[4][4];
            #pragma unroll
            for (int b = 0; b < 4; ++b) {
                float d[4], to[4];
                #pragma unroll
                for (int a = 0; a < 4; ++a)
                    d[a] = there >> (4 * a + b) & 1 ? x[corner + (a * w + b) * c_in + c] : 0.0f;
                transform_input(d, to);
                #pragma unroll
                for (int a = 0; a < 4; ++a) half[a][b] = to[a];
            }
            #pragma unroll
            for (int a = 0; a < 4; ++a) {
                float to[4];
                transform_input(half[a], to);
                #pragma unroll
                for (int b = 0; b < 4; ++b) tile_points[((4 * a + b) * DEPTH + channel) * TILE_ROW + mine] = to[b];
            }
        }
        {
            const bool there = filter < c_out && c < c_in;
            float half[4][3];
            #pragma unroll
            for (int b = 0; b < 3; ++b) {
                float g[3], to[4];
                #pragma unroll
                for (int a = 0; a < 3; ++a)
                    g[a] = there ? weight[(filter * 9 + 3 * a + b) * c_in + c] : 0.0f;
                transform_filter(g, to);
                #pragma unroll
                for (int a = 0; a < 4; ++a) half[a][b] = to[a];
            }
            #pragma unroll
            for (int a = 0; a < 4; ++a) {
                float to[4];
                transform_filter(half[a], to);
                #pragma unroll
                for (int b = 0; b < 4; ++b) filter_points[((4 * a + b) * DEPTH + channel) * FILTER_ROW + mine] = to[b];
            }
        }
        __syncthreads();
        #pragma unroll
        for (int k = 0; k < DEPTH; ++k) {
            float m[4], g[8];
            unpack4(tile_points + (point * DEPTH + k) * TILE_ROW + row, m);
            unpack4(filter_points + (point * DEPTH + k) * FILTER_ROW + column, g);
            unpack4(filter_points + (point * DEPTH + k) * FILTER_ROW + column + 4, g + 4);
            #pragma unroll
            for (int r = 0; r < 4; ++r)
                #pragma unroll
                for (int q = 0; q < 8; ++q) sums[r][q] = fmaf(m[r], g[q], sums[r][q]);
        }
        __syncthreads();
    }

    #pragma unroll
    for (int r = 0; r < 4; ++r) {
        float* const to = memory + (point * TILES + row + r) * FILTER_ROW + column;
        *reinterpret_cast<float4*>(to) = pack4(sums[r]);
        *reinterpret_cast<float4*>(to + 4) = pack4(sums[r] + 4);
    }
    __syncthreads();

    // Now a thread has one tile, and two filters one after the other.
    const int ours = thread / 16, out_tile = first_tile + ours;
    const int map = out_tile / wide / high, up = out_tile / wide % high * 2, left = out_tile % wide * 2;
    for (int k = thread % 16; k < FILTERS; k += 16) {
        const int out = first_filter + k;
        if (out_tile >= tiles || out >= c_out) return;
        float half[2][4];
        #pragma unroll
        for (int b = 0; b < 4; ++b) {
            float m[4], to[2];
            #pragma unroll
            for (int a = 0; a < 4; ++a) m[a] = memory[((4 * a + b) * TILES + ours) * FILTER_ROW + k];
            transform_back(m, to);
            half[0][b] = to[0];
            half[1][b] = to[1];
        }
        #pragma unroll
        for (int a = 0; a < 2; ++a) {
            float to[2];
            transform_back(half[a], to);
            #pragma unroll
            for (int b = 0; b < 2; ++b) {
                const float v = to[b] + bias[out];
                if (up + a < h && left + b < w)
                    y[((map * h + up + a) * w + left + b) * c_out + out] = relu ? rectify(v) : v;
            }
        }
    }
}
