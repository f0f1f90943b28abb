#pragma once

#include <pcxx/config/config.h>

#include <string>
#include <utility>
#include <vector>

namespace pcxx::python {

/// Keys of configs with what would stand behind their = in TOML: the keyword arguments of Python.
using Words = std::vector<std::pair<std::string, std::string>>;

/// The config of one model that a network, a rule, a rescaling and an optimizer are made of, in
/// which these words are set. Throws UserError, which begins with `place`, for what no program
/// would take.
config::Config model_of(const Words& words, const std::string& place);

/// The words of both; a key that both set has its value of `more`.
Words joined(Words words, const Words& more);

/// The word of a key, or what is given for a key that is not set.
std::string word_of(const Words& words, const std::string& key, const std::string& otherwise);

/// Throws UserError where one of the words is none of these keys of the vocabulary or their
/// options.
void check_words(const Words& words, const std::vector<std::string>& keys,
                 const std::string& place);

}  // namespace pcxx::python
