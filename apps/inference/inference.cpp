#include <ATen/ATen.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/catalog/vocabulary.h>
#include <pcxx/core/error.h>
#include <pcxx/data/minibatches.h>
#include <pcxx/inference/curvature.h>
#include <pcxx/inference/descent_options.h>
#include <pcxx/inference/equilibrium.h>
#include <pcxx/programs.h>
#include <pcxx/run/program.h>
#include <pcxx/run/table.h>
#include <pcxx/train/image_training.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

namespace {

using namespace pcxx;
using config::Config;
using inference::Report;
using run::Run;

constexpr std::array<double, 4> kGaps{0.1, 0.01, 0.001, 0.0001};

// 1, 2, ... 20, in steps of a twentieth to 200, and of a half up to and with `most`.
std::vector<std::int64_t> some_passes(std::int64_t most) {
  std::vector<std::int64_t> passes;
  for (std::int64_t t = 1; t < most; t += t < 200 ? std::max<std::int64_t>(1, t / 20) : t / 2)
    passes.push_back(t);
  passes.push_back(most);
  return passes;
}

// No inference has these: they are left out of a grid.
bool exists(const Config& solver) {
  const auto& name = solver.text("inference");
  const bool stepless = solver.real("inference_step_size") == 0;
  if (name == "error_descent") return true;
  return name == "state_descent" ? !stepless : stepless;
}

std::string solver_name(const Config& solver) {
  const auto& name = solver.text("inference");
  const double step = solver.real("inference_step_size");
  return step > 0 ? fmt::format("{}, step {}", name, config::to_string(step)) : name;
}

// A step size from the curvature costs passes of its own.
std::int64_t passes_for_curvature(const Config& solver) {
  const bool measured =
      solver.text("inference") == "error_descent" && solver.real("inference_step_size") == 0;
  return measured ? inference::DescentOptions().power_iterations : 0;
}

// ---- One network and one batch ------------------------------------------------------------------

struct Subject {
  nn::Network network;
  data::Batch batch;
};

// A teacher draws its samples.
void refuse_images(const Config& config) {
  for (const char* key : {"data", "train_images", "test_images", "train_labels", "test_labels"}) {
    if (config.text(key).empty()) continue;
    user_error("{} = '{}' says nothing to task = 'teacher', which draws its samples", key,
               config.text(key));
  }
}

// How one solver comes down, and what it reports with its own stopping rule.
struct Descent {
  std::vector<std::int64_t> passes;
  std::vector<at::Tensor> energy;  // [B] after so many passes
  std::vector<double> residual;    // the largest
  Report report;
};

Descent descend(const Config& solver, const Subject& subject, run::JobContext& context) {
  const auto infer = [&](const Config& config) {
    return catalog::make_inference(config)->infer(*subject.network, subject.batch).report;
  };
  const auto prediction = subject.network->forward(subject.batch.input);
  Descent descent{.passes = {0},
                  .energy = {subject.network->loss().value(prediction, subject.batch.target)},
                  .residual = {1},
                  .report = infer(solver)};
  const auto for_curvature = passes_for_curvature(solver);
  if (for_curvature > 0) {
    descent.passes.push_back(for_curvature);
    descent.energy.push_back(descent.energy.front());
    descent.residual.push_back(1);
  }
  const auto endless =
      solver.with("inference_tolerance", {0.0}).with("inference_energy_tolerance", {0.0});
  for (const auto passes : some_passes(solver.integer("inference_steps"))) {
    const auto report = infer(endless.with("inference_steps", {passes}));
    descent.passes.push_back(passes + for_curvature);
    descent.energy.push_back(report.energy);
    descent.residual.push_back(report.max_residual());
    context.advance(passes);
  }
  return descent;
}

// Of all that came down somewhere, and of a run of L-BFGS ten times as long; exact where the
// network is linear. [B]
at::Tensor least_energy(const Config& config, const Subject& subject,
                        const std::vector<Descent>& descents) {
  const bool linear = subject.network->is_linear() && subject.network->loss().is_squared_error();
  const auto steps = std::min<std::int64_t>(10 * config.integer("inference_steps"), 1'000'000'000);
  const auto reference = config.with("inference", {std::string(linear ? "closed_form" : "lbfgs")})
                             .with("inference_step_size", {0.0})
                             .with("inference_tolerance", {0.0})
                             .with("inference_energy_tolerance", {0.0})
                             .with("inference_steps", {steps});
  auto least =
      catalog::make_inference(reference)->infer(*subject.network, subject.batch).report.energy;
  if (linear) return least;
  for (const auto& descent : descents) {
    for (const auto& energy : descent.energy) least = at::fmin(least, energy);
  }
  return least;
}

// Mean energy above the least, relative to it. A sample that is lost counts as infinitely far.
double gap(const at::Tensor& energy, const at::Tensor& least) {
  const auto found = (energy.mean() / least.mean() - 1).item<double>();
  return std::isfinite(found) ? found : std::numeric_limits<double>::infinity();
}

// Passes after which the gap stays below `bound`; nothing when it does not.
std::optional<std::int64_t> passes_to(double bound, const Descent& descent,
                                      const at::Tensor& least) {
  std::optional<std::int64_t> found;
  for (std::size_t i = 0; i < descent.passes.size(); ++i) {
    const bool close = gap(descent.energy[i], least) <= bound;
    if (!close) found.reset();
    if (close && !found) found = descent.passes[i];
  }
  return found;
}

// ---- The program --------------------------------------------------------------------------------

std::string percent(double part) {
  return fmt::format("{:g} %", 100 * part);
}

class InferenceRun {
 public:
  explicit InferenceRun(Run& run) : run_(run), config_(run.config()) {
    const auto& task = config_.text("task");
    if (task == "teacher") {
      refuse_images(config_);
    } else {
      sets_ = train::load_image_sets(run_, task == "labels");
    }
    config_ = run.config();
    for (const auto& solver : config_.models()) {
      if (!exists(solver)) continue;
      catalog::make_inference(solver);
      solvers_.push_back(solver);
    }
    if (solvers_.empty()) {
      user_error(
          "there is no solver left: state_descent needs an inference_step_size above 0, and "
          "lbfgs and closed_form need 0");
    }
    seeds_ = config_.integers("seeds");
    subject(seeds_.front());
  }

  void operator()() {
    if (config_.text("task") != "teacher") train::print_dataset(run_);
    const auto parts = run_.work(work()).read([this](const run::Part& part) { check(part); });
    run_.summary()["solvers"] = nlohmann::json::array();
    for (std::size_t s = 0; s < solvers_.size(); ++s) report(s, parts);
    if (curvatures_.defined()) {
      const auto median = curvatures_.median().item<double>();
      const auto most = curvatures_.max().item<double>();
      run_.summary()["curvature"] = {{"median", median}, {"largest", most}};
      run_.print(
          "curvature of the energy: median {:.3g}, largest {:.3g}; fixed steps are stable "
          "below {:.2g}\n",
          median, most, 2 / most);
    }
    run_.print(
        "passes until the mean energy is within so much of the least known, and how each "
        "solver stops by itself\n\n{}",
        table_.text());
  }

 private:
  Subject subject(std::int64_t seed) const {
    const auto options = catalog::tensor_options(config_, run_.device());
    auto network = catalog::draw_network(solvers_.front(), seed, run_.device());
    run_.load(network);
    auto batch = this->batch(seed, options);
    if (batch.input.size(-1) != network->in_features() ||
        batch.target.size(-1) != network->out_features()) {
      user_error("widths goes from {} to {}, but the task goes from {} to {}",
                 network->in_features(), network->out_features(), batch.input.size(-1),
                 batch.target.size(-1));
    }
    return {std::move(network), std::move(batch)};
  }

  data::Batch batch(std::int64_t seed, at::TensorOptions options) const {
    const auto size = config_.integer("batch_size");
    const auto& task = config_.text("task");
    if (task == "teacher") return catalog::make_teacher(config_, seed, run_.device()).next(size);
    data::Minibatches minibatches(sets_.train.size(), static_cast<std::uint64_t>(seed));
    const auto index = minibatches.next(size);
    if (task == "images") return data::autoencoding_batch(sets_.train, index, options);
    const auto classes = catalog::ends(config_).second;
    const auto highest = sets_.train.labels.max().item<std::int64_t>();
    if (highest >= classes) {
      user_error("widths ends with {}, which is too few outputs for labels up to {}", classes,
                 highest);
    }
    return data::classification_batch(sets_.train, index, classes, options);
  }

  run::Work work() const {
    std::int64_t steps = 0;
    for (const auto& solver : solvers_) {
      for (const auto passes : some_passes(solver.integer("inference_steps"))) steps += passes;
    }
    run::Work work{.label = "inference", .jobs = {}, .run = {}};
    for (const auto seed : seeds_) work.jobs.push_back({fmt::format("seed {}", seed), steps});
    work.run = [this](std::size_t job, run::JobContext context) {
      return measure(seeds_[job], context);
    };
    return work;
  }

  run::Part measure(std::int64_t seed, run::JobContext& context) const {
    const at::NoGradGuard no_grad;
    const auto subject = this->subject(seed);
    std::vector<Descent> descents;
    for (const auto& solver : solvers_) descents.push_back(descend(solver, subject, context));
    const auto least = least_energy(config_, subject, descents);
    run::Part part{{"curvature", inference::curvature(*subject.network, subject.batch, 50).cpu()}};
    for (std::size_t s = 0; s < solvers_.size(); ++s) add(part, s, descents[s], least);
    return part;
  }

  void check(const run::Part& part) const {
    entry(part, "curvature");
    for (std::size_t s = 0; s < solvers_.size(); ++s) {
      const auto values = entries_below(part, fmt::format("{}.", s));
      const auto& passes = entry(values, "at");
      for (const auto* name : {"final_energy_gap", "inference_converged", "inference_mean_passes",
                               "inference_passes"}) {
        entry(values, name);
      }
      for (const auto& [name, value] : values) {
        const bool is_curve = name == "at" || name.starts_with("step.");
        TORCH_CHECK(value.numel() == (is_curve ? passes.numel() : 1), name, " is ", value.sizes());
      }
    }
  }

  static void add(run::Part& part, std::size_t s, const Descent& descent, const at::Tensor& least) {
    const auto set = [&](const std::string& name, const at::Tensor& value) {
      part[fmt::format("{}.{}", s, name)] = value.cpu();
    };
    std::vector<double> gaps;
    for (const auto& energy : descent.energy) gaps.push_back(gap(energy, least));
    set("at", at::tensor(descent.passes));
    set("step.energy_gap", at::tensor(gaps, at::kDouble));
    set("step.residual", at::tensor(descent.residual, at::kDouble));
    for (const double bound : kGaps) {
      const auto passes = passes_to(bound, descent, least);
      if (!passes) continue;
      set(fmt::format("passes_to_{:g}", bound), at::scalar_tensor(*passes, at::kDouble));
    }
    for (const auto& [name, value] : inference::measurements(descent.report)) set(name, value);
    set("final_energy_gap", at::scalar_tensor(gap(descent.report.energy, least), at::kDouble));
  }

  void report(std::size_t s, const std::vector<std::optional<run::Part>>& parts) {
    const auto prefix = fmt::format("{}.", s);
    std::map<std::string, std::vector<double>> found;
    for (std::size_t job = 0; job < seeds_.size(); ++job) {
      if (!parts[job]) continue;
      const auto cell = run_.records().cell(solvers_[s]).with("seed", seeds_[job]);
      const auto passes = parts[job]->at(prefix + "at");
      for (const auto& [full_name, value] : *parts[job]) {
        if (!full_name.starts_with(prefix)) continue;
        const auto name = full_name.substr(prefix.size());
        if (name.starts_with("step.")) {
          record(cell, name.substr(5), passes, value);
        } else if (name != "at") {
          run_.records().add(cell, name, value.item<double>());
          found[name].push_back(value.item<double>());
        }
      }
      if (s == 0) add_curvature(parts[job]->at("curvature"));
    }
    if (!found.empty()) summarise(s, found);
  }

  void record(const run::Cell& cell, const std::string& metric, const at::Tensor& passes,
              const at::Tensor& values) {
    const auto* at = passes.const_data_ptr<std::int64_t>();
    const auto* value = values.const_data_ptr<double>();
    for (std::int64_t i = 0; i < passes.numel(); ++i) {
      run_.records().add(cell, at[i], metric, value[i]);
    }
  }

  void add_curvature(const at::Tensor& values) {
    const auto each = values.to(at::kDouble).flatten();
    curvatures_ = curvatures_.defined() ? at::cat({curvatures_, each}) : each;
  }

  // Medians over the seeds; a bound that a seed did not reach has no passes there.
  void summarise(std::size_t s, const std::map<std::string, std::vector<double>>& found) {
    const auto median = [&](const std::string& name) -> std::optional<double> {
      const auto values = found.find(name);
      if (values == found.end() || 2 * values->second.size() <= seeds_.size()) return std::nullopt;
      auto sorted = values->second;
      sorted.resize(std::max(sorted.size(), seeds_.size()),
                    std::numeric_limits<double>::infinity());
      std::sort(sorted.begin(), sorted.end());
      return sorted[(sorted.size() - 1) / 2];
    };
    auto json = run_.identity(solvers_[s]);
    json["solver"] = solver_name(solvers_[s]);
    for (const auto& [name, values] : found) {
      if (const auto value = median(name)) json[name] = *value;
    }
    run_.summary()["solvers"].push_back(json);

    std::vector<std::string> row{solver_name(solvers_[s])};
    for (const double bound : kGaps) {
      const auto passes = median(fmt::format("passes_to_{:g}", bound));
      row.push_back(passes ? fmt::format("{:g}", *passes) : "never");
    }
    const bool unstable = median("inference_unstable").value_or(0) > 0;
    row.push_back(unstable ? "unstable"
                           : fmt::format("{:.0f} %", 100 * *median("inference_converged")));
    row.push_back(fmt::format("{:.1f}", *median("inference_mean_passes")));
    row.push_back(fmt::format("{:.0f}", *median("inference_passes")));
    row.push_back(unstable ? "-" : fmt::format("{:.2g} %", 100 * *median("final_energy_gap")));
    table_.row(row);
  }

  static std::vector<std::string> header() {
    std::vector<std::string> names{"solver"};
    for (const double bound : kGaps) names.push_back(percent(bound));
    names.insert(names.end(), {"converged", "mean passes", "most", "gap"});
    return names;
  }

  Run& run_;
  Config config_;
  train::ImageSets sets_;
  std::vector<Config> solvers_;
  std::vector<std::int64_t> seeds_;
  at::Tensor curvatures_;  // of all samples of all seeds
  run::Table table_{header()};
};

config::Schema schema() {
  auto keys = catalog::schema({"rule",
                               "rescaling",
                               "architecture",
                               "activation",
                               "layers",
                               "widths",
                               "init",
                               "hidden_layers",
                               "width",
                               "inputs",
                               "outputs",
                               "condition_number",
                               "bias",
                               "loss",
                               "batch_size",
                               catalog::kTeacher,
                               "dtype",
                               "seeds",
                               "dataset",
                               "data",
                               "train_images",
                               "train_labels",
                               "test_images",
                               "test_labels",
                               "samples",
                               "test_samples",
                               "inference",
                               "inference_steps",
                               "inference_step_size",
                               "inference_tolerance",
                               "inference_energy_tolerance",
                               "run_threads"});
  keys.add({.name = "task",
            .kind = config::Kind::kText,
            .initial = "\"images\"",
            .doc = "what the batch asks for: images (to be reproduced), their labels (one-hot), or "
                   "a teacher's targets",
            .choices = {"images", "labels", "teacher"}});
  keys.choices("rule", {"pc"});
  keys.choices("rescaling", {"none"});
  keys.without("inference", "auto");
  keys.initial("rule", "\"pc\"");
  keys.initial("architecture", "\"autoencoder\"");
  keys.initial("widths", "[784, 128, 32, 128, 784]");
  keys.initial("init", "\"lecun\"");
  keys.initial("batch_size", "64");
  keys.initial("dtype", "\"float32\"");
  keys.initial("seeds", "1");
  keys.initial("inference", R"(["lbfgs", "error_descent", "state_descent"])");
  keys.initial("inference_step_size", "[0, 0.1]");
  return keys
      .one({"rule", "rescaling", "architecture", "init", "hidden_layers", "width", "inputs",
            "outputs", "condition_number", "bias", "loss", "batch_size", "targets", "noise", "rank",
            "dtype", "inference_steps", "inference_tolerance", "inference_energy_tolerance"})
      .one({"layers"});
}

}  // namespace

run::Program pcxx::programs::inference() {
  return {
      .name = "pcxx-inference",
      .summary =
          "Shows how inference converges: the energy's gap to its minimum and the residual "
          "after every number of passes, for each solver, on one batch of a network as "
          "drawn or with saved weights. Solvers are the values of inference; each step "
          "size counts for those that take one.",
      .examples = {"# all solvers on an autoencoder as it is drawn", "--set dataset=digits",
                   "# the same after training", "--load runs/a/weights1-pc-none-seed0.safetensors",
                   "# a classifier, and steps to choose from",
                   "--set task=labels --set architecture=relu --set widths=[784,256,256,10] "
                   "--set inference=[lbfgs,error_descent] --set inference_step_size=[0,0.03,0.3]",
                   "# a linear network, whose minimum is known exactly",
                   "--set task=teacher --set architecture=dln --set widths=[] --set width=20 "
                   "--set hidden_layers=8"},
      .schema = schema(),
      .loads = true,
      .works = true,
      .curves = true,
      .plot_script = "inference",
      .run = [](Run& run) { InferenceRun{run}(); }};
}
