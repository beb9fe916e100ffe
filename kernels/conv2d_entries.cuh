// conv2d_entries.cuh   what entries on tensor cores take: NAME ends in the format and the tile, TYPE is mma.cuh's
//
// A tile's name is M x N x K of a step. Warp tile, stages and blocks per multiprocessor stand in the
// .cu files; src/device/gpu/lower/mma/format.rs knows threads and bytes of shared memory.
//
// The body follows on a line of its own: ptxas of CUDA 12.0 dies of a function that is inlined at the line where
// its entry begins.

#pragma once

#include "conv2d_any.cuh"
#include "conv2d_parts.cuh"

#define CONV2D_FORWARD(NAME, TYPE, THREADS, BLOCKS)                                                             \
    extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void conv2d_forward_##NAME(                        \
        const Conv2d p, const unsigned relu, const TYPE::Number* RESTRICT x,                                    \
        const TYPE::Number* RESTRICT weight, const float* RESTRICT bias,                                        \
        TYPE::Number* RESTRICT y)

#define CONV2D_MAXPOOL2D_FORWARD(NAME, TYPE, THREADS, BLOCKS)                                                   \
    extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void conv2d_maxpool2d_forward_##NAME(              \
        const Conv2d p, const TYPE::Number* RESTRICT x, const TYPE::Number* RESTRICT weight,                    \
        const float* RESTRICT bias, TYPE::Number* RESTRICT y, unsigned char* RESTRICT winner)

#define CONV2D_BACKWARD_INPUT(NAME, TYPE, THREADS, BLOCKS)                                                      \
    extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void conv2d_backward_input_##NAME(                 \
        const Conv2d p, const TYPE::Number* RESTRICT dy, const TYPE::Number* RESTRICT weight,                   \
        const TYPE::Number* RESTRICT mask, TYPE::Number* RESTRICT dx)

#define CONV2D_BACKWARD_WEIGHT(NAME, TYPE, THREADS, BLOCKS)                                                     \
    extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void conv2d_backward_weight_##NAME(                \
        const Conv2d p, const Split split, const TYPE::Number* RESTRICT x,                                      \
        const TYPE::Number* RESTRICT dy, float* RESTRICT parts, float* RESTRICT biases)

// Split-K, and what adds the parts.
#define CONV2D_FORWARD_PARTS(NAME, TYPE, THREADS, BLOCKS)                                                       \
    extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void conv2d_forward_parts_##NAME(                  \
        const Conv2d p, const Split split, const TYPE::Number* RESTRICT x,                                      \
        const TYPE::Number* RESTRICT weight, float* RESTRICT parts)

#define CONV2D_MAXPOOL2D_FORWARD_PARTS(NAME, TYPE, THREADS, BLOCKS)                                             \
    extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void conv2d_maxpool2d_forward_parts_##NAME(        \
        const Conv2d p, const Split split, const TYPE::Number* RESTRICT x,                                      \
        const TYPE::Number* RESTRICT weight, float* RESTRICT parts)

#define CONV2D_BACKWARD_INPUT_PARTS(NAME, TYPE, THREADS, BLOCKS)                                                \
    extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void conv2d_backward_input_parts_##NAME(           \
        const Conv2d p, const Split split, const TYPE::Number* RESTRICT dy,                                     \
        const TYPE::Number* RESTRICT weight, float* RESTRICT parts)

#define CONV2D_FORWARD_REDUCE(FORMAT, TYPE)                                                                     \
    extern "C" __global__ __launch_bounds__(LINEAR) void conv2d_forward_##FORMAT##_reduce(                      \
        const Partials p, const unsigned columns, const unsigned relu, const float* RESTRICT parts,             \
        const float* RESTRICT bias, TYPE::Number* RESTRICT y)

#define CONV2D_MAXPOOL2D_FORWARD_REDUCE(FORMAT, TYPE)                                                           \
    extern "C" __global__ __launch_bounds__(LINEAR) void conv2d_maxpool2d_forward_##FORMAT##_reduce(            \
        const Partials p, const unsigned columns, const float* RESTRICT parts,                                  \
        const float* RESTRICT bias, TYPE::Number* RESTRICT y, unsigned char* RESTRICT winner)

#define CONV2D_BACKWARD_INPUT_REDUCE(FORMAT, TYPE)                                                              \
    extern "C" __global__ __launch_bounds__(LINEAR) void conv2d_backward_input_##FORMAT##_reduce(               \
        const Partials p, const float* RESTRICT parts, const TYPE::Number* RESTRICT mask,                       \
        TYPE::Number* RESTRICT dx)
