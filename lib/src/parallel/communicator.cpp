#include <ATen/ATen.h>
#include <pcxx/parallel/communicator.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>

namespace pcxx::parallel {

namespace {

class Done final : public Pending {
 public:
  void wait() override {}
};

at::Tensor bytes_of(const std::string& text) {
  const auto bytes = at::empty({static_cast<std::int64_t>(text.size())}, at::kByte);
  std::copy(text.begin(), text.end(), bytes.mutable_data_ptr<std::uint8_t>());
  return bytes;
}

std::string text_of(const at::Tensor& bytes, std::int64_t first, std::int64_t count) {
  const auto* begin = bytes.const_data_ptr<std::uint8_t>() + first;
  return {begin, begin + count};
}

}  // namespace

std::unique_ptr<Pending> Alone::start_sum(at::Tensor) {
  return std::make_unique<Done>();
}

std::unique_ptr<Pending> Alone::start_gather(at::Tensor mine, at::Tensor all,
                                             const std::vector<std::int64_t>&) {
  all.copy_(mine);
  return std::make_unique<Done>();
}

void Alone::abort(int code) {
  std::_Exit(code);
}

Alone& alone() {
  static Alone process;
  return process;
}

std::string broadcast_text(Communicator& ranks, const std::string& text) {
  const auto size = at::full({1}, static_cast<std::int64_t>(text.size()), at::kLong);
  ranks.broadcast(size);
  const auto count = size.item<std::int64_t>();
  auto bytes = ranks.is_root() ? bytes_of(text) : at::empty({count}, at::kByte);
  ranks.broadcast(bytes);
  return text_of(bytes, 0, count);
}

std::vector<std::string> gather_texts(Communicator& ranks, const std::string& text) {
  const auto size = static_cast<std::size_t>(ranks.size());
  const auto lengths = at::empty({ranks.size()}, at::kLong);
  ranks
      .start_gather(at::full({1}, static_cast<std::int64_t>(text.size()), at::kLong), lengths,
                    std::vector<std::int64_t>(size, 1))
      ->wait();
  const auto* first = lengths.const_data_ptr<std::int64_t>();
  const std::vector<std::int64_t> counts(first, first + size);
  const auto total = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  const auto all = at::empty({total}, at::kByte);
  ranks.start_gather(bytes_of(text), all, counts)->wait();
  std::vector<std::string> texts;
  std::int64_t place = 0;
  for (const auto count : counts) {
    texts.push_back(text_of(all, place, count));
    place += count;
  }
  return texts;
}

std::vector<double> sum_numbers(Communicator& ranks, const std::vector<double>& numbers) {
  const auto sums = at::tensor(numbers, at::kDouble);
  ranks.start_sum(sums)->wait();
  const auto* first = sums.const_data_ptr<double>();
  return {first, first + sums.numel()};
}

bool any_rank(Communicator& ranks, bool here) {
  if (ranks.size() == 1) return here;
  return sum_numbers(ranks, {here ? 1.0 : 0.0}).front() > 0;
}

}  // namespace pcxx::parallel
