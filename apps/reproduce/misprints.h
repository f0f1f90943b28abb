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

/// Every misprint, contradiction and missing condition of arXiv:2605.11911v1 that this library
/// decides otherwise, measured in float64 on small networks. The right values come from the
/// library, the printed ones too where it offers them as an option, else from a transcription.
/// Takes some 50 ms; the same numbers at every call.
std::vector<Misprint> misprints();

}  // namespace pcxx::reproduce
