// The operators of the fake devices: the CPU's, on the numbers behind the addresses. Each is
// counted as a launch, and as a wait where the host would wait for a GPU.

#include <ATen/EmptyTensor.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/DeviceGuard.h>
#include <execinfo.h>
#include <torch/library.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "device/fake_device.h"
#include "device/fake_memory.h"

namespace pcxx::test {
namespace {

using at::Tensor;
using c10::IValue;

constexpr auto kKey = c10::DispatchKey::CUDA;

// ---- Counts

struct Counter {
  std::mutex mutex;
  DeviceWork work;
};

Counter& counter() {
  static auto* instance = new Counter;  // operators may outlive other statics
  return *instance;
}

void count_launch() {
  const std::lock_guard lock(counter().mutex);
  ++counter().work.launches;
}

void count_wait(const std::string& reason) {
  static const bool traced = std::getenv("PCXX_TRACE_WAITS") != nullptr;
  const std::lock_guard lock(counter().mutex);
  ++counter().work.waits;
  ++counter().work.reasons[reason];
  if (!traced) return;
  std::array<void*, 64> frames;
  const auto title = "wait: " + reason + "\n";
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, title.data(), title.size());
  ::backtrace_symbols_fd(frames.data(), ::backtrace(frames.data(), 64), STDERR_FILENO);
}

bool has_mask(const IValue& indices) {
  if (!indices.isOptionalTensorList()) return false;
  const auto tensors = indices.toOptionalTensorVector();
  return std::any_of(tensors.begin(), tensors.end(), [](const auto& index) {
    return index && index->defined() && index->scalar_type() == at::kBool;
  });
}

// Whether an operator asks the device for a number: for the size of its result, or whether it has
// failed.
bool waits_inside(const std::string& name, const std::vector<IValue>& arguments) {
  static const std::unordered_set<std::string> names{"aten::_linalg_eigh",
                                                     "aten::_linalg_svd",
                                                     "aten::linalg_eig",
                                                     "aten::linalg_lstsq",
                                                     "aten::nonzero",
                                                     "aten::masked_select",
                                                     "aten::equal",
                                                     "aten::bincount",
                                                     "aten::_unique2",
                                                     "aten::unique_dim",
                                                     "aten::unique_consecutive",
                                                     "aten::repeat_interleave"};
  if (name == "aten::index") return false;  // it has asked nonzero for the places of a mask
  return names.contains(name) || std::any_of(arguments.begin(), arguments.end(), &has_mask);
}

// ---- Tensors of the device, seen from the host

Tensor new_tensor(at::IntArrayRef sizes, at::IntArrayRef strides, at::ScalarType dtype) {
  return at::detail::empty_strided_generic(sizes, strides, &fake_allocator(),
                                           c10::DispatchKeySet(kKey), dtype);
}

// The tensors of one operator as tensors of the CPU on the same numbers.
class Aliases {
 public:
  Tensor of(const Tensor& there) {
    if (!there.is_cuda()) return there;
    auto alias = at::detail::make_tensor<c10::TensorImpl>(
        storage_of(there), c10::DispatchKeySet(c10::DispatchKey::CPU), there.dtype());
    auto* impl = alias.unsafeGetTensorImpl();
    impl->set_sizes_and_strides(there.sizes(), there.strides(), there.storage_offset());
    if (there.unsafeGetTensorImpl()->is_wrapped_number()) impl->set_wrapped_number(true);
    pairs_.emplace_back(alias, there);
    return alias;
  }

  // The tensor of the device that is seen as `alias`.
  std::optional<Tensor> original(const Tensor& alias) const {
    for (const auto& [seen, there] : pairs_) {
      if (seen.is_same(alias)) return there;
    }
    return {};
  }

  // Whether it lies in the memory of the device.
  bool hold(const Tensor& here) const {
    return std::any_of(pairs_.begin(), pairs_.end(),
                       [&](const auto& pair) { return pair.first.is_alias_of(here); });
  }

 private:
  // Views of one storage share one here too, so that the CPU sees which operands overlap.
  c10::Storage storage_of(const Tensor& there) {
    auto* storage = there.storage().unsafeGetStorageImpl();
    auto& seen = storages_[storage];
    if (!seen) {
      const void* address = storage->data();
      auto* numbers = address != nullptr ? FakeMemory::instance().numbers(address) : nullptr;
      seen = c10::Storage(c10::Storage::use_byte_size_t(), storage->nbytes(),
                          c10::DataPtr(numbers, at::kCPU), at::getCPUAllocator(),
                          /*resizable=*/true);
    }
    return seen;
  }

  std::unordered_map<c10::StorageImpl*, c10::Storage> storages_;
  std::vector<std::pair<Tensor, Tensor>> pairs_;
};

void copy_numbers(const Tensor& to, const Tensor& from) {
  Aliases aliases;
  aliases.of(to).copy_(aliases.of(from));
}

Tensor moved_to_device(const Tensor& here) {
  auto there = new_tensor(here.sizes(), here.strides(), here.scalar_type());
  copy_numbers(there, here);
  return there;
}

const Tensor& resize_in_place(const Tensor& self, at::IntArrayRef sizes,
                              std::optional<at::MemoryFormat>) {
  auto* impl = self.unsafeGetTensorImpl();
  auto* storage = self.storage().unsafeGetStorageImpl();
  impl->set_sizes_contiguous(sizes);
  const auto bytes = at::detail::computeStorageNbytesContiguous(
      sizes, self.itemsize(), static_cast<std::size_t>(self.storage_offset()));
  if (bytes <= storage->nbytes()) return self;
  const c10::DeviceGuard guard(self.device());
  auto larger = fake_allocator().allocate(bytes);
  if (storage->nbytes() > 0) {
    fake_allocator().copy_data(larger.get(), storage->data(), storage->nbytes());
  }
  storage->set_data_ptr(std::move(larger));
  storage->set_nbytes(bytes);
  return self;
}

// A result to which the operator gave another size has moved, into memory of the host.
void bring_back(const Tensor& there, const Tensor& alias) {
  if (there.sizes() == alias.sizes() && there.strides() == alias.strides()) return;
  resize_in_place(there, alias.sizes(), std::nullopt);
  there.unsafeGetTensorImpl()->set_sizes_and_strides(alias.sizes(), alias.strides());
  copy_numbers(there, alias);
}

// ---- All other operators

// The same value with other tensors in it.
template <typename Change>
IValue changed(const IValue& value, const Change& change) {
  if (value.isTensor()) return change(value.toTensor());
  if (value.isTensorList()) {
    c10::List<Tensor> list;
    for (const auto& tensor : value.toTensorVector()) list.push_back(change(tensor));
    return list;
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<Tensor>> list;
    for (const auto& tensor : value.toOptionalTensorVector()) {
      list.push_back(tensor ? std::optional(change(*tensor)) : std::nullopt);
    }
    return list;
  }
  return value;
}

class Call {
 public:
  Call(const c10::OperatorHandle& op, torch::jit::Stack& stack)
      : op_(op),
        stack_(stack),
        arguments_(stack.end() - static_cast<std::ptrdiff_t>(op.schema().arguments().size()),
                   stack.end()) {}

  void run() {
    count_launch();
    if (waits_inside(name(), arguments_)) count_wait(name());
    const auto first = stack_.size() - arguments_.size();
    for (std::size_t i = 0; i < arguments_.size(); ++i) stack_[first + i] = enter(i);
    const std::vector<IValue> entered(stack_.begin() + static_cast<std::ptrdiff_t>(first),
                                      stack_.end());
    op_.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), &stack_);
    for (std::size_t i = 0; i < arguments_.size(); ++i) {
      if (is_result(i)) bring_back(arguments_[i].toTensor(), entered[i].toTensor());
    }
    leave();
  }

 private:
  const std::string& name() const { return op_.schema().name(); }

  bool is_written(std::size_t i) const {
    const auto* alias = op_.schema().arguments()[i].alias_info();
    return alias != nullptr && alias->isWrite();
  }
  bool is_result(std::size_t i) const {
    return is_written(i) && arguments_[i].isTensor() && arguments_[i].toTensor().defined();
  }

  IValue enter(std::size_t i) {
    const auto& value = arguments_[i];
    if (value.isDevice()) {
      device_ = value.toDevice();
      return c10::Device(at::kCPU);
    }
    if (value.isGenerator()) {
      TORCH_CHECK(!value.toGenerator().device().is_cpu(), name(),
                  ": expected a generator of the device, and not of the CPU");
      return IValue();
    }
    return changed(value, [&](const Tensor& tensor) {
      if (!tensor.defined()) return tensor;
      if (tensor.is_cuda()) return enter_from_device(tensor);
      const bool taken = tensor.dim() == 0 || value.isOptionalTensorList();
      TORCH_CHECK(taken && !is_written(i), "Expected all tensors to be on the same device, but ",
                  name(), " has one on ", tensor.device(), " and others on cuda");
      if (value.isOptionalTensorList()) count_wait("a copy to the device");
      return tensor;
    });
  }

  Tensor enter_from_device(const Tensor& tensor) {
    if (!device_) device_ = tensor.device();
    TORCH_CHECK(tensor.device() == *device_, "Expected all tensors to be on the same device, but ",
                name(), " has one on ", *device_, " and one on ", tensor.device());
    return aliases_.of(tensor);
  }

  void leave() {
    const c10::OptionalDeviceGuard guard(device_);
    const auto results = op_.schema().returns().size();
    for (auto i = stack_.size() - results; i < stack_.size(); ++i) {
      stack_[i] = changed(stack_[i], [&](const Tensor& here) {
        if (!here.defined()) return here;
        if (const auto there = aliases_.original(here)) return *there;
        TORCH_CHECK(!aliases_.hold(here), "the fake device has no ", name(),
                    ", which gives a view");
        return moved_to_device(here);
      });
    }
  }

  const c10::OperatorHandle& op_;
  torch::jit::Stack& stack_;
  const std::vector<IValue> arguments_;
  std::optional<c10::Device> device_;
  Aliases aliases_;
};

void run_on_device(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  Call(op, *stack).run();
}

// ---- Operators that differ from the CPU's

c10::Device device_of(std::optional<at::Device> device) {
  return device && device->has_index() ? *device : c10::Device(at::kCUDA, current_device());
}

Tensor empty(at::IntArrayRef sizes, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
             std::optional<at::Device> device, std::optional<bool>,
             std::optional<at::MemoryFormat> format) {
  const c10::DeviceGuard guard(device_of(device));
  return at::detail::empty_generic(sizes, &fake_allocator(), c10::DispatchKeySet(kKey),
                                   c10::dtype_or_default(dtype), format);
}

Tensor empty_strided(at::IntArrayRef sizes, at::IntArrayRef strides,
                     std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                     std::optional<at::Device> device, std::optional<bool>) {
  const c10::DeviceGuard guard(device_of(device));
  return new_tensor(sizes, strides, c10::dtype_or_default(dtype));
}

Tensor& copy(Tensor& to, const Tensor& from, bool) {
  if (from.numel() > 0) {
    if (!to.is_cuda()) {
      count_wait("a copy to the host");
    } else if (!from.is_cuda()) {
      count_wait("a copy to the device");
    } else {
      count_launch();
    }
  }
  copy_numbers(to, from);
  return to;
}

at::Scalar number(const Tensor& tensor) {
  count_wait("a number");
  Aliases aliases;
  return aliases.of(tensor).item();
}

Tensor& set_storage(Tensor& self, at::Storage source, std::int64_t offset, at::IntArrayRef sizes,
                    at::IntArrayRef strides) {
  auto* impl = self.unsafeGetTensorImpl();
  impl->set_storage_keep_dtype(std::move(source));
  impl->set_sizes_and_strides(sizes, strides, offset);
  return self;
}

TORCH_LIBRARY_IMPL(aten, CUDA, library) {
  library.impl("empty.memory_format", TORCH_FN(empty));
  library.impl("empty_strided", TORCH_FN(empty_strided));
  library.impl("copy_", TORCH_FN(copy));
  library.impl("_local_scalar_dense", TORCH_FN(number));
  library.impl("resize_", TORCH_FN(resize_in_place));
  library.impl("set_.source_Storage_storage_offset", TORCH_FN(set_storage));
  library.impl("as_strided", TORCH_FN(at::native::as_strided_tensorimpl));
  library.impl("view", TORCH_FN(at::native::view));
  library.impl("unfold", TORCH_FN(at::native::unfold));
  library.impl("_reshape_alias", TORCH_FN(at::native::_reshape_alias));
}

TORCH_LIBRARY_IMPL(_, CUDA, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_device>());
}

}  // namespace

DeviceWork device_work() {
  const std::lock_guard lock(counter().mutex);
  return counter().work;
}

void reset_device_work() {
  const std::lock_guard lock(counter().mutex);
  counter().work = {};
}

}  // namespace pcxx::test
