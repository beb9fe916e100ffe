// Four numbers at once, from the second one on.
// launch: grid=1 block=8
// args: x=f32[36] y=f32[32]?
extern "C" __global__ void global_misaligned(const float* x, float* y) {
#ifdef MENDED
    int first = 0;
#else
    int first = 1;
#endif
    float4 four = reinterpret_cast<const float4*>(x + first)[threadIdx.x];
    reinterpret_cast<float4*>(y)[threadIdx.x] = four;
}
