// Time of one training step of the six models on one core, beside the matrix products such a step
// cannot do without, at the same shapes and in the same process. `table.py` makes the table of
// README.md of it.

#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <pcxx/core/random.h>
#include <pcxx/data/batch.h>
#include <pcxx/inference/error_descent.h>
#include <pcxx/inference/lbfgs.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/learning/kalman.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/nn/init.h>
#include <pcxx/optim/alpha.h>
#include <pcxx/optim/decorrelation.h>
#include <pcxx/optim/projection.h>
#include <pcxx/optim/recursive_projection.h>
#include <pcxx/optim/rescaled.h>
#include <torch/optim/adam.h>
#include <torch/optim/sgd.h>

#include <functional>

namespace {

using namespace pcxx;

constexpr int kInferenceSteps = 20;
constexpr int kQuasiNewtonPasses[] = {5, 10, 20};

struct Problem {
  std::string name;
  nn::NetworkOptions options;
  std::int64_t batch_size;
  at::ScalarType dtype;
  double regularisation;
};

nn::Network make_network(const Problem& problem) {
  nn::Network network(problem.options);
  network->to(problem.dtype);
  nn::init::norm_preserving_(*network, make_generator(0, Purpose::kWeights));
  return network;
}

data::Batch make_batch(const Problem& problem, const nn::NetworkImpl& network) {
  auto generator = make_generator(0, Purpose::kInputs);
  const auto draw = [&](std::int64_t features) {
    std::vector<std::int64_t> shape{problem.batch_size, features};
    if (network.members()) shape.insert(shape.begin(), *network.members());
    return at::empty(shape, at::dtype(problem.dtype)).uniform_(0, 1, generator);
  };
  auto input = draw(network.in_features());
  return {input, draw(network.out_features())};
}

// The plain inference of the networks at hand: closed form, or a fixed number of error descent
// steps.
std::unique_ptr<learning::LearningRule> make_rule(const std::string& name, bool linear) {
  if (name == "bp") return std::make_unique<learning::Backpropagation>();
  if (linear) return std::make_unique<learning::PredictiveCoding>();
  const inference::DescentOptions options{
      .max_steps = kInferenceSteps, .step_size = 0.1, .tolerance = 0, .energy_tolerance = 0};
  return std::make_unique<learning::PredictiveCoding>(
      std::make_shared<inference::ErrorDescent>(options));
}

std::unique_ptr<learning::LearningRule> make_quasi_newton_rule(int passes) {
  const inference::DescentOptions options{
      .max_steps = passes, .tolerance = 0, .energy_tolerance = 0};
  return std::make_unique<learning::PredictiveCoding>(std::make_shared<inference::Lbfgs>(options));
}

std::unique_ptr<optim::Rescaling> make_rescaling(const std::string& name, double regularisation) {
  if (name == "alpha") return std::make_unique<optim::Alpha>();
  if (name == "decorrelation") {
    optim::DecorrelationOptions options;
    options.regularisation = regularisation;
    return std::make_unique<optim::Decorrelation>(options);
  }
  if (name == "projection") {
    return std::make_unique<optim::Projection>(optim::ProjectionOptions{regularisation});
  }
  if (name == "recursive_projection") return std::make_unique<optim::RecursiveProjection>();
  return std::make_unique<optim::Plain>();
}

using MakeRule = std::function<std::unique_ptr<learning::LearningRule>(bool linear)>;

void training_step(benchmark::State& state, const Problem& problem, const MakeRule& make,
                   const std::string& rescaling) {
  const auto network = make_network(problem);
  const auto batch = make_batch(problem, *network);
  const auto rule = make(network->is_linear());
  // Rate 0: the step costs the same, and the network stays the one that is measured.
  optim::Rescaled optimizer(
      std::make_unique<torch::optim::SGD>(network->parameters(), torch::optim::SGDOptions(0.0)),
      make_rescaling(rescaling, problem.regularisation));
  for (auto _ : state) optimizer.step(rule->factors(*network, batch).layers);
}

// The steps that Kalman predictive coding is measured against: PC with Adam, its state included.
void adam_step(benchmark::State& state, const Problem& problem, const MakeRule& make) {
  const auto network = make_network(problem);
  const auto batch = make_batch(problem, *network);
  const auto rule = make(false);
  optim::Rescaled optimizer(
      std::make_unique<torch::optim::Adam>(network->parameters(), torch::optim::AdamOptions(0.0)),
      make_rescaling("none", 0));
  for (auto _ : state) optimizer.step(rule->factors(*network, batch));
}

void kalman_step(benchmark::State& state, const Problem& problem) {
  const auto network = make_network(problem);
  const auto batch = make_batch(problem, *network);
  learning::KalmanPredictiveCoding rule;
  optim::Rescaled optimizer(
      std::make_unique<torch::optim::SGD>(network->parameters(), torch::optim::SGDOptions(0.0)),
      make_rescaling("none", 0));
  for (auto _ : state) optimizer.step(rule.factors(*network, batch));
}

void product_out(at::Tensor& out, const at::Tensor& a, const at::Tensor& b) {
  if (a.dim() == 2) {
    at::mm_out(out, a, b);
  } else {
    at::bmm_out(out, a, b);
  }
}

// Matrix products at a problem's shapes, into buffers that exist.
struct Products {
  explicit Products(const Problem& problem) {
    const auto network = make_network(problem);
    x.push_back(make_batch(problem, *network).input);
    auto shape = x[0].sizes().vec();
    for (std::size_t l = 1; l <= network->size(); ++l) {
      w.push_back(network->dense(l).weight.detach());
      wt.push_back(w[l].mT());
      d.push_back(at::empty_like(w[l]));
      shape.back() = w[l].size(-2);
      x.push_back(at::zeros(shape, x[0].options()));
      e.push_back(at::zeros(shape, x[0].options()));
      et.push_back(e[l].mT());
    }
  }

  void forward(std::size_t first, std::size_t last) {
    for (std::size_t l = first; l <= last; ++l) product_out(x[l], x[l - 1], wt[l]);
  }
  void backward() {
    for (std::size_t l = w.size() - 1; l >= 2; --l) product_out(e[l - 1], e[l], w[l]);
  }
  void directions() {
    for (std::size_t l = 1; l < w.size(); ++l) product_out(d[l], et[l], x[l - 1]);
  }

  std::vector<at::Tensor> w{{}}, wt{{}}, d{{}}, x, e{{}}, et{{}};
};

// The products of a step: W_1 x once, `forward` and `backward` passes through the layers above, and
// the D_l.
void bare_products(benchmark::State& state, const Problem& problem, int forward, int backward) {
  const at::NoGradGuard no_grad;
  Products products(problem);
  const auto depth = products.w.size() - 1;
  for (auto _ : state) {
    products.forward(1, depth);
    for (int t = 1; t < forward; ++t) products.forward(2, depth);
    for (int t = 0; t < backward; ++t) products.backward();
    products.directions();
  }
}

// The products of the closed form, into buffers that exist: two forward passes (the second without
// its first and last layer), S at half its cost, one backward pass, and the D_l. The Cholesky
// factorisation of S and its two triangular solves are left out.
void bare_closed_form(benchmark::State& state, const Problem& problem) {
  const at::NoGradGuard no_grad;
  Products products(problem);
  const auto& w = products.w;
  const auto depth = w.size() - 1;
  std::vector<at::Tensor> p(depth + 1);  // P_{l-1} = W_L .. W_l
  p[depth] = w[depth];
  for (std::size_t l = depth - 1; l >= 2; --l) p[l] = at::empty_like(at::matmul(p[l + 1], w[l]));
  const auto half = w[depth].size(-2) / 2;
  auto s = at::empty_like(at::matmul(p[depth].narrow(-2, 0, half), p[depth].mT()));
  for (auto _ : state) {
    for (std::size_t l = depth; l >= 2; --l) {
      if (l < depth) product_out(p[l], p[l + 1], w[l]);
      product_out(s, p[l].narrow(-2, 0, half), p[l].mT());
    }
    products.forward(1, depth);
    products.forward(2, depth - 1);
    products.backward();
    products.directions();
  }
}

// The factor that the thin form replaces: pseudo-inverse of the n x n matrix of the widest layer.
void dense_pseudo_inverse(benchmark::State& state, std::int64_t n, std::int64_t batch_size) {
  const auto options = at::dtype(at::kFloat);
  const auto x = at::rand({batch_size, n}, options);
  const auto u = at::rand({batch_size, n}, options);
  const auto e = at::rand({batch_size, 128}, options);
  for (auto _ : state) {
    const auto d = at::matmul(e.mT(), u);
    const auto a = at::linalg_pinv(at::matmul(x.mT(), u), 1e-6);
    benchmark::DoNotOptimize(at::matmul(d, a));
  }
}

void thin_decorrelation(benchmark::State& state, std::int64_t n, std::int64_t batch_size,
                        double regularisation) {
  const auto options = at::dtype(at::kFloat);
  const auto x = at::rand({batch_size, n}, options);
  const auto u = x + 0.1 * at::rand({batch_size, n}, options);
  const auto e = at::rand({batch_size, 128}, options);
  const std::vector<learning::LayerFactors> layers{{.weight = at::empty({128, n}, options),
                                                    .bias = {},
                                                    .error = e,
                                                    .presynaptic = u,
                                                    .feedforward = x,
                                                    .samples = batch_size}};
  const auto rescaling = make_rescaling("decorrelation", regularisation);
  for (auto _ : state) benchmark::DoNotOptimize(rescaling->directions(layers));
}

void add(const std::string& name, const std::function<void(benchmark::State&)>& body) {
  benchmark::RegisterBenchmark(name.c_str(), body)->Unit(benchmark::kMicrosecond)->UseRealTime();
}

void add_problem(const Problem& problem) {
  const bool linear = nn::Network(problem.options)->is_linear();
  add(problem.name + "/bare bp", [=](auto& state) { bare_products(state, problem, 1, 1); });
  if (linear) {
    add(problem.name + "/bare pc", [=](auto& state) { bare_closed_form(state, problem); });
  } else {
    add(problem.name + "/bare pc",
        [=](auto& state) { bare_products(state, problem, kInferenceSteps + 1, kInferenceSteps); });
  }
  const bool online = problem.batch_size == 1;
  const std::string paper = online ? "alpha" : "decorrelation";
  const std::string ours = online ? "recursive_projection" : "projection";
  for (const std::string& rescaling : {std::string("none"), paper, ours}) {
    for (const std::string rule : {"bp", "pc"}) {
      add(problem.name + "/" + rule + " " + rescaling, [=](auto& state) {
        const auto make = [&](bool is_linear) { return make_rule(rule, is_linear); };
        training_step(state, problem, make, rescaling);
      });
    }
  }
  if (linear) return;
  add(problem.name + "/kpc", [=](auto& state) { kalman_step(state, problem); });
  add(problem.name + "/pc adam", [=](auto& state) {
    adam_step(state, problem, [](bool is_linear) { return make_rule("pc", is_linear); });
  });
  for (const int passes : kQuasiNewtonPasses) {
    add(fmt::format("{}/pc adam, {} passes of L-BFGS", problem.name, passes), [=](auto& state) {
      adam_step(state, problem, [&](bool) { return make_quasi_newton_rule(passes); });
    });
    add(fmt::format("{}/pc none, {} passes of L-BFGS", problem.name, passes), [=](auto& state) {
      training_step(state, problem, [&](bool) { return make_quasi_newton_rule(passes); }, "none");
    });
  }
}

}  // namespace

int main(int argc, char** argv) {
  at::set_num_threads(1);
  benchmark::Initialize(&argc, argv);
  for (const std::size_t hidden : {1, 8}) {
    const auto options = nn::mlp(std::vector<std::int64_t>(hidden + 2, 20));
    for (const std::int64_t members : {1, 1000}) {
      add_problem({fmt::format("dln 20, {} hidden, B = 64, {} networks", hidden, members),
                   options.ensemble(members), 64, at::kDouble, 1e-4});
    }
  }
  add_problem({"dln 512, 1 hidden, B = 128", nn::mlp({512, 512, 512}), 128, at::kDouble, 1e-4});
  const auto autoencoder =
      nn::mlp({784, 128, 32, 128, 784}, nn::Activation::kReLU, nn::Activation::kSigmoid);
  for (const std::int64_t batch_size : {1, 64}) {
    add_problem({fmt::format("autoencoder, B = {}", batch_size), autoencoder, batch_size,
                 at::kFloat, 1e-2});
  }
  const auto classifier = nn::mlp({784, 128, 64, 10}, nn::Activation::kReLU);
  for (const std::int64_t batch_size : {1, 16, 64}) {
    add_problem(
        {fmt::format("classifier, B = {}", batch_size), classifier, batch_size, at::kFloat, 1e-2});
  }
  add("decorrelation 784, B = 64/n x n pseudo-inverse",
      [](auto& state) { dense_pseudo_inverse(state, 784, 64); });
  add("decorrelation 784, B = 64/thin pseudo-inverse",
      [](auto& state) { thin_decorrelation(state, 784, 64, 0); });
  add("decorrelation 784, B = 64/thin regularised",
      [](auto& state) { thin_decorrelation(state, 784, 64, 1e-2); });
  benchmark::RunSpecifiedBenchmarks();
}
