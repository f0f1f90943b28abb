#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <random>
#include <stdexcept>

#include "reproduce/claims.h"
#include "support/temporary_folder.h"

namespace pcxx::reproduce {

using nlohmann::json;

/// Between -1 and 1, the same in every run of the test.
inline double scatter(int seed, int stream) {
  std::mt19937 engine(static_cast<unsigned>(1000 * stream + seed));
  return 2 * static_cast<double>(engine()) / std::mt19937::max() - 1;
}

/// A reproduction whose truth is known, since it was made up.
class MadeUpResults : public testing::Test {
 protected:
  using Alignment = std::function<double(double key, bool pc, int seed)>;

  void write(const std::string& id, const json& summary) const {
    std::filesystem::create_directories(folder_ / "panels" / id);
    std::ofstream(folder_ / "panels" / id / "summary.json") << summary;
  }

  // Figure 2 at both batch sizes: `key` over its values.
  void write_alignments(const std::string& id, const std::string& key,
                        const std::vector<double>& values, const Alignment& alignment,
                        int seeds = 10) const {
    auto cells = json::array();
    for (const int batch : {1, 128}) {
      for (const double value : values) {
        for (const bool pc : {false, true}) {
          auto list = json::array();
          for (int s = 0; s < seeds; ++s) {
            const double found = alignment(value, pc, s);
            list.push_back(std::isfinite(found) ? json(found) : json(nullptr));
          }
          cells.push_back({{"rule", pc ? "pc" : "bp"},
                           {"rescaling", "none"},
                           {key, value},
                           {"batch_size", batch},
                           {"target_alignment", {{"values", list}}}});
        }
      }
    }
    write(id, {{"cells", cells}});
  }

  static json trained(const std::string& rule, const std::string& rescaling,
                      const std::vector<double>& errors, const std::vector<double>& areas = {}) {
    return {{"rule", rule},           {"rescaling", rescaling},
            {"best_rate", 0.1},       {"best_rate_at_edge", "none"},
            {"final_errors", errors}, {"log_areas", areas},
            {"steps_to_plain_bp", 40}};
  }

  static json diverged(const std::string& rule, const std::string& rescaling = "none") {
    return {{"rule", rule}, {"rescaling", rescaling}, {"best_rate", nullptr}};
  }

  void write_models(const std::string& id, const std::vector<json>& models) const {
    write(id, {{"models", models}});
  }

  // Errors of ten seeds about 10^exponent.
  static std::vector<double> errors(double exponent, int stream) {
    std::vector<double> result;
    for (int s = 0; s < 10; ++s)
      result.push_back(std::pow(10, exponent + 0.1 * scatter(s, stream)));
    return result;
  }

  Verdict verdict(const std::string& claim, const std::string& reading) const {
    for (auto& found : judge(Results(folder_.path()))) {
      if (found.claim == claim && found.reading == reading) return found;
    }
    throw std::invalid_argument("no reading " + reading + " of claim " + claim);
  }

  static bool has_note(const Verdict& verdict, const std::string& part) {
    for (const auto& note : verdict.notes) {
      if (note.find(part) != std::string::npos) return true;
    }
    return false;
  }

 private:
  test::TemporaryFolder folder_;
};

}  // namespace pcxx::reproduce
