#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

/// The formats that users hand in, each as one function that reads an input as the programs do.
namespace pcxx::fuzz {

/// A format. Whatever the input, `read` takes it or throws a UserError; anything else that it
/// throws, a signal, or a sanitizer's complaint is a finding.
struct Target {
  std::string name;  ///< also of its folder in corpus/
  std::function<void(const std::string&)> read;
  std::vector<std::string> words;                  ///< that mean something in the format
  std::function<std::string(std::string)> repair;  ///< makes lengths fit again; may be empty
};

const std::vector<Target>& targets();

/// Reads one input, and checks that a refusal is one short sentence. Throws std::logic_error
/// otherwise.
void read(const Target& target, const std::string& input);

}  // namespace pcxx::fuzz
