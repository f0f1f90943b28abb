// A metric of your own, measured at every update: the cosine between the update that is made and
// the gradient that backpropagation finds. It is a value of `measure` in a program that has all of
// pcxx-regression: sweeps, configs, resumption, metrics.csv.
//
//   ninja -C build/release own_metric && build/release/bin/own_metric
//   build/release/bin/own_metric --set rule=[bp,pc] --set measure=[gradient_cosine] --out runs/cos
//   build/release/bin/own_metric --help
//
// Without arguments it runs a small sweep, and ends with 1 unless the cosine of bp is 1, and that
// of pc is less.

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/programs.h>
#include <pcxx/train/observer.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>

using namespace pcxx;

class GradientCosine final : public train::Observer {
 public:
  void before_step(const train::MadeUpdate& update, const train::Record& record) override {
    const auto step = learning::Backpropagation().factors(update.network, update.batch);
    at::Tensor product, made, gradient;  // of all layers: one number, or one a member
    for (const auto& layer : step.layers) {
      const auto direction = learning::weight_direction(layer);
      const auto ours = -layer.weight.grad();
      add(product, direction * ours);
      add(made, ours.square());
      add(gradient, direction.square());
    }
    record("gradient_cosine", product / (made * gradient).sqrt());
  }

 private:
  static void add(at::Tensor& sum, const at::Tensor& values) {
    const auto more = values.sum({-2, -1});
    sum = sum.defined() ? sum + more : more;
  }
};

// The smallest and the largest value in the lines of a rule.
std::pair<double, double> range(const std::filesystem::path& csv, const std::string& rule) {
  std::pair<double, double> found{INFINITY, -INFINITY};
  std::ifstream lines(csv);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(rule + ",") || line.find(",gradient_cosine,") == std::string::npos) {
      continue;
    }
    const double value = std::strtod(line.c_str() + line.rfind(',') + 1, nullptr);
    found = {std::fmin(found.first, value), std::fmax(found.second, value)};
  }
  return found;
}

int main(int argc, char** argv) {
  train::add_observer("gradient_cosine", "of each update and the gradient",
                      [](const train::HeldOut&) { return std::make_unique<GradientCosine>(); });
  auto program = programs::regression();
  program.name = "own_metric";
  program.plot_script = "";
  if (argc > 1) return run::run_program(program, argc, argv);

  const auto folder = std::filesystem::temp_directory_path() / "pcxx_own_metric";
  const auto out = folder.string();
  const char* words[] = {"own_metric",
                         "--set",
                         "rule=[bp,pc]",
                         "--set",
                         "width=10",
                         "--set",
                         "batch_size=8",
                         "--set",
                         "hidden_layers=2",
                         "--set",
                         "learning_rate=[0.03,0.1]",
                         "--set",
                         "seeds=2",
                         "--set",
                         "steps=20",
                         "--set",
                         "measure=[gradient_cosine]",
                         "--out",
                         out.c_str(),
                         "--quiet"};
  if (const int code = run::run_program(program, std::size(words), words); code != 0) return code;
  const auto bp = range(folder / "metrics.csv", "bp");
  const auto pc = range(folder / "metrics.csv", "pc");
  std::filesystem::remove_all(folder);
  fmt::print("bp {:.4f} to {:.4f}\npc {:.4f} to {:.4f}\n", bp.first, bp.second, pc.first,
             pc.second);
  const bool measured = std::isfinite(bp.first) && std::isfinite(pc.first);
  return measured && bp.first > 1 - 1e-9 && pc.first > 0 && pc.second < 1 ? 0 : 1;
}
