// conv2d_sm90_pool   convolution, ReLU and 2x2 pool of bf16: Hopper (compute capability 9.0) only
// targets: sm_90a
// hot: conv2d_maxpool2d_forward_sm90_64x8x32 conv2d_maxpool2d_forward_sm90_128x8x16
// dynamic-shared: conv2d_maxpool2d_forward_sm90_64x8x32 222400
// dynamic-shared: conv2d_maxpool2d_forward_sm90_128x8x16 185488
//
//   conv2d_maxpool2d_forward  y  = max over 2x2 of ReLU(bias + Σ x·weight), winner = which
//
// x (n, h, w, c_in), weight (c_out, 3, 3, c_in), y (n, h/2, w/2, c_out) bf16; bias (c_out) f32; winner as in
// maxpool2d.cu, or null. c_in and c_out are multiples of 64; 64x8x32 takes 64 of both, 128x8x16 filters in whole
// 128s. Implementation: conv2d_sm90_halo.cuh. Names say filters x columns x lines of a tile; blocks are persistent.

#include "conv2d_sm90_entries.cuh"
#include "conv2d_sm90_halo.cuh"

#define CONV2D_MAXPOOL2D_FORWARD(HALO, name)                                                                     \
    SM90(HALO, name)(                                                                                            \
        const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap weight,                           \
        const __grid_constant__ TensorMap y, const __grid_constant__ Conv2d p, const float* RESTRICT bias,       \
        unsigned char* RESTRICT winner)                                                                          \
    {                                                                                                            \
        maxpool2d_forward<HALO>(p, &x, &weight, &y, bias, winner);                                               \
    }

using Few = Halo<64, 32, 9, 3, true>;
using Many = Halo<128, 16, 6, 3, false>;
static_assert(Few::SHARED == 222400 && Many::SHARED == 185488, "dynamic-shared, above");

CONV2D_MAXPOOL2D_FORWARD(Few, conv2d_maxpool2d_forward_sm90_64x8x32)
CONV2D_MAXPOOL2D_FORWARD(Many, conv2d_maxpool2d_forward_sm90_128x8x16)
