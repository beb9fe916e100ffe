// conv2d_winograd   a convolution by Winograd's minimal filtering (winograd.cuh): into points and back
// targets: sm_75
//
// F(MxM,3x3) takes tiles of M x M outputs and A x A inputs, A = M + 2. Each of the A² points of a tile, summed over
// channels, is a product of matrices of its own:
//
//   input      v[p,t,c] = Bᵀ d B     of the tile's pixels, zero outside the map
//   weight     u[p,o,c] = G g Gᵀ     of the filter's taps
//   forward    m[p,t,o] = Σ_c v[p,t,c] · u[p,o,c]                        conv2d_winograd_product.cu
//   output     y        = Aᵀ m A     with bias and ReLU, with a mask, or as the maxima of a 2x2 pool
//
// backward_input is the same of dy and of filters rotated by 180 degrees. backward_weight is the transpose of each
// step: gradient g[p,t,o] = A dy Aᵀ, then s[p,o,c] = Σ_t g[p,t,o] · v[p,t,c], then dweight = Gᵀ s G.
//
//   map       (n, h, w, c)
//   points    (A², count, c)          of a map: its tiles first..first + count, row by row through all images
//   points    (A², c_out, c_in)       of weights (c_out, 3, 3, c_in)
//
// c, c_in, c_out are multiples of 4. A thread takes one channel of a tile or of a filter, so that neighbours are
// side by side in memory; its 9 to 36 loads do not wait for each other. Blocks of 256, no shared memory.
//
// Bandwidth bounds all of these. F(4x4) has 36 points for 16 pixels: 9 bytes for each number of a map, written once and
// read once. So a pixel costs 18·(c_in + c_out) bytes more than directly, and 4.5·c_in·c_out flops instead of 18.

#include "params.cuh"
#include "pool.cuh"
#include "winograd.cuh"

// A tile of a map, for one channel.
struct WinogradTile {
    int at;                                          // where its first output is in the map
    int i, j;                                        // that pixel's row and column
};

// Tile `t` of all images, in tiles of M x M.
template <int M>
__device__ __forceinline__ WinogradTile tile_at(const Tiles& p, const int t, const int channel)
{
    const int high = p.high, wide = p.wide;
    const int line = t / wide;                                         // image·high + row of tiles
    const int i = line % high * M, j = t % wide * M;
    return {((line / high * int(p.h) + i) * int(p.w) + j) * int(p.c) + channel, i, j};
}

// y = L x Lᵀ, where MULTIPLY(v) is L v: along every row, then along every column.
template <auto MULTIPLY, int FROM, int TO>
__device__ __forceinline__ void both_sides(const float (&x)[FROM][FROM], float (&y)[TO][TO])
{
    float half[FROM][TO];
    #pragma unroll
    for (int a = 0; a < FROM; ++a) MULTIPLY(x[a], half[a]);
    #pragma unroll
    for (int b = 0; b < TO; ++b) {
        float column[FROM], to[TO];
        #pragma unroll
        for (int a = 0; a < FROM; ++a) column[a] = half[a][b];
        MULTIPLY(column, to);
        #pragma unroll
        for (int a = 0; a < TO; ++a) y[a][b] = to[a];
    }
}

// N x N pixels, the first of them `from` rows and columns before the tile's first output; zero outside the map.
template <int N>
__device__ __forceinline__ void read_tile(
    const Tiles& p, const WinogradTile tile, const int from, const float* RESTRICT map, float (&x)[N][N])
{
    const int h = p.h, w = p.w, c = p.c;
    #pragma unroll
    for (int a = 0; a < N; ++a)
        #pragma unroll
        for (int b = 0; b < N; ++b) {
            const bool inside =
                unsigned(tile.i + a - from) < unsigned(h) && unsigned(tile.j + b - from) < unsigned(w);
            x[a][b] = inside ? map[tile.at + ((a - from) * w + b - from) * c] : 0.0f;
        }
}

template <int A>
__device__ __forceinline__ void read_points(const float* RESTRICT points, const int apart, float (&x)[A][A])
{
    #pragma unroll
    for (int p = 0; p < A * A; ++p) x[p / A][p % A] = points[p * apart];
}

template <int A>
__device__ __forceinline__ void write_points(float* RESTRICT points, const int apart, const float (&x)[A][A])
{
    #pragma unroll
    for (int p = 0; p < A * A; ++p) points[p * apart] = x[p / A][p % A];
}

// v = Bᵀ d B
template <typename F>
__device__ __forceinline__ void input(const Tiles& p, const float* RESTRICT x, float* RESTRICT points)
{
    const int at = blockIdx.x * LINEAR + threadIdx.x, all = p.count * p.c;
    if (at >= all) return;
    float d[F::A][F::A], v[F::A][F::A];
    read_tile(p, tile_at<F::M>(p, p.first + at / int(p.c), at % int(p.c)), 1, x, d);
    both_sides<F::bt>(d, v);
    write_points(points + at, all, v);
}

// g = A dy Aᵀ
template <typename F>
__device__ __forceinline__ void gradient(const Tiles& p, const float* RESTRICT dy, float* RESTRICT points)
{
    const int at = blockIdx.x * LINEAR + threadIdx.x, all = p.count * p.c;
    if (at >= all) return;
    float y[F::M][F::M], g[F::A][F::A];
    read_tile(p, tile_at<F::M>(p, p.first + at / int(p.c), at % int(p.c)), 0, dy, y);
    both_sides<F::a>(y, g);
    write_points(points + at, all, g);
}

// y = Aᵀ m A, and what becomes of it: `bias` and `mask` may be null.
template <typename F>
__device__ __forceinline__ void output(
    const Tiles& p, const unsigned relu, const float* RESTRICT points, const float* RESTRICT bias,
    const float* RESTRICT mask, float* RESTRICT y)
{
    const int h = p.h, w = p.w, c = p.c;
    const int at = blockIdx.x * LINEAR + threadIdx.x, all = p.count * p.c;
    if (at >= all) return;
    const WinogradTile tile = tile_at<F::M>(p, p.first + at / c, at % c);
    float m[F::A][F::A], out[F::M][F::M];
    read_points(points + at, all, m);
    both_sides<F::at>(m, out);
    const float shift = bias ? bias[at % c] : 0.0f;
    const auto is_inside = [&](const int a, const int b) { return tile.i + a < h && tile.j + b < w; };
    const auto place = [&](const int a, const int b) { return tile.at + (a * w + b) * c; };
    // All of the mask before the first store: a load stays behind a store that could be to the same place.
    #pragma unroll
    for (int a = 0; a < F::M; ++a)
        #pragma unroll
        for (int b = 0; b < F::M; ++b) {
            float v = out[a][b] + shift;
            if (relu) v = rectify(v);
            if (mask) v = is_inside(a, b) && mask[place(a, b)] > 0.0f ? v : 0.0f;
            out[a][b] = v;
        }
    #pragma unroll
    for (int a = 0; a < F::M; ++a)
        #pragma unroll
        for (int b = 0; b < F::M; ++b)
            if (is_inside(a, b)) y[place(a, b)] = out[a][b];
}

// The maxima of ReLU(Aᵀ m A + bias) over 2x2, and their winners (pool.cuh), which may be null.
template <typename F>
__device__ __forceinline__ void maxpool2d(
    const Tiles& p, const float* RESTRICT points, const float* RESTRICT bias, float* RESTRICT y,
    unsigned char* RESTRICT winner)
{
    static_assert(F::M % 2 == 0, "a window lies in one tile");
    const int c = p.c, rows = p.h / 2, columns = p.w / 2;
    const int at = blockIdx.x * LINEAR + threadIdx.x, all = p.count * p.c;
    // Threads past the end stay, since the others exchange winners with their neighbours.
    const int mine = min(at, all - 1), channel = mine % c;
    const WinogradTile tile = tile_at<F::M>(p, p.first + mine / c, channel);
    const int image = (p.first + mine / c) / int(p.high * p.wide);
    float m[F::A][F::A], out[F::M][F::M];
    read_points(points + mine, all, m);
    both_sides<F::at>(m, out);
    const float shift = bias[channel];
    #pragma unroll
    for (int a = 0; a < F::M; a += 2)
        #pragma unroll
        for (int b = 0; b < F::M; b += 2) {
            const Best best = best_of(
                rectify(out[a][b] + shift), rectify(out[a][b + 1] + shift), rectify(out[a + 1][b] + shift),
                rectify(out[a + 1][b + 1] + shift));
            unsigned four = best.corner << 2 * (channel % 4);
            four |= __shfl_xor_sync(~0u, four, 1);
            four |= __shfl_xor_sync(~0u, four, 2);
            const int i = (tile.i + a) / 2, j = (tile.j + b) / 2;
            if (at >= all || i >= rows || j >= columns) continue;
            const int to = ((image * rows + i) * columns + j) * c + channel;
            y[to] = best.value;
            if (winner && channel % 4 == 0) winner[to / 4] = four;
        }
}

// u = G g Gᵀ, of filters as they are or rotated.
template <typename F>
__device__ __forceinline__ void weight_points(
    const Matrix& p, const unsigned rotated, const float* RESTRICT taps, float* RESTRICT points)
{
    const int at = blockIdx.x * LINEAR + threadIdx.x, c_in = p.columns, all = p.rows * p.columns;
    if (at >= all) return;
    const float* filter = taps + at / c_in * 9 * c_in + at % c_in;
    float g[3][3], u[F::A][F::A];
    #pragma unroll
    for (int tap = 0; tap < 9; ++tap) g[tap / 3][tap % 3] = filter[(rotated ? 8 - tap : tap) * c_in];
    both_sides<F::g>(g, u);
    write_points(points + at, all, u);
}

// dweight = Gᵀ s G, where s is the sum of parts (parts, A², c_out, c_in), in their order.
template <typename F>
__device__ __forceinline__ void taps_of_points(
    const Partials& p, const unsigned c_in, const float* RESTRICT sums, float* RESTRICT taps)
{
    const int at = blockIdx.x * LINEAR + threadIdx.x, all = p.len;
    if (at >= all) return;
    float s[F::A][F::A], g[3][3];
    read_points(sums + at, all, s);
    for (int part = 1; part < p.count; ++part) {
        float next[F::A][F::A];
        read_points(sums + part * F::A * F::A * all + at, all, next);
        #pragma unroll
        for (int k = 0; k < F::A * F::A; ++k) s[k / F::A][k % F::A] += next[k / F::A][k % F::A];
    }
    both_sides<F::gt>(s, g);
    float* filter = taps + at / int(c_in) * 9 * int(c_in) + at % int(c_in);
    #pragma unroll
    for (int tap = 0; tap < 9; ++tap) filter[tap * c_in] = g[tap / 3][tap % 3];
}

extern "C" __global__ __launch_bounds__(LINEAR) void conv2d_winograd_input_f4x4(
    const Tiles p, const float* RESTRICT x, float* RESTRICT points)
{
    input<F4x4>(p, x, points);
}

extern "C" __global__ __launch_bounds__(LINEAR) void conv2d_winograd_gradient_f4x4(
    const Tiles p, const float* RESTRICT dy, float* RESTRICT points)
{
    gradient<F4x4>(p, dy, points);
}

extern "C" __global__ __launch_bounds__(LINEAR) void conv2d_winograd_output_f4x4(
    const Tiles p, const unsigned relu, const float* RESTRICT points, const float* RESTRICT bias,
    const float* RESTRICT mask, float* RESTRICT y)
{
    output<F4x4>(p, relu, points, bias, mask, y);
}

extern "C" __global__ __launch_bounds__(LINEAR) void conv2d_winograd_weight_f4x4(
    const Matrix p, const unsigned rotated, const float* RESTRICT weight, float* RESTRICT points)
{
    weight_points<F4x4>(p, rotated, weight, points);
}

extern "C" __global__ __launch_bounds__(LINEAR) void conv2d_winograd_dweight_f4x4(
    const Partials p, const unsigned c_in, const float* RESTRICT sums, float* RESTRICT dweight)
{
    taps_of_points<F4x4>(p, c_in, sums, dweight);
}

extern "C" __global__ __launch_bounds__(LINEAR) void conv2d_winograd_input_f3x3(
    const Tiles p, const float* RESTRICT x, float* RESTRICT points)
{
    input<F3x3>(p, x, points);
}

extern "C" __global__ __launch_bounds__(LINEAR) void conv2d_winograd_gradient_f3x3(
    const Tiles p, const float* RESTRICT dy, float* RESTRICT points)
{
    gradient<F3x3>(p, dy, points);
}

extern "C" __global__ __launch_bounds__(LINEAR) void conv2d_winograd_output_f3x3(
    const Tiles p, const unsigned relu, const float* RESTRICT points, const float* RESTRICT bias,
    const float* RESTRICT mask, float* RESTRICT y)
{
    output<F3x3>(p, relu, points, bias, mask, y);
}

extern "C" __global__ __launch_bounds__(LINEAR) void conv2d_winograd_weight_f3x3(
    const Matrix p, const unsigned rotated, const float* RESTRICT weight, float* RESTRICT points)
{
    weight_points<F3x3>(p, rotated, weight, points);
}

extern "C" __global__ __launch_bounds__(LINEAR) void conv2d_winograd_dweight_f3x3(
    const Partials p, const unsigned c_in, const float* RESTRICT sums, float* RESTRICT dweight)
{
    taps_of_points<F3x3>(p, c_in, sums, dweight);
}

// A window of 2x2 lies in one tile of F(4x4); in those of F(3x3) it does not.
extern "C" __global__ __launch_bounds__(LINEAR) void conv2d_winograd_maxpool2d_f4x4(
    const Tiles p, const float* RESTRICT points, const float* RESTRICT bias, float* RESTRICT y,
    unsigned char* RESTRICT winner)
{
    maxpool2d<F4x4>(p, points, bias, y, winner);
}
