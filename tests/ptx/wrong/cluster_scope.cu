// The other block's threads arrive at their own block's scope: their reads are not in order for who fills the stage again.
// target: sm_90a
// launch: grid=2 block=128
// args: x=f32[256] y=f32[256]?
#define NAME cluster_scope
#define WAIT wait_cluster
#define READERS 8
#ifdef MENDED
#define ARRIVE release_in(&empty, 0)
#else
#define ARRIVE arrive_in(&empty, 0)
#endif
#include "cluster_stage.cuh"
