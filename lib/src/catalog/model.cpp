#include <c10/util/Exception.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/catalog/model.h>

#include <algorithm>

#include "catalog/registry.h"

namespace pcxx::catalog {
namespace {

template <typename Member>
void read(const config::Config& config, std::string_view key, Member& member) {
  if (!config.has(key)) return;
  const auto& values = config.values(key);
  TORCH_CHECK(values.size() == 1, "a model has one ", key, ", not ", values.size());
  member = std::get<Member>(values.front());
}

template <typename Member>
void read(const config::Config& config, std::string_view key, std::vector<Member>& members) {
  if (!config.has(key)) return;
  members.clear();
  for (const auto& value : config.values(key)) members.push_back(std::get<Member>(value));
}

void read_parts(Model& model) {
  const auto& config = model.config;
  read(config, "rule", model.rule);
  read(config, "rescaling", model.rescaling);
  model.rule_part = rules().find(model.rule);
  model.rescaling_part = rescalings().find(model.rescaling);
  read(config, "optimizer", model.optimizer);
  if (config.has("optimizer")) model.plain_sgd = is_plain_sgd(config);
  read(config, "inference", model.inference);
  if (config.has("unstable_inference")) {
    model.ends_unstable = config.text("unstable_inference") == "end";
  }
  read(config, "regularisation", model.regularisation);
}

void read_network(Model& model) {
  const auto& config = model.config;
  read(config, "loss", model.loss);
  read(config, "dtype", model.dtype);
  model.collapsed = is_collapsed(config);
  if (!config.has("architecture")) return;
  model.network = network_options(config);
  const auto& layers = model.network.layers();
  model.custom_layers = !model.network.custom_layers().empty();
  model.linear = model.network.is_linear();
  model.bias = model.network.has_bias();
  model.squared_error = model.network.loss()->is_squared_error();
  model.widths = {layers.front().in_features()};
  for (const auto& layer : layers) {
    model.widths.push_back(layer.out_features());
    model.parameters += layer.in_features() * layer.out_features();
  }
}

void read_task(Model& model) {
  const auto& config = model.config;
  if (config.has("targets")) {
    model.targets = value_named<data::Targets>(config.text("targets")).value();
  }
  read(config, "noise", model.noise);
  read(config, "rank", model.rank);
  read(config, "batch_size", model.batch_size);
}

void read_training(Model& model) {
  const auto& config = model.config;
  read(config, "steps", model.steps);
  read(config, "learning_rate", model.rates);
  read(config, "seeds", model.seeds);
  read(config, "engine", model.engine);
  read(config, "measure", model.measure);
  read(config, "test_every", model.test_every);
  read(config, "test_at", model.test_at);
  if (config.has("keep")) model.keeps_best = config.text("keep") == "best";
  read(config, "patience", model.patience);
  for (auto& samples : model.test_at) {
    samples = (samples + model.batch_size - 1) / model.batch_size;
  }
  std::sort(model.test_at.begin(), model.test_at.end());
}

}  // namespace

Model::Model(const config::Config& of_one_model) : config(of_one_model) {
  read_parts(*this);
  name = model_name(config);
  read_network(*this);
  read_task(*this);
  read_training(*this);
}

Model with_epochs(const Model& model, std::int64_t samples) {
  const auto epochs = model.config.integer("epochs");
  if (epochs == 0) return model;
  return model.config.with("steps", {(epochs * samples + model.batch_size - 1) / model.batch_size});
}

Machine::Machine(const config::Config& config) {
  read(config, "device", device);
  read(config, "threads", threads);
  read(config, "run_threads", run_threads);
  read(config, "checkpoint_every", checkpoint_every);
  if (config.has("rank_timeout")) rank_timeout = config.real("rank_timeout");
}

bool is_collapsed(const config::Config& model) {
  return model.has("collapsed") && model.boolean("collapsed");
}

bool lists_widths(const config::Config& config) {
  return config.has("widths") && !config.integers("widths").empty();
}

std::string model_name(const config::Config& model) {
  auto name = model.text("rule");
  const auto& rescaling = model.text("rescaling");
  if (rescaling != "none") name += " + " + rescaling;
  if (is_collapsed(model)) name += ", collapsed";
  if (model.has("activation") && model.text("activation") != "relu") {
    name += ", " + model.text("activation");
  }
  if (model.has("loss") && model.text("loss") != "squared_error") name += ", " + model.text("loss");
  return name;
}

}  // namespace pcxx::catalog
