#include "nn/windows.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

// The SIMD part is compiled once per instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "nn/windows.cpp"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace pcxx::nn::windows::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Maxima of 2 x 2 pixels side by side, a vector of them at a time; `first` is the place of the
// first pixel. n is at least the number of lanes: the last vector may overlap the one before.
template <class D, typename T>
void row_of_pairs(D d, const T* upper, const T* lower, int64_t n, int64_t first, int64_t width,
                  T* values, PlaceOf<T>* where) {
  const hn::RebindToSigned<D> places;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto steps = hn::Add(hn::Iota(places, 0), hn::Iota(places, 0));
  for (int64_t j = 0;; j = std::min(j + lanes, n - lanes)) {
    const auto here = [&](int64_t offset) {
      return hn::Add(steps, hn::Set(places, static_cast<PlaceOf<T>>(first + 2 * j + offset)));
    };
    hn::Vec<D> pixels[4];
    hn::LoadInterleaved2(d, upper + 2 * j, pixels[0], pixels[1]);
    hn::LoadInterleaved2(d, lower + 2 * j, pixels[2], pixels[3]);
    const int64_t offsets[] = {0, 1, width, width + 1};
    auto best = pixels[0];
    auto place = here(0);
    for (int k = 1; k < 4; ++k) {
      const auto larger = hn::Or(hn::Gt(pixels[k], best), hn::IsNaN(pixels[k]));
      best = hn::IfThenElse(larger, pixels[k], best);
      place = hn::IfThenElse(hn::RebindMask(places, larger), here(offsets[k]), place);
    }
    hn::StoreU(best, d, values + j);
    hn::StoreU(place, places, where + j);
    if (j + lanes >= n) return;
  }
}

template <typename T>
void row_of_windows(const T* plane, const Geometry& g, int64_t row, T* values, PlaceOf<T>* where) {
  for (int64_t column = 0; column < g.columns(); ++column) {
    const int64_t first = row * g.stride * g.width + column * g.stride;
    auto place = first;
    for (int64_t y = 0; y < g.kernel; ++y) {
      for (int64_t at = first + y * g.width; at < first + y * g.width + g.kernel; ++at) {
        if (plane[at] > plane[place] || std::isnan(plane[at])) place = at;
      }
    }
    values[column] = plane[place];
    where[column] = static_cast<PlaceOf<T>>(place);
  }
}

template <typename T>
void maxima_of_planes(const T* images, const Geometry& g, int64_t planes, T* values,
                      PlaceOf<T>* where) {
  const hn::CappedTag<T, 8> eight;
  const hn::CappedTag<T, 4> four;
  const bool pairs = g.kernel == 2 && g.stride == 2;
  for (int64_t p = 0; p < planes; ++p, images += g.height * g.width) {
    for (int64_t row = 0; row < g.rows(); ++row, values += g.columns(), where += g.columns()) {
      const int64_t first = 2 * row * g.width;
      const T* upper = images + first;
      if (pairs && g.columns() >= static_cast<int64_t>(hn::Lanes(eight))) {
        row_of_pairs(eight, upper, upper + g.width, g.columns(), first, g.width, values, where);
      } else if (pairs && g.columns() >= static_cast<int64_t>(hn::Lanes(four))) {
        row_of_pairs(four, upper, upper + g.width, g.columns(), first, g.width, values, where);
      } else {
        row_of_windows(images, g, row, values, where);
      }
    }
  }
}

// Highway's dispatch table takes plain functions.
void maxima_f32(const float* images, const Geometry& g, int64_t planes, float* values,
                int32_t* where) {
  maxima_of_planes(images, g, planes, values, where);
}
void maxima_f64(const double* images, const Geometry& g, int64_t planes, double* values,
                int64_t* where) {
  maxima_of_planes(images, g, planes, values, where);
}

}  // namespace pcxx::nn::windows::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pcxx::nn::windows {

HWY_EXPORT(maxima_f32);
HWY_EXPORT(maxima_f64);

namespace {

constexpr std::int64_t kGrain = 8;  // images worth a thread

void maxima_of(const float* images, const Geometry& g, std::int64_t planes, float* values,
               std::int32_t* where) {
  HWY_DYNAMIC_DISPATCH(maxima_f32)(images, g, planes, values, where);
}
void maxima_of(const double* images, const Geometry& g, std::int64_t planes, double* values,
               std::int64_t* where) {
  HWY_DYNAMIC_DISPATCH(maxima_f64)(images, g, planes, values, where);
}

// Leading sizes of x, and others in place of the last.
at::Tensor shaped(const at::Tensor& x, std::int64_t last, at::ScalarType dtype) {
  auto shape = x.sizes().vec();
  shape.back() = last;
  return at::empty(shape, x.options().dtype(dtype));
}

template <class Body>
void for_images(std::int64_t images, const Body& body) {
  at::parallel_for(0, images, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (auto b = begin; b < end; ++b) body(b);
  });
}

// body(window's number in all channels, its first pixel) of an image.
template <class Body>
void for_windows(const Geometry& g, const Body& body) {
  std::int64_t window = 0;
  for (std::int64_t c = 0; c < g.channels; ++c) {
    for (std::int64_t row = 0; row < g.rows(); ++row) {
      const auto first = (c * g.height + row * g.stride) * g.width;
      for (std::int64_t column = 0; column < g.columns(); ++column) {
        body(window++, first + column * g.stride);
      }
    }
  }
}

template <typename T>
void add_windows(const T* image, const Geometry& g, T* means) {
  const auto pixels = static_cast<T>(g.kernel * g.kernel);
  for_windows(g, [&](std::int64_t window, std::int64_t first) {
    T sum{0};
    for (std::int64_t y = 0; y < g.kernel; ++y, first += g.width) {
      for (std::int64_t x = 0; x < g.kernel; ++x) sum += image[first + x];
    }
    means[window] = sum / pixels;
  });
}

template <typename T>
void spread_windows(const T* signal, const Geometry& g, T* image) {
  const auto pixels = static_cast<T>(g.kernel * g.kernel);
  for_windows(g, [&](std::int64_t window, std::int64_t first) {
    const auto share = signal[window] / pixels;
    for (std::int64_t y = 0; y < g.kernel; ++y, first += g.width) {
      for (std::int64_t x = 0; x < g.kernel; ++x) image[first + x] += share;
    }
  });
}

template <typename T, typename Place>
void put_in_image(const T* signal, const Place* where, const Geometry& g, T* image) {
  for (std::int64_t c = 0; c < g.channels; ++c, image += g.height * g.width) {
    for (std::int64_t i = 0; i < g.windows(); ++i) image[*where++] += *signal++;
  }
}

// The image with zeros round it.
template <typename T>
const T* padded(const T* image, const Geometry& g, std::vector<T>& buffer) {
  if (g.padding == 0) return image;
  const auto width = g.width + 2 * g.padding;
  buffer.assign(static_cast<std::size_t>(g.channels * (g.height + 2 * g.padding) * width), T{0});
  auto* to = buffer.data() + g.padding * width + g.padding;
  for (std::int64_t c = 0; c < g.channels; ++c, to += 2 * g.padding * width) {
    for (std::int64_t y = 0; y < g.height; ++y, to += width, image += g.width) {
      std::copy_n(image, g.width, to);
    }
  }
  return buffer.data();
}

// kSide of 0: any kernel; others are known to the compiler.
template <int kSide, typename T>
void copy_patches(const T* image, const Geometry& g, T* out) {
  const auto side = kSide > 0 ? kSide : g.kernel;
  const auto width = g.width + 2 * g.padding;
  const auto plane = (g.height + 2 * g.padding) * width;
  for (std::int64_t row = 0; row < g.rows(); ++row) {
    for (std::int64_t column = 0; column < g.columns(); ++column) {
      const T* first = image + row * g.stride * width + column * g.stride;
      for (std::int64_t c = 0; c < g.channels; ++c, first += plane) {
        for (std::int64_t y = 0; y < side; ++y, out += side) {
          std::memcpy(out, first + y * width, static_cast<std::size_t>(side) * sizeof(T));
        }
      }
    }
  }
}

template <typename T>
void copy_patches(const T* image, const Geometry& g, T* out) {
  if (g.kernel == 1) return copy_patches<1>(image, g, out);
  if (g.kernel == 3) return copy_patches<3>(image, g, out);
  if (g.kernel == 5) return copy_patches<5>(image, g, out);
  copy_patches<0>(image, g, out);
}

// body(a number of x's type), which says nothing but that type.
template <class Body>
void with_type(const at::Tensor& x, const Body& body) {
  if (x.scalar_type() == at::kFloat) return body(float{});
  body(double{});
}

}  // namespace

bool apply_to(const at::Tensor& x) {
  return x.is_cpu() && x.is_contiguous() &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble);
}

Maxima maxima(const at::Tensor& images, const Geometry& g) {
  const auto outputs = g.channels * g.windows();
  const auto place = images.scalar_type() == at::kFloat ? at::kInt : at::kLong;
  Maxima found{shaped(images, outputs, images.scalar_type()), shaped(images, outputs, place)};
  with_type(images, [&](auto number) {
    using T = decltype(number);
    using Place = PlaceOf<T>;
    const auto* from = images.const_data_ptr<T>();
    auto* values = found.values.mutable_data_ptr<T>();
    auto* where = found.where.mutable_data_ptr<Place>();
    for_images(images.numel() / g.pixels(), [&](std::int64_t b) {
      maxima_of(from + b * g.pixels(), g, g.channels, values + b * outputs, where + b * outputs);
    });
  });
  return found;
}

at::Tensor put(const at::Tensor& signal, const at::Tensor& where, const Geometry& g) {
  auto out = shaped(signal, g.pixels(), signal.scalar_type()).zero_();
  const auto outputs = g.channels * g.windows();
  with_type(signal, [&](auto number) {
    using T = decltype(number);
    using Place = PlaceOf<T>;
    const auto* from = signal.const_data_ptr<T>();
    const auto places = where.contiguous();
    const auto* to = places.const_data_ptr<Place>();
    auto* image = out.mutable_data_ptr<T>();
    for_images(signal.numel() / outputs, [&](std::int64_t b) {
      put_in_image(from + b * outputs, to + b * outputs, g, image + b * g.pixels());
    });
  });
  return out;
}

at::Tensor means(const at::Tensor& images, const Geometry& g) {
  const auto outputs = g.channels * g.windows();
  auto out = shaped(images, outputs, images.scalar_type());
  with_type(images, [&](auto number) {
    using T = decltype(number);
    const auto* from = images.const_data_ptr<T>();
    auto* to = out.mutable_data_ptr<T>();
    for_images(images.numel() / g.pixels(),
               [&](std::int64_t b) { add_windows(from + b * g.pixels(), g, to + b * outputs); });
  });
  return out;
}

at::Tensor spread(const at::Tensor& signal, const Geometry& g) {
  const auto outputs = g.channels * g.windows();
  auto out = shaped(signal, g.pixels(), signal.scalar_type()).zero_();
  with_type(signal, [&](auto number) {
    using T = decltype(number);
    const auto* from = signal.const_data_ptr<T>();
    auto* to = out.mutable_data_ptr<T>();
    for_images(signal.numel() / outputs,
               [&](std::int64_t b) { spread_windows(from + b * outputs, g, to + b * g.pixels()); });
  });
  return out;
}

at::Tensor patches(const at::Tensor& images, const Geometry& g) {
  const auto wide = g.channels * g.kernel * g.kernel;
  auto shape = images.sizes().vec();
  shape[shape.size() - 2] *= g.windows();
  shape.back() = wide;
  auto out = at::empty(shape, images.options());
  with_type(images, [&](auto number) {
    using T = decltype(number);
    const auto* from = images.const_data_ptr<T>();
    auto* to = out.mutable_data_ptr<T>();
    for_images(images.numel() / g.pixels(), [&](std::int64_t b) {
      thread_local std::vector<T> buffer;
      const auto* image = padded(from + b * g.pixels(), g, buffer);
      copy_patches(image, g, to + b * g.windows() * wide);
    });
  });
  return out;
}

}  // namespace pcxx::nn::windows
#endif
