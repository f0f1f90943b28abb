// The fake devices as LibTorch meets them: allocator, guard, generator and hooks of CUDA.

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include "device/fake_memory.h"

namespace pcxx::test {
namespace {

class FakeGuard final : public c10::impl::DeviceGuardImplInterface {
 public:
  static constexpr auto static_type = c10::DeviceType::CUDA;

  c10::DeviceType type() const override { return static_type; }
  c10::DeviceIndex deviceCount() const noexcept override { return kFakeDevices; }
  c10::Device getDevice() const override { return {static_type, current_device()}; }
  void setDevice(c10::Device device) const override {
    TORCH_CHECK(device.type() == static_type && device.index() < kFakeDevices,
                "there is no fake device ", device);
    uncheckedSetDevice(device);
  }
  void uncheckedSetDevice(c10::Device device) const noexcept override {
    if (device.has_index()) current_device() = device.index();
  }
  c10::Device exchangeDevice(c10::Device device) const override {
    const auto before = getDevice();
    setDevice(device);
    return before;
  }

  // One stream, whose work is done when an operator returns.
  c10::Stream getStream(c10::Device device) const override {
    return c10::Stream(c10::Stream::DEFAULT, device);
  }
  c10::Stream getDefaultStream(c10::Device device) const override { return getStream(device); }
  c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
  void record(void**, const c10::Stream&, const c10::DeviceIndex,
              const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  void synchronizeDevice(const c10::DeviceIndex) const override {}
};

// Takes seeds; numbers without a generator are drawn by the CPU's.
class FakeGenerator final : public at::CPUGeneratorImpl {
 public:
  FakeGenerator() { device_ = c10::Device(c10::kCUDA, 0); }
};

class FakeHooks final : public at::CUDAHooksInterface {
 public:
  explicit FakeHooks(at::CUDAHooksArgs) {}

  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return kFakeDevices; }
  int getNumGPUs() const override { return kFakeDevices; }
  c10::DeviceIndex current_device() const override { return test::current_device(); }
  c10::DeviceIndex getCurrentDevice() const override { return test::current_device(); }
  at::Allocator* getCUDADeviceAllocator() const override { return &fake_allocator(); }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override {
    static const auto generator = at::make_generator<FakeGenerator>();
    return generator;
  }
};

// What the macros below name.
using at::CUDAHooksRegistry;
using at::RegistererCUDAHooksRegistry;

C10_REGISTER_CLASS(CUDAHooksRegistry, CUDAHooks, FakeHooks)
C10_REGISTER_GUARD_IMPL(CUDA, FakeGuard)
const c10::AllocatorRegisterer<c10::DeviceType::CUDA> allocator(&fake_allocator());

}  // namespace
}  // namespace pcxx::test
