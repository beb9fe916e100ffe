// The last thread writes past its tile, into the one that happens to lie behind.
// launch: grid=1 block=32
// args: y=f32[32]? n=u32:1
extern "C" __global__ void shared_neighbour(float* y, unsigned n) {
    __shared__ float one[32], other[32];
    one[threadIdx.x] = 1;
    other[threadIdx.x] = 2;
    __syncthreads();
#ifdef MENDED
    n = 0;
#endif
    one[threadIdx.x + n] = 3;
    other[threadIdx.x + n] = 4;
    __syncthreads();
    y[threadIdx.x] = one[31 - threadIdx.x] + other[31 - threadIdx.x];
}
