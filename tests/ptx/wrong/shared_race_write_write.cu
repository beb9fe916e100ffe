// Every warp leaves its sum in the same place.
// launch: grid=1 block=64
// args: x=f32[64] y=f32[2]?
extern "C" __global__ void shared_race_write_write(const float* x, float* y) {
    __shared__ float sums[2];
    int i = threadIdx.x;
    float sum = x[i];
    for (int by = 16; by > 0; by /= 2) sum += __shfl_xor_sync(0xffffffff, sum, by);
#ifdef MENDED
    if (i % 32 == 0) sums[i / 32] = sum;
#else
    if (i % 32 == 0) sums[0] = sum;
#endif
    __syncthreads();
    if (i == 0) y[0] = sums[0];
}
