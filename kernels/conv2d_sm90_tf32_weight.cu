// conv2d_sm90_tf32_weight   the gradient of a 3x3 convolution's weights in tf32 by TMA and wgmma: Hopper (9.0) only
// targets: sm_90a
// hot: conv2d_backward_weight_sm90_tf32_256x128 conv2d_backward_weight_sm90_tf32_128x128
// dynamic-shared: conv2d_backward_weight_sm90_tf32_256x128 196672
// dynamic-shared: conv2d_backward_weight_sm90_tf32_128x128 196704
//
//   conv2d_backward_weight_…_turn   turned = dy by filters, biases = Σ dy of each 128 pixels
//   conv2d_backward_weight_…        parts[g + t] = Σ dy·x of tile t over the steps of block g; conv2d_weight_reduce.cu
//                                   adds them up
//
// x (n, h, w, c_in), dy (n, h, w, c_out), turned (steps, c_out, 32), biases (⌈pixels / 128⌉, c_out), parts (slots, see
// below): f32. c_in and c_out are multiples of 64; a step is 32 pixels, the last one filled up with zeros. x and turned
// come as tensor maps that make TMA round to tf32, to the nearest, as it copies. Names say filters x (tap, channel) of a
// block's tile; blocks are persistent and share steps (stream-K), as in conv2d_sm90_weight.cuh.
//
// K = pixels, and both operands lie across it: a row of x or dy is a pixel. wgmma accepts such operands in bf16. In tf32
// it accepts only K-major from shared memory, but any layout from registers, because there threads do the loading. So
// operands are swapped: M is (tap, channel), whose pixels TMA gathers for each tap and threads load, one step ahead of
// the wgmma; N is the filters, of which a launch before makes rows of 32 pixels, those of a step side by side. x
// would be worse to turn: 32 pixels in a row cross the ends of the map's lines, where every tap needs other zeros. What
// turns dy reads and writes it once, 8 bytes an element, and sums the gradient of the bias as well.
//
// Rows of M are numbered so that a thread has two channels side by side: rows g and g + 8 of a warp's 16 are channels 2g
// and 2g + 1. So it loads and stores eight bytes at once. Pixels are numbered so that half a warp meets 32 banks: with
// 128-byte swizzle the chunks of pixels 2t and 2t + 1 would lie in the same ones. K = t of a group of eight is pixel 2t,
// K = 4 + t is pixel 2t + 1, t = 0 to 3, and `turned` has that order.

#include "conv2d_sm90.cuh"

// K of a step: 128 bytes of pixels.
constexpr int TF32_STEP = 32;
// Channels of a box of pixels, and its bytes.
constexpr int BOX_CHANNELS = 32, BOX_PIXELS = TF32_STEP * 128;
// Warps that read a stage, each of which frees it: all of them load from it.
constexpr int READERS = 8;

// Tile's rows are (tap, channel), its columns filters.
template <class Tile> constexpr int WEIGHT_SHARED = Tile::STAGES * (Tile::STAGE + 16);

// A step's four fragments of A. A thread has two of these: while one is multiplied the next is loaded.
struct Fragments {
    unsigned k[4][4];
};

// Two neighbouring words of shared memory.
__device__ __forceinline__ void load_pair(unsigned& low, unsigned& high, const unsigned at)
{
    asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(low), "=r"(high) : "r"(at) : "memory");
}

// Where a thread finds channels 2g and 2g + 1 of its warp's 16, of pixel 2t + odd (g = lane / 4, t = lane % 4): the
// offset from the boxes of its warpgroup.
__device__ __forceinline__ int fragment_offset(const int odd)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
    const int channel = warp % 2 * 16 + lane / 4 * 2, pixel = lane % 4 * 2 + odd;
    return warp / 2 * BOX_PIXELS + swizzled_offset(pixel, channel / 4) + channel % 4 * 4;
}

// parts: partial sums of dweight, in slots of BN filters by BM columns (tap, channel): slots are as in
// conv2d_sm90_weight.cuh.
template <class Tile>
__device__ __forceinline__ void backward_weight(
    const Conv2d& p, const TensorMap* x, const TensorMap* turned, float* RESTRICT parts)
{
    constexpr int BOXES = Tile::BM / BOX_CHANNELS;
    const unsigned shared = shared_address(dynamic);
    const unsigned barriers = shared + Tile::STAGES * Tile::STAGE;
    const int warpgroup = threadIdx.x / 128;
    const int steps = (p.n * p.h * p.w + TF32_STEP - 1) / TF32_STEP;
    const int down = (p.c_out + Tile::BN - 1) / Tile::BN, chunks = 9 * p.c_in / BOX_CHANNELS;
    const int across = (chunks + BOXES - 1) / BOXES;
    const long long all = static_cast<long long>(down) * across * steps;
    const int begin = all * blockIdx.x / gridDim.x, end = all * (blockIdx.x + 1) / gridDim.x;
    make_ring<Tile::STAGES>(barriers, x, turned, READERS);
    Ring<Tile::STAGES> ring;
    if (warpgroup == 2) {
        dealloc_registers<40>();
        if (threadIdx.x != PRODUCER) return;
        for (int at = begin; at < end;) {
            const int tile = at / steps, first = at % steps, last = min(steps, first + end - at);
            const int filter = tile % down * Tile::BN;
            int channel[BOXES], tap[BOXES];
            #pragma unroll
            for (int k = 0; k < BOXES; ++k) {
                // Past the last chunk, the last one again: nobody reads those columns.
                const int chunk = min(tile / down * BOXES + k, chunks - 1);
                tap[k] = chunk / int(p.c_in / BOX_CHANNELS);
                channel[k] = chunk % int(p.c_in / BOX_CHANNELS) * BOX_CHANNELS;
            }
            for (int step = first; step < last; ++step) {
                const Corner corner = corner_of(p, step * TF32_STEP);
                const unsigned arrived = full(barriers, ring.stage), a = shared + ring.stage * Tile::STAGE;
                wait(empty(barriers, ring.stage), ring.parity ^ 1);
                arrive_expect_tx(arrived, Tile::STAGE);
                #pragma unroll
                for (int k = 0; k < BOXES; ++k)
                    load_pixels(a + k * BOX_PIXELS, x, arrived, channel[k], corner.w, corner.h, corner.n, tap[k] / 3,
                                tap[k] % 3);
                // Past the last filter are those of the next step: nobody reads those columns either.
                load_box(a + Tile::STAGE_A, turned, arrived, 0, step * int(p.c_out) + filter);
                ring.advance();
            }
            at += last - first;
        }
        return;
    }
    alloc_registers<232>();
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
    const int boxes = warpgroup * 2 * BOX_PIXELS;
    const int offsets[2] = {boxes + fragment_offset(0), boxes + fragment_offset(1)};
    // Waits for the ring's stage and loads its fragments of A.
    const auto load = [&](Fragments& to) {
        wait(full(barriers, ring.stage), ring.parity);
        const unsigned stage = shared + ring.stage * Tile::STAGE;
        #pragma unroll
        for (int k = 0; k < 4; ++k)
            #pragma unroll
            for (int odd = 0; odd < 2; ++odd)
                load_pair(to.k[k][odd * 2], to.k[k][odd * 2 + 1], stage + k * 1024 + offsets[odd]);
    };
    const auto free = [&](const int stage) {
        __syncwarp();
        if (lane == 0) arrive(empty(barriers, stage));
    };
    float acc[1][Tile::ACC] = {};
    int before = 0;
    // Issues the products of the ring's stage; then those of the stage before are done, and what they read is free.
    const auto multiply = [&](const Fragments& a, const bool is_first) {
        const unsigned b = shared + ring.stage * Tile::STAGE + Tile::STAGE_A;
        wgmma_fence();
        #pragma unroll
        for (int k = 0; k < 4; ++k)
            WgmmaTf32<Tile::BN>::issue(acc[0], a.k[k], smem_descriptor<false>(b, k), !is_first || k > 0);
        wgmma_commit();
        wgmma_wait<1>();
        if (!is_first) free(before);
        before = ring.stage;
        ring.advance();
    };
    for (int at = begin; at < end;) {
        const int tile = at / steps, first = at % steps, last = min(steps, first + end - at);
        Fragments even, odd;
        load(even);
        for (int step = first;;) {
            multiply(even, step == first);
            if (++step == last) break;
            load(odd);
            multiply(odd, false);
            if (++step == last) break;
            load(even);
        }
        wgmma_wait<0>();
        free(before);
        fence_acc(acc);
        // A warp stores 16 columns of 4 filters at a time: eight sectors.
        float* slot = parts + static_cast<long long>(int(blockIdx.x) + tile) * (Tile::BM * Tile::BN);
        float* to = slot + (lane % 4 * 2 * Tile::BM + warpgroup * 64 + warp * 16 + lane / 4 * 2);
        #pragma unroll
        for (int k = 0; k < Tile::BN / 8; ++k)
            #pragma unroll
            for (int i = 0; i < 2; ++i)
                *reinterpret_cast<float2*>(to + (k * 8 + i) * Tile::BM) =
                    make_float2(acc[0][k * 4 + i], acc[0][k * 4 + 2 + i]);
        at += last - first;
    }
}

#define CONV2D_BACKWARD_WEIGHT(TILE, name)                                                                       \
    extern "C" __global__ __launch_bounds__((TILE::THREADS), (TILE::BLOCKS)) void name(                          \
        const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap turned,                           \
        const __grid_constant__ Conv2d p, float* RESTRICT parts)                                                 \
    {                                                                                                            \
        backward_weight<TILE>(p, &x, &turned, parts);                                                            \
    }

using Wide = Tile<128, 256, 4, 1, Tf32>;
using Square = Tile<128, 128, 6, 1, Tf32>;
static_assert(WEIGHT_SHARED<Wide> == 196672 && WEIGHT_SHARED<Square> == 196704, "dynamic-shared, above");

CONV2D_BACKWARD_WEIGHT(Wide, conv2d_backward_weight_sm90_tf32_256x128)
CONV2D_BACKWARD_WEIGHT(Square, conv2d_backward_weight_sm90_tf32_128x128)

// Pixels and filters of a block of what turns dy, and its threads.
constexpr int PIXELS = 128, FILTERS = 32, TURNERS = 256;

// A block turns 128 pixels of 32 filters; blocks of the same pixels follow one another. Rows of `tile` have 33 numbers,
// so that a warp that stores 32 filters of four pixels, or loads four filters of eight times four pixels, meets 32 banks.
// biases: a row of c_out for each 128 pixels; or null.
extern "C" __global__ __launch_bounds__(TURNERS) void conv2d_backward_weight_sm90_tf32_turn(
    const Conv2d p, const float* RESTRICT dy, float* RESTRICT biases, float* RESTRICT turned)
{
    await_predecessor();
    __shared__ float tile[PIXELS][FILTERS + 1];
    __shared__ float part[TURNERS / 32][FILTERS];
    const int pixels = p.n * p.h * p.w, steps = (pixels + TF32_STEP - 1) / TF32_STEP;
    const int across = p.c_out / FILTERS, row = int(blockIdx.x) / across;
    const int filter = int(blockIdx.x) % across * FILTERS, pixel = row * PIXELS;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    float4 v[4];
    #pragma unroll
    for (int k = 0; k < 4; ++k) {
        const int at = pixel + k * 32 + int(threadIdx.x) / 8;
        v[k] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        if (at < pixels) {
            const int place = at * int(p.c_out) + filter + int(threadIdx.x) % 8 * 4;
            v[k] = *reinterpret_cast<const float4*>(dy + place);
        }
    }
    #pragma unroll
    for (int k = 0; k < 4; ++k) {
        float* to = &tile[k * 32 + threadIdx.x / 8][threadIdx.x % 8 * 4];
        to[0] = v[k].x;
        to[1] = v[k].y;
        to[2] = v[k].z;
        to[3] = v[k].w;
    }
    __syncthreads();
    // Of each eight pixels the even ones first, then the odd: four lanes two groups of them. Filters of a warp's lanes are
    // two apart, for the banks.
    const int mine = warp / 2 * 8 + warp % 2 + lane / 8 * 2;
    #pragma unroll
    for (int k = 0; k < 4; ++k) {
        const int step = row * (PIXELS / TF32_STEP) + k;
        if (step >= steps) break;
        const int from = k * TF32_STEP + lane % 8 / 2 * 8 + lane % 2;
        float* to = turned + ((step * int(p.c_out) + filter + mine) * TF32_STEP + lane % 8 * 4);
        *reinterpret_cast<float4*>(to) =
            make_float4(tile[from][mine], tile[from + 2][mine], tile[from + 4][mine], tile[from + 6][mine]);
    }
    if (!biases) return;
    float sum = 0.0f;
    #pragma unroll
    for (int k = 0; k < PIXELS / 8; ++k) sum += tile[warp * (PIXELS / 8) + k][lane];
    part[warp][lane] = sum;
    __syncthreads();
    if (warp) return;
    #pragma unroll
    for (int k = 1; k < TURNERS / 32; ++k) sum += part[k][lane];
    biases[row * int(p.c_out) + filter + lane] = sum;
}
