#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/catalog/model.h>
#include <pcxx/core/error.h>
#include <pcxx/train/sweep.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "catalog/amounts.h"
#include "catalog/registry.h"
#include "core/lists.h"
#include "train/engine.h"
#include "train/training_record.h"

namespace pcxx::train {
namespace {

using catalog::Model;

// What makes a model impossible is said before anything is trained.
void check(const Model& model, const parallel::Communicator& ranks) {
  catalog::network_options(model.config);
  catalog::check_sharing(*catalog::make_rule(model.config), ranks);
  catalog::make_rescaling(model.config);
  if (model.config.has("optimizer")) catalog::make_optimizer(model.config, {at::zeros({1})}, 1);
  catalog::check_curves(model.config);
}

// Why the model stays with tensors; empty when it trains in lanes.
std::string tensor_reason(const Model& model, const std::vector<std::string>& measure,
                          at::Device device, const parallel::Communicator& ranks) {
  auto reason = ranks.size() > 1 ? fmt::format("{} ranks share each batch", ranks.size()) : "";
  if (reason.empty() && model.engine == "tensor") return "engine = 'tensor'";
  if (reason.empty()) reason = no_lanes(model, measure, device);
  if (model.engine == "lanes" && !reason.empty()) {
    user_error("engine = 'lanes' cannot train {}: {}", model.name, reason);
  }
  if (model.engine == "auto" && reason.empty()) return tensors_are_faster(model);
  return reason;
}

std::string range_text(std::string_view name, const std::string& first, const std::string& last) {
  return first == last ? fmt::format(", {} {}", name, first)
                       : fmt::format(", {} {} to {}", name, first, last);
}

}  // namespace

std::string error_metric(const Model& model) {
  if (model.targets == data::Targets::kIndependent) return "train_error";
  const bool one_map = model.targets == data::Targets::kTeacher && model.linear && !model.bias;
  return one_map ? "map_error" : "test_error";
}

// Groups members that train side by side, and cuts the groups into jobs.
class SweepPlan::Builder {
 public:
  explicit Builder(SweepPlan& plan) : plan_(plan) {}

  void build() {
    for (std::size_t m = 0; m < plan_.models_.size(); ++m) {
      const auto& model = plan_.models_[m];
      const bool lanes = plan_.reasons_[m].empty();
      const auto rates = model.rates.size();
      const bool together = lanes || model.plain_sgd;
      for (std::size_t r = 0; r < (together ? 1 : rates); ++r) {
        auto& group = group_of(m, r, lanes);
        for (std::size_t k = r; k < (together ? rates : r + 1); ++k) group.push_back({m, k, 0});
      }
    }
    for (const auto& group : groups_) cut(group);
    std::stable_sort(plan_.jobs_.begin(), plan_.jobs_.end(), [](const Job& a, const Job& b) {
      return a.members.front().seed < b.members.front().seed;
    });
  }

 private:
  struct Group {
    std::string key;
    bool lanes;
    std::vector<Member> members;  // of one seed
  };

  std::vector<Member>& group_of(std::size_t m, std::size_t rate, bool lanes) {
    const auto key = lanes ? "lanes " + lane_key(plan_.models_[m]) : fmt::format("{} {}", m, rate);
    const auto found = std::find_if(groups_.begin(), groups_.end(),
                                    [&](const Group& group) { return group.key == key; });
    if (found != groups_.end()) return found->members;
    groups_.push_back({key, lanes, {}});
    return groups_.back().members;
  }

  void cut(const Group& group) {
    const auto size = job_size(group);
    Job job{group.lanes, {}};
    const auto end = [&] {
      if (!job.members.empty()) plan_.jobs_.push_back(std::exchange(job, {group.lanes, {}}));
    };
    for (std::size_t s = 0; s < plan_.seeds_.size(); ++s) {
      for (auto member : group.members) {
        member.seed = s;
        job.members.push_back(member);
        if (job.members.size() == size) end();
      }
    }
    end();
  }

  std::size_t job_size(const Group& group) const {
    const auto& model = plan_.models_[group.members.front().model];
    if (group.lanes) return lane_job_size(model, contains(plan_.measure_, "target_alignment"));
    // A device has room for many, and is slow with few.
    return !plan_.device_.is_cpu() && !model.custom_layers ? std::numeric_limits<std::size_t>::max()
                                                           : tensor_job_size(model);
  }

  SweepPlan& plan_;
  std::vector<Group> groups_;
};

SweepPlan::SweepPlan(const std::vector<config::Config>& models, std::vector<std::string> measure,
                     at::Device device, parallel::Communicator& ranks)
    : models_(models.begin(), models.end()),
      measure_(std::move(measure)),
      device_(device),
      ranks_(ranks) {
  TORCH_CHECK(!models_.empty(), "a sweep needs a model");
  seeds_ = models_.front().seeds;
  for (const auto& model : models_) {
    check(model, ranks);
    reasons_.push_back(tensor_reason(model, measure_, device, ranks));
  }
  Builder(*this).build();
}

run::Work SweepPlan::work(std::string label) const {
  run::Work work{.label = std::move(label), .jobs = {}, .run = {}};
  for (const auto& job : jobs_) {
    const auto& model = models_[job.members.front().model];
    work.jobs.push_back({name(job), static_cast<std::int64_t>(job.members.size()) * model.steps});
  }
  work.run = [this](std::size_t job, run::JobContext context) { return run(jobs_[job], context); };
  return work;
}

run::Part SweepPlan::run(const Job& job, run::JobContext& context) const {
  std::vector<SweepMember> members;
  for (const auto& member : job.members) {
    const auto& model = models_[member.model];
    members.push_back({&model, model.rates[member.rate], seeds_[member.seed]});
  }
  return job.lanes ? train_lanes(members, contains(measure_, "target_alignment"), context)
                   : train_tensors(members, measure_, device_, ranks_, context);
}

std::string SweepPlan::name(const Job& job) const {
  const auto& first = job.members.front();
  const auto& last = job.members.back();
  const auto& model = models_[first.model];
  const auto rate = [&](const Member& member) {
    return config::to_string(models_[member.model].rates[member.rate]);
  };
  const bool one_seed = first.seed == last.seed;
  return model.name +
         range_text("seed", fmt::format("{}", seeds_[first.seed]),
                    fmt::format("{}", seeds_[last.seed])) +
         (one_seed ? range_text("learning_rate", rate(first), rate(last)) : "");
}

Sweep SweepPlan::empty_sweep(const Model& model, const std::vector<std::int64_t>& seeds) const {
  Sweep sweep{.rates = model.rates, .seeds = seeds, .curves = {}, .left_at = {}, .diagnostics = {}};
  const auto rates = static_cast<std::int64_t>(sweep.rates.size());
  const auto count = static_cast<std::int64_t>(seeds.size());
  const std::vector<std::int64_t> shape{model.steps + 1, rates, count};
  sweep.curves[error_metric(model)] = at::full(shape, kNaN, at::kDouble);
  for (const auto* name : {"target_alignment", "held_out_alignment"}) {
    if (contains(measure_, name)) sweep.curves[name] = at::full(shape, kNaN, at::kDouble);
  }
  sweep.left_at = at::full({rates, count}, -1, at::kLong);
  return sweep;
}

// What follows from the map error.
void SweepPlan::derive_metrics(Sweep& sweep, const Model& model) const {
  if (error_metric(model) != "map_error") return;
  const auto& error = sweep.curves.at("map_error");
  const auto entries = model.widths.front() * model.widths.back();
  if (contains(measure_, "map_error_squared_frobenius")) {
    sweep.curves["map_error_squared_frobenius"] = error * entries;
  }
  if (contains(measure_, "excess_map_error")) {
    const auto least = sweep.numbers.find(kLeastMapError);
    sweep.curves["excess_map_error"] = least == sweep.numbers.end() ? error : error - least->second;
  }
}

// What a job's members have measured, of the seeds that are finished.
void SweepPlan::take(const Job& job, const run::Part& part,
                     const std::vector<std::size_t>& finished, std::vector<Sweep>& sweeps) const {
  for (std::size_t i = 0; i < job.members.size(); ++i) {
    const auto& member = job.members[i];
    const auto seed = std::find(finished.begin(), finished.end(), member.seed);
    if (seed == finished.end()) continue;
    auto& sweep = sweeps[member.model];
    const auto metric = error_metric(models_[member.model]);
    for (const auto& name : {metric, std::string(kLeftAt)}) entry(part, name);
    for (const auto& [name, value] : entries_below(part, kDiagnostic)) {
      auto& largest = sweep.diagnostics[name];
      largest = std::max(largest, value.item<double>());
    }
    for (const auto& [name, values] : part) {
      if (name.starts_with(kDiagnostic)) continue;
      const bool of_runs = name.starts_with(kNumber);
      auto& table = name == kLeftAt ? sweep.left_at
                    : of_runs       ? sweep.numbers[name.substr(std::string_view(kNumber).size())]
                                    : sweep.curves[name];
      const auto& like = of_runs ? sweep.left_at : sweep.curves.at(metric);
      if (!table.defined()) table = at::full_like(like, kNaN, at::kDouble);
      const auto to = table.select(-1, seed - finished.begin())
                          .select(-1, static_cast<std::int64_t>(member.rate));
      const auto from = values.select(-1, static_cast<std::int64_t>(i));
      TORCH_CHECK(from.sizes() == to.sizes(), "its ", name, " is ", from.sizes(), ", not ",
                  to.sizes());
      to.copy_(from);
    }
  }
}

std::vector<Sweep> SweepPlan::collect(const std::vector<std::optional<run::Part>>& parts) const {
  TORCH_CHECK(parts.size() == jobs_.size(), parts.size(), " parts of ", jobs_.size(), " jobs");
  std::vector<std::size_t> finished(seeds_.size());
  std::iota(finished.begin(), finished.end(), 0);
  for (std::size_t j = 0; j < jobs_.size(); ++j) {
    if (parts[j]) continue;
    for (const auto& member : jobs_[j].members) std::erase(finished, member.seed);
  }
  std::vector<std::int64_t> seeds;
  for (const auto s : finished) seeds.push_back(seeds_[s]);
  std::vector<Sweep> sweeps;
  for (const auto& model : models_) sweeps.push_back(empty_sweep(model, seeds));
  for (std::size_t j = 0; j < jobs_.size(); ++j) {
    if (!parts[j]) continue;
    try {
      take(jobs_[j], *parts[j], finished, sweeps);
    } catch (const c10::Error& error) {
      const std::string text = error.what_without_backtrace();
      user_error("what job {} ({}) left does not fit it: {}", j, name(jobs_[j]),
                 text.substr(0, text.find('\n')));
    }
  }
  for (std::size_t m = 0; m < models_.size(); ++m) derive_metrics(sweeps[m], models_[m]);
  return sweeps;
}

std::vector<std::string> SweepPlan::engines() const {
  std::vector<std::pair<std::string, std::vector<std::string>>> uses;  // reason, models
  for (std::size_t m = 0; m < models_.size(); ++m) {
    auto use = std::find_if(uses.begin(), uses.end(),
                            [&](const auto& entry) { return entry.first == reasons_[m]; });
    if (use == uses.end()) use = uses.insert(uses.end(), {reasons_[m], {}});
    const auto& name = models_[m].name;
    if (!contains(use->second, name)) use->second.push_back(name);
  }
  std::vector<std::string> lines;
  for (const auto& [reason, names] : uses) {
    auto line = reason.empty() ? std::string("engine: lanes, one SIMD lane a network")
                               : fmt::format("engine: tensor ({})", reason);
    if (uses.size() > 1) line += fmt::format(", for {}", fmt::join(names, ", "));
    lines.push_back(std::move(line));
  }
  return lines;
}

Sweep run_sweep(const config::Config& model, const std::vector<std::string>& measure,
                at::Device device) {
  const SweepPlan plan({model}, measure, device);
  const auto work = plan.work("");
  std::vector<std::optional<run::Part>> parts;
  for (std::size_t job = 0; job < work.jobs.size(); ++job) {
    parts.emplace_back(work.run(job, [](std::int64_t) {}));
  }
  return plan.collect(parts).front();
}

}  // namespace pcxx::train
