// One block fills a stage of both, and then again when its own threads have read it: the other's may not have.
// target: sm_90a
// launch: grid=2 block=128
// args: x=f32[256] y=f32[256]?
#define NAME cluster_stage_overwritten
#define WAIT wait_cluster
#ifdef MENDED
#define READERS 8
#define ARRIVE release_in(&empty, 0)
#else
#define READERS 4
#define ARRIVE arrive(&empty)
#endif
#include "cluster_stage.cuh"
