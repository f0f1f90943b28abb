// How Kalman predictive coding's covariances fare in a whole pass over MNIST: largest difference
// between an element and its mirror image, as a part of the largest element, and smallest and
// largest eigenvalue, of each layer; with the accuracy on the test images.
//
//   kalman_drift_benchmark DATA_FOLDER float32|float64 BATCH_SIZE

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <pcxx/pcxx.h>
#include <torch/optim/sgd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>

namespace {

using namespace pcxx;

constexpr std::int64_t kReports = 3;

void report(const std::vector<at::Tensor>& covariances) {
  for (const auto& covariance : covariances) {
    const auto q = covariance.to(at::kDouble);
    const auto asymmetry = (q - q.t()).abs().max() / q.abs().max();
    const auto values = at::linalg_eigvalsh((q + q.t()) / 2);
    fmt::print(" | {:.1e}, {:.1e} to {:.1e}", asymmetry.item<double>(), values.min().item<double>(),
               values.max().item<double>());
  }
  fmt::print("\n");
}

void train(const std::string& folder, at::ScalarType dtype, std::int64_t batch_size) {
  const auto options = at::dtype(dtype);
  const auto images = data::load_images("mnist", data::Split::kTrain, folder);
  const auto tests = data::load_images("mnist", data::Split::kTest, folder);
  const auto test = data::classification_batch(tests, at::arange(tests.size()), 10, options);
  nn::Network network(nn::mlp({784, 128, 64, 10}, nn::Activation::kReLU));
  network->to(dtype);
  nn::init::lecun_(*network, make_generator(0, Purpose::kWeights));
  learning::KalmanPredictiveCoding rule;
  optim::Rescaled optimizer(torch::optim::SGD(network->parameters(), 1.0),
                            std::make_unique<optim::Plain>());
  data::Minibatches minibatches(images.size(), 0);
  const auto steps = images.size() / batch_size;
  for (std::int64_t step = 1; step <= steps; ++step) {
    const auto index = minibatches.next(batch_size);
    optimizer.step(rule.factors(*network, data::classification_batch(images, index, 10, options)));
    if (step % (steps / kReports) != 0) continue;
    const auto accuracy = metrics::accuracy(*network, test.input, tests.labels).item<double>();
    fmt::print("{} samples, accuracy {:.4f}", step * batch_size, accuracy);
    report(rule.covariances());
  }
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string dtype = argc == 4 ? argv[2] : "";
  const auto batch_size = argc == 4 ? std::strtoll(argv[3], nullptr, 10) : 0;
  if ((dtype != "float32" && dtype != "float64") || batch_size < 1) {
    fmt::print(stderr, "usage: kalman_drift_benchmark DATA_FOLDER float32|float64 BATCH_SIZE\n");
    return 2;
  }
  at::set_num_threads(1);
  train(argv[1], dtype == "float32" ? at::kFloat : at::kDouble, batch_size);
} catch (const std::exception& error) {
  std::fprintf(stderr, "kalman_drift_benchmark: %s\n", error.what());
  return 2;
}
