#include <ATen/ATen.h>
#include <pcxx/core/error.h>
#include <pcxx/data/drawn_digits.h>
#include <pcxx/data/image_dataset.h>
#include <pcxx/data/linear_teacher.h>

#include "metrics.h"
#include "tensor.h"

namespace nb = nanobind;

namespace pcxx::python {
namespace {

using Folder = std::optional<std::string>;
using Pair = std::pair<at::Tensor, at::Tensor>;

Pair pair_of(const data::Images& images) {
  return {images.pixels, images.labels};
}

Pair images(const std::string& dataset, bool train, const Folder& folder) {
  const nb::gil_scoped_release release;
  return pair_of(
      data::load_images(dataset, train ? data::Split::kTrain : data::Split::kTest, folder));
}

Pair idx_images(const std::string& path, const Folder& labels) {
  const nb::gil_scoped_release release;
  return pair_of(labels ? data::load_images(path, *labels) : data::load_images(path));
}

Pair drawn_digits(std::int64_t count, std::uint64_t seed, std::int64_t first) {
  if (count < 1) user_error("count = {} is not at least 1", count);
  if (first < 0) user_error("first = {} is not at least 0", first);
  const nb::gil_scoped_release release;
  return pair_of(data::drawn_digits(count, seed, first));
}

void make_teacher(data::LinearTeacher* self, std::int64_t inputs, std::int64_t outputs,
                  std::uint64_t seed, const std::string& targets, double noise, std::int64_t rank,
                  at::ScalarType dtype) {
  const auto kind = value_named<data::Targets>(targets);
  if (!kind) user_error("targets = '{}' is none of teacher, relu_teacher, independent", targets);
  new (self) data::LinearTeacher(
      data::LinearTeacherOptions(inputs, outputs).targets(*kind).noise(noise).rank(rank), seed,
      dtype);
}

Pair pair_of(const data::Batch& batch) {
  return {batch.input, batch.target};
}

}  // namespace

void bind_data(nb::module_& m) {
  m.def("load_images", &images, nb::arg("dataset"), nb::arg("train") = true,
        nb::arg("folder").none() = nb::none(),
        "(pixels uint8 [N, 784], labels int64 [N]) of \"mnist\" or \"fashion-mnist\", below a "
        "folder, by default that of the environment's PCXX_DATA_DIR. Throws UserError where there "
        "is none.");
  m.def("idx_images", &idx_images, nb::arg("images"), nb::arg("labels").none() = nb::none(),
        nb::sig("def idx_images(images: str, labels: str | None = None) -> "
                "tuple[torch.Tensor, torch.Tensor | None]"),
        "(pixels uint8 [N, rows * columns], labels int64 [N] or None) of IDX files, plain or gzip. "
        "Throws UserError for a bad file.");
  m.def("drawn_digits", &drawn_digits, nb::arg("count"), nb::arg("seed") = 0, nb::arg("first") = 0,
        "(pixels uint8 [N, 784], labels int64 [N]) of drawn digits, which need no files: samples "
        "first .. first + count - 1 of a seed.");
  nb::class_<data::LinearTeacher>(m, "LinearTeacher",
                                  "The paper's regression task: x ~ N(0, I), y = W x + noise.")
      .def("__init__", &make_teacher, nb::arg("inputs"), nb::arg("outputs"), nb::arg("seed") = 0,
           nb::arg("targets") = "teacher", nb::arg("noise") = 0.0, nb::arg("rank") = 0,
           nb::arg("dtype") = at::kDouble,
           nb::sig("def __init__(self, inputs: int, outputs: int, seed: int = 0, "
                   "targets: str = \"teacher\", noise: float = 0.0, rank: int = 0, "
                   "dtype: torch.dtype = ...) -> None"),
           "targets: \"teacher\", \"relu_teacher\" or \"independent\". noise: standard deviation. "
           "rank: of W, 0 for the full one. dtype: torch.float64 by default.")
      .def(
          "next",
          [](data::LinearTeacher& self, std::int64_t count) { return pair_of(self.next(count)); },
          nb::arg("batch_size"), "(x [B, n_0], y [B, n_L]), fresh samples at every call.")
      .def(
          "held_out",
          [](const data::LinearTeacher& self, std::int64_t count) {
            return pair_of(self.held_out(count));
          },
          nb::arg("count"), "Samples that no batch has, without noise: the same at every call.")
      .def_prop_ro("map", &data::LinearTeacher::map, "W [n_L, n_0].");
}

}  // namespace pcxx::python
