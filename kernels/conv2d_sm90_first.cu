// conv2d_sm90_first   VGG16's first block of bf16 in one pass: Hopper (compute capability 9.0) alone
// targets: sm_90a
// hot: conv2d_conv2d_maxpool2d_forward_sm90_64x8x32
// dynamic-shared: conv2d_conv2d_maxpool2d_forward_sm90_64x8x32 230720
//
//   conv2d_conv2d_maxpool2d_forward   y = max over 2x2 of ReLU(bias + Σ z·weight), z = ReLU(first_bias + Σ x·first_weight)
//
// x (n, h, w, 3), first_weight (64, 3, 3, 3), weight (64, 3, 3, 64), y (n, h/2, w/2, 64) bf16; both biases (64) f32. p
// says 64 channels and 64 filters. For inference: nobody learns the winners, and z is nowhere but in shared memory. The
// bits are those of the two kernels apart, since Hopper's mma.sync adds its 16 products at once, in whatever order.
//
// The second convolution is that of conv2d_sm90_halo.cuh, but its boxes of z are not brought by TMA: a warpgroup makes
// them, by mma.sync, from pictures. 27 numbers of a pixel's window are a product 32 deep; its 64 filters stay in
// registers. A box is 10 x 34 pixels, so a third of z is made twice: 0.7 million multiply-adds beside 9.4 million of
// wgmma. In return z is neither written nor read: 58 MB each of 20 pictures of 150x150.
//
// The two consumers take turns: while one stores its half of a tile the other multiplies.

#include "conv2d_sm90_halo.cuh"

struct First : Halo<64, 32, 9, 3, true> {
    static constexpr bool TURNS = true;
    // Rows of sixteen pixels: the eight left columns of two lines, or the two right ones of eight.
    static constexpr int LEFT = (HEIGHT + 2) / 2, RIGHT = (HEIGHT + 2 + 7) / 8;
    // The box's pixels and those around: 36 lines of 12, twice. An element is two bytes; where pairs are read that begin
    // at an even element the first copy has them in a word, and the second, which lies one element further, the others.
    // With these pitches no two lanes wait for a bank but at eight loads of right columns.
    static constexpr int PATCH_LINES = HEIGHT + 4, PATCH_ROW = 12 * 3, PITCH = 112, COPY = 37 * PITCH + 8;
    static constexpr int HELD = (PATCH_LINES * PATCH_ROW + 127) / 128;
    static constexpr int TURN = BARRIERS + 16 * (STAGES + BOXES), PATCH = TURN + 16;
    // Of dynamic shared memory; src/device/gpu/lower/sm90/first.rs computes the same.
    static constexpr int SHARED_WITH_PATCH = PATCH + 2 * COPY;
};

// Where the numbers of a lane's four pairs of factors lie in a window: row and element (column, channel) of the pair.
// The first 16 of the product are numbers 0 to 15 of the 27, but that member 0 finds number 8 in the row above; the
// others are the last row and, as the fourth pair, what is left over: 16 and 17, then 26 and a zero, then zeros.
struct Pair {
    int row, element;
};

__device__ __forceinline__ Pair pair_of(const int k, const int member)
{
    if (k == 0) return {0, 2 * member};
    if (k == 1) return {1, 2 * member - 1};
    if (k == 2) return {2, 2 * member};
    return member == 0 ? Pair{1, 7} : Pair{2, 8};
}

// A filter's number `number` of 27 and the next one, as far as the product has them.
__device__ __forceinline__ unsigned filter_pair(const unsigned short* __restrict__ filter, const int k, const int member)
{
    const int number = k == 0 ? 2 * member : k == 1 ? 2 * member + 8 : k == 2 ? 2 * member + 18 : 16 + 10 * member;
    if (k == 3 && member > 1) return 0;
    return filter[number] | (k == 3 && member == 1 ? 0u : unsigned(filter[number + 1]) << 16);
}

__device__ __forceinline__ unsigned load_half(const unsigned at)
{
    unsigned short half;
    asm volatile("ld.shared.u16 %0, [%1];" : "=h"(half) : "r"(at));
    return half;
}

// What a thread holds of the pixels for the tile at `at`, zeros outside the picture: element thread + 128·k of 36 lines.
__device__ __forceinline__ void fetch_patch(
    const Conv2d& p, const Place at, const unsigned short* __restrict__ x, unsigned short (&held)[First::HELD])
{
    const int row = int(p.w) * 3, first = (at.x - 2) * 3;
    #pragma unroll
    for (int k = 0; k < First::HELD; ++k) {
        const int index = threadIdx.x % 128 + k * 128, line = index / First::PATCH_ROW;
        const int y = at.y - 2 + line, element = first + index % First::PATCH_ROW;
        const bool there = line < First::PATCH_LINES && y >= 0 && y < int(p.h) && element >= 0 && element < row;
        held[k] = 0;
        if (there) held[k] = x[(at.n * int(p.h) + y) * row + element];
    }
}

__device__ __forceinline__ void store_patch(const unsigned patch, const unsigned short (&held)[First::HELD])
{
    #pragma unroll
    for (int k = 0; k < First::HELD; ++k) {
        const int index = threadIdx.x % 128 + k * 128, line = index / First::PATCH_ROW;
        if (line >= First::PATCH_LINES) continue;
        const unsigned to = patch + line * First::PITCH + index % First::PATCH_ROW * 2;
        store_half(to, held[k]);
        store_half(to + First::COPY + 2, held[k]);
    }
}

// Makes the boxes of z of all tiles of the block, and has the second convolution's weights brought.
__device__ __forceinline__ void produce_first(
    const Conv2d& p, const unsigned shared, const TensorMap* weight, const unsigned short* __restrict__ x,
    const unsigned short* __restrict__ first_weight, const float* __restrict__ first_bias)
{
    const int thread = threadIdx.x % 128, warp = thread / 32, group = thread % 32 / 4, member = thread % 4;
    const unsigned taps = shared + First::BARRIERS, boxes = taps + 16 * First::STAGES, patch = shared + First::PATCH;
    if (thread == 0) {
        for (int tap = 0; tap < First::STAGES; ++tap) {
            expect(full(taps, tap), First::STAGE);
            load_box(shared + First::WEIGHTS + tap * First::STAGE, weight, full(taps, tap), tap * 64, 0);
        }
    }
    unsigned filters[8][4];
    float2 bias[8];
    #pragma unroll
    for (int j = 0; j < 8; ++j) {
        #pragma unroll
        for (int k = 0; k < 4; ++k) filters[j][k] = filter_pair(first_weight + (j * 8 + group) * 27, k, member);
        bias[j] = *reinterpret_cast<const float2*>(first_bias + (j * 8 + member * 2));
    }
    unsigned place[4];
    #pragma unroll
    for (int k = 0; k < 4; ++k) {
        const Pair pair = pair_of(k, member);
        const int odd = (group + pair.element) & 1;
        place[k] = patch + odd * First::COPY + pair.row * First::PITCH + (pair.element + odd) * 2;
    }
    const unsigned above = member == 0 ? 0x3254 : 0x3210;
    const unsigned left_over = member == 0 ? 0xffffffffu : member == 1 ? 0xffffu : 0;
    // Of the second copy what lies before and behind a line is read, but counts for nothing.
    if (thread < First::PATCH_LINES) {
        store_half(patch + First::COPY + thread * First::PITCH, 0);
        store_half(patch + First::COPY + thread * First::PITCH + First::PATCH_ROW * 2 + 2, 0);
    }

    const int tiles = tiles_of<First>(p);
    Ring<First::BOXES> box;
    unsigned short held[First::HELD];
    if (int(blockIdx.x) < tiles) fetch_patch(p, place_of<First>(p, blockIdx.x), x, held);
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const Place at = place_of<First>(p, tile);
        // The patch of the tile before has been read.
        meet(3, 128);
        store_patch(patch, held);
        meet(3, 128);
        if (tile + int(gridDim.x) < tiles) fetch_patch(p, place_of<First>(p, tile + gridDim.x), x, held);
        wait(empty(boxes, box.stage), box.parity ^ 1);
        const unsigned to = shared + box.stage * First::BOX_ROOM;
        #pragma unroll 1
        for (int rows = warp; rows < First::LEFT + First::RIGHT; rows += 4) {
            const bool right = rows >= First::LEFT;
            const int column = right ? 8 + group % 2 : group;
            unsigned factors[2][4];
            int line[2];
            #pragma unroll
            for (int i = 0; i < 2; ++i) {
                line[i] = right ? (rows - First::LEFT) * 8 + group / 2 + i * 4 : rows * 2 + i;
                const unsigned pixel = min(line[i], First::HEIGHT + 1) * First::PITCH + column * 6;
                factors[0][i] = load_word(place[0] + pixel);
                factors[0][2 + i] = __byte_perm(load_word(place[1] + pixel), load_half(patch + pixel + 16), above);
                factors[1][i] = load_word(place[2] + pixel);
                factors[1][2 + i] = load_word(place[3] + pixel) & left_over;
            }
            float sums[8][4] = {};
            #pragma unroll
            for (int k = 0; k < 2; ++k)
                #pragma unroll
                for (int j = 0; j < 8; ++j)
                    multiply<Bf16>(sums[j], factors[k], filters[j][2 * k], filters[j][2 * k + 1]);
            #pragma unroll
            for (int i = 0; i < 2; ++i) {
                const int y = at.y - 1 + line[i], x_at = at.x - 1 + column, pixel = line[i] * 10 + column;
                if (line[i] >= First::HEIGHT + 2) continue;
                // Chunk j of the pixel's row lies at `row` with 16·j in exclusive or (in_box).
                const unsigned row = to + in_box(pixel, 0) + member * 4;
                // Outside the map z is the second convolution's zeros.
                const bool inside = y >= 0 && y < int(p.h) && x_at >= 0 && x_at < int(p.w);
                #pragma unroll
                for (int j = 0; j < 8; ++j) {
                    const unsigned both = pack_bf16(
                        rectify_sum(sums[j][2 * i] + bias[j].x), rectify_sum(sums[j][2 * i + 1] + bias[j].y));
                    store_word(row ^ (j << 4), inside ? both : 0);
                }
            }
        }
        show_to_tma();
        __syncwarp();
        if (thread % 32 == 0) arrive(full(boxes, box.stage));
        box.forward();
    }
}

extern "C" __global__ __launch_bounds__(First::THREADS, First::BLOCKS) void
conv2d_conv2d_maxpool2d_forward_sm90_64x8x32(
    const __grid_constant__ TensorMap weight, const __grid_constant__ TensorMap y, const __grid_constant__ Conv2d p,
    const unsigned short* __restrict__ x, const unsigned short* __restrict__ first_weight,
    const float* __restrict__ first_bias, const float* __restrict__ bias)
{
    const unsigned shared = shared_address(dynamic);
    const unsigned boxes = shared + First::BARRIERS + 16 * First::STAGES, turn = shared + First::TURN;
    const int consumer = threadIdx.x / 128;
    if (threadIdx.x == 0) {
        #pragma unroll
        for (int stage = 0; stage < First::BOXES; ++stage) {
            init_barrier(full(boxes, stage), 4);     // the warps that make a box
            init_barrier(empty(boxes, stage), 2);
        }
        init_barrier(turn, 1);
        init_barrier(turn + 8, 1);
    }
    make_ring<First::STAGES>(shared + First::BARRIERS, &weight, &y);
    if (consumer == 2) {
        produce_first(p, shared, &weight, x, first_weight, first_bias);
        return;
    }
    const int tiles = tiles_of<First>(p);
    Ring<First::STAGES> ring;
    Ring<First::BOXES> box;
    int buffer = 0, parity = consumer ^ 1;           // the first consumer has the first turn
    float sums[1][First::COLUMNS / 2] = {};
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        wait(turn + consumer * 8, parity);
        parity ^= 1;
        consume_halo<First>(shared, 64, consumer, ring, box, sums);
        Place at = place_of<First>(p, tile);
        at.y += consumer * First::LINES;
        const unsigned results = shared + First::RESULTS + (consumer * 2 + buffer) * 4096;
        finish_pool<First>(p, at, results, &y, bias, nullptr, sums[0]);
        buffer ^= 1;
    }
    if (threadIdx.x % 128 == 0) wait_stores<0>();
}
