// conv2d_sm90   the convolutions of bf16 by TMA and wgmma: Hopper (compute capability 9.0) only
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
//   conv2d_backward_input     dx = Σ dy·weight, filter rotated, where mask > 0
//   conv2d_backward_weight    parts[g + t] = Σ dy·x of tile t over the steps of block g, biases[g + t] = its share
//                             of Σ dy; conv2d_weight_reduce.cu adds them up
//
// x (n, h, w, c_in), weight (c_out, 3, 3, c_in), y and dy (n, h, w, c_out), mask and dx as x: bf16. bias (c_out),
// parts and biases f32. c_in and c_out are multiples of 64; a tile's columns divide those of the product, except for
// the last tile of backward_weight. Operands and y come as tensor maps (src/device/gpu/lower/sm90/mod.rs).
// Implementation: conv2d_sm90.cuh, conv2d_sm90_weight.cuh. Names say rows x columns of a block's tile; blocks are
// persistent.

#include "conv2d_sm90_entries.cuh"
#include "conv2d_sm90_weight.cuh"

#define CONV2D_FORWARD(TILE, name) CONV2D_FORWARD_BF16(convolve, ForwardEpilogue, TILE, name)

#define CONV2D_BACKWARD_INPUT(TILE, name)                                                                        \
    SM90(TILE, name)(                                                                                            \
        const __grid_constant__ TensorMap dy, const __grid_constant__ TensorMap weight,                          \
        const __grid_constant__ Conv2d p, const unsigned short* RESTRICT mask, unsigned short* RESTRICT dx)      \
    {                                                                                                            \
        convolve<TILE>(p, &dy, &weight, BackwardInputEpilogue{mask, dx});                                        \
    }

#define CONV2D_BACKWARD_WEIGHT(TILE, name)                                                                       \
    SM90(TILE, name)(                                                                                            \
        const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap dy,                               \
        const __grid_constant__ Conv2d p, float* RESTRICT parts, float* RESTRICT biases)                         \
    {                                                                                                            \
        backward_weight<TILE>(p, &x, &dy, parts, biases);                                                        \
    }

using Wide = Tile<128, 256, 4, 1>;
using Square = Tile<128, 128, 6, 1>;
using Narrow = Tile<128, 64, 4, 2>;
using Thirds = Tile<128, 192, 5, 1>;                 // 192 divides 9·c_in
static_assert(Wide::SHARED == 229440 && Square::SHARED == 229472 && Narrow::SHARED == 114752, "dynamic-shared, above");
static_assert(WEIGHT_SHARED<Wide> == 196672 && WEIGHT_SHARED<Thirds> == 204880, "dynamic-shared, above");

CONV2D_FORWARD(Wide, conv2d_forward_sm90_128x256)
CONV2D_FORWARD(Square, conv2d_forward_sm90_128x128)
CONV2D_FORWARD(Narrow, conv2d_forward_sm90_128x64)
CONV2D_BACKWARD_INPUT(Wide, conv2d_backward_input_sm90_128x256)
CONV2D_BACKWARD_INPUT(Square, conv2d_backward_input_sm90_128x128)
CONV2D_BACKWARD_INPUT(Narrow, conv2d_backward_input_sm90_128x64)
CONV2D_BACKWARD_WEIGHT(Wide, conv2d_backward_weight_sm90_128x256)
CONV2D_BACKWARD_WEIGHT(Thirds, conv2d_backward_weight_sm90_128x192)
