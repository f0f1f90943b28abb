#pragma once

#include <cstdint>
#include <map>
#include <string>

/// Two CUDA devices without hardware, for a LibTorch that was built without CUDA. A library that
/// is linked with a test or preloaded registers them; `at::kCUDA` then works as with a GPU.
///
/// Their tensors carry addresses that nobody may touch: a host that reads or writes through one
/// ends at that line, and says so. Operators run as the CPU's on the numbers themselves, which lie
/// elsewhere. Refused as on a GPU: operands on several devices (but numbers of no dimension),
/// results into memory of the host, a generator of the CPU. New memory holds NaN.
///
/// Not to be seen here: the numbers of a GPU's own libraries, its speed and the limits of its
/// memory, and work that is still under way while the host goes on.
namespace pcxx::test {

/// What a GPU would have felt since the last reset.
struct DeviceWork {
  /// Operators that ran on the device, each of them at least one kernel.
  std::int64_t launches = 0;
  /// Times that the host waited: for a number, for a copy in either direction, or in an operator
  /// whose result tells the host something.
  std::int64_t waits = 0;
  /// The waits by their reason.
  std::map<std::string, std::int64_t> reasons;
};

/// With PCXX_TRACE_WAITS in the environment each wait also writes its stack to standard error.
DeviceWork device_work();
void reset_device_work();

}  // namespace pcxx::test
