#pragma once

#include <pcxx/config/schema.h>

#include <string>
#include <vector>

/// The keys that programs share.
namespace pcxx::catalog {

/// Every key of the programs' common vocabulary, with the paper's value as default.
const std::vector<config::Key>& vocabulary();

/// Names that stand for several keys in `schema`.
inline constexpr const char* kNetwork = "[network]";      ///< what it is and how it is drawn
inline constexpr const char* kTeacher = "[teacher]";      ///< of what it learns from
inline constexpr const char* kImages = "[images]";        ///< and where images come from
inline constexpr const char* kInference = "[inference]";  ///< inference, and the options of all
inline constexpr const char* kOptions = "[options]";      ///< of all rules and rescalings
inline constexpr const char* kTraining = "[training]";    ///< how runs use time and machine

/// Picks keys from the vocabulary, in the order given, with what the program has added to their
/// choices (catalog/extend.h). `threads`, `device` are always added, and `layer` is left out where
/// there is nothing to choose.
///
///   auto schema = catalog::schema({"rule", "rescaling", kNetwork, "steps", kOptions})
///                     .initial("width", "20");
///
/// Throws c10::Error on a name that is not in the vocabulary, and where a key is named twice.
config::Schema schema(const std::vector<std::string>& names);

}  // namespace pcxx::catalog
