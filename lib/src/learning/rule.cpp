#include <c10/util/Exception.h>
#include <pcxx/learning/rule.h>

namespace pcxx::learning {

Step LearningRule::shared_factors(const nn::NetworkImpl&, const data::Batch&, Peers&) {
  TORCH_CHECK(false, name(), " does not share its batches by shared_factors");
}

}  // namespace pcxx::learning
