#include <ATen/ATen.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/catalog/vocabulary.h>
#include <pcxx/core/error.h>
#include <pcxx/io/checkpoint.h>
#include <pcxx/io/safetensors.h>
#include <pcxx/nn/feedforward.h>
#include <pcxx/programs.h>
#include <pcxx/run/program.h>
#include <pcxx/run/table.h>
#include <pcxx/train/image_training.h>

#include <algorithm>
#include <array>

namespace {

using namespace pcxx;
using config::Config;
using inference::Equilibrium;
using run::Run;

// ---- The network of the file --------------------------------------------------------------------

bool is_initial(const Config& config, const char* key) {
  return config.values(key) == Config(config.schema()).values(key);
}

// What the config leaves open, as the file has it.
void take_network(Run& run) {
  if (!run.load_path()) user_error("--load is missing: the weights to look into");
  const auto described = io::described_network(run.loaded(), *run.load_path());
  run.resolve("widths", std::vector<config::Value>{described.inputs, described.outputs});
  run.resolve("layers", {described.layers});
  run.resolve("dtype", {described.dtype});
  if (is_initial(run.config(), "loss") && !described.loss.empty()) {
    run.resolve("loss", {described.loss});
  }
  const bool to_images = described.inputs == described.outputs;
  if (run.config().text("task") == "auto") {
    run.resolve("task", {std::string(to_images ? "images" : "labels")});
  }
}

// ---- The images ---------------------------------------------------------------------------------

struct Subject {
  nn::Network network;
  data::Batch batch;
  at::Tensor index;   // [N], of the images in their set
  at::Tensor labels;  // [N]; undefined without
};

// The images that `images` lists, or the first `batch_size`.
at::Tensor index_of(const Config& config, const data::Images& images) {
  const auto listed = config.integers("images");
  for (const auto index : listed) {
    if (index >= images.size()) {
      user_error("images = {} is not there: there are {} {} images, counted from 0", index,
                 images.size(), config.text("split"));
    }
  }
  if (!listed.empty()) return at::tensor(listed);
  return at::arange(std::min(config.integer("batch_size"), images.size()));
}

data::Batch batch_of(const Config& config, const data::Images& images, const at::Tensor& index,
                     at::TensorOptions options) {
  const auto [inputs, outputs] = catalog::ends(config);
  if (images.features() != inputs) {
    user_error("the network takes {} inputs, but the images have {} pixels", inputs,
               images.features());
  }
  if (config.text("task") == "images") {
    if (inputs != outputs) {
      user_error("task = 'images' needs as many outputs as inputs, not {}", outputs);
    }
    return data::autoencoding_batch(images, index, options);
  }
  const auto highest = images.labels.max().item<std::int64_t>();
  if (highest >= outputs) {
    user_error("the network has {} outputs, which is too few for labels up to {}", outputs,
               highest);
  }
  return data::classification_batch(images, index, outputs, options);
}

Subject subject_of(Run& run) {
  take_network(run);
  const bool labelled = run.config().text("task") == "labels";
  const auto sets = train::load_image_sets(run, labelled);
  const auto& config = run.config();
  const auto& images = config.text("split") == "train" ? sets.train : sets.test;
  const auto index = index_of(config, images);
  Subject subject{
      .network = catalog::draw_network(config, 0, run.device()),
      .batch = batch_of(config, images, index, catalog::tensor_options(config, run.device())),
      .index = index,
      .labels = {}};
  run.load(subject.network);
  if (images.labels.defined()) subject.labels = images.labels.index_select(0, subject.index);
  return subject;
}

// ---- What is written ----------------------------------------------------------------------------

std::string of_layer(std::size_t l, const char* what) {
  return fmt::format("layer{}.{}", l, what);
}

io::NamedTensors tensors_of(const Subject& subject, const Equilibrium& found) {
  io::NamedTensors tensors{{"index", subject.index},
                           {"input", subject.batch.input.cpu()},
                           {"target", subject.batch.target.cpu()}};
  if (subject.labels.defined()) tensors.emplace_back("label", subject.labels.cpu());
  for (std::size_t l = 1; l < found.activities.size(); ++l) {
    tensors.emplace_back(of_layer(l, "feedforward"), found.feedforward.activities[l].cpu());
    tensors.emplace_back(of_layer(l, "equilibrium"), found.activities[l].cpu());
    tensors.emplace_back(of_layer(l, "error"), found.errors[l].cpu());
  }
  const auto& report = found.report;
  tensors.emplace_back("energy", report.energy.cpu());
  tensors.emplace_back("residual", report.residual.cpu());
  tensors.emplace_back("converged", report.converged.to(at::kByte).cpu());
  return tensors;
}

std::string label_text(const Subject& subject, std::int64_t i) {
  return subject.labels.defined() ? std::to_string(subject.labels[i].item<std::int64_t>()) : "";
}

// A row for each image, layer and unit.
void write_units(Run& run, const Subject& subject, const Equilibrium& found) {
  auto& stream = run.folder().file("activities.csv").stream();
  stream << "image,label,layer,unit,feedforward,equilibrium,error\n";
  std::vector<std::array<at::Tensor, 3>> layers;
  for (std::size_t l = 1; l < found.activities.size(); ++l) {
    layers.push_back({});
    std::size_t kind = 0;
    for (const auto& values :
         {found.feedforward.activities[l], found.activities[l], found.errors[l]}) {
      layers.back()[kind++] = values.to(at::kCPU, at::kDouble).contiguous();
    }
  }
  for (std::int64_t i = 0; i < subject.index.numel(); ++i) {
    const auto whose =
        fmt::format("{},{}", subject.index[i].item<std::int64_t>(), label_text(subject, i));
    for (std::size_t l = 0; l < layers.size(); ++l) {
      const auto units = layers[l].front().size(-1);
      const auto at = [&](std::size_t kind) {
        return layers[l][kind].const_data_ptr<double>() + i * units;
      };
      for (std::int64_t unit = 0; unit < units; ++unit) {
        stream << fmt::format("{},{},{},{},{},{}\n", whose, l + 1, unit, at(0)[unit], at(1)[unit],
                              at(2)[unit]);
      }
    }
  }
}

// The hidden layer with the fewest units, the first of several.
std::size_t code_layer(const nn::NetworkImpl& network) {
  std::size_t narrowest = 1;
  for (std::size_t l = 2; l < network.size(); ++l) {
    if (network.layer(l).out_features() < network.layer(narrowest).out_features()) narrowest = l;
  }
  return narrowest;
}

// A row for each image: what the narrowest hidden layer makes of it.
void write_codes(Run& run, const Subject& subject, const Equilibrium& found) {
  const auto l = code_layer(*subject.network);
  const auto codes = found.feedforward.activities[l].to(at::kCPU, at::kDouble).contiguous();
  auto& stream = run.folder().file("codes.csv").stream();
  stream << "image,label";
  for (std::int64_t unit = 0; unit < codes.size(1); ++unit) stream << ",unit" << unit;
  stream << '\n';
  for (std::int64_t i = 0; i < codes.size(0); ++i) {
    stream << subject.index[i].item<std::int64_t>() << ',' << label_text(subject, i);
    const auto* row = codes.const_data_ptr<double>() + i * codes.size(1);
    for (std::int64_t unit = 0; unit < codes.size(1); ++unit) {
      stream << fmt::format(",{}", row[unit]);
    }
    stream << '\n';
  }
  run.summary()["code_layer"] = l;
}

double root_mean_square(const at::Tensor& values) {
  return values.to(at::kDouble).square().mean().sqrt().item<double>();
}

// A row for each layer, in the table, in metrics.csv (whose step is the layer) and the summary.
void report_layers(Run& run, const Subject& subject, const Equilibrium& found) {
  run::Table table({"layer", "units", "activity", "at equilibrium", "moved by", "error"});
  auto& layers = run.summary()["layers"] = nlohmann::json::array();
  const auto cell = run.records().cell(run.config());
  for (std::size_t l = 1; l < found.activities.size(); ++l) {
    const auto& start = found.feedforward.activities[l];
    const auto activity = root_mean_square(start);
    const std::vector<std::pair<std::string, double>> numbers{
        {"feedforward_rms", activity},
        {"equilibrium_rms", root_mean_square(found.activities[l])},
        {"movement", root_mean_square(found.activities[l] - start) / activity},
        {"error_rms", root_mean_square(found.errors[l])}};
    nlohmann::json json{{"layer", l}, {"units", subject.network->layer(l).out_features()}};
    std::vector<std::string> row{std::to_string(l), json["units"].dump()};
    for (const auto& [name, value] : numbers) {
      json[name] = value;
      run.records().add(cell, static_cast<std::int64_t>(l), name, value);
      row.push_back(name == "movement" ? fmt::format("{:.2g} %", 100 * value) : run::brief(value));
    }
    layers.push_back(json);
    table.row(row);
  }
  run.print("root mean squares over {} images; {}\n\n{}", subject.index.numel(),
            found.report.brief(), table.text());
}

void look(Run& run) {
  const at::NoGradGuard no_grad;
  const auto subject = subject_of(run);
  train::print_dataset(run);
  const auto found = catalog::make_inference(run.config())->infer(*subject.network, subject.batch);
  io::write_safetensors(run.folder().file("activities.safetensors").stream(),
                        tensors_of(subject, found), {{"program", run.program()}});
  write_units(run, subject, found);
  if (subject.network->size() > 1) write_codes(run, subject, found);
  report_layers(run, subject, found);
}

config::Schema schema() {
  auto keys =
      catalog::schema({"rule", "rescaling", "architecture", "layers", "widths", "bias", "init",
                       "condition_number", "loss", "batch_size", "dtype", catalog::kImages,
                       "train_labels", "test_labels", "validation_samples", catalog::kInference});
  keys.choices("rule", {"pc"});
  keys.choices("rescaling", {"none"});
  keys.initial("rule", "\"pc\"");
  keys.initial("batch_size", "10");
  keys.initial("dtype", "\"float32\"");
  keys.add({.name = "task",
            .kind = config::Kind::kText,
            .initial = "\"auto\"",
            .doc = "what the outputs are held at: the image itself, or 1 at its label and 0 "
                   "elsewhere; auto: the image where there are as many outputs as inputs",
            .choices = {"auto", "images", "labels"}});
  keys.add({.name = "split",
            .kind = config::Kind::kText,
            .initial = "\"test\"",
            .doc = "which images",
            .choices = {"test", "train"}});
  keys.add({.name = "images",
            .kind = config::Kind::kInteger,
            .initial = "[]",
            .doc = "numbers of the images, from 0; [] takes the first batch_size",
            .shape = config::Shape::kList,
            .minimum = 0});
  std::vector<std::string> single;
  for (const auto& key : keys.keys()) {
    if (key.shape == config::Shape::kSweep) single.push_back(key.name);
  }
  return keys.one(single);
}

}  // namespace

run::Program pcxx::programs::activities() {
  return {.name = "pcxx-activities",
          .summary =
              "Looks inside a trained network: the activities of every layer for given images, in "
              "the feed-forward pass and at the equilibrium of predictive coding, and the "
              "prediction errors there. The network is the one that the file of weights "
              "describes.",
          .examples = {"# the first ten test images of the data set in front of a trained network",
                       "--load runs/a/weights1-pc-none-seed0.safetensors --set dataset=digits",
                       "# three training images of MNIST",
                       "--load runs/a/weights1-pc-none-seed0.safetensors --data data "
                       "--set dataset=mnist --set split=train --set images=[3,1,4]",
                       "# codes of a thousand images, for pandas",
                       "--load runs/a/weights1-pc-none-seed0.safetensors --set dataset=digits "
                       "--set batch_size=1000"},
          .schema = schema(),
          .loads = true,
          .plot_script = "activities",
          .run = look};
}
