#include "metrics.h"

#include <ATen/ATen.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/core/error.h>
#include <pcxx/metrics/accuracy.h>
#include <pcxx/metrics/map_error.h>
#include <pcxx/metrics/predicted_alignment.h>
#include <pcxx/metrics/reconstruction.h>
#include <pcxx/metrics/target_alignment.h>

#include "data.h"
#include "network.h"
#include "optimizer.h"
#include "tensor.h"

namespace nb = nanobind;

namespace pcxx::python {
namespace {

using metrics::TargetAlignment;

TargetAlignment alignment_of_step(const Net& network, nb::handle x, nb::handle y,
                                  const learning::Step& step, Optimizer* optimizer,
                                  std::optional<double> rate) {
  const auto batch = samples_of(x, y, *network).batch(*network);
  const nb::gil_scoped_release release;
  const at::NoGradGuard no_grad;
  optim::Plain plain;
  auto& rescaling = optimizer == nullptr ? plain : optimizer->made.rescaling();
  const auto update = metrics::make_update(*network, step, rescaling.directions(step.layers));
  return metrics::target_alignment(*network, batch, update, rate);
}

metrics::PredictedAlignment predicted(const Words& words, const Net& network, nb::handle x,
                                      nb::handle y) {
  const auto model = model_of(joined(network.words, words), "predicted_alignment");
  const auto options = catalog::prediction_options(model);
  if (!options) {
    user_error("theory predicts no update of rule = '{}' with rescaling = '{}' in this network",
               model.text("rule"), model.text("rescaling"));
  }
  const auto batch = samples_of(x, y, *network).batch(*network);
  const nb::gil_scoped_release release;
  const at::NoGradGuard no_grad;
  return metrics::predict_alignment(*network, batch, *options);
}

double mean_error(const Net& network, nb::handle x, nb::handle y) {
  const auto batch = samples_of(x, y, *network).batch(*network);
  const nb::gil_scoped_release release;
  return metrics::mean_error(*network, network->loss(), batch.input, batch.target).item<double>();
}

double accuracy(const Net& network, nb::handle x, nb::handle y) {
  const auto inputs = values_of(inputs_of(x, *network), *network);
  const auto labels = labels_of(y, *network);
  const nb::gil_scoped_release release;
  return metrics::accuracy(*network, inputs, labels).item<double>();
}

at::Tensor confusion_matrix(const Net& network, nb::handle x, nb::handle y) {
  const auto inputs = values_of(inputs_of(x, *network), *network);
  const auto labels = labels_of(y, *network);
  const nb::gil_scoped_release release;
  return metrics::confusion_matrix(*network, inputs, labels);
}

double map_error(const Net& network, const at::Tensor& teacher) {
  const at::NoGradGuard no_grad;
  return metrics::map_error(*network, teacher).item<double>();
}

void bind_alignments(nb::module_& m) {
  nb::class_<TargetAlignment>(m, "TargetAlignment",
                              "Alignment of residuals with changes of the predictions, float64.")
      .def_ro("per_sample", &TargetAlignment::per_sample,
              "Cosine of each sample [B]; NaN for one without a direction.")
      .def_ro("mean", &TargetAlignment::mean, "Over the samples that count, [].")
      .def_ro("batch", &TargetAlignment::batch, "<R, D> / (||R|| ||D||) over all samples, [].")
      .def_ro("left_out", &TargetAlignment::left_out, "Samples without a direction, int64 [].")
      .def_ro("non_finite", &TargetAlignment::non_finite, "Samples that are not finite, int64 [].");
  using metrics::PredictedAlignment;
  nb::class_<PredictedAlignment>(m, "PredictedAlignment",
                                 "What theory says of an update before it is made.")
      .def_ro("layers", &PredictedAlignment::layers,
              "What W_l adds to the change of the predictions, l = 1..L, each [B, n_L].")
      .def_ro("change", &PredictedAlignment::change, "Their sum [B, n_L].")
      .def_ro("shares", &PredictedAlignment::shares, "Of each layer in the alignment, [L, B].")
      .def_ro("alignment", &PredictedAlignment::alignment, "Target alignment of the sum.");
}

}  // namespace

void bind_metrics(nb::module_& m) {
  bind_alignments(m);
  m.def("target_alignment",
        nb::overload_cast<const at::Tensor&, const at::Tensor&>(&metrics::target_alignment),
        nb::arg("residual"), nb::arg("change"),
        "Target alignment of residuals r = y - yhat with changes d of the predictions, both "
        "[B, n_L].");
  m.def("target_alignment", &alignment_of_step, nb::arg("net"), nb::arg("x"), nb::arg("y"),
        nb::arg("step"), nb::arg("optimizer").none() = nb::none(),
        nb::arg("rate").none() = nb::none(),
        nb::sig("def target_alignment(net: Network, x: ArrayLike, y: ArrayLike, step: Step, "
                "optimizer: Optimizer | None = None, rate: float | None = None) -> "
                "TargetAlignment"),
        "Of an update that the network has not made yet, on a batch that may be held out: in first "
        "order, or by a finite step at a rate. The step's directions are rescaled as the optimizer "
        "does it.");
  m.def("_predicted_alignment", &predicted, nb::arg("words"), nb::arg("net"), nb::arg("x"),
        nb::arg("y"));
  m.def("mean_error", &mean_error, nb::arg("net"), nb::arg("x"), nb::arg("y"),
        nb::sig("def mean_error(net: Network, x: ArrayLike, y: ArrayLike) -> float"),
        "Mean over samples of what the loss reports: of the squared error, over outputs too.");
  m.def("accuracy", &accuracy, nb::arg("net"), nb::arg("x"), nb::arg("y"),
        nb::sig("def accuracy(net: Network, x: ArrayLike, y: ArrayLike) -> float"),
        "Part of the samples whose largest output is their label's, y int64 [N].");
  m.def("confusion_matrix", &confusion_matrix, nb::arg("net"), nb::arg("x"), nb::arg("y"),
        nb::sig("def confusion_matrix(net: Network, x: ArrayLike, y: ArrayLike) -> torch.Tensor"),
        "How often samples of each label (a row) were taken for each class, int64 [n_L, n_L].");
  m.def("map_error", &map_error, nb::arg("net"), nb::arg("teacher"),
        "Of a linear network: mean over entries of (teacher - W_L ... W_1)^2, teacher [n_L, n_0].");
}

}  // namespace pcxx::python
