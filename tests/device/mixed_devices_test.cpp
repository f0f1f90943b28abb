// Tensors on several devices: what works, and what is refused. A host that touches the memory of a
// device ends the test.

#include <ATen/ATen.h>
#include <pcxx/data/batch.h>
#include <pcxx/data/image_dataset.h>
#include <pcxx/inference/curvature.h>
#include <pcxx/inference/equilibrium.h>
#include <pcxx/inference/error_descent.h>
#include <pcxx/inference/lbfgs.h>
#include <pcxx/inference/own_layers.h>
#include <pcxx/inference/state_descent.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/learning/kalman.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/linalg/products.h>
#include <pcxx/metrics/accuracy.h>
#include <pcxx/metrics/dead_units.h>
#include <pcxx/metrics/layer_diagnostics.h>
#include <pcxx/metrics/map_error.h>
#include <pcxx/metrics/predicted_alignment.h>
#include <pcxx/metrics/reconstruction.h>
#include <pcxx/metrics/target_alignment.h>
#include <pcxx/nn/fused.h>
#include <pcxx/optim/member_sgd.h>
#include <pcxx/optim/optimizers.h>
#include <pcxx/optim/rescaled.h>
#include <pcxx/parallel/shared_step.h>
#include <pcxx/train/training_state.h>

#include <cctype>
#include <functional>

#include "device/on_device.h"
#include "support/networks.h"
#include "support/own_layers.h"
#include "support/rescalings.h"

namespace pcxx {
namespace {

using test::random_batch;

enum Outcome { kWorks, kRefused };

// Something that is made on device a, used with something on device b. The result, if any, must be
// the CPU's.
struct Mix {
  const char* what;
  Outcome outcome;
  std::function<at::Tensor(at::Device a, at::Device b)> work;
};

void PrintTo(const Mix& mix, std::ostream* out) {
  *out << mix.what;
}

// ---- What is mixed

at::Tensor numbers(at::IntArrayRef sizes, at::Device device) {
  const auto count = c10::multiply_integers(sizes);
  return at::linspace(-1, 1, count, at::kDouble).view(sizes).to(device);
}

nn::Network network_on(at::Device device, const nn::NetworkOptions& options = nn::mlp({9, 8, 7})) {
  auto network = test::random_network(options);
  network->to(device);
  return network;
}

data::Batch batch_on(const nn::NetworkImpl& network, at::Device input, at::Device target) {
  const auto batch = random_batch(network, 5);
  return {batch.input.to(input), batch.target.to(target)};
}

const auto kRelu = nn::mlp({9, 8, 7}, nn::Activation::kReLU, nn::Activation::kSigmoid);

at::Tensor backpropagated(const nn::Network& network, const data::Batch& batch) {
  return learning::weight_direction(learning::Backpropagation().factors(*network, batch).layers[0]);
}

at::Tensor settled(const inference::Inference& inference, const nn::Network& network,
                   const data::Batch& batch) {
  return inference.infer(*network, batch).errors[1];
}

optim::Rescaled optimizer_of(const nn::Network& network, const std::string& name,
                             const std::string& rescaling) {
  return optim::Rescaled(optim::make_optimizer(name, network->parameters(), 1e-2),
                         test::make_rescaling({.name = rescaling}));
}

// A step with the optimizer's state of a network on a, once it is on b.
at::Tensor moved_between_steps(const std::string& name, const std::string& rescaling, at::Device a,
                               at::Device b) {
  auto network = network_on(a);
  auto optimizer = optimizer_of(network, name, rescaling);
  const auto step = [&] {
    optimizer.step(learning::Backpropagation().factors(*network, random_batch(*network, 5)));
  };
  step();
  network->to(b);
  step();
  return {};
}

// A step of factors whose errors are on b.
at::Tensor mixed_factors(const test::RescalingOptions& options, at::Device a, at::Device b) {
  auto network = network_on(a);
  auto optimizer = optim::Rescaled(optim::make_optimizer("sgd", network->parameters(), 1e-2),
                                   test::make_rescaling(options));
  auto step = learning::Backpropagation().factors(*network, random_batch(*network, 5));
  step.layers[1].error = step.layers[1].error.to(b);
  optimizer.step(step);
  return {};
}

// ---- The table

std::vector<Mix> products() {
  const auto one = [](at::Device d) { return numbers({1, 9}, d); };
  const auto many = [](at::Device d) { return numbers({20, 9}, d); };
  const auto error = [](at::Device d) { return numbers({1, 8}, d); };
  const auto weight = [](at::Device d) { return numbers({8, 9}, d); };
  const auto empty = [](at::IntArrayRef sizes, at::Device d) {
    return at::empty(sizes, at::dtype(at::kDouble).device(d));
  };
  return {{"forward product, one sample", kRefused,
           [=](auto a, auto b) { return linalg::forward_product(one(a), weight(b)); }},
          {"forward product, many samples", kRefused,
           [=](auto a, auto b) { return linalg::forward_product(many(a), weight(b)); }},
          {"forward product, result elsewhere", kRefused,
           [=](auto a, auto b) {
             auto out = empty({1, 8}, b);
             linalg::forward_product_out(out, one(a), weight(a));
             return out;
           }},
          {"backward product, one sample", kRefused,
           [=](auto a, auto b) { return linalg::backward_product(error(a), weight(b)); }},
          {"backward product, result elsewhere", kRefused,
           [=](auto a, auto b) {
             auto out = empty({1, 9}, b);
             linalg::backward_product_out(out, error(a), weight(a));
             return out;
           }},
          {"product", kRefused,
           [=](auto a, auto b) { return linalg::product(many(a), weight(b).mT()); }},
          {"product of an ensemble", kRefused,
           [=](auto a, auto b) {
             return linalg::product(numbers({2, 9, 9}, a), numbers({2, 9, 9}, b));
           }},
          {"product, result elsewhere", kRefused,
           [=](auto a, auto b) {
             auto out = empty({20, 8}, b);
             linalg::product_out(out, many(a), weight(a).mT());
             return out;
           }},
          {"gram, result elsewhere", kRefused, [=](auto a, auto b) {
             auto out = empty({20, 20}, b);
             linalg::gram_out(out, many(a));
             return out;
           }}};
}

std::vector<Mix> loops() {
  constexpr auto kTanh = nn::Activation::kTanh;
  const auto row = [](at::Device d) { return numbers({1, 9}, d); };
  const auto value = [](at::Device d) { return numbers({1}, d); };
  return {{"times slope", kRefused,
           [=](auto a, auto b) { return nn::fused::times_slope(row(a), row(b), kTanh); }},
          {"activate and add", kRefused,
           [=](auto a, auto b) {
             auto x = row(a);
             auto y = row(a);
             nn::fused::activate_and_add(x, row(b), {}, kTanh, y);
             return y;
           }},
          {"output error", kRefused,
           [=](auto a, auto b) {
             auto x = row(a);
             auto r = row(a);
             auto h = row(a);
             auto squares = value(a);
             nn::fused::output_error(x, row(b), {}, kTanh, r, h, squares);
             return r;
           }},
          {"output round trip, result elsewhere", kRefused,
           [=](auto a, auto b) {
             auto x = numbers({1, 8}, b);
             auto r = numbers({1, 8}, a);
             auto h = numbers({1, 8}, a);
             auto squares = value(a);
             auto delta = row(a);
             nn::fused::output_round_trip(row(a), numbers({8, 9}, a), numbers({1, 8}, a), kTanh, x,
                                          r, h, squares, delta);
             return delta;
           }},
          {"descend", kRefused,
           [=](auto a, auto b) {
             auto eps = row(a);
             auto squares = value(a);
             auto others = value(a);
             auto h = row(a);
             nn::fused::descend(eps, row(b), row(a), kTanh, value(a), squares, others, h);
             return eps;
           }},
          {"gradient", kRefused, [=](auto a, auto b) {
             auto gradient = row(a);
             auto squares = value(a);
             auto others = value(a);
             auto h = row(a);
             nn::fused::gradient(row(b), row(a), row(a), kTanh, gradient, squares, others, h);
             return gradient;
           }}};
}

std::vector<Mix> networks_and_rules() {
  const auto half_moved = [](at::Device a, at::Device b) {
    auto network = network_on(a);
    network->dense(2).to(b);
    return network;
  };
  const auto infer = [](auto make) {
    return [=](at::Device a, at::Device b) {
      const auto network = network_on(a);
      return settled(make(), network, batch_on(*network, b, a));
    };
  };
  const inference::DescentOptions few{.max_steps = 5};
  const inference::DescentOptions fixed{.max_steps = 5, .step_size = 0.05};
  return {{"forward of another device's input", kRefused,
           [](auto a, auto b) { return network_on(a)->forward(numbers({5, 9}, b)).detach(); }},
          {"feedforward of another device's input", kWorks,
           [](auto a, auto b) {
             return nn::feedforward(*network_on(a), numbers({5, 9}, b)).prediction();
           }},
          {"forward of a network on two devices", kRefused,
           [=](auto a, auto b) { return half_moved(a, b)->forward(numbers({5, 9}, a)).detach(); }},
          {"backpropagation in a network on two devices", kRefused,
           [=](auto a, auto b) {
             const auto network = half_moved(a, b);
             return backpropagated(network, batch_on(*network, a, a));
           }},
          {"backpropagation, batch elsewhere", kWorks,
           [](auto a, auto b) {
             const auto network = network_on(a, kRelu);
             return backpropagated(network, batch_on(*network, b, b));
           }},
          {"backpropagation, targets elsewhere", kWorks,
           [](auto a, auto b) {
             const auto network = network_on(a, kRelu);
             return backpropagated(network, batch_on(*network, a, b));
           }},
          {"backpropagation in layers of one's own, batch elsewhere", kWorks,
           [](auto a, auto b) {
             auto network = test::gated_network();
             network->to(a);
             return learning::Backpropagation()
                 .factors(*network, batch_on(*network, b, b))
                 .own[0]
                 .directions[0];
           }},
          {"closed form, input elsewhere", kWorks, infer([] { return inference::ClosedForm(); })},
          {"error descent, input elsewhere", kWorks,
           infer([=] { return inference::ErrorDescent(few); })},
          {"state descent, input elsewhere", kWorks,
           infer([=] { return inference::StateDescent(fixed); })},
          {"L-BFGS, input elsewhere", kWorks, infer([=] { return inference::Lbfgs(few); })},
          {"inference in layers of one's own, target elsewhere", kRefused,
           [](auto a, auto b) {
             const auto network = network_on(a);
             const std::vector<inference::Layer> layers{
                 [&](const at::Tensor& x) { return network->dense(1).forward(x); },
                 [&](const at::Tensor& x) { return network->dense(2).forward(x); }};
             return inference::infer(layers, numbers({5, 9}, a), numbers({5, 7}, b)).activities[1];
           }},
          {"curvature at a state elsewhere", kRefused,
           [](auto a, auto b) {
             const auto network = network_on(b);
             const auto state = inference::ClosedForm().infer(*network, batch_on(*network, b, b));
             return inference::curvature(*network_on(a), state, 5);
           }},
          {"kpc, batch elsewhere", kWorks,
           [](auto a, auto b) {
             const auto network = network_on(a, kRelu);
             learning::KalmanPredictiveCoding rule;
             return rule.factors(*network, batch_on(*network, b, b)).own[0].directions[0];
           }},
          {"kpc, network moved between batches", kRefused,
           [](auto a, auto b) {
             auto network = network_on(a);
             learning::KalmanPredictiveCoding rule;
             rule.factors(*network, random_batch(*network, 5));
             network->to(b);
             return rule.factors(*network, random_batch(*network, 5)).own[0].directions[0];
           }},
          {"kpc, memory from elsewhere", kRefused,
           [](auto a, auto b) {
             learning::KalmanPredictiveCoding there;
             there.factors(*network_on(b), random_batch(*network_on(b), 5));
             learning::KalmanPredictiveCoding rule;
             rule.set_state(there.state());
             const auto network = network_on(a);
             return rule.factors(*network, random_batch(*network, 5)).own[0].directions[0];
           }},
          {"shared step, batch elsewhere", kWorks, [](auto a, auto b) {
             const auto network = network_on(a);
             learning::PredictiveCoding rule;
             const auto step = parallel::shared_step(rule, *network, batch_on(*network, b, b),
                                                     optim::Plain(), parallel::alone());
             return optim::Plain().directions(step.layers)[0].weight;
           }}};
}

std::vector<Mix> optimizers() {
  std::vector<Mix> table{
      {"factors of before the network was moved", kRefused,
       [](auto a, auto b) {
         auto network = network_on(a);
         auto optimizer = optimizer_of(network, "adam", "none");
         const auto step = learning::Backpropagation().factors(*network, random_batch(*network, 5));
         network->to(b);
         optimizer.step(step);
         return at::Tensor();
       }},
      {"Adam, network moved between steps", kRefused,
       [](auto a, auto b) { return moved_between_steps("adam", "none", a, b); }},
      {"recursive projection, network moved between steps", kRefused,
       [](auto a, auto b) { return moved_between_steps("sgd", "recursive_projection", a, b); }},
      {"SGD, network moved between steps", kWorks,
       [](auto a, auto b) { return moved_between_steps("sgd", "none", a, b); }},
      {"rates of members elsewhere", kWorks,
       [](auto a, auto b) {
         auto network = network_on(a, nn::mlp({4, 3}).ensemble(2));
         optim::MemberSGD sgd(network->parameters(), numbers({2}, b));
         network->dense(1).weight.mutable_grad() = at::ones_like(network->dense(1).weight);
         sgd.step();
         return network->dense(1).weight.detach();
       }},
      {"rates of members, network moved after them", kRefused,
       [](auto a, auto b) {
         auto network = network_on(a, nn::mlp({4, 3}).ensemble(2));
         optim::MemberSGD sgd(network->parameters(), numbers({2}, a));
         network->to(b);
         network->dense(1).weight.mutable_grad() = at::ones_like(network->dense(1).weight);
         sgd.step();
         return at::Tensor();
       }},
      {"a training restored elsewhere", kWorks,
       [](auto a, auto b) {
         learning::Backpropagation rule;
         auto there = network_on(b);
         auto of_there = optimizer_of(there, "adam", "recursive_projection");
         of_there.step(rule.factors(*there, random_batch(*there, 5)));
         auto network = network_on(a);
         auto optimizer = optimizer_of(network, "adam", "recursive_projection");
         train::restore(train::training_state(there, rule, of_there), network, rule, optimizer);
         optimizer.step(rule.factors(*network, random_batch(*network, 5)));
         return network->dense(1).weight.detach();
       }},
      {"weights restored elsewhere", kWorks, [](auto a, auto b) {
         auto network = network_on(a);
         train::restore_weights(train::weights_of(network_on(b)), network);
         return network->dense(2).weight.detach();
       }}};
  for (const auto* name : {"none", "alpha", "projection", "recursive_projection"}) {
    table.push_back(
        {name, kRefused, [name](auto a, auto b) { return mixed_factors({.name = name}, a, b); }});
  }
  table.push_back({"decorrelation", kRefused, [](auto a, auto b) {
                     return mixed_factors({.name = "decorrelation", .regularisation = 1e-3}, a, b);
                   }});
  return table;
}

std::vector<Mix> measurements_and_data() {
  const auto update_on = [](at::Device device) {
    const auto network = network_on(device);
    const auto step = learning::PredictiveCoding().factors(*network, random_batch(*network, 5));
    return metrics::make_update(optim::Plain().directions(step.layers));
  };
  const auto images = [](at::Device device) {
    return data::Images{.pixels = at::arange(12, at::kByte).view({3, 4}).to(device),
                        .labels = at::arange(3, at::kLong).to(device),
                        .rows = 2,
                        .columns = 2};
  };
  return {
      {"target alignment, batch elsewhere", kWorks,
       [=](auto a, auto b) {
         const auto network = network_on(a);
         return metrics::target_alignment(*network, batch_on(*network, b, b), update_on(a)).mean;
       }},
      {"target alignment, update elsewhere", kRefused,
       [=](auto a, auto b) {
         const auto network = network_on(a);
         return metrics::target_alignment(*network, batch_on(*network, a, a), update_on(b)).mean;
       }},
      {"finite change, update elsewhere", kRefused,
       [=](auto a, auto b) {
         const auto network = network_on(a);
         return metrics::target_alignment(*network, batch_on(*network, a, a), update_on(b), 1e-3)
             .mean;
       }},
      {"residuals and changes", kRefused,
       [](auto a, auto b) {
         return metrics::target_alignment(numbers({5, 7}, a), numbers({5, 7}, b)).mean;
       }},
      {"predicted alignment, batch elsewhere", kWorks,
       [](auto a, auto b) {
         const auto network = network_on(a);
         return metrics::predict_alignment(*network, batch_on(*network, b, b)).alignment.mean;
       }},
      {"accuracy, labels elsewhere", kWorks,
       [](auto a, auto b) {
         return metrics::accuracy(*network_on(a), numbers({5, 9}, a),
                                  at::arange(5, at::kLong).to(b));
       }},
      {"accuracy, inputs elsewhere", kWorks,
       [](auto a, auto b) {
         return metrics::accuracy(*network_on(a), numbers({5, 9}, b),
                                  at::arange(5, at::kLong).to(a));
       }},
      {"mean squared error, targets elsewhere", kWorks,
       [](auto a, auto b) {
         return metrics::mean_squared_error(*network_on(a), numbers({5, 9}, a), numbers({5, 7}, b));
       }},
      {"map error, teacher elsewhere", kWorks,
       [](auto a, auto b) { return metrics::map_error(*network_on(a), numbers({7, 9}, b)); }},
      {"excess map error, teacher elsewhere", kWorks,
       [](auto a, auto b) {
         return metrics::excess_map_error(*network_on(a), numbers({7, 9}, b));
       }},
      {"dead units of a pass elsewhere", kWorks,
       [](auto a, auto b) {
         return metrics::dead_units(*network_on(a, kRelu),
                                    nn::feedforward(*network_on(b, kRelu), numbers({5, 9}, b)));
       }},
      {"diagnostics of mixed factors", kRefused,
       [](auto a, auto b) {
         const auto network = network_on(a);
         auto layers =
             learning::Backpropagation().factors(*network, random_batch(*network, 5)).layers;
         layers[1].presynaptic = layers[1].presynaptic.to(b);
         return metrics::diagnose(layers)[1].alignment;
       }},
      {"a batch with targets elsewhere, compressed", kRefused,
       [](auto a, auto b) {
         return data::compress({numbers({50, 4}, a), numbers({50, 3}, b)}).target;
       }},
      {"images at an index elsewhere", kWorks,
       [=](auto a, auto b) {
         return images(a).values(at::tensor({2, 0}).to(b), at::dtype(at::kDouble).device(a));
       }},
      {"a batch of images elsewhere", kWorks, [=](auto a, auto b) {
         return data::classification_batch(images(a), at::tensor({2, 0}), 3,
                                           at::dtype(at::kDouble).device(b))
             .target;
       }}};
}

std::vector<Mix> all_mixes() {
  std::vector<Mix> table;
  for (const auto& rows :
       {products(), loops(), networks_and_rules(), optimizers(), measurements_and_data()}) {
    table.insert(table.end(), rows.begin(), rows.end());
  }
  return table;
}

class MixedDevices_CUDA : public test::OnDevice, public ::testing::WithParamInterface<Mix> {
 protected:
  // The other device of each pair, and the device of each.
  std::vector<std::pair<at::Device, at::Device>> pairs() const {
    const at::Device second(at::kCUDA, 1);
    std::vector<std::pair<at::Device, at::Device>> result{{device_, at::kCPU}, {at::kCPU, device_}};
    if (torch::cuda::device_count() > 1) result.emplace_back(device_, second);
    return result;
  }
};

// Oracle: the same on the CPU alone, where it works. Contract: one sentence that names both
// devices, where it is refused.
TEST_P(MixedDevices_CUDA, WorkOrAreRefused) {
  const auto& mix = GetParam();
  for (const auto& [a, b] : pairs()) {
    SCOPED_TRACE(c10::str(mix.what, ": ", a, " and ", b));
    try {
      const auto found = mix.work(a, b);
      ASSERT_EQ(mix.outcome, kWorks) << "it was not refused";
      if (!found.defined()) continue;
      const auto expected = mix.work(at::kCPU, at::kCPU);
      EXPECT_LT(test::relative_difference(found.cpu(), expected), 1e-9);
    } catch (const c10::Error& error) {
      const std::string sentence = error.what_without_backtrace();
      ASSERT_EQ(mix.outcome, kRefused) << sentence;
      EXPECT_EQ(sentence.find('\n'), std::string::npos) << sentence;
      EXPECT_NE(sentence.find("cuda"), std::string::npos) << sentence;
      EXPECT_NE(sentence.find(a.is_cpu() || b.is_cpu() ? "cpu" : "cuda:1"), std::string::npos)
          << sentence;
    }
  }
}

std::string name_of(const ::testing::TestParamInfo<Mix>& info) {
  std::string name;
  bool begins = true;
  for (const char c : std::string(info.param.what)) {
    if (std::isalnum(c) != 0) name += begins ? static_cast<char>(std::toupper(c)) : c;
    begins = std::isalnum(c) == 0 && c != '\'';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Table, MixedDevices_CUDA, ::testing::ValuesIn(all_mixes()), name_of);

}  // namespace
}  // namespace pcxx
