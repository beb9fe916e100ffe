// conv2d_sm90_tf32   the convolutions of tf32 by TMA and wgmma: Hopper (compute capability 9.0) alone
// targets: sm_90a
// hot: conv2d_forward_sm90_tf32_128x256 conv2d_forward_sm90_tf32_128x128 conv2d_forward_sm90_tf32_128x64
// hot: conv2d_backward_input_sm90_tf32_128x256 conv2d_backward_input_sm90_tf32_128x128
// hot: conv2d_backward_input_sm90_tf32_128x64
// dynamic-shared: conv2d_forward_sm90_tf32_128x256 196672
// dynamic-shared: conv2d_forward_sm90_tf32_128x128 196704
// dynamic-shared: conv2d_forward_sm90_tf32_128x64 98368
// dynamic-shared: conv2d_backward_input_sm90_tf32_128x256 196672
// dynamic-shared: conv2d_backward_input_sm90_tf32_128x128 196704
// dynamic-shared: conv2d_backward_input_sm90_tf32_128x64 98368
//
//   conv2d_forward            y  = f(bias + Σ x·weight)
//   conv2d_backward_input     dx = Σ dy·turned, window turned, where mask > 0
//
// x (n, h, w, c_in), y and dy (n, h, w, c_out), mask and dx as x, bias (c_out), weight (c_out, 3, 3, c_in), turned
// (3, 3, c_in, c_out): f32. Channels and filters are multiples of 64. x, dy and weights come as tensor maps that round
// to tf32, to the nearest, as TMA copies (src/device/gpu/lower/sm90/tf32.rs). wgmma takes tf32 along the depth
// alone: hence `turned`, and no backward_weight, whose depth are pixels. How it is done: conv2d_sm90.cuh.

#include "conv2d_sm90.cuh"

// What becomes of the sums of a product whose rows are pixels: y, or dx where the mask is above zero. Four lanes store
// a sector of 32 bytes, straight from their fragments.
struct ForwardF32 {
    static constexpr bool BACKWARD = false;
    float* y;
    const float* bias;
    bool relu;
};

struct BackwardInputF32 {
    static constexpr bool BACKWARD = true;
    const float* mask;                               // or null
    float* dx;
};

template <class Tile, class End>
__device__ __forceinline__ void finish(
    const End& end, const Conv2d& p, unsigned, int, const int row, const int column, const float* sums)
{
    const int lane = threadIdx.x % 32, pixels = p.n * p.h * p.w, columns = End::BACKWARD ? p.c_in : p.c_out;
    #pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int pixel = row + half * 8 + lane / 4;
        if (pixel >= pixels) continue;
        const int place = pixel * columns + column + lane % 4 * 2;
        #pragma unroll
        for (int k = 0; k < 8; ++k) {
            float2 v = make_float2(sums[k * 4 + half * 2], sums[k * 4 + half * 2 + 1]);
            if constexpr (End::BACKWARD) {
                if (end.mask) {
                    const float2 output = *reinterpret_cast<const float2*>(end.mask + place + k * 8);
                    v = make_float2(output.x > 0.0f ? v.x : 0.0f, output.y > 0.0f ? v.y : 0.0f);
                }
                *reinterpret_cast<float2*>(end.dx + place + k * 8) = v;
            } else {
                const float2 bias = *reinterpret_cast<const float2*>(end.bias + column + lane % 4 * 2 + k * 8);
                v = make_float2(v.x + bias.x, v.y + bias.y);
                if (end.relu) v = make_float2(rectify_sum(v.x), rectify_sum(v.y));
                *reinterpret_cast<float2*>(end.y + place + k * 8) = v;
            }
        }
    }
}

#define SM90(TILE, name) extern "C" __global__ __launch_bounds__((TILE::THREADS), (TILE::BLOCKS)) void name

#define CONV2D_FORWARD(TILE, name)                                                                               \
    SM90(TILE, name)(                                                                                            \
        const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap weight,                           \
        const __grid_constant__ Conv2d p, const unsigned relu, const float* __restrict__ bias,                   \
        float* __restrict__ y)                                                                                   \
    {                                                                                                            \
        convolve<TILE>(p, &x, &weight, ForwardF32{y, bias, relu != 0});                                          \
    }

#define CONV2D_BACKWARD_INPUT(TILE, name)                                                                        \
    SM90(TILE, name)(                                                                                            \
        const __grid_constant__ TensorMap dy, const __grid_constant__ TensorMap turned,                          \
        const __grid_constant__ Conv2d p, const float* __restrict__ mask, float* __restrict__ dx)                \
    {                                                                                                            \
        convolve<TILE>(p, &dy, &turned, BackwardInputF32{mask, dx});                                             \
    }

using Wide = Tile<128, 256, 4, 1, Tf32>;
using Square = Tile<128, 128, 6, 1, Tf32>;
using Narrow = Tile<128, 64, 4, 2, Tf32>;

CONV2D_FORWARD(Wide, conv2d_forward_sm90_tf32_128x256)
CONV2D_FORWARD(Square, conv2d_forward_sm90_tf32_128x128)
CONV2D_FORWARD(Narrow, conv2d_forward_sm90_tf32_128x64)
CONV2D_BACKWARD_INPUT(Wide, conv2d_backward_input_sm90_tf32_128x256)
CONV2D_BACKWARD_INPUT(Square, conv2d_backward_input_sm90_tf32_128x128)
CONV2D_BACKWARD_INPUT(Narrow, conv2d_backward_input_sm90_tf32_128x64)
