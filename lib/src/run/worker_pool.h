#pragma once

#include <cstddef>
#include <functional>
#include <vector>

namespace pcxx::run {

/// Calls `work` with each of `tasks`, in their order, in worker threads; a single worker is the
/// caller's own thread. In every worker LibTorch computes with `inner_threads` threads and treats
/// denormal numbers as 0. The first exception ends it, once the tasks in progress have ended, and
/// is thrown on.
void in_workers(const std::vector<std::size_t>& tasks, std::size_t workers, int inner_threads,
                const std::function<void(std::size_t)>& work);

}  // namespace pcxx::run
