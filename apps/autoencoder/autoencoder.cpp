#include <ATen/ATen.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/core/error.h>
#include <pcxx/io/png.h>
#include <pcxx/programs.h>
#include <pcxx/run/program.h>
#include <pcxx/run/table.h>
#include <pcxx/train/filters.h>
#include <pcxx/train/image_training.h>
#include <pcxx/train/report.h>

#include <algorithm>

#include "picture.h"

namespace {

using namespace pcxx;
using run::Run;

// Images are their own targets.
class Autoencoding final : public train::ImageTask {
 public:
  std::string_view name() const override { return "autoencoder"; }

  void check(const catalog::Model& model, const train::ImageSets& sets) const override {
    const auto& n = model.widths;
    for (const auto* images : {&sets.train, &sets.test}) {
      if (images->features() != n.front() || n.front() != n.back()) {
        user_error("widths goes from {} to {}, but the images have {} pixels", n.front(), n.back(),
                   images->features());
      }
    }
  }

  data::Batch batch(const data::Images& images, const at::Tensor& index,
                    at::TensorOptions options) const override {
    return data::autoencoding_batch(images, index, options);
  }

  std::optional<metrics::BestRate> best_rate(const std::vector<std::vector<train::Training>>& runs,
                                             const std::vector<double>& rates,
                                             metrics::BestBy best_by) const override {
    return metrics::best_rate(train::test_curves(runs, "test_error"), rates, best_by);
  }
};

// For TensorBoard, among the curves of the network that made it.
void show(Run& run, const train::ImageModel& result, const at::Tensor& pixels) {
  if (run.tensorboard() == nullptr) return;
  const auto cell = run.records()
                        .cell(result.model.config)
                        .with("learning_rate", result.best->rate)
                        .with("seed", result.seeds.front());
  run.tensorboard()->image(cell, result.model.steps, "reconstructions", pixels);
}

// Test images above what the first network of each model makes of them.
void write_reconstructions(Run& run, const train::ImageSweep& sweep,
                           const std::vector<train::ImageModel>& results) {
  constexpr std::int64_t kPictures = 12;
  const auto& images = sweep.sets().test;
  const auto originals = [&](const catalog::Model& model) {
    return sweep.test_batch(model).input.narrow(0, 0, std::min(kPictures, images.size())).cpu();
  };
  auto names = nlohmann::json::array({"original"});
  std::vector<at::Tensor> rows{originals(results.front().model)};
  for (const auto& result : results) {
    if (result.networks.empty()) continue;
    const auto& network = *result.networks.front();
    rows.push_back(network.loss().outcome(network.forward(originals(result.model)).detach()));
    names.push_back(result.summary["model"]);
    show(run, result, picture({rows.front(), rows.back()}, images.rows, images.columns));
  }
  run.folder().write("reconstructions.png", io::png(picture(rows, images.rows, images.columns)));
  run.summary()["picture_rows"] = names;
}

void run_autoencoders(Run& run) {
  const Autoencoding task;
  train::ImageSweep sweep(run, task);
  const auto results = sweep.train();
  if (results.empty()) return;
  write_reconstructions(run, sweep, results);
  train::write_filters(run, sweep.sets(), results);
  const auto table = train::image_table(run, results, {{"test error", "final_error"}});
  train::print_results(run, table, run.summary());
}

config::Schema schema() {
  auto keys = train::image_schema();
  keys.initial("architecture", "\"autoencoder\"");
  keys.initial("widths", "[784, 128, 32, 128, 784]");
  keys.initial("steps", "200");
  keys.initial("learning_rate", "{ from = 1e-4, to = 10, points = 11, scale = \"log\" }");
  return keys;
}

}  // namespace

run::Program pcxx::programs::autoencoder() {
  return {
      .name = "pcxx-autoencoder",
      .summary =
          "Trains autoencoders on MNIST, Fashion-MNIST, any IDX files or drawn digits with "
          "any set of models, measures the test error step by step, and keeps weights "
          "and reconstructions of each model's best learning rate.",
      .examples =
          {"# predictive coding with and without projection, on drawn digits",
           "--set rule=pc --set rescaling=[none,projection] --set learning_rate=[0.3,1] "
           "--set seeds=1 --set dataset=digits",
           "# MNIST from a folder that has mnist/",
           "--data data --set dataset=mnist --set learning_rate=1",
           "# the test error of saved weights, without training",
           "--load runs/a/weights1-pc-none-seed0.safetensors --set steps=0 --set learning_rate=1 "
           "--set seeds=1",
           "# an experiment of the paper", "--config configs/fig4d_autoencoder.toml"},
      .schema = schema(),
      .loads = true,
      .works = true,
      .ranks = true,
      .curves = true,
      .plot_script = "autoencoder",
      .run = run_autoencoders};
}
