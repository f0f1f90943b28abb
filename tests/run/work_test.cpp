#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <pcxx/core/files.h>
#include <pcxx/core/random.h>
#include <pcxx/run/program.h>
#include <pcxx/run/work.h>

#include <atomic>
#include <csignal>
#include <mutex>
#include <set>
#include <thread>

#include "support/environment.h"
#include "support/small_program.h"
#include "support/temporary_folder.h"
#include "support/user_error.h"

namespace pcxx::run {
namespace {

namespace fs = std::filesystem;

using Names = std::set<std::string>;

constexpr std::size_t kJobs = 7;

Names names_in(const fs::path& folder) {
  Names names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename());
  return names;
}

const Names kResults{"config.toml", "environment.json", "metrics.csv", "summary.json"};

// A program of kJobs jobs, each a drawn number times `width`; `before` is told of each job.
Program program_of_jobs(std::function<void(std::size_t)> before = [](std::size_t) {}) {
  auto program = test::small_program([before](run::Run& run) {
    Work work{.label = "jobs", .jobs = {}, .run = {}};
    for (std::size_t job = 0; job < kJobs; ++job) work.jobs.push_back({fmt::format("j{}", job), 2});
    work.run = [&](std::size_t job, JobContext context) {
      before(job);
      context.advance(2);
      auto generator = make_generator(job, Purpose::kNoise);
      return Part{{"x.y z", at::rand({3}, generator, at::kDouble) * run.config().integer("width")}};
    };
    const auto parts = run.work(work).read();
    const auto cell = run.records().cell(run.config());
    for (std::size_t job = 0; job < parts.size(); ++job) {
      if (!parts[job]) continue;
      const auto numbers = parts[job]->at("x.y z");
      run.records().add(cell, static_cast<std::int64_t>(job), "x", numbers[2].item<double>());
    }
  });
  program.works = true;
  return program;
}

// Every test has an empty current folder.
class WorkTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(run({"--out", "whole"}).code, 0);
    whole_ = read_file("whole/metrics.csv");
    EXPECT_EQ(std::count(whole_.begin(), whole_.end(), '\n'), 1 + kJobs);
    EXPECT_EQ(names_in("whole"), kResults) << "parts are gone when all is done";
  }

  static test::Outcome run(
      const std::vector<std::string>& words,
      std::function<void(std::size_t)> before = [](std::size_t) {}) {
    return test::run_program(program_of_jobs(std::move(before)), words);
  }

  // Interrupted at the third job of one worker.
  static test::Outcome run_interrupted(std::vector<std::string> words) {
    words.insert(words.end(), {"--threads", "1"});
    return run(words, [](std::size_t job) {
      if (job == 2) std::raise(SIGINT);
    });
  }

  static void expect_one_line(const test::Outcome& outcome, int code, const std::string& part) {
    EXPECT_EQ(outcome.code, code) << outcome.errors;
    EXPECT_NE(outcome.errors.find(part), std::string::npos) << outcome.errors;
    EXPECT_EQ(outcome.errors.find('\n'), outcome.errors.size() - 1) << outcome.errors;
  }

  test::TemporaryFolder folder_;
  test::CurrentFolder current_{folder_.path()};
  std::string whole_;
};

// Oracle of the tests here: an undisturbed run.

TEST_F(WorkTest, ThreadsDoNotMatter) {
  for (const std::string threads : {"1", "2", "16"}) {
    std::atomic<int> calls = 0;
    std::mutex mutex;
    std::set<std::thread::id> workers;
    ASSERT_EQ(run({"--out", "a", "--threads", threads},
                  [&](std::size_t) {
                    const std::scoped_lock lock(mutex);
                    ++calls;
                    workers.insert(std::this_thread::get_id());
                  })
                  .code,
              0);
    EXPECT_EQ(calls, static_cast<int>(kJobs));
    EXPECT_LE(workers.size(), std::stoul(threads));
    EXPECT_EQ(read_file("a/metrics.csv"), whole_);
    EXPECT_EQ(nlohmann::json::parse(read_file("a/environment.json"))["threads"],
              std::stoi(threads));
  }
}

TEST_F(WorkTest, AnInterruptedRunKeepsWhatIsDoneAndGoesOn) {
  expect_one_line(run_interrupted({"--out", "a", "--set", "width=512"}), 130,
                  "interrupted with 2 of 7 jobs done; results so far: a; go on with: pcxx-small "
                  "--resume --out a");
  const auto partial = read_file("a/metrics.csv");
  EXPECT_EQ(std::count(partial.begin(), partial.end(), '\n'), 1 + 2);
  EXPECT_TRUE(whole_.starts_with(partial));
  const auto summary = nlohmann::json::parse(read_file("a/summary.json"));
  EXPECT_EQ(summary["unfinished"], nlohmann::json::parse(R"(["j2", "j3", "j4", "j5", "j6"])"));

  std::set<std::size_t> again;
  const auto outcome = run({"--resume", "--out", "a", "--threads", "1"},
                           [&](std::size_t job) { again.insert(job); });
  EXPECT_EQ(outcome.code, 0) << outcome.errors;
  EXPECT_EQ(again, (std::set<std::size_t>{2, 3, 4, 5, 6}));
  EXPECT_EQ(read_file("a/metrics.csv"), whole_);
  EXPECT_FALSE(nlohmann::json::parse(read_file("a/summary.json")).contains("unfinished"));
  EXPECT_EQ(names_in("a"), kResults);
}

TEST_F(WorkTest, WithoutAConfigItGoesOnWithItsOwn) {
  ASSERT_EQ(run({"--out", "a", "--set", "width=3"}).code, 0);
  ASSERT_EQ(run_interrupted({"--out", "b", "--set", "width=3"}).code, 130);
  ASSERT_EQ(run({"--resume", "--out", "b"}).code, 0);
  EXPECT_EQ(read_file("b/metrics.csv"), read_file("a/metrics.csv"));
}

TEST_F(WorkTest, AFinishedRunSaysSo) {
  const auto again = run({"--resume", "--out", "whole"});
  EXPECT_EQ(again.code, 0) << again.errors;
  EXPECT_EQ(again.out, "'whole' holds a complete run: there is nothing left to do\n");
  expect_one_line(run({"--resume", "--out", "whole", "--set", "width=3"}), 2,
                  "'whole' is of a run with width");
  expect_one_line(run({"--resume", "--out", "nowhere"}), 2, "'nowhere' holds no run to go on with");
  EXPECT_EQ(read_file("whole/metrics.csv"), whole_);
  EXPECT_FALSE(fs::exists("nowhere"));
}

// What a kill leaves while the parts of a run that has its results are removed: without run.json.
TEST_F(WorkTest, ARunWhosePartsWereBeingRemovedIsComplete) {
  const auto leave = [] {
    make_folders("whole/parts");
    write_file("whole/parts/job5.safetensors", "of no more use");
    write_file("whole/parts/.job6.safetensors.1-a-1.partial", "");
  };
  using Words = std::vector<std::string>;
  for (const auto& words : {Words{"--resume", "--out", "whole"}, Words{"--merge", "whole"}}) {
    leave();
    const auto outcome = run(words);
    EXPECT_EQ(outcome.code, 0) << outcome.errors;
    EXPECT_EQ(names_in("whole"), kResults) << words.front();
    EXPECT_EQ(read_file("whole/metrics.csv"), whole_);
  }
  leave();
  ASSERT_EQ(run({"--out", "whole"}).code, 0);
  EXPECT_EQ(names_in("whole"), kResults);
  EXPECT_EQ(read_file("whole/metrics.csv"), whole_);
}

TEST_F(WorkTest, AnInterruptedRunLeavesAWholeOneAlone) {
  expect_one_line(run_interrupted({"--out", "whole", "--set", "width=3"}), 130,
                  "no results were written; go on with");
  EXPECT_EQ(read_file("whole/metrics.csv"), whole_);
  ASSERT_EQ(run({"--resume", "--out", "whole"}).code, 0);
  EXPECT_NE(read_file("whole/metrics.csv"), whole_);
}

TEST_F(WorkTest, NothingIsLeftOfARunThatDidNothing) {
  expect_one_line(run({"--out", "a/b", "--threads", "1"}, [](std::size_t) { std::raise(SIGINT); }),
                  130, "interrupted; no results were written");
  EXPECT_FALSE(fs::exists("a"));
}

TEST_F(WorkTest, AFailureKeepsWhatIsDone) {
  const auto outcome = run({"--out", "a", "--threads", "1"}, [](std::size_t job) {
    if (job == 3) throw std::runtime_error("no luck");
  });
  expect_one_line(outcome, 1, "no luck");
  EXPECT_EQ(names_in("a"), Names{"parts"});
  expect_one_line(run({"--out", "a"}), 2, "'a/parts' holds 3 finished jobs");
  ASSERT_EQ(run({"--resume", "--out", "a"}).code, 0);
  EXPECT_EQ(read_file("a/metrics.csv"), whole_);
}

TEST_F(WorkTest, AnotherRunIsNotMixedIn) {
  ASSERT_EQ(run_interrupted({"--out", "a", "--set", "width=3"}).code, 130);
  const auto parts = names_in("a/parts");
  expect_one_line(run({"--resume", "--out", "a", "--set", "width=4"}), 2,
                  "'a/parts' is of a run with width = 3, not 4");
  write_file("w", "weights");
  expect_one_line(run({"--resume", "--out", "a", "--load", "w"}), 2, "--load");
  write_file("other.toml", "width = 3\n[[models]]\nrule = \"pc\"\n");
  expect_one_line(run({"--resume", "--out", "a", "--config", "other.toml"}), 2, "[[models]]");
  write_file("same.toml", "width = 3\n");
  EXPECT_EQ(names_in("a/parts"), parts);

  auto other = nlohmann::json::parse(read_file("a/parts/run.json"));
  const auto before = read_file("a/parts/run.json");
  other["commit"] = "0123abcd";
  write_file("a/parts/run.json", other.dump());
  expect_one_line(run({"--resume", "--out", "a"}), 2, "the commit 0123abcd, not");
  other["version"] = "0.0.0";
  write_file("a/parts/run.json", other.dump());
  expect_one_line(run({"--resume", "--out", "a"}), 2, "0.0.0");
  write_file("a/parts/run.json", "{");
  expect_one_line(run({"--resume", "--out", "a"}), 2, "'a/parts/run.json' is damaged");
  write_file("a/parts/run.json", before);
  EXPECT_EQ(run({"--resume", "--out", "a", "--config", "same.toml", "--threads", "3"}).code, 0);
}

// Contract: run.json of any other kind is answered in one sentence.
TEST_F(WorkTest, ARunJsonOfAnyKindIsOneSentence) {
  ASSERT_EQ(run_interrupted({"--out", "a"}).code, 130);
  const auto good = nlohmann::json::parse(read_file("a/parts/run.json"));
  std::vector<std::string> texts{"", "null", "[]", "3", "{}", "[" + std::string(100'000, '[')};
  texts.push_back(R"({"inputs": )" + std::string(100'000, '[') + std::string(100'000, ']') + "}");
  for (const auto& [name, value] : good.items()) {
    for (const std::string other : {"null", "3", "[]", "{}", R"({"x": [1]})", R"("\n\t\u0000")"}) {
      auto changed = good;
      changed[name] = nlohmann::json::parse(other);
      if (changed != good) texts.push_back(changed.dump());
    }
  }
  for (const auto& text : texts) {
    SCOPED_TRACE(text.substr(0, 200));
    write_file("a/parts/run.json", text);
    expect_one_line(run({"--resume", "--out", "a"}), 2, "a/parts");
  }
  write_file("a/parts/run.json", good.dump());
  EXPECT_EQ(run({"--resume", "--out", "a"}).code, 0);
}

// Contract: other data or weights are refused by their name; the same ones elsewhere are taken.
TEST_F(WorkTest, OtherInputsAreNotMixedIn) {
  double pixel = 1;
  const auto program = [&](bool stop) {
    auto inner = program_of_jobs([stop](std::size_t job) {
      if (stop && job == 2) std::raise(SIGINT);
    });
    const auto experiment = inner.run;
    inner.run = [&pixel, experiment](run::Run& run) {
      run.take("training images", at::full({3}, pixel, at::kDouble));
      experiment(run);
    };
    return inner;
  };
  const auto start = [&](const std::vector<std::string>& words, bool stop = false) {
    auto all = words;
    all.insert(all.end(), {"--threads", "1"});
    return test::run_program(program(stop), all);
  };
  write_file("w", "some weights");
  ASSERT_EQ(start({"--out", "a", "--load", "w"}, true).code, 130);
  pixel = 2;
  expect_one_line(start({"--resume", "--out", "a", "--load", "w"}), 2,
                  "'a/parts' is of a run with other training images: their checksum is ");
  pixel = 1;
  expect_one_line(start({"--resume", "--out", "a"}), 2, "other weights of --load");
  write_file("w", "some weights, trained on");
  expect_one_line(start({"--resume", "--out", "a", "--load", "w"}), 2, "other weights of --load");
  write_file("again", "some weights");
  EXPECT_EQ(start({"--resume", "--out", "a", "--load", "./again"}).code, 0);

  ASSERT_EQ(start({"--shard", "0/2", "--out", "s"}).code, 0);
  pixel = 2;
  expect_one_line(start({"--shard", "1/2", "--out", "s"}), 2, "other training images");
  ASSERT_EQ(start({"--shard", "1/2", "--out", "t"}).code, 0);
  expect_one_line(start({"--merge", "s", "--merge", "t", "--out", "m"}), 2,
                  "'s/parts' is of a run with other training images");
  pixel = 1;
  expect_one_line(start({"--merge", "s", "--merge", "t", "--out", "m"}), 2,
                  "'t/parts' is of a run with other training images");
}

// Contract: archives of older versions are named with their converter, and not read.
TEST_F(WorkTest, PartsOfAnOlderVersionAreRefused) {
  for (const std::string name : {"job1.pt", "job2.checkpoint.pt"}) {
    ASSERT_EQ(run_interrupted({"--out", "a"}).code, 130);
    write_file("a/parts/" + name, "whatever it is");
    for (const std::string option : {"--resume", "--merge"}) {
      const auto outcome =
          option == "--merge" ? run({"--merge", "a"}) : run({option, "--out", "a"});
      expect_one_line(outcome, 2, "'a/parts/" + name + "' is of an older version");
      EXPECT_NE(outcome.errors.find("python/pcxx_weights.py"), std::string::npos);
    }
    fs::remove_all("a");
  }
}

TEST_F(WorkTest, ADamagedPartIsNamed) {
  ASSERT_EQ(run_interrupted({"--out", "a"}).code, 130);
  const auto good = read_file("a/parts/job1.safetensors");
  write_file("a/parts/job1.safetensors", std::string_view(good).substr(0, good.size() / 2));
  expect_one_line(run({"--resume", "--out", "a"}), 2, "'a/parts/job1.safetensors' is damaged");
  write_file("a/parts/job1.safetensors", "PK\x03\x04 and so on");
  expect_one_line(run({"--resume", "--out", "a"}), 2, "'a/parts/job1.safetensors' is an archive");
}

TEST_F(WorkTest, ShardsShareOneFolderOrHaveOneEach) {
  for (const std::string shard : {"0/3", "1/3", "2/3"}) {
    std::set<std::size_t> jobs;
    std::mutex mutex;
    const auto outcome = run({"--shard", shard, "--out", "shared"}, [&](std::size_t job) {
      const std::scoped_lock lock(mutex);
      jobs.insert(job);
    });
    ASSERT_EQ(outcome.code, 0) << outcome.errors;
    for (const auto job : jobs) EXPECT_EQ(job % 3, static_cast<std::size_t>(shard[0] - '0'));
    EXPECT_EQ(names_in("shared"), Names{"parts"}) << "results come with the merge";
    ASSERT_EQ(run({"--shard", shard, "--out", std::string("own") + shard[0]}).code, 0);
  }
  ASSERT_EQ(run({"--merge", "shared"}).code, 0);
  EXPECT_EQ(read_file("shared/metrics.csv"), whole_);
  EXPECT_EQ(names_in("shared"), kResults);

  const std::vector<std::string> folders{"--merge", "own2", "--merge", "own0", "--merge", "own1"};
  expect_one_line(run(folders), 2, "needs --out");
  auto to_out = folders;
  to_out.insert(to_out.end(), {"--out", "joined"});
  ASSERT_EQ(run(to_out).code, 0);
  EXPECT_EQ(read_file("joined/metrics.csv"), whole_);
  EXPECT_EQ(names_in("own1"), Names{"parts"}) << "another folder's parts stay";
}

TEST_F(WorkTest, AMergeNamesItsGaps) {
  ASSERT_EQ(run({"--shard", "0/2", "--out", "a"}).code, 0);
  expect_one_line(run({"--merge", "a"}), 1,
                  "3 of 7 jobs are missing (j1; j3; j5); results so far: a");
  const auto partial = read_file("a/metrics.csv");
  EXPECT_EQ(std::count(partial.begin(), partial.end(), '\n'), 1 + 4);
  ASSERT_EQ(run({"--shard", "1/2", "--out", "a"}).code, 0);
  ASSERT_EQ(run({"--merge", "a"}).code, 0);
  EXPECT_EQ(read_file("a/metrics.csv"), whole_);
  expect_one_line(run({"--merge", "nowhere"}), 2, "'nowhere/parts' holds no finished jobs");
  EXPECT_FALSE(fs::exists("nowhere"));
}

TEST_F(WorkTest, AnInterruptedShardGoesOnByTheSameCommand) {
  expect_one_line(run_interrupted({"--shard", "0/2", "--out", "a"}), 130,
                  "interrupted; 1 of all 7 jobs are done in a/parts; the same command goes on");
  std::set<std::size_t> jobs;
  ASSERT_EQ(run({"--shard", "0/2", "--out", "a", "--threads", "1"},
                [&](std::size_t job) { jobs.insert(job); })
                .code,
            0);
  EXPECT_EQ(jobs, (std::set<std::size_t>{2, 4, 6}));
}

TEST_F(WorkTest, OptionsThatContradictEachOtherAreRefused) {
  expect_one_line(run({"--resume"}), 2, "--resume needs --out");
  expect_one_line(run({"--shard", "0/2"}), 2, "a shard needs --out");
  expect_one_line(run({"--merge", "whole", "--resume"}), 2, "--merge");
  for (const std::string shard : {"2/2", "-1/2", "0", "0/0", "a/b", "1/", "0/2x"}) {
    expect_one_line(run({"--out", "a", "--shard", shard}), 2, "'" + shard + "'");
  }
  fs::create_directories("b/parts");
  write_file("b/parts/mine.txt", "mine");
  expect_one_line(run({"--out", "b"}), 2, "'b/parts'");
  EXPECT_EQ(names_in("b/parts"), Names{"mine.txt"});
}

// Oracle: Slurm's documentation of job arrays.
TEST_F(WorkTest, ATaskOfASlurmArrayIsAShard) {
  const test::Variable id("SLURM_ARRAY_TASK_ID", "14");
  const test::Variable count("SLURM_ARRAY_TASK_COUNT", "3");
  {
    const test::Variable first("SLURM_ARRAY_TASK_MIN", "10");
    const test::Variable step("SLURM_ARRAY_TASK_STEP", "2");
    EXPECT_EQ(slurm_shard()->index, 2);
    EXPECT_EQ(slurm_shard()->count, 3);
    const auto outcome = run({"--out", "a"});
    EXPECT_EQ(outcome.code, 0) << outcome.errors;
    EXPECT_EQ(outcome.out, "shard 2/3: 2 of all 7 jobs are done in a/parts\n");
    EXPECT_EQ(run({"--out", "b", "--shard", "0/1"}).code, 0) << "the option wins";
    EXPECT_EQ(run({"--merge", "b"}).code, 0);
  }
  expect_one_line(run({"--out", "a"}), 2, "task 14 of a Slurm array of 3 tasks");
}

TEST(SlurmShard, IsNothingOutsideOfAnArray) {
  const test::Variable id("SLURM_ARRAY_TASK_ID", std::nullopt);
  const test::Variable count("SLURM_ARRAY_TASK_COUNT", std::nullopt);
  EXPECT_FALSE(slurm_shard());
}

}  // namespace
}  // namespace pcxx::run
