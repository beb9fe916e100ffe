// conv2d_sm90_entries.cuh   what entries on Hopper take: TILE says threads and blocks of a multiprocessor

#pragma once

#include "conv2d_sm90.cuh"

// The third argument, if there is one, is the cluster's size.
#define SM90(TILE, name, ...)                                                                                    \
    extern "C" __global__ __launch_bounds__((TILE::THREADS), (TILE::BLOCKS)) __VA_ARGS__ void name

// bf16: y leaves by TMA. BODY is one of the `convolve`s, EPILOGUE what it is given.
#define CONV2D_FORWARD_BF16(BODY, EPILOGUE, TILE, name, ...)                                                     \
    SM90(TILE, name, __VA_ARGS__)(                                                                               \
        const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap weight,                           \
        const __grid_constant__ TensorMap y, const __grid_constant__ Conv2d p, const unsigned relu,              \
        const float* RESTRICT bias)                                                                              \
    {                                                                                                            \
        BODY<TILE>(p, &x, &weight, EPILOGUE{&y, bias, relu != 0});                                               \
    }
