#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace pcxx::run {

/// How drawing a figure went.
struct Drawing {
  bool drawn = false;
  std::string message = {};  ///< one line: where the figure is, or how to draw it later
};

/// Runs `plots/<script>.py FOLDER --out FOLDER/figure.png` with the first Python that has
/// matplotlib: PCXX_PYTHON, the .venv beside plots/, python3 of PATH. Scripts are taken from
/// PCXX_PLOTS or the `share_folder()`, and run in their own folder: nothing that lies in the
/// current one is run or read, nor what PATH and PYTHONPATH name without a leading slash. Never
/// throws: a run without Python keeps its CSV.
Drawing draw(const std::filesystem::path& folder, const std::string& script);

/// Runs `plots/<script>.py` in its folder with these arguments by the same Python; paths among them
/// are absolute. The message is why it failed.
Drawing run_plot_script(const std::string& script, const std::vector<std::string>& arguments);

}  // namespace pcxx::run
