// How often a training step makes the host wait for its device, and how many operators it starts
// there. benchmarks/DEVICE.md has the table; this test prints it anew.

#include <ATen/ATen.h>
#include <pcxx/core/files.h>
#include <pcxx/inference/error_descent.h>
#include <pcxx/inference/lbfgs.h>
#include <pcxx/inference/state_descent.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/learning/kalman.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/metrics/accuracy.h>
#include <pcxx/metrics/reconstruction.h>
#include <pcxx/metrics/target_alignment.h>
#include <pcxx/optim/optimizers.h>
#include <pcxx/optim/rescaled.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <functional>
#include <sstream>

#include "device/fake_device.h"
#include "device/on_device.h"
#include "support/networks.h"
#include "support/rescalings.h"

namespace pcxx {
namespace {

struct Cost {
  double launches = 0;
  double waits = 0;
  std::string reasons = {};  // of the waits
};

Cost operator-(const Cost& a, const Cost& b) {
  return {a.launches - b.launches, a.waits - b.waits, a.reasons};
}
Cost operator/(const Cost& a, double by) {
  return {a.launches / by, a.waits / by, a.reasons};
}

// What one step costs once all memory has been made.
Cost cost_of(const std::function<void()>& step) {
  for (int i = 0; i < 2; ++i) step();
  constexpr int kSteps = 4;
  test::reset_device_work();
  for (int i = 0; i < kSteps; ++i) step();
  const auto work = test::device_work();
  Cost cost{static_cast<double>(work.launches), static_cast<double>(work.waits)};
  for (const auto& [reason, count] : work.reasons)
    cost.reasons += c10::str(reason, ": ", count, "; ");
  return cost / kSteps;
}

data::Batch batch_there(const nn::NetworkImpl& network, std::int64_t samples) {
  const auto batch = test::random_batch(network, samples);
  return {batch.input.to(at::kCUDA), batch.target.to(at::kCUDA)};
}

nn::Network network_there(const nn::NetworkOptions& options) {
  auto network = test::random_network(options);
  network->to(at::kCUDA);
  return network;
}

// ---- Steps, by the names that the table has

using Measure = std::function<Cost(const nn::NetworkOptions&)>;

struct Training {
  std::string optimizer = "sgd";
  test::RescalingOptions rescaling = {};
  std::int64_t samples = 64;
};

template <typename MakeRule>
Measure training(MakeRule make_rule, Training with = {}) {
  return [=](const nn::NetworkOptions& options) {
    auto network = network_there(options);
    const auto batch = batch_there(*network, with.samples);
    auto rule = make_rule();
    optim::Rescaled optimizer(optim::make_optimizer(with.optimizer, network->parameters(), 1e-3),
                              test::make_rescaling(with.rescaling));
    return cost_of([&] { optimizer.step(rule.factors(*network, batch)); });
  };
}

template <typename Method>
Measure passes(int count, double step_size) {
  return training([=] {
    return learning::PredictiveCoding(std::make_shared<Method>(inference::DescentOptions{
        .max_steps = count, .step_size = step_size, .tolerance = 0, .energy_tolerance = 0}));
  });
}

// Ten passes more cost ten times one pass more.
template <typename Method>
Measure one_pass(double step_size) {
  return [=](const nn::NetworkOptions& options) {
    return (passes<Method>(20, step_size)(options) - passes<Method>(10, step_size)(options)) / 10;
  };
}

learning::Backpropagation backpropagation() {
  return {};
}
learning::PredictiveCoding predictive_coding() {
  return {};
}
auto kalman(learning::Narrowing narrowing) {
  return [=] {
    return learning::KalmanPredictiveCoding(learning::KalmanOptions{.narrowing = narrowing});
  };
}

Measure rescaled(const test::RescalingOptions& rescaling) {
  return training(&backpropagation, {.rescaling = rescaling, .samples = 16});
}

Measure measured(std::function<void(const nn::NetworkImpl&, const data::Batch&)> metric) {
  return [=](const nn::NetworkOptions& options) {
    const auto network = network_there(options);
    const auto batch = batch_there(*network, 64);
    optim::Plain().write_gradients(learning::Backpropagation().factors(*network, batch).layers);
    return cost_of([&] { metric(*network, batch); });
  };
}

const auto kLinearNetwork = nn::mlp({64, 64, 64, 64, 64});
const auto kReluNetwork =
    nn::mlp({100, 64, 32, 64, 100}, nn::Activation::kReLU, nn::Activation::kSigmoid);

struct Row {
  std::string name;
  Measure measure;
  bool relu = true;  // or only in the linear network
};

std::vector<Row> rows() {
  using inference::ErrorDescent;
  using inference::Lbfgs;
  using inference::StateDescent;
  using learning::Narrowing;
  return {{"bp", training(&backpropagation)},
          {"bp, Adam", training(&backpropagation, {.optimizer = "adam"})},
          {"bp, RMSprop", training(&backpropagation, {.optimizer = "rmsprop"})},
          {"bp, alpha", rescaled({.name = "alpha"})},
          {"bp, decorrelation, exact", rescaled({.name = "decorrelation"})},
          {"bp, decorrelation", rescaled({.name = "decorrelation", .regularisation = 1e-3})},
          {"bp, projection, exact", rescaled({.name = "projection"})},
          {"bp, projection", rescaled({.name = "projection", .regularisation = 1e-3})},
          {"bp, recursive projection", rescaled({.name = "recursive_projection"})},
          {"pc, closed form", training(&predictive_coding), false},
          {"pc, one pass of L-BFGS", one_pass<Lbfgs>(0)},
          {"pc, one pass of error descent", one_pass<ErrorDescent>(0)},
          {"pc, one pass of error descent, fixed step", one_pass<ErrorDescent>(0.01)},
          {"pc, one pass of state descent", one_pass<StateDescent>(0.01)},
          {"pc, 20 passes of L-BFGS", passes<Lbfgs>(20, 0)},
          {"pc, 20 passes of error descent", passes<ErrorDescent>(20, 0)},
          {"pc, 20 passes of state descent", passes<StateDescent>(20, 0.01)},
          {"kpc", training(kalman(Narrowing::kCertainty))},
          {"kpc, constancy", training(kalman(Narrowing::kConstancy))},
          {"target alignment", measured([](const auto& network, const auto& batch) {
             metrics::target_alignment(network, batch, metrics::update_of_gradients(network));
           })},
          {"mean squared error", measured([](const auto& network, const auto& batch) {
             metrics::mean_squared_error(network, batch.input, batch.target);
           })},
          {"accuracy", measured([](const auto& network, const auto& batch) {
             metrics::accuracy(network, batch.input, batch.target.argmax(-1));
           })}};
}

// ---- The table

// Launches and waits in the linear network and in the other; those that were not measured are -1.
using Numbers = std::array<double, 4>;

Numbers numbers_of(const Row& row, std::string* reasons) {
  Numbers numbers{-1, -1, -1, -1};
  const auto fill = [&](std::size_t first, const nn::NetworkOptions& options) {
    const auto cost = row.measure(options);
    numbers[first] = cost.launches;
    numbers[first + 1] = cost.waits;
    *reasons += cost.reasons;
  };
  fill(0, kLinearNetwork);
  if (row.relu) fill(2, kReluNetwork);
  return numbers;
}

std::string line_of(const std::string& name, const Numbers& numbers) {
  std::ostringstream line;
  line << "| " << name << " |";
  for (const double number : numbers) {
    if (number < 0) {
      line << " |";
    } else {
      line << ' ' << std::round(number * 100) / 100 << " |";
    }
  }
  return line.str();
}

// The numbers that stand in the table behind a name.
Numbers written(const std::string& document, const std::string& name) {
  Numbers numbers{-1, -1, -1, -1};
  const auto begin = "\n| " + name + " |";
  const auto at = document.find(begin);
  if (at == std::string::npos) return numbers;
  const auto first = at + begin.size();
  std::istringstream cells(document.substr(first, document.find('\n', first) - first));
  for (double& number : numbers) {
    std::string cell;
    std::getline(cells, cell, '|');
    std::istringstream(cell) >> number;
  }
  return numbers;
}

using Waits_CUDA = test::OnDevice;

// Contract: no more waits than benchmarks/DEVICE.md has, whose table is this test's output, and
// within a tenth as many launches.
TEST_F(Waits_CUDA, AreNoMoreThanWritten) {
  const auto document = read_file(PCXX_SOURCE_DIR "/benchmarks/DEVICE.md");
  for (const auto& row : rows()) {
    std::string reasons;
    const auto found = numbers_of(row, &reasons);
    std::printf("%s\n", line_of(row.name, found).c_str());
    const auto expected = written(document, row.name);
    for (std::size_t i = 0; i < found.size(); ++i) {
      const bool waits = i % 2 == 1;
      EXPECT_LE(found[i], expected[i] < 0 ? -1 : expected[i] * (waits ? 1 : 1.1) + 0.005)
          << (waits ? "waits" : "launches") << " of " << row.name << "; " << reasons;
    }
  }
}

}  // namespace
}  // namespace pcxx
