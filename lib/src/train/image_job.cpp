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
           const Tested& tested, const catalog::Model& model, std::int64_t seed)
      : task_(task),
        images_(images),
        tested_(tested),
        model_(model),
        options_(catalog::tensor_options(model.config, run.device())),
        ranks_(run.ranks()),
        minibatches_(images.size(), static_cast<std::uint64_t>(seed)) {}

  data::Batch next() override {
    return task_.batch(images_, minibatches_.next(model_.batch_size), options_);
  }

  data::Batch held_out() const override { return *tested_.test; }

  bool tests_at(std::int64_t step) const override {
    if (step == 0 || (model_.test_every > 0 && step % model_.test_every == 0)) return true;
    return std::binary_search(model_.test_at.begin(), model_.test_at.end(), step);
  }

  std::map<std::string, at::Tensor> test(const nn::NetworkImpl& network) override {
    std::map<std::string, at::Tensor> found;
    const auto add = [&](const data::Batch& batch, const std::string& prefix) {
      for (const auto& [name, value] : means_of(network, batch)) {
        const auto what = name.substr(std::string_view("test_").size());
        found[prefix + what] = at::scalar_tensor(value, at::kDouble);
      }
    };
    add(*tested_.test, "test_");
    if (tested_.validation != nullptr) add(*tested_.validation, "validation_");
    return found;
  }

  double worth(const std::map<std::string, std::vector<double>>& tests) const override {
    const auto criterion = task_.criterion().substr(std::string_view("test_").size());
    const double value = tests.at("validation_" + std::string(criterion)).back();
    return task_.more_is_better() ? value : -value;
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
  // Means over these images, of which every rank takes its slice.
  std::map<std::string, double> means_of(const nn::NetworkImpl& network,
                                         const data::Batch& batch) const {
    const auto mine = parallel::slice(batch, ranks_);
    const auto count = mine.input.size(0);
    auto tests = tests_of(network, count > 0 ? mine : batch);
    if (ranks_.size() == 1) return tests;
    std::vector<double> sums;
    for (const auto& [name, value] : tests) {
      sums.push_back(count > 0 ? static_cast<double>(count) * value : 0);
    }
    sums = parallel::sum_numbers(ranks_, sums);
    auto next = sums.begin();
    for (auto& [name, value] : tests) value = *next++ / static_cast<double>(batch.input.size(0));
    return tests;
  }

  std::map<std::string, double> tests_of(const nn::NetworkImpl& network,
                                         const data::Batch& batch) const {
    auto tests = task_.test(network, batch);
    tests["test_error"] =
        metrics::mean_error(network, network.loss(), batch.input, batch.target).item<double>();
    return tests;
  }

  const ImageTask& task_;
  const data::Images& images_;
  Tested tested_;
  const catalog::Model& model_;
  at::TensorOptions options_;
  parallel::Communicator& ranks_;
  data::Minibatches minibatches_;
};

}  // namespace

run::Part train_on_images(const run::Run& run, const ImageTask& task, const data::Images& images,
                          const Tested& tested, const catalog::Model& model, double rate,
                          std::int64_t seed, run::JobContext& job) {
  ImageJob data(run, task, images, tested, model, seed);
  auto network = catalog::draw_network(model.config, seed, run.device());
  run.load(network);
  auto optimizer = catalog::make_optimizer(model.config, network->parameters(), rate);
  Trainer trainer(model, network, std::move(optimizer), data, model.measure, run.ranks());
  auto part = to_part(trainer.train(job));
  part.merge(weights_of(trainer.network()));
  return part;
}

}  // namespace pcxx::train
