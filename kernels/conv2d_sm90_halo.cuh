// conv2d_sm90_halo.cuh   convolution, ReLU and 2x2 pool of bf16 on Hopper: bodies of conv2d_sm90_pool.cu, _first.cu
//
// Operands are swapped: M = filters, 64 to a consumer; N = pixels, in groups of eight of a line. A tile is 8 pixels
// wide and HEIGHT high, of one image. It and its halo, 10 x (HEIGHT + 2) pixels of 64 channels, are loaded once, as
// a box of x (zeros outside), and all nine taps read that box: shifted by one pixel, an operand begins 128 bytes
// further on, and its groups of eight stay 10 pixels apart. The swizzle depends only on the address, so shifted reads
// find what TMA wrote.
//
// Two layouts of the consumers: FILTERS = 64, each has half of the tile's lines; FILTERS = 128, each has 64 filters
// of all lines. Where all weights of a layer fit into shared memory (STAY) they are loaded once for all tiles of a
// block; else tap by tap through a ring. Boxes of pixels have a ring of their own.
//
// A thread's accumulators are those of a filter: two neighbours of a line, and the two under them eight columns on.
// So all four of a window are the thread's own. They are rounded to bf16 before they are compared (pool.cuh). Odd
// lines and columns at the end of a map have no window: their results would lie outside y.

#pragma once

#include "conv2d_sm90.cuh"
#include "pool.cuh"

template <int FILTERS_, int HEIGHT_, int STAGES_, int BOXES_, bool STAY_>
struct Halo {
    static constexpr int FILTERS = FILTERS_, HEIGHT = HEIGHT_, STAGES = STAGES_, BOXES = BOXES_;
    static constexpr bool STAY = STAY_;
    // Whether consumers take turns; conv2d_sm90_first.cu has barriers for that.
    static constexpr bool TURNS = false;
    // Of a consumer: lines of the tile, and N.
    static constexpr int LINES = FILTERS == 64 ? HEIGHT / 2 : HEIGHT, COLUMNS = LINES * 8;
    static constexpr int BOX = 10 * (HEIGHT + 2) * 128, BOX_ROOM = (BOX + 1023) / 1024 * 1024;
    static constexpr int STAGE = FILTERS * 128;
    static constexpr int WEIGHTS = BOXES * BOX_ROOM, RESULTS = WEIGHTS + STAGES * STAGE;
    // Of each consumer two boxes of 8 x 4 windows, 64 filters.
    static constexpr int BARRIERS = RESULTS + 2 * 2 * 4096;
    static constexpr int THREADS = 384, BLOCKS = 1;
    // Dynamic shared memory: what `// dynamic-shared:` and src/device/gpu/lower/sm90/mod.rs say.
    static constexpr int SHARED = BARRIERS + 16 * (STAGES + BOXES);
};

// A tile's place: filters fastest, then columns, lines, images.
struct Place {
    int filter, x, y, n;
};

template <class Halo> __device__ __forceinline__ Place place_of(const Conv2d& p, const int tile)
{
    const int filters = int(p.c_out) / Halo::FILTERS, wide = (int(p.w) + 7) / 8;
    const int high = (int(p.h) + Halo::HEIGHT - 1) / Halo::HEIGHT;
    const int rest = tile / filters, line = rest / wide;
    return {tile % filters * Halo::FILTERS, rest % wide * 8, line % high * Halo::HEIGHT, line / high};
}

template <class Halo> __device__ __forceinline__ int tiles_of(const Conv2d& p)
{
    return int(p.c_out) / Halo::FILTERS * ((int(p.w) + 7) / 8) *
           ((int(p.h) + Halo::HEIGHT - 1) / Halo::HEIGHT) * int(p.n);
}

template <class Halo>
__device__ __forceinline__ void produce_halo(
    const Conv2d& p, const unsigned shared, const TensorMap* x, const TensorMap* weight)
{
    const unsigned taps = shared + Halo::BARRIERS, boxes = taps + 16 * Halo::STAGES;
    const int channels = p.c_in, tiles = tiles_of<Halo>(p);
    if constexpr (Halo::STAY) {
        for (int stage = 0; stage < Halo::STAGES; ++stage) {
            arrive_expect_tx(full(taps, stage), Halo::STAGE);
            load_box(shared + Halo::WEIGHTS + stage * Halo::STAGE, weight, full(taps, stage),
                     stage % 9 * channels + stage / 9 * 64, 0);
        }
    }
    Ring<Halo::STAGES> ring;
    Ring<Halo::BOXES> box;
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const Place at = place_of<Halo>(p, tile);
        for (int c = 0; c < channels; c += BF16_STEP) {
            wait(empty(boxes, box.stage), box.parity ^ 1);
            arrive_expect_tx(full(boxes, box.stage), Halo::BOX);
            load_box(shared + box.stage * Halo::BOX_ROOM, x, full(boxes, box.stage), c, at.x - 1, at.y - 1, at.n);
            box.advance();
            if constexpr (!Halo::STAY) {
                for (int tap = 0; tap < 9; ++tap) {
                    wait(empty(taps, ring.stage), ring.parity ^ 1);
                    arrive_expect_tx(full(taps, ring.stage), Halo::STAGE);
                    load_box(shared + Halo::WEIGHTS + ring.stage * Halo::STAGE, weight, full(taps, ring.stage),
                             tap * channels + c, at.filter);
                    ring.advance();
                }
            }
        }
    }
}

// A consumer's accumulators of one tile: its 64 filters, its lines.
template <class Halo>
__device__ __forceinline__ void consume_halo(
    const unsigned shared, const int channels, const int consumer, Ring<Halo::STAGES>& ring,
    Ring<Halo::BOXES>& box, float (&acc)[1][Halo::COLUMNS / 2])
{
    const unsigned taps = shared + Halo::BARRIERS, boxes = taps + 16 * Halo::STAGES;
    const bool is_elected = threadIdx.x % 128 == 0;
    int before = 0, box_before = 0;
    for (int c = 0; c < channels; c += BF16_STEP) {
        wait(full(boxes, box.stage), box.parity);
        const unsigned pixels =
            shared + box.stage * Halo::BOX_ROOM + (Halo::FILTERS == 64 ? consumer * Halo::LINES * 1280 : 0);
        #pragma unroll 1
        for (int tap = 0; tap < 9; ++tap) {
            const int stage = Halo::STAY ? c / BF16_STEP * 9 + tap : ring.stage;
            wait(full(taps, stage), Halo::STAY ? 0 : ring.parity);
            const unsigned a =
                shared + Halo::WEIGHTS + stage * Halo::STAGE + (Halo::FILTERS == 128 ? consumer * BOX_64 : 0);
            const unsigned b = pixels + (tap / 3 * 10 + tap % 3) * 128;
            wgmma_fence();
            #pragma unroll
            for (int k = 0; k < BF16_STEP / 16; ++k)
                Wgmma<Halo::COLUMNS>::template issue<false, false>(
                    acc[0], smem_descriptor<false>(a, k), k_major_descriptor(b + k * 32, 1280), (c | tap | k) != 0);
            wgmma_commit();
            wgmma_wait<1>();
            if (is_elected) {
                if (!Halo::STAY && (c | tap)) arrive(empty(taps, before));
                if (tap == 0 && c > 0) arrive(empty(boxes, box_before));
            }
            before = stage;
            if (!Halo::STAY) ring.advance();
        }
        box_before = box.stage;
        box.advance();
    }
    // The last wgmma of this warp are issued, and the other consumer's queue behind them. Turns set the pace alone: no data
    // depend on them.
    if constexpr (Halo::TURNS) {
        if (is_elected) arrive(boxes + 16 * Halo::BOXES + 8 * (consumer ^ 1));
    }
    wgmma_wait<0>();
    if (is_elected) {
        if (!Halo::STAY) arrive(empty(taps, before));
        arrive(empty(boxes, box_before));
    }
    fence_acc(acc);
}

// The larger of bf16 as they are after ReLU, and its corner: 4·bits + 3 - corner. Numbers that are not negative are
// in the order of their bits, NaN above all; of equals the first corner is the largest.
__device__ __forceinline__ unsigned key_of(const unsigned bits, const unsigned corner)
{
    return (bits & 0x7fffu) << 2 | (3 - corner);
}

__device__ __forceinline__ unsigned best_key(const unsigned a, const unsigned b, const unsigned c, const unsigned d)
{
    return max(max(key_of(a, 0), key_of(b, 1)), max(key_of(c, 2), key_of(d, 3)));
}

// Transposes winners, two bits each: from a lane's 16 (window, filter) to 16 neighbouring filters of one window, in
// memory's order of four to a byte. Lane 16·q + 4·i + j brings filters 4·q + i and 8 more of windows (u, j), pairs
// 2·u and 2·u + 1, and gets window (2·i + q, j).
__device__ __forceinline__ unsigned transpose_winners(unsigned word)
{
    const int lane = threadIdx.x % 32;
    // Byte k of lane i to byte i of lane k, of four lanes: by halves, then by bytes.
    unsigned other = __shfl_xor_sync(0xffffffffu, word, 8);
    word = __byte_perm(word, other, lane & 8 ? 0x3276 : 0x5410);
    other = __shfl_xor_sync(0xffffffffu, word, 4);
    word = __byte_perm(word, other, lane & 4 ? 0x3715 : 0x6240);
    // Pair k of byte i to pair i of byte k.
    other = (word >> 12 ^ word) & 0x0000f0f0u;
    word ^= other ^ other << 12;
    other = (word >> 6 ^ word) & 0x00cc00ccu;
    word ^= other ^ other << 6;
    // Both fours of filters of one of two windows.
    other = __shfl_xor_sync(0xffffffffu, word, 16);
    return __byte_perm(word, other, lane & 16 ? 0x3726 : 0x5140);
}

// The epilogue of 8 lines of 4 windows, 64 filters of which the warp has 16, through box `box`.
template <class Halo>
__device__ __forceinline__ void epilogue_pool(
    const Conv2d& p, const Place at, const unsigned box, const TensorMap* y, const float* RESTRICT bias,
    unsigned* RESTRICT winner, const float (&acc)[Halo::COLUMNS / 2])
{
    static_assert(Halo::COLUMNS == 128, "one box of windows");
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4, consumer = threadIdx.x / 128;
    const int filter = at.filter + warp * 16;
    const float low = bias[filter + lane / 4], high = bias[filter + 8 + lane / 4];
    const bool is_elected = threadIdx.x % 128 == 0;
    // The box before last is free again.
    if (is_elected) wait_stores<1>();
    named_barrier_sync(1 + consumer, 128);
    unsigned winners = 0;
    #pragma unroll
    for (int u = 0; u < 8; ++u) {
        unsigned corner[4];
        #pragma unroll
        for (int c = 0; c < 4; ++c) {
            const int k = (u * 2 + c / 2) * 4 + c % 2;
            corner[c] = pack_bf16(rectify_sum(acc[k] + low), rectify_sum(acc[k + 2] + high));
        }
        const unsigned one = best_key(corner[0], corner[1], corner[2], corner[3]);
        const unsigned two = best_key(corner[0] >> 16, corner[1] >> 16, corner[2] >> 16, corner[3] >> 16);
        winners |= (3 - (one & 3) | (3 - (two & 3)) << 2) << u * 4;
        const int window = u * 4 + lane % 4;
        store_half(box + swizzled_offset(window, warp * 2) + lane / 4 * 2, one >> 2);
        store_half(box + swizzled_offset(window, warp * 2 + 1) + lane / 4 * 2, two >> 2);
    }
    fence_proxy_async();
    named_barrier_sync(1 + consumer, 128);
    if (is_elected) store_box(y, box, at.filter, at.x / 2, at.y / 2, at.n);
    if (winner == nullptr) return;
    const unsigned word = transpose_winners(winners);
    const int line = at.y / 2 + lane / 4 % 4 * 2 + lane / 16, column = at.x / 2 + lane % 4;
    const int lines = p.h / 2, columns = p.w / 2;
    if (line < lines && column < columns)
        winner[(((at.n * lines + line) * columns + column) * int(p.c_out) + filter) / 16] = word;
}

// y = the maximum over 2x2 of ReLU(bias + x * weight), winner = which.
template <class Halo>
__device__ __forceinline__ void maxpool2d_forward(
    const Conv2d& p, const TensorMap* x, const TensorMap* weight, const TensorMap* y,
    const float* RESTRICT bias, unsigned char* RESTRICT winner)
{
    const unsigned shared = shared_address(dynamic);
    const int warpgroup = threadIdx.x / 128;
    if (threadIdx.x == 0) make_barriers<Halo::BOXES>(shared + Halo::BARRIERS + 16 * Halo::STAGES);
    make_ring<Halo::STAGES>(shared + Halo::BARRIERS, x, weight);
    if (warpgroup == 2) {
        dealloc_registers<40>();
        if (threadIdx.x == PRODUCER) produce_halo<Halo>(p, shared, x, weight);
        return;
    }
    alloc_registers<232>();
    const int tiles = tiles_of<Halo>(p);
    Ring<Halo::STAGES> ring;
    Ring<Halo::BOXES> box;
    int buffer = 0;
    float acc[1][Halo::COLUMNS / 2] = {};
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        consume_halo<Halo>(shared, p.c_in, warpgroup, ring, box, acc);
        Place at = place_of<Halo>(p, tile);
        if (Halo::FILTERS == 64) {
            at.y += warpgroup * Halo::LINES;
        } else {
            at.filter += warpgroup * 64;
        }
        const unsigned results = shared + Halo::RESULTS + (warpgroup * 2 + buffer) * 4096;
        epilogue_pool<Halo>(p, at, results, y, bias, reinterpret_cast<unsigned*>(winner), acc[0]);
        buffer ^= 1;
    }
    if (threadIdx.x % 128 == 0) wait_stores<0>();
}
