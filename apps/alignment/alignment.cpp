#include <ATen/ATen.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/catalog/model.h>
#include <pcxx/catalog/vocabulary.h>
#include <pcxx/core/error.h>
#include <pcxx/metrics/layer_diagnostics.h>
#include <pcxx/metrics/predicted_alignment.h>
#include <pcxx/metrics/target_alignment.h>
#include <pcxx/programs.h>
#include <pcxx/run/program.h>
#include <pcxx/run/table.h>

#include <cmath>
#include <map>

namespace {

using namespace pcxx;
using config::Config;
using run::Run;

using Measurements = std::map<std::string, double>;

double number(const at::Tensor& value) {
  return value.item().toDouble();
}

// The closed form of the paper, for the models that it covers.
std::optional<metrics::PredictionOptions> predictable(const Config& model,
                                                      const nn::NetworkImpl& network) {
  if (!network.is_linear()) return std::nullopt;
  return catalog::prediction_options(model);
}

void add_diagnostics(Measurements& found, const learning::Step& step) {
  const auto layers = metrics::diagnose(step.layers);
  for (std::size_t l = 1; l <= layers.size(); ++l) {
    const auto& layer = layers[l - 1];
    const auto add = [&](const char* name, const at::Tensor& value) {
      found[fmt::format("layer{}.{}", l, name)] = number(value);
    };
    add("alignment", layer.alignment);
    add("feedforward_norm", layer.feedforward_norm);
    add("presynaptic_norm", layer.presynaptic_norm);
    add("condition_number", layer.condition_number);
    add("interference", layer.interference);
    add("cross_sample", layer.cross_sample);
  }
}

// What a rule makes of a batch.
struct Made {
  learning::Step step;  // the last one
  metrics::Update update;
};

void add(std::vector<at::Tensor>& sum, const std::vector<at::Tensor>& more) {
  for (std::size_t i = 0; i < sum.size(); ++i) {
    if (sum[i].defined()) sum[i] = sum[i] + more[i];
  }
}

// In first order of the rate: the weights stand still where a rule takes several steps, whose
// directions add up.
Made make(learning::LearningRule& rule, optim::Rescaling& rescaling, const nn::NetworkImpl& network,
          const data::Batch& batch) {
  Made made;
  for (std::int64_t i = 0; i < rule.steps_per_batch(); ++i) {
    made.step = rule.factors(network, batch);
    const auto next =
        metrics::make_update(network, made.step, rescaling.directions(made.step.layers));
    if (i == 0) {
      made.update = next;
      continue;
    }
    add(made.update.weights, next.weights);
    add(made.update.biases, next.biases);
    for (std::size_t l = 0; l < next.own.size(); ++l) add(made.update.own[l], next.own[l]);
  }
  return made;
}

// What one update of one model does, before it is made.
Measurements measure(const Config& model, const nn::NetworkImpl& network, const data::Batch& batch,
                     const std::optional<data::Batch>& held_out) {
  const auto rescaling = catalog::make_rescaling(model);
  const auto [step, update] = make(*catalog::make_rule(model), *rescaling, network, batch);
  const auto rate =
      model.text("change") == "finite" ? std::optional(model.real("finite_rate")) : std::nullopt;
  const auto trained = metrics::target_alignment(network, batch, update, rate);
  Measurements found{{"target_alignment", number(trained.mean)},
                     {"batch_alignment", number(trained.batch)},
                     {"left_out", number(trained.left_out) + number(trained.non_finite)}};
  if (held_out) {
    const auto other = metrics::target_alignment(network, *held_out, update, rate);
    found["held_out_alignment"] = number(other.mean);
  }
  if (const auto options = predictable(model, network)) {
    const auto predicted = metrics::predict_alignment(network, batch, *options);
    found["predicted_alignment"] = number(predicted.alignment.mean);
    found["predicted_batch_alignment"] = number(predicted.alignment.batch);
  }
  if (step.report) {
    for (const auto& [name, value] : inference::measurements(*step.report)) {
      found[name] = number(value);
    }
  }
  for (const auto& [name, value] : rescaling->diagnostics()) found[name] = value;
  if (model.boolean("diagnostics")) add_diagnostics(found, step);
  return found;
}

struct Mean {
  std::vector<double> values;  // NaN where there is none
  double sum = 0;
  double squares = 0;
  int count = 0;

  void add(double value) {
    values.push_back(value);
    if (!std::isfinite(value)) return;
    sum += value;
    squares += value * value;
    ++count;
  }
  double mean() const { return count > 0 ? sum / count : std::nan(""); }
  double standard_error() const {
    if (count < 2) return std::nan("");
    return std::sqrt(std::max(0.0, squares / count - mean() * mean()) / (count - 1));
  }
};

// A cell and a seed: its models share weights and batch.
struct Task {
  std::size_t cell;
  std::int64_t seed;
};

class AlignmentRun {
 public:
  explicit AlignmentRun(Run& run)
      : run_(run), keys_(run.varied_keys()), table_(header(keys_)), cells_(run.config().cells()) {
    for (const auto& cell : cells_) models_.push_back(cell.models());
    for (const auto& models : models_) {
      for (const auto& model : models) check(model);
    }
    for (const auto seed : run.config().integers("seeds")) {
      for (std::size_t cell = 0; cell < cells_.size(); ++cell) tasks_.push_back({cell, seed});
    }
  }

  void operator()() {
    const auto parts = run_.work(work()).read(check_part);
    run_.summary()["cells"] = nlohmann::json::array();
    for (std::size_t cell = 0; cell < cells_.size(); ++cell) {
      for (std::size_t m = 0; m < models_[cell].size(); ++m) report(cell, m, parts);
    }
    run_.print("{}", table_.text());
  }

 private:
  static std::vector<std::string> header(const std::vector<std::string>& keys) {
    std::vector<std::string> names{"model"};
    names.insert(names.end(), keys.begin(), keys.end());
    for (const char* name : {"target alignment", "s.e.", "predicted", "batch cosine"}) {
      names.emplace_back(name);
    }
    return names;
  }

  // What makes a model impossible is said before anything is measured.
  static void check(const Config& model) {
    catalog::network_options(model);
    catalog::make_rule(model);
    catalog::make_rescaling(model);
  }

  run::Work work() const {
    run::Work work{.label = "alignment", .jobs = {}, .run = {}};
    for (const auto& [cell, seed] : tasks_) {
      auto name = fmt::format("seed {}", seed);
      for (const auto& key : keys_) {
        const auto& values = cells_[cell].values(key);
        if (values.size() == 1)
          name += fmt::format(", {} {}", key, config::to_string(values.front()));
      }
      work.jobs.push_back({std::move(name), 1});
    }
    work.run = [this](std::size_t job, run::JobContext context) {
      auto part = measure_task(tasks_[job]);
      context.advance(1);
      return part;
    };
    return work;
  }

  static void check_part(const run::Part& part) {
    for (const auto& [name, value] : part) {
      TORCH_CHECK(value.numel() == 1, name, " is no number, but ", value.sizes());
    }
  }

  // "<model>.<metric>" and its value.
  run::Part measure_task(const Task& task) const {
    const at::NoGradGuard no_grad;
    const auto& cell = cells_[task.cell];
    const auto& models = models_[task.cell];
    auto teacher = catalog::make_teacher(cell, task.seed, run_.device());
    const auto batch = teacher.next(cell.integer("batch_size"));
    const auto held_out = cell.integer("held_out") > 0
                              ? std::optional(teacher.next(cell.integer("held_out")))
                              : std::nullopt;
    run::Part part;
    nn::Network network{nullptr};
    for (std::size_t m = 0; m < models.size(); ++m) {
      if (m == 0 || models[m].text("layers") != models[m - 1].text("layers")) {
        network = catalog::draw_network(models[m], task.seed, run_.device());
      }
      network->options.loss(catalog::network_options(models[m]).loss());
      for (const auto& [metric, value] : measure(models[m], *network, batch, held_out)) {
        part[fmt::format("{}.{}", m, metric)] = at::scalar_tensor(value, at::kDouble);
      }
    }
    return part;
  }

  // One model over the seeds that are finished.
  void report(std::size_t cell, std::size_t m, const std::vector<std::optional<run::Part>>& parts) {
    const auto& model = models_[cell][m];
    const auto prefix = fmt::format("{}.", m);
    std::map<std::string, Mean> means;
    for (std::size_t job = 0; job < tasks_.size(); ++job) {
      if (tasks_[job].cell != cell || !parts[job]) continue;
      const auto row = run_.records().cell(model).with("seed", tasks_[job].seed);
      for (const auto& [name, value] : *parts[job]) {
        if (!name.starts_with(prefix)) continue;
        const auto metric = name.substr(prefix.size());
        run_.records().add(row, 0, metric, number(value));
        means[metric].add(number(value));
      }
    }
    if (!means.empty()) report(model, means);
  }

  void report(const Config& model, std::map<std::string, Mean>& means) {
    auto json = run_.identity(model);
    std::vector<std::string> row{catalog::model_name(model)};
    for (const auto& key : keys_) row.push_back(config::to_string(model.values(key).front()));
    const auto& alignment = means["target_alignment"];
    row.push_back(fixed(alignment.mean()));
    row.push_back(fixed(alignment.standard_error()));
    row.push_back(fixed(means["predicted_alignment"].mean()));
    row.push_back(fixed(means["batch_alignment"].mean()));
    table_.row(row);
    for (const auto& [metric, mean] : means) {
      if (mean.count == 0) continue;
      json[metric] = {{"mean", mean.mean()},
                      {"standard_error", mean.standard_error()},
                      {"values", mean.values}};
    }
    run_.summary()["cells"].push_back(std::move(json));
  }

  static std::string fixed(double value) {
    return std::isfinite(value) ? fmt::format("{:.4f}", value) : "-";
  }

  Run& run_;
  std::vector<std::string> keys_;
  run::Table table_;
  std::vector<Config> cells_;
  std::vector<std::vector<Config>> models_;  // of every cell
  std::vector<Task> tasks_;
};

config::Schema schema() {
  auto keys = catalog::schema({"rule", "rescaling", catalog::kNetwork, "batch_size",
                               catalog::kTeacher, "dtype", "seeds", catalog::kInference,
                               catalog::kOptions, "change", "finite_rate", "run_threads"});
  keys.choices("architecture", {"dln", "residual", "relu", "mupc"});
  keys.add({.name = "held_out",
            .kind = config::Kind::kInteger,
            .initial = "0",
            .doc = "fresh samples on which the same update's alignment is measured too",
            .minimum = 0,
            .maximum = 1e7});
  keys.add({.name = "diagnostics",
            .kind = config::Kind::kBoolean,
            .initial = "false",
            .doc = "also record every layer's activity norms, condition number and interference"});
  return keys;
}

}  // namespace

run::Program pcxx::programs::alignment() {
  return {
      .name = "pcxx-alignment",
      .summary =
          "Measures target alignment: whether one update moves the prediction straight at "
          "the target. "
          "Over any grid of architectures, depths, widths, initialisations and batch "
          "sizes, beside what "
          "theory predicts.",
      .examples = {"# predictive coding against backpropagation at four depths",
                   "--set rule=[bp,pc] --set hidden_layers=[1,2,4,8] --set init=norm_preserving",
                   "# a batch too large for the plain rules, and the rescaling that mends it",
                   "--set rule=pc --set rescaling=[none,decorrelation] --set batch_size=[1,64,256]",
                   "# an experiment of the paper", "--config configs/fig4a_alignment.toml"},
      .schema = schema(),
      .works = true,
      .plot_script = "alignment",
      .run = [](Run& run) { AlignmentRun{run}(); }};
}
