#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/catalog/model.h>
#include <pcxx/core/error.h>
#include <pcxx/train/sweep.h>

#include <algorithm>
#include <limits>
#include <set>

#include "catalog/amounts.h"
#include "catalog/registry.h"
#include "core/lists.h"
#include "train/engine.h"

namespace pcxx::train {
namespace {

// What makes a model impossible is said before anything is trained.
void check(const config::Config& model, const parallel::Communicator& ranks) {
  catalog::network_options(model);
  catalog::check_sharing(*catalog::make_rule(model), ranks);
  catalog::make_rescaling(model);
}

// Why the model stays with tensors; empty when it trains in lanes.
std::string tensor_reason(const config::Config& model, const std::vector<std::string>& measure,
                          at::Device device, const parallel::Communicator& ranks) {
  const auto& engine = model.has("engine") ? model.text("engine") : "auto";
  auto reason = ranks.size() > 1 ? fmt::format("{} ranks share each batch", ranks.size()) : "";
  if (reason.empty() && engine == "tensor") return "engine = 'tensor'";
  if (reason.empty()) reason = no_lanes(model, measure, device);
  if (engine == "lanes" && !reason.empty()) {
    user_error("engine = 'lanes' cannot train {}: {}", catalog::model_name(model), reason);
  }
  if (engine == "auto" && reason.empty()) return tensors_are_faster(model);
  return reason;
}

std::string range_text(std::string_view name, const std::string& first, const std::string& last) {
  return first == last ? fmt::format(", {} {}", name, first)
                       : fmt::format(", {} {} to {}", name, first, last);
}

}  // namespace

std::string error_metric(const config::Config& model) {
  const auto& targets = model.text("targets");
  if (targets == "independent") return "train_error";
  return catalog::is_linear(model) && targets == "teacher" && !model.boolean("bias") ? "map_error"
                                                                                     : "test_error";
}

// Groups members that train side by side, and cuts the groups into jobs.
class SweepPlan::Builder {
 public:
  explicit Builder(SweepPlan& plan) : plan_(plan) {}

  void build() {
    for (std::size_t m = 0; m < plan_.models_.size(); ++m) {
      const auto& model = plan_.models_[m];
      const bool lanes = plan_.reasons_[m].empty();
      const auto rates = model.reals("learning_rate").size();
      const bool together = lanes || model.text("optimizer") == "sgd";
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
    return !plan_.device_.is_cpu() && !catalog::has_own_layers(model)
               ? std::numeric_limits<std::size_t>::max()
               : tensor_job_size(model);
  }

  SweepPlan& plan_;
  std::vector<Group> groups_;
};

SweepPlan::SweepPlan(std::vector<config::Config> models, std::vector<std::string> measure,
                     at::Device device, parallel::Communicator& ranks)
    : models_(std::move(models)), measure_(std::move(measure)), device_(device), ranks_(ranks) {
  TORCH_CHECK(!models_.empty(), "a sweep needs a model");
  seeds_ = models_.front().integers("seeds");
  for (const auto& model : models_) {
    check(model, ranks);
    catalog::check_curves(model);
    reasons_.push_back(tensor_reason(model, measure_, device, ranks));
  }
  Builder(*this).build();
}

run::Work SweepPlan::work(std::string label) const {
  run::Work work{.label = std::move(label), .jobs = {}, .run = {}};
  for (const auto& job : jobs_) {
    const auto& model = models_[job.members.front().model];
    work.jobs.push_back(
        {name(job), static_cast<std::int64_t>(job.members.size()) * model.integer("steps")});
  }
  work.run = [this](std::size_t job, run::JobContext context) { return run(jobs_[job], context); };
  return work;
}

run::Part SweepPlan::run(const Job& job, run::JobContext& context) const {
  std::vector<SweepMember> members;
  for (const auto& member : job.members) {
    const auto& model = models_[member.model];
    members.push_back({&model, model.reals("learning_rate")[member.rate], seeds_[member.seed]});
  }
  return job.lanes ? train_lanes(members, contains(measure_, "target_alignment"), context)
                   : train_tensors(members, measure_, device_, ranks_, context);
}

std::string SweepPlan::name(const Job& job) const {
  const auto& first = job.members.front();
  const auto& last = job.members.back();
  const auto& model = models_[first.model];
  const auto rate = [&](const Member& member) {
    return config::to_string(models_[member.model].values("learning_rate")[member.rate]);
  };
  const bool one_seed = first.seed == last.seed;
  return catalog::model_name(model) +
         range_text("seed", fmt::format("{}", seeds_[first.seed]),
                    fmt::format("{}", seeds_[last.seed])) +
         (one_seed ? range_text("learning_rate", rate(first), rate(last)) : "");
}

Sweep SweepPlan::empty_sweep(const config::Config& model,
                             const std::vector<std::int64_t>& seeds) const {
  Sweep sweep{.rates = model.reals("learning_rate"),
              .seeds = seeds,
              .curves = {},
              .left_at = {},
              .diagnostics = {}};
  const auto rates = static_cast<std::int64_t>(sweep.rates.size());
  const auto count = static_cast<std::int64_t>(seeds.size());
  const std::vector<std::int64_t> shape{model.integer("steps") + 1, rates, count};
  sweep.curves[error_metric(model)] = at::full(shape, kNaN, at::kDouble);
  for (const auto* name : {"target_alignment", "held_out_alignment"}) {
    if (contains(measure_, name)) sweep.curves[name] = at::full(shape, kNaN, at::kDouble);
  }
  sweep.left_at = at::full({rates, count}, -1, at::kLong);
  return sweep;
}

// What follows from the map error.
void SweepPlan::derive_metrics(Sweep& sweep, const config::Config& model,
                               const at::Tensor& least_error) const {
  if (error_metric(model) != "map_error") return;
  const auto& error = sweep.curves.at("map_error");
  const auto n = catalog::widths(model);
  if (contains(measure_, "map_error_squared_frobenius")) {
    sweep.curves["map_error_squared_frobenius"] = error * (n.front() * n.back());
  }
  if (contains(measure_, "excess_map_error"))
    sweep.curves["excess_map_error"] = error - least_error;
}

std::vector<Sweep> SweepPlan::collect(const std::vector<std::optional<run::Part>>& parts) const {
  TORCH_CHECK(parts.size() == jobs_.size(), parts.size(), " parts of ", jobs_.size(), " jobs");
  std::vector<bool> finished(seeds_.size(), true);
  for (std::size_t j = 0; j < jobs_.size(); ++j) {
    for (const auto& member : jobs_[j].members) {
      if (!parts[j]) finished[member.seed] = false;
    }
  }
  std::vector<std::int64_t> place(seeds_.size(), 0);
  std::vector<std::int64_t> seeds;
  for (std::size_t s = 0; s < seeds_.size(); ++s) {
    place[s] = static_cast<std::int64_t>(seeds.size());
    if (finished[s]) seeds.push_back(seeds_[s]);
  }

  std::vector<Sweep> sweeps;
  std::vector<at::Tensor> least_errors;
  for (const auto& model : models_) {
    sweeps.push_back(empty_sweep(model, seeds));
    least_errors.push_back(at::zeros_like(sweeps.back().left_at, at::kDouble));
  }
  const auto take = [&](const Job& job, const run::Part& part) {
    for (std::size_t i = 0; i < job.members.size(); ++i) {
      const auto& member = job.members[i];
      if (!finished[member.seed]) continue;
      const auto rate = static_cast<std::int64_t>(member.rate);
      auto& sweep = sweeps[member.model];
      const auto metric = error_metric(models_[member.model]);
      for (const auto& name : {metric, std::string("left_at")}) entry(part, name);
      for (const auto& [name, values] : part) {
        if (name.starts_with(kDiagnostic)) {
          auto& largest = sweep.diagnostics[name.substr(std::string_view(kDiagnostic).size())];
          largest = std::max(largest, values.item<double>());
          continue;
        }
        auto& table = name == "left_at"           ? sweep.left_at
                      : name == "least_map_error" ? least_errors[member.model]
                                                  : sweep.curves[name];
        if (!table.defined()) table = at::full_like(sweep.curves.at(metric), kNaN);
        const auto to = table.select(-1, place[member.seed]).select(-1, rate);
        const auto from = values.select(-1, static_cast<std::int64_t>(i));
        TORCH_CHECK(from.sizes() == to.sizes(), "its ", name, " is ", from.sizes(), ", not ",
                    to.sizes());
        to.copy_(from);
      }
    }
  };
  for (std::size_t j = 0; j < jobs_.size(); ++j) {
    if (!parts[j]) continue;
    try {
      take(jobs_[j], *parts[j]);
    } catch (const c10::Error& error) {
      const std::string text = error.what_without_backtrace();
      user_error("what job {} ({}) left does not fit it: {}", j, name(jobs_[j]),
                 text.substr(0, text.find('\n')));
    }
  }
  for (std::size_t m = 0; m < models_.size(); ++m) {
    derive_metrics(sweeps[m], models_[m], least_errors[m]);
  }
  return sweeps;
}

std::vector<std::string> SweepPlan::engines() const {
  std::vector<std::pair<std::string, std::vector<std::string>>> uses;  // reason, models
  for (std::size_t m = 0; m < models_.size(); ++m) {
    auto use = std::find_if(uses.begin(), uses.end(),
                            [&](const auto& entry) { return entry.first == reasons_[m]; });
    if (use == uses.end()) use = uses.insert(uses.end(), {reasons_[m], {}});
    const auto name = catalog::model_name(models_[m]);
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
