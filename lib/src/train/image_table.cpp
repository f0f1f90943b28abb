#include <fmt/format.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/catalog/vocabulary.h>
#include <pcxx/train/image_training.h>
#include <pcxx/train/observer.h>

namespace pcxx::train {
namespace {

bool at_edge(const metrics::BestRate& best) {
  return best.at_low_edge || best.at_high_edge;
}

}  // namespace

run::Table image_table(const run::Run& run, const std::vector<ImageModel>& results,
                       const std::vector<Headline>& headlines) {
  const auto varied = run.varied_keys();
  std::vector<std::string> header{"model"};
  header.insert(header.end(), varied.begin(), varied.end());
  header.push_back(catalog::best_rate_title(run.config()));
  for (const auto& headline : headlines) header.push_back(headline.title);
  header.insert(header.end(), {"inference passes", "converged"});
  run::Table table(header);
  for (const auto& result : results) {
    const auto& best = result.best;
    const auto& summary = result.summary;
    std::vector<std::string> row{summary["model"].get<std::string>()};
    for (const auto& key : varied)
      row.push_back(config::to_string(result.model.values(key).front()));
    const auto number = [&](const std::string& name) { return summary[name].get<double>(); };
    row.push_back(!best ? "none" : run::brief(best->rate) + (at_edge(*best) ? " (edge)" : ""));
    for (const auto& headline : headlines) {
      row.push_back(best ? run::brief(number(headline.number)) : "diverged");
    }
    const bool inferred = summary.contains("inference_passes");
    row.push_back(inferred ? fmt::format("{:.0f}", number("inference_passes")) : "-");
    row.push_back(inferred ? fmt::format("{:.0f} %", 100 * number("inference_converged")) : "-");
    table.row(row);
  }
  return table;
}

config::Schema image_schema(const std::vector<std::string>& more) {
  std::vector<std::string> names{"rule",
                                 "rescaling",
                                 "learning_rate",
                                 "architecture",
                                 "layer",
                                 "widths",
                                 "init",
                                 "condition_number",
                                 "bias",
                                 "batch_size",
                                 "steps",
                                 "epochs",
                                 "best_by",
                                 "dtype",
                                 "seeds",
                                 "test_every",
                                 "test_at",
                                 catalog::kImages,
                                 catalog::kInference,
                                 catalog::kOptions,
                                 "optimizer",
                                 catalog::kTraining};
  names.insert(names.end(), more.begin(), more.end());
  auto keys = catalog::schema(names);
  keys.add(measure_key("[\"inference\"]"));
  keys.initial("init", "\"lecun\"");
  keys.initial("batch_size", "64");
  keys.initial("dtype", "\"float32\"");
  keys.initial("seeds", "3");
  keys.initial("regularisation", "0.01");
  return keys.one({"architecture"});
}

}  // namespace pcxx::train
