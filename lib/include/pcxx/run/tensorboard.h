#pragma once

#include <ATen/core/Tensor.h>
#include <pcxx/run/records.h>
#include <pcxx/run/run_folder.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace pcxx::run {

/// The curves of a run for TensorBoard: a folder with one event file for every cell that has any,
///
///   tensorboard/MODEL, KEY VALUE, ..., learning_rate 0.1, seed 0/events.out.tfevents.0.pcxx
///
/// A tag is a metric of metrics.csv. An event file is a sequence of records, {length, 8 bytes; its
/// CRC; data; its CRC}, and the data of each are an `Event` in the wire format of protocol buffers:
/// the file's version first, then for every step a `Summary` of what was measured there, steps
/// rising. Values are float32, as the format has them. Events carry no wall time (it reads as 0),
/// so that the same run gives the same bytes.
class Tensorboard {
 public:
  /// keys   columns that tell the cells of the run apart, beside model, rate and seed
  explicit Tensorboard(std::vector<std::string> keys) : keys_(std::move(keys)) {}

  void scalar(const Cell& cell, std::int64_t step, std::string_view tag, double value);
  /// pixels   [rows, columns], grey, uint8
  void image(const Cell& cell, std::int64_t step, std::string_view tag, const at::Tensor& pixels);

  /// Adds the event files to the folder. A cell of which only the ends of curves are known is left
  /// out, unless all cells are so. Throws UserError when one cannot be written.
  void write(RunFolder& folder);

 private:
  struct Point {
    std::int64_t step;
    std::size_t tag;
    float value;
  };
  struct Image {
    std::int64_t step;
    std::string summary;
  };
  struct Curves {
    std::string name;
    std::vector<std::string> tags = {};
    std::vector<Point> points = {};  // in order of the steps once `write` has them
    std::vector<Image> images = {};
  };

  Curves& curves_of(const Cell& cell);
  std::string name_of(const Cell& cell) const;
  static bool only_ends(const Curves& curves);
  static std::string events(const Curves& curves);

  std::vector<std::string> keys_;
  std::vector<Curves> curves_;
  std::unordered_map<std::string, std::size_t> places_;  // by the text of the cell
};

}  // namespace pcxx::run
