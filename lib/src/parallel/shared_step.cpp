#include <ATen/ATen.h>
#include <pcxx/parallel/exchange.h>
#include <pcxx/parallel/shared_step.h>
#include <pcxx/parallel/slice.h>

#include <numeric>
#include <optional>

#include "parallel/messages.h"
#include "parallel/rank_peers.h"

namespace pcxx::parallel {

namespace {

using learning::LayerFactors;
using learning::OwnDirections;
using learning::Step;

at::Tensor narrow_samples(const at::Tensor& rows, std::int64_t count) {
  return rows.narrow(-2, 0, count);
}

// The rule's step on this rank's samples, and for each layer whether its activities are just the
// inputs, which every rank has of all samples.
struct LocalStep {
  Step step;
  std::vector<bool> from_inputs;
};

bool is_just(const LayerFactors& layer, const at::Tensor& input) {
  const auto same = [&](const at::Tensor& activity) {
    return activity.sizes() == input.sizes() && activity.const_data_ptr() == input.const_data_ptr();
  };
  return same(layer.presynaptic) && same(layer.feedforward);
}

LayerFactors without_rows(LayerFactors layer) {
  const bool same = layer.presynaptic.is_same(layer.feedforward);
  layer.error = narrow_samples(layer.error, 0);
  layer.presynaptic = narrow_samples(layer.presynaptic, 0);
  layer.feedforward = same ? layer.presynaptic : narrow_samples(layer.feedforward, 0);
  return layer;
}

// What a rank without samples makes of one that is not its own.
void empty_(Step& step) {
  for (auto& layer : step.layers) layer = without_rows(layer);
  for (auto& own : step.own) {
    for (auto& direction : own.directions) {
      if (direction.defined()) direction = at::zeros_like(direction);
    }
  }
  step.prediction = narrow_samples(step.prediction, 0);
  if (!step.report) return;
  for (auto* values : step.report->fields()) *values = values->narrow(-1, 0, 0);
}

LocalStep local_step(learning::LearningRule& rule, const nn::NetworkImpl& network,
                     const data::Batch& batch, const Communicator& ranks) {
  auto mine = slice(batch, ranks);
  const bool idle = mine.input.size(-2) == 0;
  if (idle) {
    mine = {narrow_samples(batch.input, 1), narrow_samples(batch.target, 1), batch.samples};
  }
  LocalStep local{rule.factors(network, mine), {}};
  for (const auto& layer : local.step.layers) {
    local.from_inputs.push_back(is_just(layer, mine.input));
  }
  if (idle) empty_(local.step);
  return local;
}

// ---- Messages -----------------------------------------------------------------------------------

// A row a sample of `locations` each, and back.
at::Tensor folded(const at::Tensor& rows, std::int64_t locations) {
  if (locations == 1) return rows;
  auto shape = rows.sizes().vec();
  shape[shape.size() - 2] /= locations;
  shape.back() *= locations;
  return rows.reshape(shape);
}

at::Tensor unfolded(const at::Tensor& rows, std::int64_t locations) {
  if (locations == 1) return rows;
  auto shape = rows.sizes().vec();
  shape[shape.size() - 2] *= locations;
  shape.back() /= locations;
  return rows.reshape(shape);
}

// The columns of E, U and Xhat that are sent, a row a sample: no more of U and Xhat than is not
// known.
std::vector<at::Tensor> columns_of(const LayerFactors& layer, const at::Tensor& known) {
  const auto sent = [&](const at::Tensor& rows) { return folded(rows, layer.locations); };
  if (known.defined()) return {sent(layer.error)};
  if (layer.presynaptic.is_same(layer.feedforward)) {
    return {sent(layer.error), sent(layer.presynaptic)};
  }
  return {sent(layer.error), sent(layer.presynaptic), sent(layer.feedforward)};
}

// The factors of all samples; `known` stands for U and Xhat where it is defined.
class PendingFactors {
 public:
  PendingFactors(Communicator& ranks, const LayerFactors& layer, at::Tensor known,
                 std::int64_t samples)
      : known_(std::move(known)), columns_(ranks, columns_of(layer, known_), samples) {}

  void wait(LayerFactors& layer) {
    auto columns = columns_.wait();
    for (auto& column : columns) column = unfolded(column, layer.locations);
    layer.error = columns[0];
    layer.presynaptic = known_.defined() ? known_ : columns[1];
    layer.feedforward = columns.size() < 3 ? layer.presynaptic : columns[2];
  }

 private:
  at::Tensor known_;
  PendingColumns columns_;
};

std::int64_t numbers(const std::vector<at::Tensor>& tensors) {
  return std::accumulate(tensors.begin(), tensors.end(), std::int64_t{0},
                         [](auto sum, const auto& tensor) { return sum + tensor.numel(); });
}

// Of the factors of one sample, as they are sent.
std::int64_t numbers_a_sample(const LayerFactors& layer, const at::Tensor& known) {
  std::int64_t sum = 0;
  for (const auto& column : columns_of(layer, known)) sum += column.size(-1);
  return sum * (layer.error.dim() == 3 ? layer.error.size(0) : 1);
}

// One layer, on its way.
class PendingLayer {
 public:
  PendingLayer(Communicator& ranks, const LayerFactors& layer, const at::Tensor& known,
               const optim::Rescaling& rescaling, std::int64_t rows) {
    const auto summed = numbers(rescaling.sums(without_rows(layer)));  // which costs no products
    if (cheaper(summed, rows * numbers_a_sample(layer, known), rows) == Exchange::kSum) {
      sums_.emplace(ranks, rescaling.sums(layer));
    } else {
      factors_.emplace(ranks, layer, known, rows);
    }
  }

  void wait(LayerFactors& layer) {
    if (factors_) return factors_->wait(layer);
    layer.sums = sums_->wait();
    layer.error = layer.presynaptic = layer.feedforward = at::Tensor();
  }

 private:
  std::optional<PendingSums> sums_;
  std::optional<PendingFactors> factors_;
};

void sum_own(Communicator& ranks, std::vector<OwnDirections>& own) {
  std::vector<at::Tensor*> directions;
  std::vector<at::Tensor> tensors;
  for (auto& layer : own) {
    for (auto& direction : layer.directions) {
      if (!direction.defined()) continue;
      directions.push_back(&direction);
      tensors.push_back(direction);
    }
  }
  if (tensors.empty()) return;
  auto sums = PendingSums(ranks, std::move(tensors)).wait();
  for (std::size_t i = 0; i < sums.size(); ++i) *directions[i] = std::move(sums[i]);
}

void gather(Communicator& ranks, inference::Report& report, std::int64_t samples) {
  const auto fields = report.fields();
  std::vector<at::Tensor> columns;
  for (const auto* field : fields) columns.push_back(field->to(at::kDouble));
  const auto all = gather_rows(ranks, at::stack(columns, -1), samples);
  for (std::size_t i = 0; i < fields.size(); ++i) {
    *fields[i] = all.select(-1, static_cast<std::int64_t>(i)).to(fields[i]->scalar_type());
  }
}

// By a rule that weighs samples against each other. Where there is not one for each rank, every
// rank takes them all.
Step step_together(learning::LearningRule& rule, const nn::NetworkImpl& network,
                   const data::Batch& batch, Communicator& ranks) {
  const auto rows = batch.input.size(-2);
  TORCH_CHECK(batch.samples == rows, rule.name(),
              " needs the samples of a batch, not a compressed one");
  if (rows >= ranks.size()) {
    RankPeers peers(ranks, rows);
    return rule.shared_factors(network, slice(batch, ranks), peers);
  }
  auto step = rule.factors(network, batch);
  const auto [first, count] = slice_of(rows, ranks.rank(), ranks.size());
  step.prediction = step.prediction.narrow(-2, first, count);
  return step;
}

// Factors of slices, put together.
Step step_of_slices(learning::LearningRule& rule, const nn::NetworkImpl& network,
                    const data::Batch& batch, const optim::Rescaling& rescaling,
                    Communicator& ranks) {
  // As the network takes it, so that a slice of it is what the rule keeps of the inputs.
  const data::Batch entered{network.enter(batch.input, network.in_features()), batch.target,
                            batch.samples};
  auto [step, from_inputs] = local_step(rule, network, entered, ranks);
  const auto rows = batch.input.size(-2);
  std::vector<PendingLayer> pending;
  for (std::size_t i = 0; i < step.layers.size(); ++i) {
    const auto known = from_inputs[i] ? entered.input : at::Tensor();
    pending.emplace_back(ranks, step.layers[i], known, rescaling, rows);
  }
  sum_own(ranks, step.own);
  if (step.report) gather(ranks, *step.report, rows);
  for (std::size_t i = 0; i < pending.size(); ++i) pending[i].wait(step.layers[i]);
  return step;
}

}  // namespace

Step shared_step(learning::LearningRule& rule, const nn::NetworkImpl& network,
                 const data::Batch& batch, const optim::Rescaling& rescaling, Communicator& ranks) {
  if (ranks.size() == 1) return rule.factors(network, batch);
  const at::NoGradGuard no_grad;
  switch (rule.sharing()) {
    case learning::Sharing::kSlices:
      return step_of_slices(rule, network, batch, rescaling, ranks);
    case learning::Sharing::kTogether:
      return step_together(rule, network, batch, ranks);
    case learning::Sharing::kNever:
      break;
  }
  TORCH_CHECK(
      false, rule.name(),
      " weighs the samples of a batch against each other, and cannot share it between ranks");
}

}  // namespace pcxx::parallel
