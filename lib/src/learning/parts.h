#pragma once

#include <pcxx/config/part.h>
#include <pcxx/ensemble/ensemble.h>
#include <pcxx/inference/inference.h>
#include <pcxx/learning/rule.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

/// The learning rules as configs name them. Each is described in its own file; the list is here.
namespace pcxx::learning {

/// Makes a rule; the inference is that of the config, where the rule infers.
using MakeRule = std::unique_ptr<LearningRule>(const config::Config&,
                                               const std::shared_ptr<const inference::Inference>&);

/// A value of `rule`.
///   infers       it needs an inference
///   whole_steps  its steps are taken as they are: no rescaling, no optimizer but sgd
///   weights_only  for networks whose layers have at most one weight each, and nothing else
///   dense_only   a key and a value that it has for Dense layers and the squared error alone
///   lanes        the same rule in the lanes of ensemble/; nothing where only tensors do it
///   no_lanes     why not: the end of a sentence
///   tensors_for  the same of a config whose options only tensors have; empty where lanes do
struct RulePart : config::Part<MakeRule> {
  bool infers = false;
  bool whole_steps = false;
  bool weights_only = false;
  std::pair<std::string, std::string> dense_only = {};
  std::optional<ensemble::Rule> lanes = {};
  std::string no_lanes = {};
  std::function<std::string(const config::Config&)> tensors_for = {};
};

RulePart backpropagation_part();
RulePart predictive_coding_part();
RulePart kalman_part();
RulePart incremental_part();

inline std::vector<RulePart> rule_parts() {
  return {backpropagation_part(), predictive_coding_part(), kalman_part(), incremental_part()};
}

}  // namespace pcxx::learning
