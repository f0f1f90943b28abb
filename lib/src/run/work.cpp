#include <pcxx/core/error.h>
#include <pcxx/run/work.h>

#include <charconv>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "core/text.h"
#include "run/interruption.h"

namespace pcxx::run {

namespace {

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0) return std::nullopt;
  return number;
}

std::optional<std::int64_t> slurm(const char* name) {
  const char* text = std::getenv(name);
  return text == nullptr ? std::nullopt : whole_number(text);
}

}  // namespace

JobContext::JobContext(Advance advance, Save save, Warn warn, std::int64_t every, std::int64_t done,
                       std::optional<Part> checkpoint)
    : advance_(std::move(advance)),
      save_(std::move(save)),
      warn_(std::move(warn)),
      every_(every),
      done_(done),
      saved_(done),
      checkpoint_(std::move(checkpoint)) {}

void JobContext::advance(std::int64_t steps) {
  done_ += steps;
  advance_(steps);
}

void JobContext::advance(std::int64_t steps, const std::function<Part()>& state) {
  try {
    advance(steps);
  } catch (const Interrupted&) {
    save(state);
    throw;
  }
  if (every_ > 0 && done_ - saved_ >= every_) save(state);
}

void JobContext::warn(const std::string& text) const {
  if (warn_) warn_(text);
}

void JobContext::save(const std::function<Part()>& state) {
  if (!save_) return;
  save_(done_, state());
  saved_ = done_;
}

Shard parse_shard(const std::string& text) {
  const auto slash = text.find('/');
  if (slash != std::string::npos) {
    const auto index = whole_number(std::string_view(text).substr(0, slash));
    const auto count = whole_number(std::string_view(text).substr(slash + 1));
    if (index && count && *index < *count) return {*index, *count};
  }
  user_error("--shard is i/N with i from 0 to N - 1, such as 0/8, not '{}'", shortened(text));
}

std::optional<Shard> slurm_shard() {
  const auto id = slurm("SLURM_ARRAY_TASK_ID");
  const auto count = slurm("SLURM_ARRAY_TASK_COUNT");
  if (!id || !count) return std::nullopt;
  const auto first = slurm("SLURM_ARRAY_TASK_MIN").value_or(0);
  const auto step = slurm("SLURM_ARRAY_TASK_STEP").value_or(1);
  const Shard shard{(*id - first) / std::max<std::int64_t>(1, step), *count};
  if (*id < first || shard.index >= *count) {
    user_error(
        "task {} of a Slurm array of {} tasks from {} on: number them without gaps, or give "
        "--shard",
        *id, *count, first);
  }
  return shard;
}

}  // namespace pcxx::run
