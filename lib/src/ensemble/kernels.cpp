#include "ensemble/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ensemble/kernels.cpp"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target.
#include <hwy/highway.h>

#include "ensemble/compress-inl.h"
#include "ensemble/stepper-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pcxx::ensemble::HWY_NAMESPACE {

template <typename T>
std::size_t scratch_size_of(const Problem& problem, Columns columns) {
  return static_cast<std::size_t>(
      Stepper<hn::ScalableTag<T>>(problem, columns, nullptr).scratch_used());
}

template <typename T>
void run_block_of(const Problem& problem, const Chunk<T>& chunk, Columns columns,
                  std::vector<Group<T>*>& groups, const Records<T>& records, T* scratch) {
  Stepper<hn::ScalableTag<T>> stepper(problem, columns, scratch);
  for (std::size_t i = 0; i < chunk.data.size(); ++i) {
    for (auto* group : groups) {
      if (!group->done) stepper.step(chunk, static_cast<Index>(i), *group, records);
    }
  }
}

Compressed compress_samples(const Samples& samples) {
  Compression compression(samples);
  Compressed result;
  result.columns = compression.reduce();
  const auto size = [&](std::int64_t features) {
    return static_cast<std::size_t>(samples.streams * features * result.columns);
  };
  result.input.resize(size(samples.inputs));
  result.target.resize(size(samples.outputs));
  compression.write(0, samples.inputs, result.input.data());
  compression.write(samples.inputs, samples.outputs, result.target.data());
  return result;
}

std::int64_t lanes_double() {
  return static_cast<std::int64_t>(hn::Lanes(hn::ScalableTag<double>()));
}
std::int64_t lanes_float() {
  return static_cast<std::int64_t>(hn::Lanes(hn::ScalableTag<float>()));
}
std::size_t scratch_double(const Problem& problem, Columns columns) {
  return scratch_size_of<double>(problem, columns);
}
std::size_t scratch_float(const Problem& problem, Columns columns) {
  return scratch_size_of<float>(problem, columns);
}
void run_double(const Problem& problem, const Chunk<double>& chunk, Columns columns,
                std::vector<Group<double>*>& groups, const Records<double>& records,
                double* scratch) {
  run_block_of(problem, chunk, columns, groups, records, scratch);
}
void run_float(const Problem& problem, const Chunk<float>& chunk, Columns columns,
               std::vector<Group<float>*>& groups, const Records<float>& records, float* scratch) {
  run_block_of(problem, chunk, columns, groups, records, scratch);
}

}  // namespace pcxx::ensemble::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pcxx::ensemble {

HWY_EXPORT(compress_samples);
HWY_EXPORT(lanes_double);
HWY_EXPORT(lanes_float);
HWY_EXPORT(scratch_double);
HWY_EXPORT(scratch_float);
HWY_EXPORT(run_double);
HWY_EXPORT(run_float);

Compressed compress(const Samples& samples) {
  return HWY_DYNAMIC_DISPATCH(compress_samples)(samples);
}

template <>
std::int64_t lanes<double>() {
  return HWY_DYNAMIC_DISPATCH(lanes_double)();
}
template <>
std::int64_t lanes<float>() {
  return HWY_DYNAMIC_DISPATCH(lanes_float)();
}
template <>
std::size_t scratch_size<double>(const Problem& problem, Columns columns) {
  return HWY_DYNAMIC_DISPATCH(scratch_double)(problem, columns);
}
template <>
std::size_t scratch_size<float>(const Problem& problem, Columns columns) {
  return HWY_DYNAMIC_DISPATCH(scratch_float)(problem, columns);
}
template <>
void run_block(const Problem& problem, const Chunk<double>& chunk, Columns columns,
               std::vector<Group<double>*>& groups, const Records<double>& records,
               double* scratch) {
  HWY_DYNAMIC_DISPATCH(run_double)(problem, chunk, columns, groups, records, scratch);
}
template <>
void run_block(const Problem& problem, const Chunk<float>& chunk, Columns columns,
               std::vector<Group<float>*>& groups, const Records<float>& records, float* scratch) {
  HWY_DYNAMIC_DISPATCH(run_float)(problem, chunk, columns, groups, records, scratch);
}

}  // namespace pcxx::ensemble
#endif
