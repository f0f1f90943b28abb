#pragma once

#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>
#include <torch/cuda.h>

#include "support/environment.h"

namespace pcxx::test {

/// A test on a CUDA device: with a LibTorch that knows none, on the fake one (fake_device.h), which
/// programs that the test starts then find too.
class OnDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    const bool there = torch::cuda::is_available();
#ifdef PCXX_FAKE_DEVICE
    ASSERT_TRUE(there) << "LibTorch does not see the fake device";
#else
    if (!there) GTEST_SKIP() << "this machine has no CUDA device";
#endif
  }

  const at::Device device_{at::kCUDA, 0};

#ifdef PCXX_FAKE_DEVICE
 private:
  Variable preload_{"LD_PRELOAD", PCXX_FAKE_DEVICE};
#endif
};

}  // namespace pcxx::test
