#pragma once

#include <string>
#include <vector>

namespace pcxx::reproduce {

/// A formula that the paper prints and the one that its experiments and proofs need, with a number
/// that tells them apart.
///   where          place in the paper: "eq. 30"
///   printed        what stands there
///   right          what holds
///   measure        what the two values are, and of which network
///   printed_value  of the printed formula
///   right_value    of the right one
struct Misprint {
  std::string where;
  std::string printed;
  std::string right;
  std::string measure;
  double printed_value;
  double right_value;
};

/// A formula that looks wrong beside others, and holds as it is printed.
///   printed, why  what stands there, and in which sense it holds
///   measure       what the value is, which is 0 to rounding or to the accuracy wanted
struct Confirmation {
  std::string where;
  std::string printed;
  std::string why;
  std::string measure;
  double value;
};

/// Every misprint and contradiction of arXiv:2605.11911v1 that this library decides otherwise,
/// measured in float64. The right values come from the library, the printed ones too where it
/// offers them as an option, else from a transcription. The same numbers at every call.
std::vector<Misprint> misprints();

/// What is printed right, though this library counts or computes otherwise.
std::vector<Confirmation> confirmations();

}  // namespace pcxx::reproduce
