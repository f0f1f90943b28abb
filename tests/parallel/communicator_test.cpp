#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <pcxx/parallel/communicator.h>
#include <pcxx/parallel/exchange.h>
#include <pcxx/parallel/launch.h>
#include <pcxx/parallel/patience.h>
#include <pcxx/parallel/slice.h>

#include "parallel/ranks.h"
#include "support/environment.h"

namespace pcxx::parallel {
namespace {

using test::ranks;

// Oracle: 1 + ... + N by hand, in each dtype, and many numbers under way at once.
TEST(Communicator, AddsUp) {
  const int n = ranks().size();
  for (const auto dtype : {at::kDouble, at::kFloat, at::kLong}) {
    std::vector<at::Tensor> tensors;
    std::vector<std::unique_ptr<Pending>> pending;
    for (std::int64_t numbers : {1, 7, 40'000}) {
      tensors.push_back(at::full({numbers}, ranks().rank() + 1, dtype));
      pending.push_back(ranks().start_sum(tensors.back()));
    }
    for (auto& one : pending) one->wait();
    for (const auto& tensor : tensors) EXPECT_TRUE(tensor.eq(n * (n + 1) / 2).all().item<bool>());
  }
}

// Oracle: row i of the whole holds i, whoever had it; some ranks have one row more, or none.
TEST(Communicator, GathersSlicesInOrder) {
  for (const std::int64_t samples : {1, 2, 3, 4, 9}) {
    const auto [first, count] = slice_of(samples, ranks().rank(), ranks().size());
    const auto numbers = at::arange(samples, at::kDouble);
    EXPECT_TRUE(
        at::equal(gather_samples(ranks(), numbers.narrow(0, first, count), samples), numbers));
    const auto members = numbers.unsqueeze(-1) + 10 * at::arange(3).view({3, 1, 1}) +
                         at::tensor({0.25, 0.5}, at::kDouble);  // [3, samples, 2]
    EXPECT_TRUE(at::equal(gather_rows(ranks(), members.narrow(1, first, count), samples), members));
  }
}

// Oracle: texts by hand; those of different lengths, and none.
TEST(Communicator, PassesTextsOn) {
  const auto text_of = [](int rank) { return std::string(static_cast<std::size_t>(rank), 'x'); };
  const auto texts = gather_texts(ranks(), text_of(ranks().rank()));
  EXPECT_EQ(texts.size(), static_cast<std::size_t>(ranks().size()));
  for (int rank = 0; rank < ranks().size(); ++rank) {
    EXPECT_EQ(texts.at(static_cast<std::size_t>(rank)), text_of(rank));
  }
  EXPECT_EQ(broadcast_text(ranks(), ranks().is_root() ? "of rank 0" : "of another"), "of rank 0");
  EXPECT_EQ(broadcast_text(ranks(), ""), "");
  EXPECT_TRUE(any_rank(ranks(), ranks().rank() == ranks().size() - 1));
  EXPECT_FALSE(any_rank(ranks(), false));
}

// Contract: what MPI does not take is refused before anything is sent.
TEST(Communicator, RefusesOtherNumbers) {
  if (ranks().size() == 1) GTEST_SKIP() << "one rank sends nothing";
  EXPECT_THROW(ranks().start_sum(at::zeros({2}, at::kHalf)), c10::Error);
  EXPECT_THROW(ranks().start_sum(at::zeros({2, 3}).t()), c10::Error);
  EXPECT_THROW(
      ranks().start_gather(at::zeros({2}), at::zeros({1}),
                           std::vector<std::int64_t>(static_cast<std::size_t>(ranks().size()), 2)),
      c10::Error);
}

// Oracle: what a ring sends, by hand.
TEST(Communicator, CountsBytes) {
  const std::int64_t n = ranks().size();
  const auto before = ranks().bytes();
  ranks().start_sum(at::zeros({12}, at::kDouble))->wait();
  EXPECT_EQ(ranks().bytes() - before, n == 1 ? 0 : 2 * (n - 1) * 96 / n);
}

// Oracle: every sample exactly once, sizes that differ by one at most.
TEST(Slices, CutTheBatch) {
  for (const int size : {1, 2, 3, 4, 7}) {
    for (const std::int64_t samples : {0, 1, 3, 7, 64, 1000}) {
      std::int64_t next = 0;
      for (int rank = 0; rank < size; ++rank) {
        const auto [first, count] = slice_of(samples, rank, size);
        EXPECT_EQ(first, next);
        EXPECT_TRUE(count == samples / size || count == samples / size + 1);
        next = first + count;
      }
      EXPECT_EQ(next, samples);
    }
  }
}

// Oracle: the bytes that N ranks send, 2 (N - 1) / N of a sum and (N - 1) / N of what is gathered.
TEST(Exchange, TakesTheCheaperOne) {
  // Of one row the sums save next to nothing, and only bytes count.
  EXPECT_EQ(cheaper(70, 140, 1), Exchange::kSum);
  EXPECT_EQ(cheaper(70, 139, 1), Exchange::kGather);
  // 160 rows: the sums of 50 numbers save as much time as 100 numbers on their way.
  EXPECT_EQ(cheaper(50, 0, 160), Exchange::kSum);
  EXPECT_EQ(cheaper(50, 0, 158), Exchange::kGather);
  EXPECT_EQ(cheaper(0, 1000, 160), Exchange::kGather) << "there are no sums that would do";
  // The autoencoder's last layer: D is 784 x 128 numbers, E and U = Xhat 912 a sample.
  constexpr std::int64_t kDirection = std::int64_t{784} * 128;
  EXPECT_EQ(cheaper(kDirection, std::int64_t{64} * 912, 64), Exchange::kGather);
  EXPECT_EQ(cheaper(kDirection, std::int64_t{1024} * 912, 1024), Exchange::kSum);
  // Its first layer, the inputs of which all ranks have, with second moments.
  constexpr std::int64_t kMoments = std::int64_t{784} * 784;
  EXPECT_EQ(cheaper(kDirection + kMoments, std::int64_t{1024} * 128, 1024), Exchange::kSum);
}

// Contract: what the launchers set.
TEST(Launch, IsReadFromTheEnvironment) {
  if (ranks().size() > 1) GTEST_SKIP() << "this environment is mpirun's";
  EXPECT_EQ(launched().size, 1);
  {
    const test::Variable size("SLURM_STEP_NUM_TASKS", "8");
    const test::Variable rank("SLURM_PROCID", "5");
    const test::Variable local("SLURM_LOCALID", "1");
    EXPECT_EQ(launched().size, 8);
    EXPECT_EQ(launched().rank, 5);
    EXPECT_EQ(launched().local_rank, 1);
  }
  const test::Variable size("PMI_SIZE", "1");
  EXPECT_EQ(launched().size, 1);
}

// Oracle: the clock.
TEST(Patience, EndsAtItsLimit) {
  WaitOptions options;
  options.limit = std::chrono::milliseconds(50);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_THROW(
      {
        for (Patience patience(options);; patience.pause()) {
        }
      },
      RanksLost);
  EXPECT_GE(std::chrono::steady_clock::now() - start, options.limit);
}

// Oracle: the clock; told to stop, a rank says once that it waits.
TEST(Patience, ComplainsOnceWhenToldToStop) {
  int complaints = 0;
  WaitOptions options;
  options.limit = std::chrono::milliseconds(1500);
  options.stopped = [] { return true; };
  options.complain = [&] { ++complaints; };
  EXPECT_THROW(
      {
        for (Patience patience(options);; patience.pause()) {
        }
      },
      RanksLost);
  EXPECT_EQ(complaints, 1);
}

}  // namespace
}  // namespace pcxx::parallel
