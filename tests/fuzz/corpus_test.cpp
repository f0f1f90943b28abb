// Every file of the corpus, and inputs made from them, in each format; for a longer search:
//
//   PCXX_FUZZ_EXECUTIONS=1000000 build/release/bin/fuzz_test --gtest_filter='*/toml'
//
// The input at which a process has ended is left in the folder of temporary files.

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <pcxx/core/files.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "fuzz/mutator.h"
#include "fuzz/targets.h"

namespace pcxx::fuzz {
namespace {

namespace fs = std::filesystem;

// The input at hand, in a file that outlives a crash.
class LastInput {
 public:
  explicit LastInput(const std::string& name)
      : path_(fs::temp_directory_path() / fmt::format("pcxx-fuzz-{}-{}", name, ::getpid())) {
    const int file = ::open(path_.c_str(), O_RDWR | O_CREAT, 0600);
    if (file < 0) return;
    if (::ftruncate(file, kSize) == 0) {
      auto* memory = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
      if (memory != MAP_FAILED) bytes_ = static_cast<char*>(memory);
    }
    ::close(file);
  }
  ~LastInput() {
    if (bytes_ != nullptr) ::munmap(bytes_, kSize);
    std::error_code ignored;
    fs::remove(path_, ignored);
  }
  LastInput(const LastInput&) = delete;
  LastInput& operator=(const LastInput&) = delete;

  // Its length, a line break, and its bytes.
  void keep(const std::string& input) {
    const auto start = fmt::format("{}\n", input.size());
    if (bytes_ == nullptr || start.size() + input.size() > kSize) return;
    std::memcpy(bytes_, start.data(), start.size());
    std::memcpy(bytes_ + start.size(), input.data(), input.size());
  }

 private:
  static constexpr std::size_t kSize = 1 << 20;
  fs::path path_;
  char* bytes_ = nullptr;
};

std::string in_hexadecimal(const std::string& bytes) {
  std::string text;
  for (const char byte : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return text;
}

std::vector<std::string> corpus(const std::string& name) {
  std::vector<fs::path> paths;
  const auto folder = fs::path(PCXX_SOURCE_DIR) / "tests" / "fuzz" / "corpus" / name;
  for (const auto& entry : fs::directory_iterator(folder)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> inputs;
  for (const auto& path : paths) inputs.push_back(read_file(path));
  return inputs;
}

std::size_t executions() {
  const char* wanted = std::getenv("PCXX_FUZZ_EXECUTIONS");
  return wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 2000;
}

class Fuzz : public ::testing::TestWithParam<Target> {};

// Contract: every input is taken, and reads back as the same, or is refused in one sentence.
TEST_P(Fuzz, EveryInputIsTakenOrRefused) {
  const auto& target = GetParam();
  const auto inputs = corpus(target.name);
  ASSERT_FALSE(inputs.empty());
  LastInput last(target.name);
  const auto run = [&](const std::string& input) {
    last.keep(input);
    ASSERT_NO_THROW(read(target, input)) << in_hexadecimal(input);
  };
  for (const auto& input : inputs) run(input);
  Mutator mutator(inputs, target.words, 1);
  for (std::size_t i = 0; i < executions() && !HasFailure(); ++i) {
    const auto input = mutator.next();
    run(target.repair && i % 2 == 0 ? target.repair(input) : input);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Fuzz, ::testing::ValuesIn(targets()),
                         [](const auto& target) { return target.param.name; });

}  // namespace
}  // namespace pcxx::fuzz
