#include "run/worker_pool.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>

namespace pcxx::run {

namespace {

// The settings of a worker, for its lifetime.
class WorkerScope {
 public:
  explicit WorkerScope(int inner_threads) : threads_before_(at::get_num_threads()) {
    at::set_num_threads(inner_threads);
    at::Context::setFlushDenormal(true);
  }
  ~WorkerScope() {
    at::Context::setFlushDenormal(false);
    at::set_num_threads(threads_before_);
  }
  WorkerScope(const WorkerScope&) = delete;
  WorkerScope& operator=(const WorkerScope&) = delete;

 private:
  int threads_before_;
};

}  // namespace

void in_workers(const std::vector<std::size_t>& tasks, std::size_t workers, int inner_threads,
                const std::function<void(std::size_t)>& work) {
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  std::exception_ptr failure;
  const auto worker = [&] {
    try {
      const WorkerScope scope(inner_threads);
      for (auto i = next++; i < tasks.size(); i = next++) work(tasks[i]);
    } catch (...) {
      const std::scoped_lock lock(mutex);
      next = tasks.size();
      if (!failure) failure = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  try {
    for (std::size_t i = 1; i < std::min(workers, tasks.size()); ++i) threads.emplace_back(worker);
  } catch (const std::system_error&) {
    // The system gives no more threads: those that there are do the work.
  }
  worker();
  for (auto& thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace pcxx::run
