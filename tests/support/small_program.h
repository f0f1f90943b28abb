#pragma once

#include <gtest/gtest.h>
#include <pcxx/catalog/vocabulary.h>
#include <pcxx/run/program.h>

#include <functional>
#include <string>
#include <vector>

namespace pcxx::test {

/// A program with a few keys of the vocabulary around any experiment.
inline run::Program small_program(std::function<void(run::Run&)> run = {}) {
  return {.name = "pcxx-small",
          .summary = "Does next to nothing.",
          .examples = {"# two models", "--set rule=[bp,pc]"},
          .schema = catalog::schema(
              {"rule", "rescaling", "width", "learning_rate", "steps", "dataset", "data", "seeds"}),
          .loads = true,
          .run = std::move(run)};
}

/// Words as main() gets them.
class Arguments {
 public:
  Arguments(const std::string& program, const std::vector<std::string>& words) : words_(words) {
    words_.insert(words_.begin(), program);
    for (const auto& word : words_) pointers_.push_back(word.c_str());
    pointers_.push_back(nullptr);
  }
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;

  int count() const { return static_cast<int>(words_.size()); }
  const char* const* words() const { return pointers_.data(); }

 private:
  std::vector<std::string> words_;
  std::vector<const char*> pointers_;
};

inline run::CommandLine parse_command_line(const run::Program& program,
                                           const std::vector<std::string>& words) {
  const Arguments arguments(program.name, words);
  return run::parse_command_line(program, arguments.count(), arguments.words());
}

struct Outcome {
  int code = -1;
  std::string out = {};
  std::string errors = {};
};

/// In this process.
inline Outcome run_program(const run::Program& program, const std::vector<std::string>& words) {
  const Arguments arguments(program.name, words);
  Outcome outcome;
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  outcome.code = run::run_program(program, arguments.count(), arguments.words());
  outcome.out = ::testing::internal::GetCapturedStdout();
  outcome.errors = ::testing::internal::GetCapturedStderr();
  return outcome;
}

}  // namespace pcxx::test
