#include <pcxx/catalog/model.h>

namespace pcxx::catalog {

bool is_collapsed(const config::Config& model) {
  return model.has("collapsed") && model.boolean("collapsed");
}

bool is_kalman(const config::Config& model) {
  return model.has("rule") && model.text("rule") == "kpc";
}

std::string model_name(const config::Config& model) {
  auto name = model.text("rule");
  const auto& rescaling = model.text("rescaling");
  if (rescaling != "none") name += " + " + rescaling;
  if (is_collapsed(model)) name += ", collapsed";
  return name;
}

}  // namespace pcxx::catalog
