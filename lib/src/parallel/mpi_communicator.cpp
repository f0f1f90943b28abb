#include "parallel/mpi_communicator.h"

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <mpi.h>

#include <algorithm>
#include <cstdlib>
#include <limits>

#if defined(OPEN_MPI) && __has_include(<mpi-ext.h>)
#include <mpi-ext.h>
#endif

namespace pcxx::parallel {

namespace {

// Whether MPI reads and writes the memory of CUDA devices.
bool knows_cuda() {
#ifdef MPIX_CUDA_AWARE_SUPPORT
  return MPIX_Query_cuda_support() == 1;
#else
  return false;
#endif
}

MPI_Datatype type_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kDouble:
      return MPI_DOUBLE;
    case at::kFloat:
      return MPI_FLOAT;
    case at::kLong:
      return MPI_INT64_T;
    case at::kByte:
      return MPI_UINT8_T;
    default:
      TORCH_CHECK(false, "ranks exchange float64, float32, int64 and bytes, not ", tensor.dtype());
  }
}

int count_of(std::int64_t numbers) {
  TORCH_CHECK(numbers <= std::numeric_limits<int>::max(), "a message of ", numbers,
              " numbers is more than MPI takes");
  return static_cast<int>(numbers);
}

// A tensor where MPI reaches it: itself, or a copy on the CPU.
at::Tensor reachable(const at::Tensor& tensor) {
  TORCH_CHECK(tensor.is_contiguous(), "ranks exchange contiguous tensors");
  if (tensor.is_cpu()) return tensor;
  if (!tensor.is_cuda() || !knows_cuda()) return tensor.cpu();
  // What is queued on the device must have been computed.
  c10::impl::VirtualGuardImpl(tensor.device().type()).synchronizeDevice(tensor.device().index());
  return tensor;
}

class MpiPending final : public Pending {
 public:
  /// `result` is where the message is received, and `target` where it belongs; `kept` is needed
  /// until then.
  MpiPending(const WaitOptions& options, at::Tensor result, at::Tensor target, at::Tensor kept = {},
             std::vector<int> counts = {}, std::vector<int> places = {})
      : options_(options),
        result_(std::move(result)),
        target_(std::move(target)),
        kept_(std::move(kept)),
        counts_(std::move(counts)),
        places_(std::move(places)) {}

  MPI_Request& request() { return request_; }
  const int* counts() const { return counts_.data(); }
  const int* places() const { return places_.data(); }

  void wait() override {
    int done = 0;
    for (Patience patience(options_);; patience.pause()) {
      MPI_Test(&request_, &done, MPI_STATUS_IGNORE);
      if (done != 0) break;
    }
    if (!result_.is_same(target_)) target_.copy_(result_);
  }

 private:
  const WaitOptions& options_;
  at::Tensor result_;
  at::Tensor target_;
  at::Tensor kept_;
  std::vector<int> counts_;
  std::vector<int> places_;
  MPI_Request request_ = MPI_REQUEST_NULL;
};

}  // namespace

MpiCommunicator::MpiCommunicator(WaitOptions options) : options_(std::move(options)) {
  int provided = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
}

MpiCommunicator::~MpiCommunicator() {
  MPI_Finalize();
}

std::unique_ptr<Pending> MpiCommunicator::start_sum(at::Tensor tensor) {
  const auto here = reachable(tensor);
  auto pending = std::make_unique<MpiPending>(options_, here, tensor);
  MPI_Iallreduce(MPI_IN_PLACE, here.mutable_data_ptr(), count_of(here.numel()), type_of(here),
                 MPI_SUM, MPI_COMM_WORLD, &pending->request());
  bytes_ += std::int64_t{2} * (size_ - 1) * static_cast<std::int64_t>(here.nbytes()) / size_;
  return pending;
}

std::unique_ptr<Pending> MpiCommunicator::start_gather(at::Tensor mine, at::Tensor all,
                                                       const std::vector<std::int64_t>& counts) {
  const auto here = reachable(mine);
  auto result = reachable(all);
  std::vector<int> sizes;
  std::vector<int> places;
  std::int64_t place = 0;
  for (const auto count : counts) {
    sizes.push_back(count_of(count));
    places.push_back(count_of(place));
    place += count;
  }
  TORCH_CHECK(place == all.numel() && counts.at(static_cast<std::size_t>(rank_)) == mine.numel(),
              "the counts of a gather do not fit its tensors");
  auto pending = std::make_unique<MpiPending>(options_, result, all, here, std::move(sizes),
                                              std::move(places));
  MPI_Iallgatherv(here.const_data_ptr(), count_of(here.numel()), type_of(here),
                  result.mutable_data_ptr(), pending->counts(), pending->places(), type_of(result),
                  MPI_COMM_WORLD, &pending->request());
  bytes_ += (size_ - 1) * static_cast<std::int64_t>(all.nbytes()) / size_;
  return pending;
}

void MpiCommunicator::broadcast(at::Tensor tensor) {
  const auto here = reachable(tensor);
  MpiPending pending(options_, here, tensor);
  MPI_Ibcast(here.mutable_data_ptr(), count_of(here.numel()), type_of(here), 0, MPI_COMM_WORLD,
             &pending.request());
  pending.wait();
  if (is_root()) bytes_ += static_cast<std::int64_t>(here.nbytes());
}

void MpiCommunicator::abort(int code) {
  MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);
}

}  // namespace pcxx::parallel
