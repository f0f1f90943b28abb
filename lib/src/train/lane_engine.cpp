#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/catalog/model.h>
#include <pcxx/data/linear_teacher.h>
#include <pcxx/ensemble/ensemble.h>
#include <pcxx/metrics/map_error.h>
#include <pcxx/optim/recursive_projection.h>
#include <pcxx/train/observer.h>
#include <pcxx/train/sweep.h>

#include <algorithm>
#include <tuple>

#include "catalog/registry.h"
#include "train/engine.h"
#include "train/training_record.h"

namespace pcxx::train {
namespace {

using catalog::Model;

ensemble::Problem problem_of(const Model& model, bool aligned) {
  ensemble::Problem problem;
  problem.widths = model.widths;
  problem.residual = model.network.layers().front().residual();
  problem.rule = model.rule_part->lanes.value();
  model.rescaling_part->lanes(model.config, problem);
  problem.error =
      error_metric(model) == "map_error" ? ensemble::Error::kMap : ensemble::Error::kTraining;
  problem.alignment = aligned;
  return problem;
}

// Numbers things in the order in which they are first asked for.
template <typename Key>
class Numbering {
 public:
  std::int64_t operator()(const Key& key) {
    const auto found = std::find(keys_.begin(), keys_.end(), key);
    if (found != keys_.end()) return found - keys_.begin();
    keys_.push_back(key);
    return static_cast<std::int64_t>(keys_.size()) - 1;
  }
  const std::vector<Key>& keys() const { return keys_; }

 private:
  std::vector<Key> keys_;
};

using Source = std::pair<const Model*, std::int64_t>;  // a model and a seed

// The network of every source, by layer, [sources, n_l, n_{l-1}].
std::vector<at::Tensor> draw_weights(const std::vector<Source>& sources) {
  std::vector<std::vector<at::Tensor>> layers;
  for (const auto& [model, seed] : sources) {
    const auto network = catalog::draw_network(model->config, seed, at::kCPU);
    layers.resize(network->size());
    for (std::size_t l = 1; l <= network->size(); ++l) {
      layers[l - 1].push_back(network->dense(l).weight.detach());
    }
  }
  std::vector<at::Tensor> weights;
  for (const auto& layer : layers) weights.push_back(at::stack(layer));
  return weights;
}

// What differs from member to member.
struct LaneInputs {
  ensemble::Members members;
  std::vector<data::LinearTeacher> teachers;  // one a stream
};

LaneInputs gather(const std::vector<SweepMember>& members) {
  Numbering<Source> sources;
  // Of a noise, a rank and a seed.
  Numbering<std::tuple<double, std::int64_t, std::int64_t>> streams;
  std::vector<std::int64_t> source_of;
  std::vector<std::int64_t> stream_of;
  std::vector<double> rates;
  std::vector<double> regularisation;
  LaneInputs inputs;
  for (const auto& [model, rate, seed] : members) {
    source_of.push_back(sources({model, seed}));
    stream_of.push_back(streams({model->noise, model->rank, seed}));
    if (stream_of.back() == static_cast<std::int64_t>(inputs.teachers.size())) {
      inputs.teachers.push_back(catalog::make_teacher(model->config, seed, at::kCPU));
    }
    rates.push_back(rate);
    regularisation.push_back(model->regularisation);
  }
  const auto chosen = at::tensor(source_of);
  for (const auto& weight : draw_weights(sources.keys())) {
    inputs.members.weights.push_back(weight.index_select(0, chosen));
  }
  inputs.members.rates = at::tensor(rates, at::kDouble);
  inputs.members.regularisation = at::tensor(regularisation, at::kDouble);
  inputs.members.streams = at::tensor(stream_of);
  return inputs;
}

// Of the members that stayed.
double memory_condition(const ensemble::Result& result) {
  const auto stayed = at::nonzero(result.left_at.lt(0)).squeeze(-1);
  std::vector<at::Tensor> memory;
  for (const auto& q : result.memory) memory.push_back(q.index_select(0, stayed));
  return optim::memory_condition(memory);
}

}  // namespace

run::Part train_lanes(const std::vector<SweepMember>& members, bool aligned, run::JobContext& job) {
  const at::NoGradGuard no_grad;
  const auto& model = *members.front().model;
  const auto problem = problem_of(model, aligned);
  auto inputs = gather(members);
  const auto maps = data::stack_maps(inputs.teachers);
  const auto next = [&](std::int64_t) {
    return data::next_batch(inputs.teachers, model.batch_size);
  };
  std::int64_t done = 0;
  ensemble::RunOptions options;
  options.threads = 1;
  options.on_progress = [&](const ensemble::Progress& progress, const ensemble::Result&) {
    job.advance(progress.done - std::exchange(done, progress.done));
    return true;
  };
  const auto result =
      ensemble::run(problem, inputs.members, {.maps = maps, .batch = next}, model.steps, options);
  run::Part part{{error_metric(model), result.errors}, {kLeftAt, result.left_at}};
  if (aligned) part["target_alignment"] = result.alignments;
  if (problem.error == ensemble::Error::kMap) {
    const auto narrowest = *std::min_element(problem.widths.begin(), problem.widths.end());
    part[std::string(kNumber) + kLeastMapError] =
        metrics::least_map_error(maps, narrowest).index_select(0, inputs.members.streams);
  }
  if (problem.rescaling == ensemble::Rescaling::kAlpha) {
    part[std::string(kDiagnostic) + "zero_denominators"] =
        result.zero_denominators.sum().to(at::kDouble);
  }
  if (problem.rescaling == ensemble::Rescaling::kRecursiveProjection) {
    part[std::string(kDiagnostic) + "memory_condition"] =
        at::scalar_tensor(memory_condition(result), at::kDouble);
  }
  return part;
}

namespace {

// Of the layers alone.
std::string no_lanes_for(const nn::NetworkOptions& network) {
  if (const auto& custom = network.custom_layers(); !custom.empty()) {
    return fmt::format("layer {} is not Dense", custom.begin()->first);
  }
  const auto& layers = network.layers();
  for (std::size_t l = 1; l <= layers.size(); ++l) {
    const auto& layer = layers[l - 1];
    if (layer.activation() != nn::Activation::kIdentity) {
      return fmt::format("layer {} is not linear", l);
    }
    if (layer.bias()) return "there are biases";
    if (layer.residual() != layers.front().residual()) return "only some layers are residual";
  }
  return "";
}

std::string optimizer_of(const Model& model) {
  return model.optimizer + (model.optimizer == "sgd" ? " with momentum or weight decay" : "");
}

}  // namespace

std::string no_lanes(const Model& model, const std::vector<std::string>& measure,
                     at::Device device) {
  if (!device.is_cpu()) return "the lane engine runs on the CPU only";
  if (const auto reason = no_lanes_for(model.network); !reason.empty()) return reason;
  for (const auto& [key, name] :
       {std::pair("rule", model.rule), std::pair("rescaling", model.rescaling)}) {
    if (catalog::is_added(model.config, key)) {
      return fmt::format("{} = '{}' is the program's own", key, name);
    }
  }
  const auto& rule = *model.rule_part;
  if (!rule.lanes) return rule.no_lanes;
  if (rule.tensors_for) {
    if (const auto reason = rule.tensors_for(model.config); !reason.empty()) return reason;
  }
  if (!model.rescaling_part->lanes) return fmt::format("{} is not done there", model.rescaling);
  if (model.targets == data::Targets::kReluTeacher) return "the teacher is not linear";
  if (!model.squared_error) return fmt::format("the loss is {}", model.loss);
  if (!model.plain_sgd) return fmt::format("the optimizer is {}", optimizer_of(model));
  if (catalog::make_schedule(model.config)) return "the learning rate follows a schedule";
  if (rule.infers && model.inference != "auto" && model.inference != "closed_form") {
    return fmt::format("inference is by {}", model.inference);
  }
  for (const auto& metric : measure) {
    if (needs_tensors(metric)) return fmt::format("{} is measured", metric);
  }
  ensemble::Members members;
  members.regularisation = at::tensor({model.regularisation}, at::kDouble);
  return ensemble::unsupported(problem_of(model, false), members).value_or("");
}

std::string tensors_are_faster(const Model& model) {
  constexpr std::int64_t kHandful = 4;             // half a vector of float64
  constexpr std::int64_t kNarrow = 40;             // where calls cost more than arithmetic
  constexpr std::int64_t kParameters = 4'000'000;  // of which a vector is too much memory
  const auto members = static_cast<std::int64_t>(model.rates.size() * model.seeds.size());
  if (model.parameters > kParameters) return "the networks are large";
  if (members < kHandful && *std::ranges::max_element(model.widths) > kNarrow) {
    return "there are only a few networks";
  }
  return "";
}

std::string lane_key(const Model& model) {
  auto key =
      fmt::format("{} {} {} {} {} {} {} {} {}", model.collapsed, fmt::join(model.widths, " "),
                  model.network.layers().front().residual(), model.rule, model.rescaling,
                  name_of(model.targets), model.batch_size, model.steps, model.dtype);
  // Every member has a regularisation of its own.
  for (const auto& option : model.rescaling_part->options) {
    if (option.name == "regularisation") continue;
    key += ' ' + config::to_string(model.config.values(option.name).front());
  }
  return key;
}

std::size_t lane_job_size(const Model& model, bool aligned) {
  constexpr double kOperations = 4e10;
  constexpr double kVector = 16;  // of float32 in AVX-512
  const auto& n = model.widths;
  const auto weights = static_cast<double>(model.parameters);
  const auto batch = static_cast<double>(model.batch_size);
  const auto columns = std::min(batch, static_cast<double>(n.front() + n.back()));
  const auto widest = static_cast<double>(*std::max_element(n.begin(), n.end()));
  const double step = weights * (6 * columns + (aligned ? 8 * batch : 0) + 20 * widest);
  const double steps = static_cast<double>(model.steps) + 1;
  const auto vectors = std::floor(kOperations / (step * steps) / kVector);
  return static_cast<std::size_t>(kVector * std::clamp(vectors, 1.0, 64.0));
}

}  // namespace pcxx::train
