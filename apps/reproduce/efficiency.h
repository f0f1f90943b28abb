#pragma once

#include <string>
#include <vector>

#include "reproduce/results.h"
#include "reproduce/statistics.h"

/// Whether target alignment predicts sample efficiency.
namespace pcxx::reproduce {

/// All runs of one task: every model at its best rate, from every seed.
struct EfficiencyTask {
  std::string panel;                 ///< "beyond-linear"
  std::string cell;                  ///< "init kaiming, hidden_layers 8"
  std::vector<double> alignments;    ///< mean over training
  std::vector<double> efficiencies;  ///< minus the mean log10 error over training
  std::size_t diverged = 0;          ///< models without a rate, of which there are no runs
  RankCorrelation correlation;
};

/// Of the panels whose updates were measured, at least three runs each. `measure` is
/// target_alignment or held_out_alignment.
std::vector<EfficiencyTask> efficiency_tasks(const Results& results,
                                             const std::vector<std::string>& panels,
                                             const std::string& measure);

/// Over the runs of all tasks, each ranked within its task, from 0 to 1.
RankCorrelation pooled(const std::vector<EfficiencyTask>& tasks);

}  // namespace pcxx::reproduce
