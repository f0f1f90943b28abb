#pragma once

#include <ATen/ATen.h>
#include <pcxx/learning/peers.h>

#include <barrier>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

namespace pcxx::test {

/// Threads of this process that share a batch.
class ThreadPeers {
 public:
  explicit ThreadPeers(int size)
      : size_(size), barrier_(size), given_(static_cast<std::size_t>(size)) {}

  /// `work` of every thread, with its number.
  void run(const std::function<void(int, learning::Peers&)>& work) {
    std::vector<std::jthread> threads;
    for (int place = 0; place < size_; ++place) {
      threads.emplace_back([this, place, &work] {
        One peer(*this, static_cast<std::size_t>(place));
        work(place, peer);
      });
    }
  }

 private:
  using Tensors = learning::Peers::Tensors;

  class One final : public learning::Peers {
   public:
    One(ThreadPeers& all, std::size_t place) : all_(all), place_(place) {}

    std::function<Tensors()> rows(Tensors mine) override {
      auto all = all_.joined(place_, std::move(mine), [](const std::vector<at::Tensor>& of_each) {
        return at::cat(of_each, -2);
      });
      return [all = std::move(all)] { return all; };
    }
    Tensors sums(Tensors mine) override {
      return all_.joined(place_, std::move(mine), [](const std::vector<at::Tensor>& of_each) {
        return at::stack(of_each).sum(0);
      });
    }

   private:
    ThreadPeers& all_;
    std::size_t place_;
  };

  template <typename Join>
  Tensors joined(std::size_t place, Tensors mine, Join join) {
    given_[place] = std::move(mine);
    barrier_.arrive_and_wait();
    Tensors result;
    for (std::size_t i = 0; i < given_.front().size(); ++i) {
      std::vector<at::Tensor> of_each;
      for (const auto& given : given_) of_each.push_back(given[i]);
      result.push_back(join(of_each));
    }
    barrier_.arrive_and_wait();
    return result;
  }

  int size_;
  std::barrier<> barrier_;
  std::vector<Tensors> given_;
};

}  // namespace pcxx::test
