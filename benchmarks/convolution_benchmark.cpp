// Time of one training step of LeNet-5 on one core, beside the bare convolutions and products that
// such a step cannot do without, at the same shapes and in the same process, and beside PyTorch's
// own way forward and back.

#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <pcxx/core/memory.h>
#include <pcxx/core/random.h>
#include <pcxx/data/batch.h>
#include <pcxx/inference/error_descent.h>
#include <pcxx/inference/lbfgs.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/nn/block.h>
#include <pcxx/nn/conv2d.h>
#include <pcxx/nn/init.h>
#include <pcxx/nn/pool2d.h>
#include <pcxx/optim/projection.h>
#include <pcxx/optim/rescaled.h>
#include <torch/nn/functional/loss.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/pooling.h>
#include <torch/optim/sgd.h>

#include <functional>

namespace {

using namespace pcxx;

constexpr std::int64_t kBatch = 64;

struct Image {
  std::int64_t channels, size;
};

// A convolution with ReLU whose prediction is the maximum of 2 x 2 units.
nn::LayerMaker pooled(const nn::Conv2dOptions& options) {
  return [options](std::int64_t, std::int64_t) {
    const auto pool = nn::Pool2dOptions(options.out_channels(), 2)
                          .size(options.out_height(), options.out_width());
    return std::make_shared<nn::Block>(
        std::vector<std::shared_ptr<nn::Layer>>{std::make_shared<nn::Conv2d>(options),
                                                std::make_shared<nn::Pool2d>(pool)},
        /*residual=*/false);
  };
}

nn::Network lenet() {
  const auto relu = nn::Activation::kReLU;
  const auto first = nn::Conv2dOptions(1, 6, 5).size(28, 28).padding(2).activation(relu).bias(true);
  const auto second = nn::Conv2dOptions(6, 16, 5).size(14, 14).activation(relu).bias(true);
  nn::Network network(nn::mlp({784, 1176, 400, 120, 84, 10}, relu)
                          .with_bias()
                          .with_layer(1, pooled(first))
                          .with_layer(2, pooled(second)));
  nn::init::lecun_(*network, make_generator(0, Purpose::kWeights));
  return network;
}

data::Batch batch() {
  auto generator = make_generator(0, Purpose::kInputs);
  auto target = at::zeros({kBatch, 10});
  target.scatter_(1, at::empty({kBatch, 1}, at::kLong).random_(0, 10, generator), 1);
  return {at::empty({kBatch, 784}).uniform_(0, 1, generator), target};
}

inference::DescentOptions passes(int steps) {
  return {.max_steps = steps, .tolerance = 0, .energy_tolerance = 0};
}

void step(benchmark::State& state, std::unique_ptr<learning::LearningRule> rule,
          std::unique_ptr<optim::Rescaling> rescaling) {
  const auto network = lenet();
  const auto samples = batch();
  // Rate 0: the step costs the same, and the network stays the one that is measured.
  optim::Rescaled optimizer(
      std::make_unique<torch::optim::SGD>(network->parameters(), torch::optim::SGDOptions(0.0)),
      std::move(rescaling));
  for (auto _ : state) optimizer.step(rule->factors(*network, samples));
}

std::unique_ptr<learning::LearningRule> pc(const std::shared_ptr<const inference::Inference>& how) {
  return std::make_unique<learning::PredictiveCoding>(how);
}

// The convolutions, products and poolings of LeNet, with ReLU and nothing round them.
class Bare {
 public:
  Bare() {
    for (const auto& [in, out] : {std::pair{1, 6}, {6, 16}})
      kernels_.push_back(at::randn({out, in, 5, 5}));
    for (const auto& [in, out] : {std::pair{400, 120}, {120, 84}, {84, 10}}) {
      weights_.push_back(at::randn({out, in}));
    }
    images_ = {at::randn({kBatch, 1, 28, 28}), at::randn({kBatch, 6, 14, 14})};
    errors_ = {at::randn({kBatch, 6, 28, 28}), at::randn({kBatch, 16, 10, 10})};
    for (const auto& w : weights_) {
      below_.push_back(at::randn({kBatch, w.size(1)}));
      above_.push_back(at::randn({kBatch, w.size(0)}));
    }
  }

  void forward(std::size_t first) {
    for (std::size_t i = first; i < 2; ++i) keep(convolution(i));
    for (std::size_t i = 0; i < weights_.size(); ++i) keep(at::mm(below_[i], weights_[i].t()));
  }
  // Signals for layers 1..4.
  void backward() {
    for (std::size_t i = weights_.size(); i-- > 0;) keep(at::mm(above_[i], weights_[i]));
    keep(std::get<0>(gradients(1, {true, false, false})));
  }
  void directions() {
    for (std::size_t i = 0; i < 2; ++i) keep(std::get<1>(gradients(i, {false, true, false})));
    for (std::size_t i = 0; i < weights_.size(); ++i) keep(at::mm(above_[i].t(), below_[i]));
  }

 private:
  at::Tensor convolution(std::size_t i) const {
    const auto padding = i == 0 ? 2 : 0;
    return at::conv2d(images_[i], kernels_[i], {}, 1, padding);
  }
  std::tuple<at::Tensor, at::Tensor, at::Tensor> gradients(std::size_t i,
                                                           std::array<bool, 3> wanted) const {
    const auto padding = i == 0 ? 2 : 0;
    return at::convolution_backward(errors_[i], images_[i], kernels_[i], std::nullopt, {1, 1},
                                    {padding, padding}, {1, 1}, false, {0, 0}, 1, wanted);
  }
  static void keep(at::Tensor t) { benchmark::DoNotOptimize(t); }

  std::vector<at::Tensor> kernels_, weights_, images_, errors_, below_, above_;
};

// Layer 1 once, `forward` and `backward` passes through the layers above, and the directions.
void bare(benchmark::State& state, int forward, int backward) {
  const at::NoGradGuard no_grad;
  Bare calls;
  for (auto _ : state) {
    calls.forward(0);
    for (int t = 1; t < forward; ++t) calls.forward(1);
    for (int t = 0; t < backward; ++t) calls.backward();
    calls.directions();
  }
}

void autograd(benchmark::State& state) {
  using namespace torch::nn;
  Sequential network(Conv2d(Conv2dOptions(1, 6, 5).padding(2)), ReLU(), MaxPool2d(2),
                     Conv2d(6, 16, 5), ReLU(), MaxPool2d(2), Flatten(), Linear(400, 120), ReLU(),
                     Linear(120, 84), ReLU(), Linear(84, 10));
  torch::optim::SGD optimizer(network->parameters(), 0.0);
  const auto samples = batch();
  const auto images = samples.input.view({-1, 1, 28, 28});
  for (auto _ : state) {
    optimizer.zero_grad();
    const auto error = network->forward(images) - samples.target;
    (error.square().sum() * (0.5 / kBatch)).backward();
    optimizer.step();
  }
}

void add(const std::string& name, const std::function<void(benchmark::State&)>& body) {
  benchmark::RegisterBenchmark(name.c_str(), body)->Unit(benchmark::kMicrosecond)->UseRealTime();
}

}  // namespace

int main(int argc, char** argv) {
  keep_freed_memory();
  at::set_num_threads(1);
  benchmark::Initialize(&argc, argv);
  add("bare bp", [](auto& state) { bare(state, 1, 1); });
  add("bp", [](auto& state) {
    step(state, std::make_unique<learning::Backpropagation>(), std::make_unique<optim::Plain>());
  });
  add("bp by PyTorch's autograd", autograd);
  for (const int steps : {5, 10, 20}) {
    add(fmt::format("bare pc, T = {}", steps), [=](auto& state) { bare(state, steps + 1, steps); });
    add(fmt::format("pc, L-BFGS, T = {}", steps), [=](auto& state) {
      step(state, pc(std::make_shared<inference::Lbfgs>(passes(steps))),
           std::make_unique<optim::Plain>());
    });
    add(fmt::format("pc, error descent, T = {}", steps), [=](auto& state) {
      auto options = passes(steps);
      options.step_size = 0.1;
      step(state, pc(std::make_shared<inference::ErrorDescent>(options)),
           std::make_unique<optim::Plain>());
    });
  }
  add("pc projection, L-BFGS, T = 10", [](auto& state) {
    step(state, pc(std::make_shared<inference::Lbfgs>(passes(10))),
         std::make_unique<optim::Projection>(optim::ProjectionOptions{1e-2}));
  });
  benchmark::RunSpecifiedBenchmarks();
}
