#include "device/fake_memory.h"

#include <c10/util/Exception.h>
#include <execinfo.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace pcxx::test {
namespace {

constexpr std::size_t kRange = std::size_t{8} << 30;  // reserved, not used
constexpr std::size_t kSmallest = 512;

char* reserve(int protection) {
  void* range =
      ::mmap(nullptr, kRange, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) std::abort();
  return static_cast<char*>(range);
}

void say(std::string_view text) {
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text.data(), text.size());
}

// Says which access ends the program, and where it is.
void on_fault(int number, siginfo_t* info, void*) {
  if (FakeMemory::instance().holds(info->si_addr)) {
    say("\nthe host touches the memory of the device, at\n");
    std::array<void*, 64> frames;
    ::backtrace_symbols_fd(frames.data(), ::backtrace(frames.data(), 64), STDERR_FILENO);
  }
  ::signal(number, SIG_DFL);
  ::raise(number);
}

void watch_faults() {
  std::array<void*, 1> frame;
  ::backtrace(frame.data(), 1);  // loads what it needs, which a handler must not
  struct sigaction action{};
  action.sa_sigaction = &on_fault;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGSEGV, &action, nullptr);
}

class FakeAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    const c10::Device device(c10::kCUDA, current_device());
    if (bytes == 0) return {nullptr, device};
    void* address = FakeMemory::instance().allocate(bytes);
    return {address, address, &release, device};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    const auto& memory = FakeMemory::instance();
    std::memcpy(memory.numbers(to), memory.numbers(from), bytes);
  }

 private:
  static void release(void* address) { FakeMemory::instance().release(address); }
};

}  // namespace

c10::DeviceIndex& current_device() {
  static thread_local c10::DeviceIndex current = 0;
  return current;
}

FakeMemory& FakeMemory::instance() {
  static auto* memory = new FakeMemory;  // tensors may outlive other statics
  return *memory;
}

FakeMemory::FakeMemory() : device_(reserve(PROT_NONE)), host_(reserve(PROT_READ | PROT_WRITE)) {
  watch_faults();
}

bool FakeMemory::holds(const void* address) const {
  return address >= device_ && address < device_ + kRange;
}

char* FakeMemory::numbers(const void* address) const {
  return host_ + (static_cast<const char*>(address) - device_);
}

void* FakeMemory::allocate(std::size_t bytes) {
  const auto size = std::bit_ceil(std::max(bytes, kSmallest));
  const std::lock_guard lock(mutex_);
  auto& free = free_[size];
  if (free.empty()) {
    TORCH_CHECK(used_ + size <= kRange, "the fake device is out of memory");
    free.push_back(device_ + used_);
    used_ += size;
  }
  auto* address = free.back();
  free.pop_back();
  sizes_[address] = size;
  std::memset(numbers(address), 0xff, size);  // NaN
  return address;
}

void FakeMemory::release(void* address) {
  const std::lock_guard lock(mutex_);
  const auto found = sizes_.find(static_cast<char*>(address));
  free_[found->second].push_back(found->first);
  sizes_.erase(found);
}

c10::Allocator& fake_allocator() {
  static auto* allocator = new FakeAllocator;
  return *allocator;
}

}  // namespace pcxx::test
