// Warps of a block hand numbers to each other through global memory, and do not meet.
// launch: grid=1 block=64 global_races=1
// args: y=f32[64] z=f32[64]?
extern "C" __global__ void warps_race(float* y, float* z) {
    y[threadIdx.x] = threadIdx.x;
#ifdef MENDED
    __syncthreads();
#endif
    z[threadIdx.x] = y[63 - threadIdx.x];
}
