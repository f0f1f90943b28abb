#pragma once

#include <c10/util/Exception.h>
#include <pcxx/catalog/extend.h>
#include <pcxx/config/part.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "inference/parts.h"
#include "learning/parts.h"
#include "nn/layer_parts.h"
#include "nn/loss_parts.h"
#include "optim/parts.h"

/// Everything with a name that a config can choose: built-in parts, and what the program has added
/// (catalog/extend.h).
namespace pcxx::catalog {

/// The parts that are values of one key, in the order in which they were added.
template <typename PartKind>
class Registry {
 public:
  Registry(std::string key, std::vector<PartKind> built_in) : key_(std::move(key)) {
    for (auto& part : built_in) add(std::move(part));
    built_in_ = parts_.size();
  }

  /// Throws c10::Error where the name is taken or empty, or nothing makes the part.
  void add(PartKind part) {
    TORCH_CHECK(!part.name.empty() && find(part.name) == nullptr, key_, " = '", part.name,
                "' cannot be added: the name is taken or empty");
    TORCH_CHECK(part.make, key_, " = '", part.name, "' has no factory");
    parts_.push_back(std::move(part));
  }

  /// nullptr where there is none of that name.
  const PartKind* find(std::string_view name) const {
    const auto found = std::find_if(parts_.begin(), parts_.end(),
                                    [&](const PartKind& part) { return part.name == name; });
    return found == parts_.end() ? nullptr : &*found;
  }

  /// Whether a condition holds for one of them.
  template <typename Condition>
  bool any(const Condition& condition) const {
    return std::any_of(parts_.begin(), parts_.end(), condition);
  }

  const std::vector<PartKind>& parts() const { return parts_; }
  std::vector<config::Description> built_in() const {
    return {parts_.begin(), parts_.begin() + static_cast<std::ptrdiff_t>(built_in_)};
  }
  std::vector<config::Description> added() const {
    return {parts_.begin() + static_cast<std::ptrdiff_t>(built_in_), parts_.end()};
  }

 private:
  std::string key_;
  std::vector<PartKind> parts_;
  std::size_t built_in_ = 0;
};

/// A value of `architecture`, of layers of the widths n_0..n_L, the hidden ones with an activation,
/// unless they are linear.
struct ArchitecturePart
    : config::Part<nn::NetworkOptions(const std::vector<std::int64_t>& widths, nn::Activation)> {
  bool is_linear = false;
};

using LayerPart = config::Part<nn::LayerMaker(const config::Config&)>;

/// A value of `init`.
using InitPart = config::Part<nn::DrawWeight(const config::Config&)>;

/// A value of `activation`.
using ActivationPart = config::Part<nn::Activation(const config::Config&)>;

/// A value of `dataset`; `labels` says whether anybody needs them, `origin` where the images come
/// from, for people.
struct DatasetPart : config::Part<data::ImageSets(const config::Config&, bool labels)> {
  std::function<std::string(const config::Config&)> origin = {};
};

std::vector<ArchitecturePart> architecture_parts();
std::vector<InitPart> init_parts();
std::vector<DatasetPart> dataset_parts();

Registry<ArchitecturePart>& architectures();
Registry<LayerPart>& layers();
Registry<ActivationPart>& activations();
Registry<InitPart>& inits();
Registry<inference::InferencePart>& inferences();
Registry<optim::RescalingPart>& rescalings();
Registry<learning::RulePart>& rules();
Registry<optim::OptimizerPart>& optimizers();
Registry<optim::SchedulePart>& schedules();
Registry<DatasetPart>& datasets();
Registry<nn::LossPart>& losses();

/// The architectures whose hidden layers have an activation.
std::vector<std::string> nonlinear_architectures();

/// Every activation with its name.
nn::NamedActivations named_activations();

/// What the program has added to the values of a key; nothing to most keys.
std::vector<config::Description> added_to(std::string_view key);

/// Whether the model's value of a key is one of these.
bool is_added(const config::Config& model, std::string_view key);

}  // namespace pcxx::catalog
