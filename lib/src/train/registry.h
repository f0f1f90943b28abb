#pragma once

#include <pcxx/train/extend.h>

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// What the program has added to the vocabulary (train/extend.h).
namespace pcxx::train {

/// The parts that are values of one key.
template <typename Made>
class Registry {
 public:
  using Factory = std::function<Made(const Config&)>;

  explicit Registry(std::string key) : key_(std::move(key)) {}

  void add(Extension about, Factory factory);

  /// The factory of that name, or nullptr.
  const Factory* find(std::string_view name) const {
    const auto found = factories_.find(name);
    return found == factories_.end() ? nullptr : &found->second;
  }
  const std::vector<Extension>& extensions() const { return extensions_; }

 private:
  std::string key_;
  std::vector<Extension> extensions_;
  std::map<std::string, Factory, std::less<>> factories_;
};

Registry<nn::LayerMaker>& layers();
Registry<std::shared_ptr<const inference::Inference>>& inferences();
Registry<std::unique_ptr<optim::Rescaling>>& rescalings();
Registry<std::unique_ptr<learning::LearningRule>>& rules();
Registry<data::ImageSets>& datasets();

/// The extensions that are values of a key; none of most keys.
const std::vector<Extension>& extensions_of(std::string_view key);

/// Whether the model's value of a key is one of them.
bool is_own(const Config& model, std::string_view key);

/// Whether the model's hidden layers are of a kind of the program's own.
bool has_own_layers(const Config& model);

}  // namespace pcxx::train
