// The device of the other tests here: what it must catch, or their passing says nothing.

#include "device/fake_device.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorIndexing.h>
#include <torch/cuda.h>

#include <functional>
#include <map>
#include <string>

#include "device/on_device.h"

namespace pcxx::test {
namespace {

using FakeDevice_CUDA = OnDevice;

std::string refusal(const std::function<void()>& work) {
  try {
    work();
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  }
  return "";
}

// Contract: numbers of the device are not the host's, to read or to write.
TEST_F(FakeDevice_CUDA, EndsAHostThatTouchesItsMemory) {
  const auto there = at::ones({3}, at::dtype(at::kDouble).device(device_));
  auto* address = there.mutable_data_ptr<double>();
  EXPECT_DEATH(EXPECT_EQ(*address, 1), "the host touches the memory of the device");
  EXPECT_DEATH(address[2] = 1, "the host touches the memory of the device");
  EXPECT_EQ(there.sum().item<double>(), 3);
}

// Contract: what a GPU refuses is refused, with a sentence.
TEST_F(FakeDevice_CUDA, RefusesWhatAGpuRefuses) {
  ASSERT_EQ(torch::cuda::device_count(), 2U);
  const auto here = at::ones({2, 2}, at::kDouble);
  const auto there = here.to(device_);
  const auto other = here.to(at::Device(at::kCUDA, 1));
  EXPECT_NE(refusal([&] { at::matmul(here, there); }), "");
  EXPECT_NE(refusal([&] { at::matmul(there, other); }), "");
  EXPECT_NE(refusal([&] { here + there; }), "");
  EXPECT_NE(refusal([&] {
              auto result = here.clone();
              at::mm_out(result, there, there);
            }),
            "");
  EXPECT_NE(refusal([&] { there.clone().normal_(0, 1, at::detail::createCPUGenerator()); }), "");
  EXPECT_EQ(refusal([&] { there.add_(at::ones({}, at::kDouble)); }), "");
}

// Oracle: the CPU, for the ways in which an operator gives its result. Memory that is new is NaN.
TEST_F(FakeDevice_CUDA, ComputesAsTheCpu) {
  const auto here = at::arange(12, at::kDouble).view({3, 4});
  const auto there = here.to(device_);
  const auto same = [&](const at::Tensor& found, const at::Tensor& expected) {
    EXPECT_EQ(found.device(), device_);
    EXPECT_TRUE(at::equal(found.cpu(), expected));
  };
  same(at::matmul(there, there.mT()), at::matmul(here, here.mT()));
  auto grown = at::empty({0}, there.options());
  same(at::mm_out(grown, there, there.mT()), at::matmul(here, here.mT()));
  auto whole = at::zeros({4, 4}, there.options());
  auto part = whole.narrow(0, 1, 3);
  same(at::add_out(part, there, there), here + here);
  same(whole.sum(1), at::cat({at::zeros({1}, at::kDouble), 2 * here.sum(1)}));
  same(there.select(1, 2).clone().mul_(2), 2 * here.select(1, 2));
  same(there.index({there.gt(5)}), here.index({here.gt(5)}));
  same(std::get<1>(there.sort(1, true)), std::get<1>(here.sort(1, true)));
  EXPECT_TRUE(at::empty({9}, there.options()).isnan().all().item<bool>());
}

// Contract: what is counted, one of each kind.
TEST_F(FakeDevice_CUDA, CountsLaunchesAndWaits) {
  const auto there = at::ones({2, 2}, at::dtype(at::kDouble).device(device_));
  const auto counted = [](const std::function<void()>& work) {
    reset_device_work();
    work();
    return device_work();
  };
  EXPECT_EQ(counted([&] { there.exp(); }).launches, 1);
  EXPECT_EQ(counted([&] { there.exp(); }).waits, 0);
  EXPECT_EQ(counted([&] { there.view({4}).narrow(0, 1, 2); }).launches, 0);
  using Reasons = std::map<std::string, std::int64_t>;
  EXPECT_EQ(counted([&] { there[0][0].item<double>(); }).reasons, (Reasons{{"a number", 1}}));
  EXPECT_EQ(counted([&] { there.cpu(); }).reasons, (Reasons{{"a copy to the host", 1}}));
  EXPECT_EQ(counted([&] { there.cpu().to(there.device()); }).waits, 2);
  EXPECT_EQ(counted([&] { at::linalg_eigh(there); }).reasons, (Reasons{{"aten::_linalg_eigh", 1}}));
  EXPECT_EQ(counted([&] { there.index({there.gt(0)}); }).reasons, (Reasons{{"aten::nonzero", 1}}));
}

}  // namespace
}  // namespace pcxx::test
