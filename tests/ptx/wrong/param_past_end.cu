// An array in a struct that comes by value, indexed past its end.
// launch: grid=1 block=32
// args: p=words:8 y=u32[32]?
struct Table {
    unsigned of[8];
};
extern "C" __global__ void param_past_end(const __grid_constant__ Table p, unsigned* y) {
    unsigned i = threadIdx.x;
#ifdef MENDED
    y[i] = p.of[i % 8];
#else
    y[i] = p.of[i];
#endif
}
