#include "train/registry.h"

#include <c10/util/Exception.h>

#include <algorithm>

namespace pcxx::train {
namespace {

bool is_value_of(const std::string& key, const std::string& name) {
  const auto& known = vocabulary();
  const auto found =
      std::find_if(known.begin(), known.end(), [&](const Key& k) { return k.name == key; });
  return std::find(found->choices.begin(), found->choices.end(), name) != found->choices.end();
}

bool is_key(const std::string& name) {
  const auto& known = vocabulary();
  return std::any_of(known.begin(), known.end(), [&](const Key& k) { return k.name == name; });
}

}  // namespace

template <typename Made>
void Registry<Made>::add(Extension about, Factory factory) {
  TORCH_CHECK(!about.name.empty() && !is_value_of(key_, about.name) && !find(about.name), key_,
              " = '", about.name, "' cannot be added: the name is taken or empty");
  for (const auto& key : about.keys) {
    TORCH_CHECK(!is_key(key.name), "the vocabulary has a key '", key.name, "' already");
  }
  TORCH_CHECK(factory, key_, " = '", about.name, "' has no factory");
  factories_.emplace(about.name, std::move(factory));
  extensions_.push_back(std::move(about));
}

Registry<nn::LayerMaker>& layers() {
  static Registry<nn::LayerMaker> registry("layer");
  return registry;
}

Registry<std::shared_ptr<const inference::Inference>>& inferences() {
  static Registry<std::shared_ptr<const inference::Inference>> registry("inference");
  return registry;
}

Registry<std::unique_ptr<optim::Rescaling>>& rescalings() {
  static Registry<std::unique_ptr<optim::Rescaling>> registry("rescaling");
  return registry;
}

Registry<std::unique_ptr<learning::LearningRule>>& rules() {
  static Registry<std::unique_ptr<learning::LearningRule>> registry("rule");
  return registry;
}

Registry<data::ImageSets>& datasets() {
  static Registry<data::ImageSets> registry("dataset");
  return registry;
}

const std::vector<Extension>& extensions_of(std::string_view key) {
  static const std::vector<Extension> none;
  if (key == "layer") return layers().extensions();
  if (key == "inference") return inferences().extensions();
  if (key == "rescaling") return rescalings().extensions();
  if (key == "rule") return rules().extensions();
  if (key == "dataset") return datasets().extensions();
  return none;
}

bool is_own(const Config& model, std::string_view key) {
  if (!model.has(key)) return false;
  const auto& extensions = extensions_of(key);
  return std::any_of(extensions.begin(), extensions.end(),
                     [&](const Extension& extension) { return extension.name == model.text(key); });
}

bool has_own_layers(const Config& model) {
  return is_own(model, "layer");
}

void add_layer(Extension about, std::function<nn::LayerMaker(const Config&)> factory) {
  layers().add(std::move(about), std::move(factory));
}

void add_inference(
    Extension about,
    std::function<std::shared_ptr<const inference::Inference>(const Config&)> factory) {
  inferences().add(std::move(about), std::move(factory));
}

void add_rescaling(Extension about,
                   std::function<std::unique_ptr<optim::Rescaling>(const Config&)> factory) {
  rescalings().add(std::move(about), std::move(factory));
}

void add_rule(Extension about,
              std::function<std::unique_ptr<learning::LearningRule>(const Config&)> factory) {
  rules().add(std::move(about), std::move(factory));
}

void add_dataset(Extension about, std::function<data::ImageSets(const Config&)> factory) {
  datasets().add(std::move(about), std::move(factory));
}

}  // namespace pcxx::train
