// augment   y[k] = normal(bright(flip(shift(move(pixels[indices[k]])))))
// targets: sm_75 sm_90
//
//   pixels      (count, h, w, 3) u8   in   all images of a set, or those of one batch
//   indices     (n) u32               in   which image output k is made of
//   transforms  (n) Transform         in   64 bytes for each output image
//   ranges      (n, 2)                in   smallest and largest level of the moved image, for the clip of a
//                                         channel shift; null where no image has one
//   y           (n, h, w, 3)          out  f32; of augment_bf16 and augment_f16 those, rounded once more
//   fault       (2) u32               in, out  [1]: the first k whose index is none of the set's images; all
//                                         ones before. That image is not written.
//
//   move     input row = m0·i + m1·j + m2, column = m3·i + m4·j + m5; four neighbours, bilinear; what lies
//            outside is taken as scipy.ndimage's mode says: 0 nearest, 1 reflect (dcba|abcd|dcba), 2 wrap
//            (period size - 1, as scipy does it), 3 one value for all that is not inside
//   shift    min(max(v + shift, smallest), largest), over all three channels
//   flip     columns, rows
//   bright   trunc(min(trunc(v) · factor, 255)): PIL's blend of bytes
//   normal   v[order[c]] · scale[c] + offset[c], rounded twice as in `normalize`
//
//   augment_range    ranges[k] over the moved image; minima and maxima have no order, so no bits to lose
//
// Coordinates and weights are f64, in the order of scipy's loops: an f32 coordinate is wrong by 1e-5 of a pixel,
// which the cliffs in here (the edge of a constant border, the two truncations of `bright`) turn into whole grey
// levels. No product is fused with a sum, so cpu and GPU have the same bits.
//
// One thread per pixel, 256 per block; a block per image for augment_range, 64 bytes of shared memory.
// A moved pixel reads 12 bytes (neighbours share sectors) and writes 12; about 50 operations in f64, of which a
// GPU does few per clock: 20 images of 150x150 are 23 M, tens of microseconds. Images that do not
// move read 3 bytes and use no f64.

#include "common.cuh"
#include "half.cuh"
#include "params.cuh"
#include "warp.cuh"

constexpr unsigned MOVES = 1, SHIFTS = 2, FLIPS_COLUMNS = 4, FLIPS_ROWS = 8, BRIGHTENS = 16;

// Twin of src/device/augment.rs.
struct Transform {
    double matrix[6];
    float shift;
    float brightness;
    unsigned flags;
    unsigned unused;
};

// Where a coordinate beyond the image lies inside it: scipy's map_coordinate. -1 for "nowhere".
__device__ __forceinline__ double inside(double at, const unsigned size, const unsigned border)
{
    const double last = (double)(size - 1);
    if (at >= 0.0 && at <= last) return at;
    if (border == 0) return at < 0.0 ? 0.0 : last;
    if (border == 3) return -1.0;
    if (size <= 1) return 0.0;
    if (border == 1) {
        const double whole = (double)size, both = (double)(2 * size);
        if (at < 0.0) {
            if (at < -both) at = __dadd_rn(at, __dmul_rn(both, (double)(long long)__ddiv_rn(-at, both)));
            if (at < -whole) return __dadd_rn(at, both);
            return __dadd_rn(at > -2.220446049250313e-16 ? 1e-15 : -at, -1.0);
        }
        at = __dadd_rn(at, -__dmul_rn(both, (double)(long long)__ddiv_rn(at, both)));
        return at >= whole ? __dadd_rn(__dadd_rn(both, -at), -1.0) : at;
    }
    if (at < 0.0)
        return __dadd_rn(at, __dmul_rn(last, __dadd_rn((double)(long long)__ddiv_rn(-at, last), 1.0)));
    return __dadd_rn(at, -__dmul_rn(last, (double)(long long)__ddiv_rn(at, last)));
}

// A pixel between four others.
struct Corners {
    unsigned row[2];                                 // offsets of the two rows, in bytes
    unsigned column[2];
    double by_row[2];                                // weights
    double by_column[2];
    bool nowhere;                                    // the border's value stands here
};

// The two neighbours of a coordinate along one axis, in steps of `stride` bytes. Clamped: the neighbour past
// the edge is the edge pixel, where it counts at all, and no number leads out of the image.
__device__ __forceinline__ void neighbours(
    const double at, const unsigned size, const unsigned stride, unsigned* to, double* weight)
{
    int first = (int)at;
    first -= (double)first > at ? 1 : 0;
    const double past = __dadd_rn(at, -(double)first);
    weight[0] = __dadd_rn(1.0, -past);
    weight[1] = __dadd_rn(1.0, -weight[0]);
    const int last = (int)size - 1;
    to[0] = (unsigned)min(max(first, 0), last) * stride;
    to[1] = (unsigned)min(max(first, -1) + 1, last) * stride;
}

// Where output pixel (i, j) comes from.
__device__ __forceinline__ Corners corners(
    const Augment& p, const double* RESTRICT m, const unsigned i, const unsigned j)
{
    const double y = (double)i, x = (double)j;
    const double row = __dadd_rn(__dadd_rn(__dmul_rn(y, m[0]), __dmul_rn(x, m[1])), m[2]);
    const double column = __dadd_rn(__dadd_rn(__dmul_rn(y, m[3]), __dmul_rn(x, m[4])), m[5]);
    const double a = inside(row, p.h, p.border), b = inside(column, p.w, p.border);
    Corners out;
    out.nowhere = !(a > -1.0 && b > -1.0);
    neighbours(a, p.h, 3 * p.w, out.row, out.by_row);
    neighbours(b, p.w, 3, out.column, out.by_column);
    return out;
}

// Channel c there.
__device__ __forceinline__ float level(
    const unsigned char* RESTRICT image, const Corners& at, const unsigned c, const float value)
{
    if (at.nowhere) return value;
    double sum = 0.0;
    #pragma unroll
    for (unsigned a = 0; a < 2; ++a)
        #pragma unroll
        for (unsigned b = 0; b < 2; ++b) {
            const double byte = __uint2double_rn(image[at.row[a] + at.column[b] + c]);
            sum = __dadd_rn(sum, __dmul_rn(__dmul_rn(byte, at.by_row[a]), at.by_column[b]));
        }
    return (float)sum;
}

// A set may hold more than 2^31 bytes; one image does not.
__device__ __forceinline__ const unsigned char* image_of(
    const Augment& p, const unsigned char* RESTRICT pixels, const unsigned index)
{
    return pixels + (unsigned long long)index * (3 * p.h * p.w);
}

extern "C" __global__ __launch_bounds__(LINEAR) void augment_range(
    const Augment p, const unsigned char* RESTRICT pixels, const unsigned* RESTRICT indices,
    const Transform* RESTRICT transforms, float* RESTRICT ranges)
{
    await_predecessor();
    __shared__ float smallest[LINEAR / WARP], largest[LINEAR / WARP];
    const unsigned k = blockIdx.x;
    const unsigned index = indices[k], flags = transforms[k].flags;
    if (index >= p.count || !(flags & SHIFTS)) return;                 // the whole block
    const unsigned char* image = image_of(p, pixels, index);
    float low = __int_as_float(0x7F800000), high = -low;               // the infinities
    for (unsigned pixel = threadIdx.x; pixel < p.h * p.w; pixel += LINEAR) {
        const unsigned i = pixel / p.w, j = pixel % p.w;
        if (flags & MOVES) {
            const Corners at = corners(p, transforms[k].matrix, i, j);
            #pragma unroll
            for (unsigned c = 0; c < 3; ++c) {
                const float v = level(image, at, c, p.value);
                low = fminf(low, v);
                high = fmaxf(high, v);
            }
        } else {
            #pragma unroll
            for (unsigned c = 0; c < 3; ++c) {
                const float v = image[3 * pixel + c];
                low = fminf(low, v);
                high = fmaxf(high, v);
            }
        }
    }
    low = -warp_max(-low);
    high = warp_max(high);
    if (threadIdx.x % WARP == 0) {
        smallest[threadIdx.x / WARP] = low;
        largest[threadIdx.x / WARP] = high;
    }
    __syncthreads();
    if (threadIdx.x > 0) return;
    for (unsigned warp = 1; warp < LINEAR / WARP; ++warp) {
        low = fminf(low, smallest[warp]);
        high = fmaxf(high, largest[warp]);
    }
    ranges[2 * k] = low;
    ranges[2 * k + 1] = high;
}

template <typename T>
__device__ __forceinline__ void augmented(
    const Augment& p, const unsigned char* RESTRICT pixels, const unsigned* RESTRICT indices,
    const Transform* RESTRICT transforms, const float* RESTRICT ranges, T* RESTRICT y,
    unsigned* RESTRICT fault)
{
    const unsigned at = blockIdx.x * LINEAR + threadIdx.x, area = p.h * p.w;
    if (at >= p.n * area) return;
    const unsigned k = at / area, pixel = at % area;
    const unsigned index = indices[k];
    if (index >= p.count) {
        // An integer minimum: whichever order the images come in, the first one stays.
        if (pixel == 0) atomicMin(fault + 1, k);
        return;
    }
    const unsigned flags = transforms[k].flags;
    unsigned i = pixel / p.w, j = pixel % p.w;
    if (flags & FLIPS_COLUMNS) j = p.w - 1 - j;
    if (flags & FLIPS_ROWS) i = p.h - 1 - i;
    const unsigned char* image = image_of(p, pixels, index);
    float v[3];
    if (flags & MOVES) {
        const Corners from = corners(p, transforms[k].matrix, i, j);
        #pragma unroll
        for (unsigned c = 0; c < 3; ++c) v[c] = level(image, from, p.order[c], p.value);
    } else {
        #pragma unroll
        for (unsigned c = 0; c < 3; ++c) v[c] = image[3 * (i * p.w + j) + p.order[c]];
    }
    if ((flags & SHIFTS) && ranges) {
        const float shift = transforms[k].shift, low = ranges[2 * k], high = ranges[2 * k + 1];
        #pragma unroll
        for (unsigned c = 0; c < 3; ++c) v[c] = fminf(fmaxf(__fadd_rn(v[c], shift), low), high);
    }
    if (flags & BRIGHTENS) {
        const float factor = transforms[k].brightness;
        #pragma unroll
        for (unsigned c = 0; c < 3; ++c) {
            const float byte = (float)(unsigned)fminf(fmaxf(v[c], 0.0f), 255.0f);
            v[c] = (float)(unsigned)fminf(fmaxf(__fmul_rn(byte, factor), 0.0f), 255.0f);
        }
    }
    #pragma unroll
    for (unsigned c = 0; c < 3; ++c)
        narrow(y + 3 * at + c, __fadd_rn(__fmul_rn(v[c], p.scale[c]), p.offset[c]));
}

extern "C" __global__ __launch_bounds__(LINEAR) void augment(
    const Augment p, const unsigned char* RESTRICT pixels, const unsigned* RESTRICT indices,
    const Transform* RESTRICT transforms, const float* RESTRICT ranges, float* RESTRICT y,
    unsigned* RESTRICT fault)
{
    await_predecessor();
    augmented(p, pixels, indices, transforms, ranges, y, fault);
}

extern "C" __global__ __launch_bounds__(LINEAR) void augment_bf16(
    const Augment p, const unsigned char* RESTRICT pixels, const unsigned* RESTRICT indices,
    const Transform* RESTRICT transforms, const float* RESTRICT ranges, Bf16* RESTRICT y,
    unsigned* RESTRICT fault)
{
    await_predecessor();
    augmented(p, pixels, indices, transforms, ranges, y, fault);
}

extern "C" __global__ __launch_bounds__(LINEAR) void augment_f16(
    const Augment p, const unsigned char* RESTRICT pixels, const unsigned* RESTRICT indices,
    const Transform* RESTRICT transforms, const float* RESTRICT ranges, F16* RESTRICT y,
    unsigned* RESTRICT fault)
{
    await_predecessor();
    augmented(p, pixels, indices, transforms, ranges, y, fault);
}
