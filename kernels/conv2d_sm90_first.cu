// conv2d_sm90_first   VGG16's first block of bf16 in one pass: Hopper (compute capability 9.0) only
// targets: sm_90a
// hot: conv2d_conv2d_maxpool2d_forward_sm90_64x8x32
// dynamic-shared: conv2d_conv2d_maxpool2d_forward_sm90_64x8x32 230720
//
//   conv2d_conv2d_maxpool2d_forward   y = max over 2x2 of ReLU(bias + Σ z·weight),
//                                     z = ReLU(first_bias + Σ x·first_weight)
//
// x (n, h, w, 3), first_weight (64, 3, 3, 3), weight (64, 3, 3, 64), y (n, h/2, w/2, 64) bf16; both biases (64) f32. p
// says 64 channels and 64 filters. For inference: winners are not stored, and z exists only in shared memory. The bits
// are those of the two separate kernels, since Hopper's mma.sync adds its 16 products at once, in whatever order.
//
// The second convolution is that of conv2d_sm90_halo.cuh, but TMA does not load its boxes of z: a warpgroup computes
// them by mma.sync from the images. The 27 numbers of a pixel's window are one product of K = 32; its 64 filters stay
// in registers. A box is 10 x 34 pixels, so a third more of z is computed than there is: 0.7 million multiply-adds
// beside 9.4 million of wgmma. In return z is neither written nor read: 58 MB each way for 20 images of 150x150.
//
// The two consumers take turns: while one stores its half of a tile the other multiplies.

#include "conv2d_sm90_halo.cuh"

struct First : Halo<64, 32, 9, 3, true> {
    static constexpr bool TURNS = true;
    // An M tile is sixteen pixels: the eight left columns of two lines, or the two right ones of eight.
    static constexpr int LEFT = (HEIGHT + 2) / 2, RIGHT = (HEIGHT + 2 + 7) / 8;
    // The box's pixels and their halo, 36 lines of 12, in two copies. Elements have two bytes and are read in pairs:
    // those that begin at an even element are words of the first copy, the others of the second, which is shifted by
    // one. With these pitches only the loads of right columns, eight of them, have bank conflicts.
    static constexpr int PATCH_LINES = HEIGHT + 4, PATCH_ROW = 12 * 3, PITCH = 112, COPY = 37 * PITCH + 8;
    static constexpr int STAGED = (PATCH_LINES * PATCH_ROW + 127) / 128;
    static constexpr int TURN = BARRIERS + 16 * (STAGES + BOXES), PATCH = TURN + 16;
    // Dynamic shared memory: what `// dynamic-shared:` and src/device/gpu/lower/sm90/first.rs say.
    static constexpr int SHARED = PATCH + 2 * COPY;
    static_assert(SHARED == 230720, "dynamic-shared, above");
};

// Where the four pairs of a lane's A fragments lie in a window: row and element (column, channel) of the pair. K = 0 to
// 15 are numbers 0 to 15 of the 27, except that member 0 finds number 8 in the row above. K = 16 to 31 are the last row
// and, as the fourth pair, the remainder: 16 and 17, then 26 and a zero, then zeros.
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

// The same pair of a filter: its number `number` of 27 and the next one, or zeros.
__device__ __forceinline__ unsigned filter_pair(const unsigned short* RESTRICT filter, const int k, const int member)
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

// Loads a thread's pixels of the tile at `at`, zeros outside the image: element thread + 128·k of 36 lines.
__device__ __forceinline__ void fetch_patch(
    const Conv2d& p, const Place at, const unsigned short* RESTRICT x, unsigned short (&staged)[First::STAGED])
{
    const int row = int(p.w) * 3, first = (at.x - 2) * 3;
    #pragma unroll
    for (int k = 0; k < First::STAGED; ++k) {
        const int index = threadIdx.x % 128 + k * 128, line = index / First::PATCH_ROW;
        const int y = at.y - 2 + line, element = first + index % First::PATCH_ROW;
        const bool there = line < First::PATCH_LINES && y >= 0 && y < int(p.h) && element >= 0 && element < row;
        staged[k] = 0;
        if (there) staged[k] = x[(at.n * int(p.h) + y) * row + element];
    }
}

__device__ __forceinline__ void store_patch(const unsigned patch, const unsigned short (&staged)[First::STAGED])
{
    #pragma unroll
    for (int k = 0; k < First::STAGED; ++k) {
        const int index = threadIdx.x % 128 + k * 128, line = index / First::PATCH_ROW;
        if (line >= First::PATCH_LINES) continue;
        const unsigned to = patch + line * First::PITCH + index % First::PATCH_ROW * 2;
        store_half(to, staged[k]);
        store_half(to + First::COPY + 2, staged[k]);
    }
}

// Computes the boxes of z of all tiles of the block, and has TMA load the second convolution's weights.
__device__ __forceinline__ void produce_first(
    const Conv2d& p, const unsigned shared, const TensorMap* weight, const unsigned short* RESTRICT x,
    const unsigned short* RESTRICT first_weight, const float* RESTRICT first_bias)
{
    const int thread = threadIdx.x % 128, warp = thread / 32, group = thread % 32 / 4, member = thread % 4;
    const unsigned taps = shared + First::BARRIERS, boxes = taps + 16 * First::STAGES, patch = shared + First::PATCH;
    if (thread == 0) {
        for (int tap = 0; tap < First::STAGES; ++tap) {
            arrive_expect_tx(full(taps, tap), First::STAGE);
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
    // In the second copy the elements before and behind a line are read, but multiplied by zeros.
    if (thread < First::PATCH_LINES) {
        store_half(patch + First::COPY + thread * First::PITCH, 0);
        store_half(patch + First::COPY + thread * First::PITCH + First::PATCH_ROW * 2 + 2, 0);
    }

    const int tiles = tiles_of<First>(p);
    Ring<First::BOXES> box;
    unsigned short staged[First::STAGED];
    if (int(blockIdx.x) < tiles) fetch_patch(p, place_of<First>(p, blockIdx.x), x, staged);
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const Place at = place_of<First>(p, tile);
        // The patch of the tile before has been read.
        named_barrier_sync(3, 128);
        store_patch(patch, staged);
        named_barrier_sync(3, 128);
        if (tile + int(gridDim.x) < tiles) fetch_patch(p, place_of<First>(p, tile + gridDim.x), x, staged);
        wait(empty(boxes, box.stage), box.parity ^ 1);
        const unsigned to = shared + box.stage * First::BOX_ROOM;
        #pragma unroll 1
        for (int rows = warp; rows < First::LEFT + First::RIGHT; rows += 4) {
            const bool right = rows >= First::LEFT;
            const int column = right ? 8 + group % 2 : group;
            unsigned fragments[2][4];
            int line[2];
            #pragma unroll
            for (int i = 0; i < 2; ++i) {
                line[i] = right ? (rows - First::LEFT) * 8 + group / 2 + i * 4 : rows * 2 + i;
                const unsigned pixel = min(line[i], First::HEIGHT + 1) * First::PITCH + column * 6;
                fragments[0][i] = load_word(place[0] + pixel);
                fragments[0][2 + i] = __byte_perm(load_word(place[1] + pixel), load_half(patch + pixel + 16), above);
                fragments[1][i] = load_word(place[2] + pixel);
                fragments[1][2 + i] = load_word(place[3] + pixel) & left_over;
            }
            float acc[8][4] = {};
            #pragma unroll
            for (int k = 0; k < 2; ++k)
                #pragma unroll
                for (int j = 0; j < 8; ++j)
                    multiply<Bf16>(acc[j], fragments[k], filters[j][2 * k], filters[j][2 * k + 1]);
            #pragma unroll
            for (int i = 0; i < 2; ++i) {
                const int y = at.y - 1 + line[i], x_at = at.x - 1 + column, pixel = line[i] * 10 + column;
                if (line[i] >= First::HEIGHT + 2) continue;
                // Chunk j of the pixel's row lies at `row` xor 16·j (swizzled_offset).
                const unsigned row = to + swizzled_offset(pixel, 0) + member * 4;
                // Outside the map z is the second convolution's zero padding.
                const bool inside = y >= 0 && y < int(p.h) && x_at >= 0 && x_at < int(p.w);
                #pragma unroll
                for (int j = 0; j < 8; ++j) {
                    const unsigned both = pack_bf16(
                        rectify_sum(acc[j][2 * i] + bias[j].x), rectify_sum(acc[j][2 * i + 1] + bias[j].y));
                    store_word(row ^ (j << 4), inside ? both : 0);
                }
            }
        }
        fence_proxy_async();
        __syncwarp();
        if (thread % 32 == 0) arrive(full(boxes, box.stage));
        box.advance();
    }
}

extern "C" __global__ __launch_bounds__(First::THREADS, First::BLOCKS) void
conv2d_conv2d_maxpool2d_forward_sm90_64x8x32(
    const __grid_constant__ TensorMap weight, const __grid_constant__ TensorMap y, const __grid_constant__ Conv2d p,
    const unsigned short* RESTRICT x, const unsigned short* RESTRICT first_weight,
    const float* RESTRICT first_bias, const float* RESTRICT bias)
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
    float acc[1][First::COLUMNS / 2] = {};
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        wait(turn + consumer * 8, parity);
        parity ^= 1;
        consume_halo<First>(shared, 64, consumer, ring, box, acc);
        Place at = place_of<First>(p, tile);
        at.y += consumer * First::LINES;
        const unsigned results = shared + First::RESULTS + (consumer * 2 + buffer) * 4096;
        epilogue_pool<First>(p, at, results, &y, bias, nullptr, acc[0]);
        buffer ^= 1;
    }
    if (threadIdx.x % 128 == 0) wait_stores<0>();
}
