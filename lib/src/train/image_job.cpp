#include "train/image_job.h"

#include <ATen/ATen.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/data/minibatches.h>
#include <pcxx/metrics/reconstruction.h>
#include <pcxx/parallel/slice.h>
#include <pcxx/train/training_state.h>

#include <algorithm>

#include "train/trainer.h"
#include "train/training_record.h"

namespace pcxx::train {
namespace {

constexpr const char* kPosition = "position";

// One network's images.
class ImageJob final : public Task {
 public:
  ImageJob(const run::Run& run, const ImageTask& task, const data::Images& images,
           const data::Batch& test_batch, const catalog::Model& model, std::int64_t seed)
      : task_(task),
        images_(images),
        test_batch_(test_batch),
        model_(model),
        options_(catalog::tensor_options(model.config, run.device())),
        ranks_(run.ranks()),
        minibatches_(images.size(), static_cast<std::uint64_t>(seed)) {}

  data::Batch next() override {
    return task_.batch(images_, minibatches_.next(model_.batch_size), options_);
  }

  data::Batch held_out() const override { return test_batch_; }

  bool tests_at(std::int64_t step) const override {
    if (step == 0 || (model_.test_every > 0 && step % model_.test_every == 0)) return true;
    return std::binary_search(model_.test_at.begin(), model_.test_at.end(), step);
  }

  // Means over the test images, of which every rank takes its slice.
  std::map<std::string, at::Tensor> test(const nn::NetworkImpl& network) override {
    const auto mine = parallel::slice(test_batch_, ranks_);
    const auto count = mine.input.size(0);
    auto tests = tests_of(network, count > 0 ? mine : test_batch_);
    if (ranks_.size() > 1) sum_up(tests, static_cast<double>(count));
    std::map<std::string, at::Tensor> found;
    for (const auto& [name, value] : tests) found[name] = at::scalar_tensor(value, at::kDouble);
    return found;
  }

  void learnt(const MadeUpdate& update, const Record& record) override {
    const auto mine = parallel::slice(update.batch, ranks_);
    const auto errors = update.network.loss().errors(update.step.prediction, mine.target);
    record(kTrainError,
           ranks_.size() == 1
               ? errors.mean()
               : parallel::gather_samples(ranks_, errors.mean(-1), update.batch.samples).mean());
  }

  State state() const override {
    const auto& [epoch, sample] = minibatches_.position();
    return {{kPosition, at::tensor({epoch, sample})}};
  }
  void set_state(const State& state) override {
    const auto position = entry_like(state, kPosition, at::empty({2}, at::kLong));
    minibatches_.resume({position[0].item<std::int64_t>(), position[1].item<std::int64_t>()});
  }

 private:
  std::map<std::string, double> tests_of(const nn::NetworkImpl& network,
                                         const data::Batch& batch) const {
    auto tests = task_.test(network, batch);
    tests["test_error"] =
        metrics::mean_error(network, network.loss(), batch.input, batch.target).item<double>();
    return tests;
  }

  void sum_up(std::map<std::string, double>& tests, double count) const {
    std::vector<double> sums;
    for (const auto& [name, value] : tests) sums.push_back(count > 0 ? count * value : 0);
    sums = parallel::sum_numbers(ranks_, sums);
    auto next = sums.begin();
    for (auto& [name, value] : tests) {
      value = *next++ / static_cast<double>(test_batch_.input.size(0));
    }
  }

  const ImageTask& task_;
  const data::Images& images_;
  const data::Batch& test_batch_;
  const catalog::Model& model_;
  at::TensorOptions options_;
  parallel::Communicator& ranks_;
  data::Minibatches minibatches_;
};

}  // namespace

run::Part train_on_images(const run::Run& run, const ImageTask& task, const data::Images& images,
                          const data::Batch& test_batch, const catalog::Model& model, double rate,
                          std::int64_t seed, run::JobContext& job) {
  ImageJob data(run, task, images, test_batch, model, seed);
  auto network = catalog::draw_network(model.config, seed, run.device());
  run.load(network);
  auto optimizer = catalog::make_optimizer(model.config, network->parameters(), rate);
  Trainer trainer(model, network, std::move(optimizer), data, model.measure, run.ranks());
  auto part = to_part(trainer.train(job));
  part.merge(weights_of(trainer.network()));
  return part;
}

}  // namespace pcxx::train
