#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <pcxx/parallel/launch.h>

#include <memory>

#include "parallel/ranks.h"

namespace {

std::unique_ptr<pcxx::parallel::Communicator> all;

}  // namespace

pcxx::parallel::Communicator& pcxx::test::ranks() {
  return *all;
}

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  pcxx::parallel::WaitOptions options;
  options.limit = std::chrono::seconds(60);
  all = pcxx::parallel::join(pcxx::parallel::launched(), options);
  const int code = RUN_ALL_TESTS();
  all.reset();
  return code;
}
