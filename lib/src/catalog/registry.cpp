#include "catalog/registry.h"

#include <pcxx/catalog/vocabulary.h>

#include <map>

#include "catalog/stack.h"
#include "core/lists.h"

namespace pcxx::catalog {
namespace {

const config::Key* known_key(std::string_view name) {
  const auto& known = vocabulary();
  const auto found = std::find_if(known.begin(), known.end(),
                                  [&](const config::Key& key) { return key.name == name; });
  return found == known.end() ? nullptr : &*found;
}

void append_options(std::vector<std::string>& names, std::string_view of_key) {
  for (const auto& key : vocabulary()) {
    if (key.of_key == of_key) names.push_back(key.name);
  }
}

// Options of parts whose kind has no group stand behind its key.
std::vector<std::string> with_options(const std::vector<std::string>& keys) {
  std::vector<std::string> names;
  for (const auto& key : keys) {
    names.push_back(key);
    if (key == "init" || key == "optimizer" || key == "schedule") append_options(names, key);
  }
  return names;
}

// The keys that a word stands for: a group, or the one of that name.
std::vector<std::string> names_of(const std::string& word) {
  static const std::map<std::string, std::vector<std::string>> groups{
      {kNetwork,
       {"architecture", "activation", "layer", "layers", "init", "hidden_layers", "width", "inputs",
        "outputs", "condition_number", "bias", "loss"}},
      {kTeacher, {"targets", "noise", "rank"}},
      {kImages, {"dataset", "data", "train_images", "test_images", "samples", "test_samples"}},
      {kTraining, {"run_threads", "checkpoint_every", "rank_timeout"}}};
  std::vector<std::string> names;
  if (word == kInference) {
    names = {"inference"};
    append_options(names, "inference");
  } else if (word == kOptions) {
    append_options(names, "rule");
    append_options(names, "rescaling");
  } else {
    const auto group = groups.find(word);
    names = with_options(group == groups.end() ? std::vector<std::string>{word} : group->second);
  }
  return names;
}

// The key, and behind it the options of what the program has added to its choices.
void add_key(config::Schema& schema, const std::string& name) {
  const auto* known = known_key(name);
  TORCH_CHECK(known != nullptr, "the vocabulary has no key '", name, "'");
  const auto added = added_to(name);
  if (name == "layer" && added.empty()) return;  // nothing to choose
  auto key = *known;
  if (name == "layers") key.doc += layer_kinds_doc();
  for (const auto& part : added) key.choices.emplace_back(part.name, part.doc, part.fixes);
  schema.add(std::move(key));
  for (const auto& part : added) {
    for (auto option : part.options) {
      option.of_key = name;
      option.of_choices = {part.name};
      schema.add(std::move(option));
    }
  }
}

// Refuses names of the vocabulary.
template <typename PartKind>
void add_to(Registry<PartKind>& registry, std::string_view key, Extension about, PartKind part) {
  const auto choices = config::choice_names(*known_key(key));
  TORCH_CHECK(std::find(choices.begin(), choices.end(), about.name) == choices.end(), key, " = '",
              about.name, "' cannot be added: the name is taken or empty");
  for (const auto& option : about.keys) {
    TORCH_CHECK(known_key(option.name) == nullptr, "the vocabulary has a key '", option.name,
                "' already");
  }
  part.name = std::move(about.name);
  part.doc = std::move(about.doc);
  part.options = std::move(about.keys);
  registry.add(std::move(part));
}

ActivationPart activation_part(nn::Activation activation) {
  ActivationPart part;
  part.name = activation.function().name;
  part.doc = activation.function().doc;
  part.make = [activation](const config::Config&) { return activation; };
  return part;
}

std::vector<ActivationPart> activation_parts() {
  std::vector<ActivationPart> parts;
  for (const auto activation : nn::built_in_activations()) {
    parts.push_back(activation_part(activation));
  }
  return parts;
}

}  // namespace

Registry<ActivationPart>& activations() {
  static Registry<ActivationPart> registry("activation", activation_parts());
  return registry;
}

std::vector<std::string> nonlinear_architectures() {
  std::vector<std::string> names;
  for (const auto& part : architectures().parts()) {
    if (!part.is_linear) names.push_back(part.name);
  }
  return names;
}

nn::NamedActivations named_activations() {
  nn::NamedActivations named;
  for (const auto& part : activations().parts()) {
    named.emplace_back(part.name, part.make(config::Config{config::Schema()}));
  }
  return named;
}

Registry<ArchitecturePart>& architectures() {
  static Registry<ArchitecturePart> registry("architecture", architecture_parts());
  return registry;
}

Registry<LayerPart>& layers() {
  static Registry<LayerPart> registry("layer", {});
  return registry;
}

Registry<InitPart>& inits() {
  static Registry<InitPart> registry("init", init_parts());
  return registry;
}

Registry<inference::InferencePart>& inferences() {
  static Registry<inference::InferencePart> registry("inference", inference::inference_parts());
  return registry;
}

Registry<optim::RescalingPart>& rescalings() {
  static Registry<optim::RescalingPart> registry("rescaling", optim::rescaling_parts());
  return registry;
}

Registry<learning::RulePart>& rules() {
  static Registry<learning::RulePart> registry("rule", learning::rule_parts());
  return registry;
}

Registry<optim::OptimizerPart>& optimizers() {
  static Registry<optim::OptimizerPart> registry("optimizer", optim::optimizer_parts());
  return registry;
}

Registry<optim::SchedulePart>& schedules() {
  static Registry<optim::SchedulePart> registry("schedule", optim::schedule_parts());
  return registry;
}

Registry<DatasetPart>& datasets() {
  static Registry<DatasetPart> registry("dataset", dataset_parts());
  return registry;
}

Registry<nn::LossPart>& losses() {
  static Registry<nn::LossPart> registry("loss", nn::loss_parts());
  return registry;
}

std::vector<config::Description> added_to(std::string_view key) {
  if (key == "activation") return activations().added();
  if (key == "layer") return layers().added();
  if (key == "init") return inits().added();
  if (key == "inference") return inferences().added();
  if (key == "rescaling") return rescalings().added();
  if (key == "rule") return rules().added();
  if (key == "optimizer") return optimizers().added();
  if (key == "schedule") return schedules().added();
  if (key == "dataset") return datasets().added();
  if (key == "loss") return losses().added();
  return {};
}

bool is_added(const config::Config& model, std::string_view key) {
  if (!model.has(key)) return false;
  const auto added = added_to(key);
  return std::any_of(added.begin(), added.end(),
                     [&](const config::Description& part) { return part.name == model.text(key); });
}

void add_activation(nn::Activation activation) {
  TORCH_CHECK(activation.function().value != nullptr, "activation = '", activation,
              "' has no value");
  auto part = activation_part(activation);
  add_to(activations(), "activation", {part.name, part.doc}, part);
}

void add_layer(Extension about, std::function<nn::LayerMaker(const config::Config&)> factory) {
  TORCH_CHECK(!is_layer_kind(about.name), "layer = '", about.name,
              "' cannot be added: the name is taken");
  LayerPart part;
  part.make = std::move(factory);
  add_to(layers(), "layer", std::move(about), std::move(part));
}

void add_init(Extension about, std::function<nn::DrawWeight(const config::Config&)> factory) {
  InitPart part;
  part.make = std::move(factory);
  add_to(inits(), "init", std::move(about), std::move(part));
}

void add_inference(
    Extension about,
    std::function<std::shared_ptr<const inference::Inference>(const config::Config&)> factory) {
  inference::InferencePart part;
  part.make = std::move(factory);
  add_to(inferences(), "inference", std::move(about), std::move(part));
}

void add_rescaling(
    Extension about,
    std::function<std::unique_ptr<optim::Rescaling>(const config::Config&)> factory) {
  optim::RescalingPart part;
  part.make = std::move(factory);
  add_to(rescalings(), "rescaling", std::move(about), std::move(part));
}

void add_rule(
    Extension about,
    std::function<std::unique_ptr<learning::LearningRule>(const config::Config&)> factory) {
  learning::RulePart part;
  if (factory) {
    part.make = [factory = std::move(factory)](const config::Config& model, const auto&) {
      return factory(model);
    };
  }
  add_to(rules(), "rule", std::move(about), std::move(part));
}

void add_optimizer(Extension about, MakeOptimizer factory) {
  optim::OptimizerPart part;
  part.make = std::move(factory);
  add_to(optimizers(), "optimizer", std::move(about), std::move(part));
}

void add_schedule(Extension about, std::function<optim::Schedule(const config::Config&)> factory) {
  optim::SchedulePart part;
  part.make = std::move(factory);
  add_to(schedules(), "schedule", std::move(about), std::move(part));
}

void add_dataset(Extension about, std::function<data::ImageSets(const config::Config&)> factory) {
  DatasetPart part;
  if (factory) {
    part.make = [factory = std::move(factory)](const config::Config& config, bool) {
      return factory(config);
    };
  }
  add_to(datasets(), "dataset", std::move(about), std::move(part));
}

void add_loss(Extension about,
              std::function<std::shared_ptr<const nn::Loss>(const config::Config&)> factory) {
  nn::LossPart part;
  part.make = std::move(factory);
  add_to(losses(), "loss", std::move(about), std::move(part));
}

config::Schema schema(const std::vector<std::string>& names) {
  config::Schema schema;
  for (const auto& word : names) {
    for (const auto& name : names_of(word)) {
      const bool comes_by_itself = name != word && contains(names, name);
      if (!comes_by_itself) add_key(schema, name);
    }
  }
  for (const char* name : {"threads", "device"}) {
    if (schema.find(name) == nullptr) add_key(schema, name);
  }
  return schema;
}

}  // namespace pcxx::catalog
