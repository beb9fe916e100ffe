// A row of five numbers is no place for vectors.
// launch: grid=1 block=8
// args: y=f32[32]?
extern "C" __global__ void shared_misaligned(float* y) {
#ifdef MENDED
    const int row = 4;
#else
    const int row = 5;
#endif
    __shared__ __align__(16) float tile[8 * row];
    int i = threadIdx.x;
    for (int k = 0; k < 4; ++k) tile[i * row + k] = k;
    reinterpret_cast<float4*>(y)[i] = *reinterpret_cast<float4*>(&tile[i * row]);
}
