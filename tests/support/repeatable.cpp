#include <ATen/Context.h>
#include <gtest/gtest.h>

namespace pcxx::test {
namespace {

// LibTorch's own generator starts from another seed in every process. Here it starts every test
// from the same one, so that a test draws the same numbers alone as among all others.
class Repeatable final : public testing::EmptyTestEventListener {
  void OnTestStart(const testing::TestInfo&) override { at::manual_seed(0); }
};

[[maybe_unused]] const bool kAdded = [] {
  testing::UnitTest::GetInstance()->listeners().Append(new Repeatable);
  return true;
}();

}  // namespace
}  // namespace pcxx::test
