// A classifier of digits that learns by predictive coding: data, network, rule, rescaling,
// optimizer, accuracy.
//
//   ninja -C build/release train_a_classifier       # or as examples/CMakeLists.txt says
//   build/release/bin/train_a_classifier            # digits that the library draws itself
//   build/release/bin/train_a_classifier data       # MNIST, where data/get_data has put it
//
// Ends with 1 unless 8 of 10 test images are recognised.

#include <fmt/format.h>
#include <pcxx/pcxx.h>
#include <torch/torch.h>

using namespace pcxx;

data::ImageSets load(int argc, char** argv) {
  if (argc > 1) {
    return {data::load_images("mnist", data::Split::kTrain, argv[1]),
            data::load_images("mnist", data::Split::kTest, argv[1])};
  }
  return {data::drawn_digits(5'000, /*seed=*/0), data::drawn_digits(1'000, 0, /*first=*/5'000)};
}

int main(int argc, char** argv) try {
  const auto sets = load(argc, argv);
  const auto& train = sets.train;
  const auto& test = sets.test;

  // 784 pixels, 64 ReLU units, 10 classes. The weights depend on the seed alone.
  nn::Network network(nn::mlp({train.features(), 64, 10}, nn::Activation::kReLU).with_bias());
  nn::init::kaiming_(*network, make_generator(/*seed=*/0, Purpose::kWeights));

  // The rule says what a batch teaches; learning::Backpropagation() could stand here as well.
  learning::PredictiveCoding rule(std::make_shared<inference::Lbfgs>());

  // The rescaling makes a direction of it, the optimizer a step. Try optim::Decorrelation.
  optim::Rescaled optimizer(torch::optim::Adam(network->parameters(), 3e-3),
                            std::make_unique<optim::Plain>());

  const auto inputs = test.values(torch::kFloat32);
  double accuracy = 0;
  data::Minibatches minibatches(train.size(), /*seed=*/0);
  for (int step = 1; step <= 200; ++step) {
    const auto batch = data::classification_batch(train, minibatches.next(64), 10, torch::kFloat32);
    const auto learnt = rule.factors(*network, batch);
    optimizer.step(learnt);
    if (step % 50 != 0) continue;
    accuracy = metrics::accuracy(*network, inputs, test.labels).item<double>();
    fmt::print("step {:3}: {:.1f} % right; {}\n", step, 100 * accuracy, learnt.report->brief());
  }
  return accuracy > 0.8 ? 0 : 1;
} catch (const UserError& error) {  // such as a folder without MNIST
  fmt::print(stderr, "{}\n", error.what());
  return 2;
}
