#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <pcxx/catalog/vocabulary.h>
#include <pcxx/core/files.h>
#include <pcxx/run/program.h>
#include <pcxx/run/work.h>

#include <csignal>
#include <map>
#include <mutex>

#include "io/archive.h"
#include "run/interruption.h"
#include "run/saved_run.h"
#include "support/environment.h"
#include "support/small_program.h"
#include "support/temporary_folder.h"
#include "support/user_error.h"

namespace pcxx::run {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kJobs = 3;
constexpr std::int64_t kSteps = 10;

struct Step {
  std::size_t job;
  std::int64_t step;
};
using Before = std::function<void(const Step&)>;

// Jobs that follow a chaotic sequence, so that any slip of the state shows; `before` is told of
// every step.
Program program_of_jobs(Before before) {
  auto program = test::small_program([before = std::move(before)](Run& run) {
    Work work{.label = "jobs", .jobs = {}, .run = {}};
    for (std::size_t job = 0; job < kJobs; ++job) {
      work.jobs.push_back({fmt::format("j{}", job), kSteps});
    }
    work.run = [&](std::size_t job, JobContext context) {
      std::int64_t step = 0;
      auto x = at::scalar_tensor(0.1 + 0.01 * static_cast<double>(job), at::kDouble);
      if (const auto& state = context.checkpoint()) {
        step = state->at("step").item<std::int64_t>();
        x = state->at("x");
      }
      while (step < kSteps) {
        before({job, step});
        x = 3.9 * x * (1 - x);
        ++step;
        context.advance(
            1, [&] { return Part{{"x", x}, {"step", at::scalar_tensor(step, at::kLong)}}; });
      }
      return Part{{"x", x}};
    };
    const auto parts = run.work(work).read();
    const auto cell = run.records().cell(run.config());
    for (std::size_t job = 0; job < kJobs; ++job) {
      if (!parts[job]) continue;
      run.records().add(cell, static_cast<std::int64_t>(job), "x",
                        parts[job]->at("x").item<double>());
    }
  });
  program.schema = catalog::schema(
      {"rule", "rescaling", "width", "learning_rate", "steps", "seeds", "checkpoint_every"});
  program.works = true;
  return program;
}

class JobCheckpointTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(run({"--out", "whole"}).code, 0);
    whole_ = read_file("whole/metrics.csv");
  }

  test::Outcome run(std::vector<std::string> words, Before before = [](const Step&) {}) {
    words.insert(words.end(), {"--threads", "1"});
    done_.clear();
    return test::run_program(program_of_jobs([this, before](const Step& step) {
                               before(step);
                               done_[step.job].push_back(step.step);
                             }),
                             words);
  }

  static Before stop_in(std::size_t job, std::int64_t step, int signal = SIGTERM) {
    return [=](const Step& now) {
      if (now.job == job && now.step == step) std::raise(signal);
    };
  }

  static Before fail_in(std::size_t job, std::int64_t step) {
    return [=](const Step& now) {
      if (now.job == job && now.step == step) throw std::runtime_error("no luck");
    };
  }

  static void expect_one_line(const test::Outcome& outcome, int code, const std::string& part) {
    EXPECT_EQ(outcome.code, code) << outcome.errors;
    EXPECT_NE(outcome.errors.find(part), std::string::npos) << outcome.errors;
    EXPECT_EQ(outcome.errors.find('\n'), outcome.errors.size() - 1) << outcome.errors;
  }

  test::TemporaryFolder folder_;
  test::CurrentFolder current_{folder_.path()};
  std::string whole_;
  std::map<std::size_t, std::vector<std::int64_t>> done_;  // steps by job
};

const fs::path kCheckpoint = "a/parts/job1.checkpoint.safetensors";

// Oracle of the tests here: an undisturbed run, and the count of the steps that are done.

TEST_F(JobCheckpointTest, AnInterruptedJobGoesOnWhereItWas) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2}) {
    for (const std::string every : {"0", "1", "4", "1000"}) {
      const std::string setting = "checkpoint_every=" + every;
      expect_one_line(run({"--out", "a", "--set", setting}, stop_in(1, 6, signal)), 130,
                      "interrupted with 1 of 3 jobs done and 1 begun; results so far: a; go on "
                      "with: pcxx-small --resume --out a");
      EXPECT_TRUE(fs::exists(kCheckpoint));
      ASSERT_EQ(run({"--resume", "--out", "a"}).code, 0);
      EXPECT_EQ(done_.size(), 2U);
      EXPECT_EQ(done_[1], (std::vector<std::int64_t>{7, 8, 9}));
      EXPECT_EQ(read_file("a/metrics.csv"), whole_);
      EXPECT_FALSE(fs::exists("a/parts"));
      fs::remove_all("a");
    }
  }
}

TEST_F(JobCheckpointTest, TheFolderOfARunStaysForItsFirstJob) {
  expect_one_line(run({"--out", "a"}, stop_in(0, 2)), 130,
                  "interrupted with 0 of 3 jobs done and 1 begun; no results were written; go on "
                  "with: pcxx-small --resume --out a");
  expect_one_line(run({"--out", "a"}), 2, "'a/parts' holds 0 finished jobs and 1 begun");
  // Interrupted again, and again.
  expect_one_line(run({"--resume", "--out", "a"}, stop_in(0, 3)), 130, "1 begun");
  expect_one_line(run({"--resume", "--out", "a"}, stop_in(0, 9)), 130, "1 begun");
  ASSERT_EQ(run({"--resume", "--out", "a"}).code, 0);
  EXPECT_EQ(done_.count(0), 0U) << "only its end was left";
  EXPECT_EQ(read_file("a/metrics.csv"), whole_);
}

TEST_F(JobCheckpointTest, AKilledJobGoesOnFromItsLastCheckpoint) {
  expect_one_line(run({"--out", "a", "--set", "checkpoint_every=4"}, fail_in(1, 6)), 1, "no luck");
  ASSERT_EQ(run({"--resume", "--out", "a", "--set", "checkpoint_every=3"}).code, 0);
  EXPECT_EQ(done_[1], (std::vector<std::int64_t>{4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(read_file("a/metrics.csv"), whole_);

  expect_one_line(run({"--out", "b", "--set", "checkpoint_every=0"}, fail_in(0, 6)), 1, "no luck");
  EXPECT_FALSE(fs::exists("b"));
}

TEST_F(JobCheckpointTest, AShardGoesOnByTheSameCommand) {
  const std::vector<std::string> command{"--shard", "1/2", "--out", "a"};
  expect_one_line(run(command, stop_in(1, 5)), 130,
                  "interrupted; 0 of all 3 jobs are done and 1 begun in a/parts; the same command "
                  "goes on");
  ASSERT_EQ(run(command).code, 0);
  EXPECT_EQ(done_[1], (std::vector<std::int64_t>{6, 7, 8, 9}));
  ASSERT_EQ(run({"--shard", "0/2", "--out", "a"}).code, 0);
  ASSERT_EQ(run({"--merge", "a"}).code, 0);
  EXPECT_EQ(read_file("a/metrics.csv"), whole_);
}

// Contract: what is not this job's state is refused in one sentence with the file's name, before
// any step.
TEST_F(JobCheckpointTest, WhatIsNotItsStateIsRefused) {
  ASSERT_EQ(run({"--out", "a"}, stop_in(1, 6)).code, 130);
  ASSERT_EQ(run({"--out", "b", "--set", "width=3"}, stop_in(1, 6)).code, 130);
  const auto good = read_file(kCheckpoint);
  const auto refused = [&](const std::string& part) {
    expect_one_line(run({"--resume", "--out", "a"}), 2,
                    fmt::format("'{}' {}", kCheckpoint.string(), part));
    EXPECT_TRUE(done_.empty());
  };
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, good.size() / 2, good.size() - 1}) {
    write_file(kCheckpoint, good.substr(0, size));
    refused("is damaged");
  }
  auto flipped = good;
  flipped[good.find(R"("job":"j1")") + 7] = 'k';
  write_file(kCheckpoint, flipped);
  refused("is damaged: its checksum is wrong");

  write_file(kCheckpoint, read_file("b/parts/job1.checkpoint.safetensors"));
  refused("is of a run with width = 3, not 512");
  write_file(kCheckpoint, read_file("a/parts/job0.safetensors"));
  refused("is no checkpoint of a job");
  auto identity = nlohmann::json::parse(read_file("a/parts/run.json"));
  write_checkpoint(kCheckpoint, identity, "j2", {});
  refused("is of a run with the job j2, not j1");
  identity["version"] = "0.0.9";
  write_checkpoint(kCheckpoint, identity, "j1", {});
  refused("is of a run with the version 0.0.9, not ");
  identity = nlohmann::json::parse(read_file("a/parts/run.json"));
  identity["commit"] = "0123abcd";
  write_checkpoint(kCheckpoint, identity, "j1", {});
  refused("is of a run with the commit 0123abcd, not ");
  write_file(kCheckpoint, "PK\x03\x04\x14");
  refused("is an archive of PyTorch, which can run code while it is read");

  write_file(kCheckpoint, good);
  ASSERT_EQ(run({"--resume", "--out", "a"}).code, 0);
  EXPECT_EQ(read_file("a/metrics.csv"), whole_);
}

// Contract: a whole checkpoint of this job whose state is another's is refused in one sentence with
// its name, whatever is missing from it or beyond it.
TEST_F(JobCheckpointTest, AStateThatDoesNotFitIsRefused) {
  ASSERT_EQ(run({"--out", "a"}, stop_in(1, 6)).code, 130);
  const auto identity = nlohmann::json::parse(read_file("a/parts/run.json"));
  const auto x = at::scalar_tensor(0.5, at::kDouble);
  const auto refused = [&](const std::string& part) {
    expect_one_line(run({"--resume", "--out", "a"}), 2,
                    fmt::format("'{}' {}", kCheckpoint.string(), part));
  };
  for (const Part& state :
       {Part{}, Part{{"x", x}}, Part{{"x", x}, {"step", at::zeros({2}, at::kLong)}}}) {
    write_checkpoint(kCheckpoint, identity, "j1", {.steps = 7, .state = state});
    refused("does not fit its job: ");
  }
  write_checkpoint(kCheckpoint, identity, "j1", {.steps = kSteps + 1, .state = {}});
  refused("is of a run with a job of 11 steps, not 10");
  write_checkpoint(kCheckpoint, identity, "j1", {.steps = -1, .state = {}});
  refused("is no checkpoint of a job");
  for (const std::string origin : {"", "null", "{", "[]", "{}", R"({"run":3,"job":"j1","steps":1})",
                                   R"({"run":{},"job":"j1","steps":1.5})",
                                   R"({"run":{},"job":"j1","steps":"1"})", R"({"steps":1})"}) {
    SCOPED_TRACE(origin);
    io::write_tensors(kCheckpoint, {{"origin", as_bytes(origin)}});
    refused("is no checkpoint of a job");
  }
  for (const auto& [name, value] : identity.items()) {
    auto other = identity;
    other[name] = 3;
    write_checkpoint(kCheckpoint, other, "j1", {});
    expect_one_line(run({"--resume", "--out", "a"}), 2, kCheckpoint);
  }
  io::write_tensors(kCheckpoint, {{"origin", at::ones({3}, at::kDouble)}});
  refused("is no checkpoint of a job");
}

// Contract of the context alone.
TEST(JobContext, SavesAfterSoManyStepsAndWhenInterrupted) {
  std::vector<std::int64_t> saved;
  bool stop = false;
  JobContext context(
      [&](std::int64_t) {
        if (stop) throw Interrupted();
      },
      [&](std::int64_t done, const Part&) { saved.push_back(done); }, nullptr, 5, 20, Part{});
  EXPECT_TRUE(context.checkpoint());
  const auto state = [] { return Part{}; };
  for (int i = 0; i < 4; ++i) context.advance(3, state);
  context.advance(3);
  EXPECT_EQ(saved, (std::vector<std::int64_t>{26, 32}));
  stop = true;
  EXPECT_THROW(context.advance(3, state), Interrupted);
  EXPECT_EQ(saved.back(), 38);
  EXPECT_THROW(context.advance(3), Interrupted);
  EXPECT_EQ(saved.size(), 3U);

  std::int64_t told = 0;
  JobContext plain = [&](std::int64_t steps) { told += steps; };
  plain.advance(7, [&]() -> Part { throw std::logic_error("nobody keeps it"); });
  EXPECT_EQ(told, 7);
  EXPECT_FALSE(plain.checkpoint());
}

}  // namespace
}  // namespace pcxx::run
