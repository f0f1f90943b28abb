#include <pcxx/parallel/exchange.h>

namespace pcxx::parallel {

Exchange shorter(std::int64_t summed, std::int64_t gathered) {
  return summed > 0 && 2 * summed <= gathered ? Exchange::kSum : Exchange::kGather;
}

}  // namespace pcxx::parallel
