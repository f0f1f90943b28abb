#include "words.h"

#include <pcxx/catalog/vocabulary.h>

#include <algorithm>

namespace pcxx::python {
namespace {

const std::vector<std::string> kNetworkKeys{
    "architecture", "activation", "layer", "layers",           "init",
    "widths",       "loss",       "bias",  "condition_number", "dtype"};

// The keys of one value each.
config::Schema single(config::Schema schema) {
  std::vector<std::string> swept;
  for (const auto& key : schema.keys()) {
    if (key.shape == config::Shape::kSweep) swept.push_back(key.name);
  }
  return schema.one(swept);
}

config::Schema model_schema() {
  auto keys = kNetworkKeys;
  for (const auto* key : {"rule", "rescaling", "optimizer", "learning_rate", catalog::kInference,
                          catalog::kOptions}) {
    keys.emplace_back(key);
  }
  return single(catalog::schema(keys)
                    .initial("rule", "\"pc\"")
                    .initial("learning_rate", "0.1")
                    .initial("architecture", "\"relu\"")
                    .initial("widths", "[1, 1]"));
}

}  // namespace

config::Config model_of(const Words& words, const std::string& place) {
  return config::Config::of_words(model_schema(), words, place).models().front();
}

Words joined(Words words, const Words& more) {
  for (const auto& [key, word] : more) {
    std::erase_if(words, [&](const auto& known) { return known.first == key; });
    words.emplace_back(key, word);
  }
  return words;
}

std::string word_of(const Words& words, const std::string& key, const std::string& otherwise) {
  const auto found = std::find_if(words.begin(), words.end(),
                                  [&](const auto& known) { return known.first == key; });
  return found == words.end() ? otherwise : found->second;
}

void check_words(const Words& words, const std::vector<std::string>& keys,
                 const std::string& place) {
  config::Config::of_words(single(catalog::schema(keys)), words, place);
}

}  // namespace pcxx::python
