#pragma once

#include <c10/core/Allocator.h>
#include <c10/core/Device.h>

#include <cstddef>
#include <mutex>
#include <unordered_map>
#include <vector>

/// The memory of the fake devices.
namespace pcxx::test {

inline constexpr c10::DeviceIndex kFakeDevices = 2;

/// Of this thread.
c10::DeviceIndex& current_device();

/// Two ranges of addresses of the same size: one that nobody may touch, whose addresses the tensors
/// carry, and one with their numbers. So an access by the host is found on any thread, also while
/// an operator of the device runs on another.
class FakeMemory {
 public:
  static FakeMemory& instance();

  bool holds(const void* address) const;
  /// Where the numbers of an address of the device are.
  char* numbers(const void* address) const;
  void* allocate(std::size_t bytes);
  void release(void* address);

 private:
  FakeMemory();

  char* device_;
  char* host_;
  std::mutex mutex_;
  std::size_t used_ = 0;
  std::unordered_map<std::size_t, std::vector<char*>> free_;  // by size
  std::unordered_map<char*, std::size_t> sizes_;
};

/// Takes it for tensors of the current device.
c10::Allocator& fake_allocator();

}  // namespace pcxx::test
