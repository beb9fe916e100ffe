// conv2d_entries.cuh   makes entries of the templates: FORMAT is bf16 or tf32, TYPE the one of mma.cuh
//
// A tile's name is rows x columns; BK, warp tile, stages and blocks per multiprocessor belong to the entry and
// are known to src/device/gpu/lower/mma.rs by threads and bytes of shared memory alone.

#pragma once

#include "conv2d_any.cuh"

#define ENTRY(threads, blocks, name) extern "C" __global__ __launch_bounds__(threads, blocks) void name

#define CONV2D_FORWARD(FORMAT, TYPE, BM, BN, BK, WM, WN, STAGES, BLOCKS)                                        \
    ENTRY((Tile<TYPE, BM, BN, BK, WM, WN, STAGES>::THREADS), BLOCKS, conv2d_forward_##FORMAT##_##BM##x##BN)(    \
        const Conv2d p, const unsigned relu, const TYPE::Number* __restrict__ x,                                \
        const TYPE::Number* __restrict__ weight, const float* __restrict__ bias, TYPE::Number* __restrict__ y)  \
    {                                                                                                           \
        forward<Tile<TYPE, BM, BN, BK, WM, WN, STAGES>>(p, relu, x, weight, bias, y);                           \
    }

#define CONV2D_MAXPOOL2D_FORWARD(FORMAT, TYPE, BM, BN, BK, WM, WN, STAGES, BLOCKS)                              \
    ENTRY((Tile<TYPE, BM, BN, BK, WM, WN, STAGES>::THREADS), BLOCKS,                                            \
          conv2d_maxpool2d_forward_##FORMAT##_##BM##x##BN)(                                                     \
        const Conv2d p, const TYPE::Number* __restrict__ x, const TYPE::Number* __restrict__ weight,            \
        const float* __restrict__ bias, TYPE::Number* __restrict__ y, unsigned char* __restrict__ winner)       \
    {                                                                                                           \
        maxpool2d_forward<Tile<TYPE, BM, BN, BK, WM, WN, STAGES>>(p, x, weight, bias, y, winner);               \
    }

#define CONV2D_BACKWARD_INPUT(FORMAT, TYPE, BM, BN, BK, WM, WN, STAGES, BLOCKS)                                 \
    ENTRY((Tile<TYPE, BM, BN, BK, WM, WN, STAGES>::THREADS), BLOCKS,                                            \
          conv2d_backward_input_##FORMAT##_##BM##x##BN)(                                                        \
        const Conv2d p, const TYPE::Number* __restrict__ dy, const TYPE::Number* __restrict__ weight,           \
        const TYPE::Number* __restrict__ mask, TYPE::Number* __restrict__ dx)                                   \
    {                                                                                                           \
        backward_input<Tile<TYPE, BM, BN, BK, WM, WN, STAGES>>(p, dy, weight, mask, dx);                        \
    }

#define CONV2D_BACKWARD_WEIGHT(FORMAT, TYPE, BM, BN, BK, WM, WN, STAGES, BLOCKS)                                \
    ENTRY((Tile<TYPE, BM, BN, BK, WM, WN, STAGES>::THREADS), BLOCKS,                                            \
          conv2d_backward_weight_##FORMAT##_##BM##x##BN)(                                                       \
        const Conv2d p, const Split split, const TYPE::Number* __restrict__ x,                                  \
        const TYPE::Number* __restrict__ dy, float* __restrict__ parts)                                         \
    {                                                                                                           \
        backward_weight<Tile<TYPE, BM, BN, BK, WM, WN, STAGES>>(p, split, x, dy, parts);                        \
    }

// Of all four calls for channels of any number, and the forward pass of pictures of three.
#define CONV2D_ANY(FORMAT, TYPE)                                                                                \
    ENTRY(128, 4, conv2d_forward_##FORMAT##_rgb)(                                                               \
        const Conv2d p, const unsigned relu, const TYPE::Number* __restrict__ x,                                \
        const TYPE::Number* __restrict__ weight, const float* __restrict__ bias, TYPE::Number* __restrict__ y)  \
    {                                                                                                           \
        forward_any<TYPE, 3>(p, relu, x, weight, bias, y);                                                      \
    }                                                                                                           \
    ENTRY(128, 2, conv2d_forward_##FORMAT##_any)(                                                               \
        const Conv2d p, const unsigned relu, const TYPE::Number* __restrict__ x,                                \
        const TYPE::Number* __restrict__ weight, const float* __restrict__ bias, TYPE::Number* __restrict__ y)  \
    {                                                                                                           \
        forward_any<TYPE, 0>(p, relu, x, weight, bias, y);                                                      \
    }                                                                                                           \
    ENTRY(128, 2, conv2d_maxpool2d_forward_##FORMAT##_any)(                                                     \
        const Conv2d p, const TYPE::Number* __restrict__ x, const TYPE::Number* __restrict__ weight,            \
        const float* __restrict__ bias, TYPE::Number* __restrict__ y, unsigned char* __restrict__ winner)       \
    {                                                                                                           \
        maxpool2d_forward_any<TYPE>(p, x, weight, bias, y, winner);                                             \
    }                                                                                                           \
    ENTRY(128, 2, conv2d_backward_input_##FORMAT##_any)(                                                        \
        const Conv2d p, const TYPE::Number* __restrict__ dy, const TYPE::Number* __restrict__ weight,           \
        const TYPE::Number* __restrict__ mask, TYPE::Number* __restrict__ dx)                                   \
    {                                                                                                           \
        backward_input_any<TYPE>(p, dy, weight, mask, dx);                                                      \
    }                                                                                                           \
    ENTRY(128, 2, conv2d_backward_weight_##FORMAT##_any)(                                                       \
        const Conv2d p, const Split split, const TYPE::Number* __restrict__ x,                                  \
        const TYPE::Number* __restrict__ dy, float* __restrict__ parts)                                         \
    {                                                                                                           \
        backward_weight_any<TYPE>(p, split, x, dy, parts);                                                      \
    }
