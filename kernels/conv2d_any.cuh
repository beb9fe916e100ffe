// conv2d_any.cuh   the convolution on tensor cores for channels that are no whole chunks of 16 bytes
//
// The products of conv2d_mma.cuh, but every number is loaded by itself and packed into chunks on the way. K is flat:
// (tap, channel) as one number, so that an image's 27 are a single step of 32. Blocks of 128 threads, 128 rows x 64
// columns, warps of 32 x 64, two stages with one barrier per step. Made for the first layer (`CHANNELS` = 3: all
// offsets are constants, and only the stores cost time); correct for the others.

#pragma once

#include "conv2d_mma.cuh"

template <class T> using AnyTile = Tile<T, 128, 64, 32, 32, 64, 2>;

// acc = A · B over K = 0 to `depth`. `fetch_a(first)` gives the chunk of the thread's row of A from K = first on; calls
// come in ascending order. `fetch_b` does the same for B, whose 64 rows have two threads each.
template <class Tile, class FetchA, class FetchB>
__device__ __forceinline__ void product_any(
    const int depth, FetchA fetch_a, FetchB fetch_b, float (&acc)[Tile::WM / 16][Tile::WN / 8][4])
{
    using T = typename Tile::T;
    constexpr int CHUNKS = Tile::BK / CHUNK<T>;
    using Layout = KMajor<T, CHUNKS>;
    static_assert(Tile::THREADS == Tile::BM && Tile::THREADS % Tile::BN == 0 && Tile::WN == Tile::BN);
    // 3xTF32 leaves too few registers for a whole step at once.
    constexpr int TOGETHER = IS_3XTF32<T> ? 1 : Tile::BK / MMA_K<T>;
    const int thread = threadIdx.x;
    #pragma unroll
    for (int i = 0; i < Tile::WM / 16; ++i)
        #pragma unroll
        for (int j = 0; j < Tile::WN / 8; ++j)
            #pragma unroll
            for (int k = 0; k < 4; ++k) acc[i][j][k] = 0.0f;

    int stage = 0;
    #pragma unroll 1
    for (int begin = 0; begin < depth; begin += Tile::BK) {
        unsigned char* tile = dynamic + stage * Tile::STAGE;
        #pragma unroll
        for (int chunk = 0; chunk < CHUNKS; ++chunk)
            *reinterpret_cast<uint4*>(tile + Layout::at(thread, chunk)) = fetch_a(begin + chunk * CHUNK<T>);
        #pragma unroll
        for (int k = 0; k < CHUNKS * Tile::BN / Tile::THREADS; ++k) {
            const int chunk = thread / Tile::BN + k * (Tile::THREADS / Tile::BN);
            *reinterpret_cast<uint4*>(tile + Tile::STAGE_A + Layout::at(thread % Tile::BN, chunk)) =
                fetch_b(begin + chunk * CHUNK<T>);
        }
        __syncthreads();
        const unsigned a = shared_address(tile), b = a + Tile::STAGE_A;
        #pragma unroll TOGETHER
        for (int k = 0; k < Tile::BK / MMA_K<T>; ++k)
            multiply_tiles<T, Layout, Layout>(acc, a, thread / 32 * Tile::WM, b, 0, k);
        stage ^= 1;
    }
    // The epilogue reuses the stages.
    __syncthreads();
}

// A chunk made of numbers: `number(k)` for each place.
template <class T, class Number> __device__ __forceinline__ uint4 chunk_of(Number number)
{
    unsigned words[4] = {};
    #pragma unroll
    for (int k = 0; k < CHUNK<T>; ++k) {
        if constexpr (T::BYTES == 2) {
            words[k / 2] |= unsigned(number(k)) << k % 2 * 16;
        } else {
            words[k] = __float_as_uint(number(k));
        }
    }
    return make_uint4(words[0], words[1], words[2], words[3]);
}

// A number of memory as f32.
template <class T> __device__ __forceinline__ float wide(const typename T::Number number)
{
    if constexpr (T::BYTES == 2) {
        return low_of<T>(number);
    } else {
        return number;
    }
}

// The products whose rows are pixels, as `convolve`. CHANNELS: of the source, or 0 if only the run knows.
template <class Tile, Rows ROWS, bool BACKWARD, int CHANNELS>
__device__ __forceinline__ void convolve_any(
    const Conv2d p, const Spot spot, const int rows, const typename Tile::Number* RESTRICT source,
    const typename Tile::Number* RESTRICT weight, float (&acc)[Tile::WM / 16][Tile::WN / 8][4])
{
    using T = typename Tile::T;
    using Number = typename Tile::Number;
    const int h = p.h, w = p.w;
    const int channels = CHANNELS ? CHANNELS : BACKWARD ? p.c_out : p.c_in, columns = BACKWARD ? p.c_in : p.c_out;
    const int row = spot.row + threadIdx.x, column = spot.column + threadIdx.x % Tile::BN;
    const int depth = 9 * channels;

    int i, j, pixel;
    if constexpr (ROWS == Rows::PIXELS) {
        const Place place = place_of(row, h, w);
        i = place.i, j = place.j, pixel = row;
    } else {
        const Place place = place_of(row / 4, h / 2, w / 2);
        i = place.i * 2 + row % 4 / 2, j = place.j * 2 + row % 2, pixel = (place.n * h + i) * w + j;
    }
    const unsigned inside = row < rows ? taps_inside(i, j, h, w) : 0;
    const Number* mine = source + pixel * channels;

    // An image's filters, 27 numbers each, lie side by side: they are copied by whole lines into the second stage,
    // which the only step does not use, and unpacked from there.
    Number* flat = reinterpret_cast<Number*>(dynamic + Tile::STAGE);
    if constexpr (CHANNELS == 3 && !BACKWARD) {
        static_assert(Tile::BN * 9 * CHANNELS * T::BYTES <= Tile::STAGE && 9 * CHANNELS <= Tile::BK);
        const int here = min(Tile::BN, columns - spot.column) * depth;
        #pragma unroll 4
        for (int k = threadIdx.x; k < here; k += Tile::THREADS) flat[k] = weight[spot.column * depth + k];
        __syncthreads();
    }

    const auto fetch_a = [&](const int first) {
        int tap = first / channels, c = first % channels;
        return chunk_of<T>([&](int) {
            const bool there = tap < 9 && (inside >> tap & 1);
            const Number number = there ? mine[((tap / 3 - 1) * w + tap % 3 - 1) * channels + c] : Number(0);
            if (++c == channels) c = 0, ++tap;
            return number;
        });
    };
    const auto fetch_b = [&](const int first) {
        if constexpr (BACKWARD) {
            int tap = first / channels, o = first % channels;
            return chunk_of<T>([&](int) {
                const bool there = tap < 9 && column < columns;
                const Number number = there ? weight[(o * 9 + 8 - tap) * columns + column] : Number(0);
                if (++o == channels) o = 0, ++tap;
                return number;
            });
        } else if constexpr (CHANNELS == 3) {
            return chunk_of<T>([&](const int k) {
                const bool there = first + k < depth && column < columns;
                return there ? flat[threadIdx.x % Tile::BN * depth + first + k] : Number(0);
            });
        } else {
            return chunk_of<T>([&](const int k) {
                return first + k < depth && column < columns ? weight[column * depth + first + k] : Number(0);
            });
        }
    };
    product_any<Tile>(depth, fetch_a, fetch_b, acc);
}

template <class T, int CHANNELS>
__device__ __forceinline__ void forward_any(
    const Conv2d p, const bool relu, const typename T::Number* RESTRICT x,
    const typename T::Number* RESTRICT weight, const float* RESTRICT bias, typename T::Number* RESTRICT y)
{
    using Tile = AnyTile<T>;
    const int pixels = p.n * p.h * p.w, c_out = p.c_out;
    const Spot spot = spot_of<Tile>(c_out);
    float acc[Tile::WM / 16][Tile::WN / 8][4];
    convolve_any<Tile, Rows::PIXELS, false, CHANNELS>(p, spot, pixels, x, weight, acc);
    epilogue_forward<Tile>(acc, spot, pixels, c_out, bias, relu, y, c_out % CHUNK<T> == 0);
}

template <class T>
__device__ __forceinline__ void maxpool2d_forward_any(
    const Conv2d p, const typename T::Number* RESTRICT x, const typename T::Number* RESTRICT weight,
    const float* RESTRICT bias, typename T::Number* RESTRICT y, unsigned char* RESTRICT winner)
{
    using Tile = AnyTile<T>;
    const int windows = p.n * (p.h / 2) * (p.w / 2), c_out = p.c_out;
    const Spot spot = spot_of<Tile>(c_out);
    float acc[Tile::WM / 16][Tile::WN / 8][4];
    convolve_any<Tile, Rows::WINDOWS, false, 0>(p, spot, 4 * windows, x, weight, acc);
    epilogue_pool<Tile>(acc, spot, windows, c_out, bias, y, winner, c_out % CHUNK<T> == 0);
}

template <class T>
__device__ __forceinline__ void backward_input_any(
    const Conv2d p, const typename T::Number* RESTRICT dy, const typename T::Number* RESTRICT weight,
    const typename T::Number* RESTRICT mask, typename T::Number* RESTRICT dx)
{
    using Tile = AnyTile<T>;
    const int pixels = p.n * p.h * p.w, c_in = p.c_in;
    const Spot spot = spot_of<Tile>(c_in);
    float acc[Tile::WM / 16][Tile::WN / 8][4];
    convolve_any<Tile, Rows::PIXELS, true, 0>(p, spot, pixels, dy, weight, acc);
    epilogue_backward_input<Tile>(acc, spot, pixels, c_in, mask, dx, c_in % CHUNK<T> == 0);
}

// Columns are the 9·c_in numbers (tap, c) of a filter. Grid (column tiles, filter tiles, parts). biases as in
// conv2d_mma.cuh: a thread loads the numbers of one filter, so threads need not add up.
template <class T>
__device__ __forceinline__ void backward_weight_any(
    const Conv2d p, const Split split, const typename T::Number* RESTRICT x,
    const typename T::Number* RESTRICT dy, float* RESTRICT parts, float* RESTRICT biases)
{
    using Tile = AnyTile<T>;
    using Number = typename T::Number;
    const int h = p.h, w = p.w, c_in = p.c_in, c_out = p.c_out;
    const Spot spot = {int(blockIdx.y) * Tile::BM, int(blockIdx.x) * Tile::BN};
    const int begin = blockIdx.z * split.length;
    const int end = min(begin + int(split.length), int(p.n) * h * w);
    const int filter = spot.row + threadIdx.x;
    const int column = spot.column + threadIdx.x % Tile::BN, columns = 9 * c_in;
    const int tap = column / c_in, up = tap / 3 - 1, left = tap % 3 - 1;
    const int shift = (up * w + left) * c_in + column % c_in;

    float bias = 0.0f;
    int next = biases ? blockIdx.x * Tile::BK : 0x7fffffff;            // where the block's next step begins
    const auto fetch_a = [&](const int first) {
        const bool mine = first >= next;
        if (first - next == Tile::BK - CHUNK<T>) next += gridDim.x * Tile::BK;
        return chunk_of<T>([&](const int k) {
            const int pixel = begin + first + k;
            const Number number = pixel < end && filter < c_out ? dy[pixel * c_out + filter] : Number(0);
            if (mine) bias += wide<T>(number);
            return number;
        });
    };
    const auto fetch_b = [&](const int first) {
        int pixel = begin + first, j = pixel % w, i = pixel / w % h;
        return chunk_of<T>([&](int) {
            const bool inside = unsigned(i + up) < unsigned(h) && unsigned(j + left) < unsigned(w);
            const Number number =
                inside && pixel < end && column < columns ? x[pixel * c_in + shift] : Number(0);
            ++pixel;
            if (++j == w) {
                j = 0;
                if (++i == h) i = 0;
            }
            return number;
        });
    };
    float acc[Tile::WM / 16][Tile::WN / 8][4];
    product_any<Tile>(max(end - begin, 0), fetch_a, fetch_b, acc);
    store_acc<Tile>(acc, spot, c_out, columns, columns, parts + blockIdx.z * (c_out * columns), columns % 2 == 0);
    if (biases && filter < c_out) my_biases(biases, c_out)[filter] = bias;
}
