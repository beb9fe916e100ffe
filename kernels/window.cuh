// window.cuh   a pixel and its eight neighbours: the nine taps of a 3x3 window
//
// Taps are numbered 3a + b, a and b in 0..3; tap t of pixel (i, j) looks at (i+a-1, j+b-1). Which taps
// fall inside the map is found once per thread and kept as nine bits, so that the inner loop divides
// nothing and compares nothing.

#pragma once

struct Window {
    int pixel;                                       // (n·h + i)·w + j
    unsigned inside;                                 // bit t: tap t lies in the map
};

// Bit t: the column, and the row, at which tap t of pixel (i, j) looks lies in the map.
struct ValidTaps {
    unsigned columns, rows;
};

__device__ __forceinline__ ValidTaps valid_taps(const int i, const int j, const int h, const int w)
{
    unsigned columns = 0b010010010, rows = 0b000111000;
    if (j > 0) columns |= 0b001001001;
    if (j + 1 < w) columns |= 0b100100100;
    if (i > 0) rows |= 0b000000111;
    if (i + 1 < h) rows |= 0b111000000;
    return {columns, rows};
}

// Bit t: tap t of pixel (i, j) lies in the map.
__device__ __forceinline__ unsigned taps_inside(const int i, const int j, const int h, const int w)
{
    const ValidTaps taps = valid_taps(i, j, h, w);
    return taps.columns & taps.rows;
}

// `pixels` is the number of all; a pixel past the end has no taps.
__device__ __forceinline__ Window window_at(const int pixel, const int pixels, const int h, const int w)
{
    const int j = pixel % w, i = pixel / w % h;
    const ValidTaps taps = valid_taps(i, j, h, w);
    return {pixel, pixel < pixels ? taps.rows & taps.columns : 0u};
}

// How many pixels further tap t looks.
__device__ __forceinline__ int shift(const int tap, const int w) { return (tap / 3 - 1) * w + tap % 3 - 1; }
