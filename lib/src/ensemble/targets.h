// Before any header of Highway, in files that compile the lane kernels once per instruction set.
// Vectors stand in arrays there, which scalable ones cannot: Arm runs on NEON. The others left out
// gain nothing over their neighbours in the list.
#define HWY_DISABLED_TARGETS \
  (HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
