#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "reproduce/document.h"
#include "reproduce/figures.h"
#include "reproduce/panels.h"

namespace pcxx::reproduce {

/// What a run of pcxx-reproduce found: the verdicts on the claims, every figure with its numbers,
/// the deviations from the paper and its misprints.
///
///   report.html, report.md   for people; figures/ has the pictures
///   verdicts.json            the verdicts with all their comparisons
///   summary.csv              one row per panel, model, metric and seed
void write_report(const std::vector<Figure>& figures, Profile profile, const Setting& setting,
                  const std::string& command);

}  // namespace pcxx::reproduce
