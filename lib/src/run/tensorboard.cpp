#include <fmt/format.h>
#include <pcxx/io/png.h>
#include <pcxx/run/tensorboard.h>

#include <algorithm>

#include "io/event_file.h"

namespace pcxx::run {

namespace {

constexpr const char* kFolder = "tensorboard";
constexpr const char* kFile = "events.out.tfevents.0.pcxx";
constexpr std::size_t kLongestFolder = 200;  // file systems take 255 bytes

// Fields of TensorFlow's messages (event.proto and summary.proto).
constexpr int kEventStep = 2;
constexpr int kEventVersion = 3;
constexpr int kEventSummary = 5;
constexpr int kSummaryValue = 1;
constexpr int kValueTag = 1;
constexpr int kValueNumber = 2;
constexpr int kValueImage = 4;
constexpr int kImageHeight = 1;
constexpr int kImageWidth = 2;
constexpr int kImageColours = 3;
constexpr int kImageFile = 4;

io::Message value_of(std::string_view tag) {
  return io::Message().bytes(kValueTag, tag);
}

std::string summary_of(const io::Message& value) {
  return io::Message().bytes(kSummaryValue, value.text()).text();
}

std::string event(std::int64_t step, const std::string& summary) {
  return io::event_record(
      io::Message().integer(kEventStep, step).bytes(kEventSummary, summary).text());
}

}  // namespace

void Tensorboard::scalar(const Cell& cell, std::int64_t step, std::string_view tag, double value) {
  auto& curves = curves_of(cell);
  const auto found = std::find(curves.tags.begin(), curves.tags.end(), tag);
  const auto place = static_cast<std::size_t>(found - curves.tags.begin());
  if (found == curves.tags.end()) curves.tags.emplace_back(tag);
  curves.points.push_back({step, place, static_cast<float>(value)});
}

void Tensorboard::image(const Cell& cell, std::int64_t step, std::string_view tag,
                        const at::Tensor& pixels) {
  const auto image = io::Message()
                         .integer(kImageHeight, pixels.size(0))
                         .integer(kImageWidth, pixels.size(1))
                         .integer(kImageColours, 1)
                         .bytes(kImageFile, io::png(pixels));
  curves_of(cell).images.push_back(
      {step, summary_of(value_of(tag).bytes(kValueImage, image.text()))});
}

Tensorboard::Curves& Tensorboard::curves_of(const Cell& cell) {
  const auto [found, added] = places_.try_emplace(cell.text(), curves_.size());
  if (added) curves_.push_back({.name = name_of(cell)});
  return curves_[found->second];
}

// One folder below another would be another run, so no value may have a slash.
std::string Tensorboard::name_of(const Cell& cell) const {
  auto name = cell.field("rule");
  const auto rescaling = cell.field("rescaling");
  if (!rescaling.empty() && rescaling != "none") name += " + " + rescaling;
  auto keys = keys_;
  keys.insert(keys.end(), {"learning_rate", "seed"});
  for (const auto& key : keys) {
    const auto value = cell.field(key);
    if (!value.empty()) name += fmt::format(", {} {}", key, value);
  }
  std::replace(name.begin(), name.end(), '/', '_');
  const bool taken = std::any_of(curves_.begin(), curves_.end(),
                                 [&](const Curves& curves) { return curves.name == name; });
  if (!taken && name.size() <= kLongestFolder) return name;
  return fmt::format("{} ({})", name.substr(0, kLongestFolder), curves_.size());
}

bool Tensorboard::only_ends(const Curves& curves) {
  const auto& points = curves.points;
  const auto between = std::find_if(points.begin(), points.end(), [&](const Point& point) {
    return point.step != points.front().step && point.step != points.back().step;
  });
  return between == points.end();
}

// Ordered by step. What was measured at one step is one event.
std::string Tensorboard::events(const Curves& curves) {
  auto text = io::event_record(io::Message().bytes(kEventVersion, "brain.Event:2").text());
  const auto& points = curves.points;
  for (auto point = points.begin(); point != points.end();) {
    const auto step = point->step;
    std::string summary;
    for (; point != points.end() && point->step == step; ++point) {
      summary += summary_of(value_of(curves.tags[point->tag]).number(kValueNumber, point->value));
    }
    text += event(step, summary);
  }
  for (const auto& image : curves.images) text += event(image.step, image.summary);
  return text;
}

void Tensorboard::write(RunFolder& folder) {
  for (auto& curves : curves_) {
    std::stable_sort(curves.points.begin(), curves.points.end(),
                     [](const Point& a, const Point& b) { return a.step < b.step; });
  }
  const bool some = !std::all_of(curves_.begin(), curves_.end(), only_ends);
  for (const auto& curves : curves_) {
    if (some && only_ends(curves)) continue;
    auto& file = folder.file(fmt::format("{}/{}/{}", kFolder, curves.name, kFile));
    file.stream() << events(curves);
    file.close();  // there may be more of them than files may be open
  }
}

}  // namespace pcxx::run
