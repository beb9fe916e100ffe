// conv2d_sm90   the convolutions of bf16 by TMA and wgmma: Hopper (compute capability 9.0) alone
// targets: sm_90a
// hot: conv2d_forward_sm90_128x256 conv2d_forward_sm90_128x128 conv2d_forward_sm90_128x64
// hot: conv2d_backward_input_sm90_128x256 conv2d_backward_input_sm90_128x128 conv2d_backward_input_sm90_128x64
// hot: conv2d_backward_weight_sm90_128x256 conv2d_backward_weight_sm90_128x192
// dynamic-shared: conv2d_forward_sm90_128x256 229440
// dynamic-shared: conv2d_forward_sm90_128x128 229472
// dynamic-shared: conv2d_forward_sm90_128x64 114752
// dynamic-shared: conv2d_backward_input_sm90_128x256 229440
// dynamic-shared: conv2d_backward_input_sm90_128x128 229472
// dynamic-shared: conv2d_backward_input_sm90_128x64 114752
// dynamic-shared: conv2d_backward_weight_sm90_128x256 196672
// dynamic-shared: conv2d_backward_weight_sm90_128x192 204880
//
//   conv2d_forward            y  = f(bias + Σ x·weight)
//   conv2d_backward_input     dx = Σ dy·weight, window turned, where mask > 0
//   conv2d_backward_weight    parts[g + t] = Σ dy·x of tile t over the steps of block g, biases[g + t] = its share
//                             of Σ dy; conv2d_weight_reduce.cu adds them up
//
// x (n, h, w, c_in), weight (c_out, 3, 3, c_in), y and dy (n, h, w, c_out), mask and dx as x: bf16. bias (c_out),
// parts and biases f32. c_in and c_out are multiples of 64; tiles' columns divide those of the product, but for
// the last tile of a backward_weight. Factors, and y, come as tensor maps (src/device/gpu/lower/sm90/mod.rs). How it is
// done: conv2d_sm90.cuh, conv2d_sm90_weight.cuh. Names say rows x columns of a block's tile; grids are of blocks that stay.

#include "conv2d_sm90_weight.cuh"

#define SM90(TILE, name) extern "C" __global__ __launch_bounds__((TILE::THREADS), (TILE::BLOCKS)) void name

#define CONV2D_FORWARD(TILE, name)                                                                               \
    SM90(TILE, name)(                                                                                            \
        const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap weight,                           \
        const __grid_constant__ TensorMap y, const __grid_constant__ Conv2d p, const unsigned relu,              \
        const float* __restrict__ bias)                                                                          \
    {                                                                                                            \
        convolve<TILE>(p, &x, &weight, Forward{&y, bias, relu != 0});                                            \
    }

#define CONV2D_BACKWARD_INPUT(TILE, name)                                                                        \
    SM90(TILE, name)(                                                                                            \
        const __grid_constant__ TensorMap dy, const __grid_constant__ TensorMap weight,                          \
        const __grid_constant__ Conv2d p, const unsigned short* __restrict__ mask, unsigned short* __restrict__ dx) \
    {                                                                                                            \
        convolve<TILE>(p, &dy, &weight, BackwardInput{mask, dx});                                                \
    }

#define CONV2D_BACKWARD_WEIGHT(TILE, name)                                                                       \
    SM90(TILE, name)(                                                                                            \
        const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap dy,                               \
        const __grid_constant__ Conv2d p, float* __restrict__ parts, float* __restrict__ biases)                 \
    {                                                                                                            \
        backward_weight<TILE>(p, &x, &dy, parts, biases);                                                        \
    }

using Wide = Tile<128, 256, 4, 1>;
using Square = Tile<128, 128, 6, 1>;
using Narrow = Tile<128, 64, 4, 2>;
using Thirds = Tile<128, 192, 5, 1>;                 // 9·c_in columns are whole tiles of 192

CONV2D_FORWARD(Wide, conv2d_forward_sm90_128x256)
CONV2D_FORWARD(Square, conv2d_forward_sm90_128x128)
CONV2D_FORWARD(Narrow, conv2d_forward_sm90_128x64)
CONV2D_BACKWARD_INPUT(Wide, conv2d_backward_input_sm90_128x256)
CONV2D_BACKWARD_INPUT(Square, conv2d_backward_input_sm90_128x128)
CONV2D_BACKWARD_INPUT(Narrow, conv2d_backward_input_sm90_128x64)
CONV2D_BACKWARD_WEIGHT(Wide, conv2d_backward_weight_sm90_128x256)
CONV2D_BACKWARD_WEIGHT(Thirds, conv2d_backward_weight_sm90_128x192)
