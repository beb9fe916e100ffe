// `velocity` is read before anybody has filled it.
// launch: grid=1 block=32
// args: gradient=f32[32] velocity=f32[32]?
extern "C" __global__ void global_uninitialized(const float* gradient, float* velocity) {
    int i = threadIdx.x;
#ifdef MENDED
    velocity[i] = gradient[i];
#else
    velocity[i] = 0.9f * velocity[i] + gradient[i];
#endif
}
