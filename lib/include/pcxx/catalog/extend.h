#pragma once

#include <pcxx/config/config.h>
#include <pcxx/data/image_dataset.h>
#include <pcxx/inference/inference.h>
#include <pcxx/learning/rule.h>
#include <pcxx/nn/activation.h>
#include <pcxx/nn/init.h>
#include <pcxx/nn/layer.h>
#include <pcxx/nn/loss.h>
#include <pcxx/optim/optimizers.h>
#include <pcxx/optim/rescaling.h>
#include <pcxx/optim/schedule.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

/// Custom parts in the programs: one call each makes a part a value of its key, in configs,
/// on the command line, in sweeps, in --help and in metrics.csv.
///
///   int main(int argc, char** argv) {
///     add_rescaling({"sign", "the sign of the direction"},
///                   [](const config::Config&) { return std::make_unique<Sign>(); });
///     return run::run_program(programs::regression(), argc, argv);
///   }
///
/// Call these before the program is made. A factory gets the config of one model, reads its own
/// keys there, and may throw UserError. It is called in any thread, and more than once.
namespace pcxx::catalog {

/// How a part is called, and what --help says of it. `keys` are its options, which the programs
/// that have the part then take; make them per_model, and of Shape::kSweep, where models may differ
/// in them. pcxx-inference, which learns nothing, takes inference methods, initialisations and data
/// sets; pcxx-trajectory rescalings. Throws c10::Error where a name is taken.
struct Extension {
  std::string name;
  std::string doc;
  std::vector<config::Key> keys = {};
};

/// A value of `activation`, of static storage: its name and sentence are its own.
void add_activation(nn::Activation activation);

/// A value of `layer`, a key that appears with the first of them: every hidden layer is of this
/// kind, the last one stays Dense. For the programs that train or measure networks (all but
/// pcxx-inference, pcxx-trajectory and pcxx-reproduce). Such networks learn by bp, and by pc with
/// any iterative inference; rescalings act on layers with a weight (`Layer::affine`).
void add_layer(Extension about, std::function<nn::LayerMaker(const config::Config&)> factory);

/// A value of `init`: how the weight of a Dense layer is drawn. Layers of another kind draw
/// themselves.
void add_init(Extension about, std::function<nn::DrawWeight(const config::Config&)> factory);

/// A value of `inference`.
void add_inference(
    Extension about,
    std::function<std::shared_ptr<const inference::Inference>(const config::Config&)> factory);

/// A value of `rescaling`.
void add_rescaling(Extension about,
                   std::function<std::unique_ptr<optim::Rescaling>(const config::Config&)> factory);

/// A value of `rule`.
void add_rule(
    Extension about,
    std::function<std::unique_ptr<learning::LearningRule>(const config::Config&)> factory);

/// Makes an optimizer for the parameters of a network, each of which has its gradient in `.grad`.
using MakeOptimizer = std::function<std::unique_ptr<torch::optim::Optimizer>(
    const config::Config&, std::vector<at::Tensor> parameters, double learning_rate)>;

/// A value of `optimizer`. Networks of several seeds are trained as one whose parameters have a
/// leading dimension of members, `[R, ...]`: what is summed over a parameter is summed over each
/// member. One with a memory derives from optim::WithMemory, too, or
/// checkpoints do not hold it.
void add_optimizer(Extension about, MakeOptimizer factory);

/// A value of `schedule`: what the learning rate is multiplied by at each step.
void add_schedule(Extension about, std::function<optim::Schedule(const config::Config&)> factory);

/// A value of `dataset`: training and test images, with labels for the classifier. The keys samples
/// and test_samples take the first of them.
void add_dataset(Extension about, std::function<data::ImageSets(const config::Config&)> factory);

/// A value of `loss`, for the programs that train or measure networks.
void add_loss(Extension about,
              std::function<std::shared_ptr<const nn::Loss>(const config::Config&)> factory);

}  // namespace pcxx::catalog
