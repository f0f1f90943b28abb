#pragma once

#include <nanobind/nanobind.h>
#include <pcxx/learning/rule.h>

#include <memory>

#include "network.h"

namespace pcxx::python {

/// A learning rule, made when it meets the network that it is to teach.
class Rule {
 public:
  explicit Rule(Words words) : words_(std::move(words)) {}
  /// One of Python's own.
  explicit Rule(nanobind::object own) : own_(std::move(own)) {}

  const Words& words() const { return words_; }

  /// The rule for this network, beside an optimizer of these words. Throws UserError where they do
  /// not go together, and where the rule remembers another network.
  learning::LearningRule& of(const Net& network, const Words& optimizer = {});

  /// nullptr before the first network.
  const learning::LearningRule* made() const { return rule_.get(); }

  /// Its memory, which it takes up when it meets its network.
  State state() const;
  void set_state(State state);

 private:
  Words words_;
  nanobind::object own_;
  std::unique_ptr<learning::LearningRule> rule_;
  const nn::NetworkImpl* network_ = nullptr;
  State waiting_;
};

void bind_learning(nanobind::module_& m);

}  // namespace pcxx::python
