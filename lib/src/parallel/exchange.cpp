#include <pcxx/parallel/exchange.h>

namespace pcxx::parallel {

namespace {

constexpr std::int64_t kMultiplications = 80;  // in the time of one number on its way

}  // namespace

Exchange cheaper(std::int64_t summed, std::int64_t gathered, std::int64_t rows) {
  const auto saved = summed * rows / kMultiplications;
  return summed > 0 && 2 * summed - gathered <= saved ? Exchange::kSum : Exchange::kGather;
}

}  // namespace pcxx::parallel
