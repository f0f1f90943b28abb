#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/PhiloxRNGEngine.h>
#include <pcxx/data/drawn_digits.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <vector>

namespace pcxx::data {
namespace {

constexpr int kSide = 28;
constexpr int kPixels = kSide * kSide;
constexpr int kClasses = 10;

struct Point {
  float x = 0;
  float y = 0;
};

using Stroke = std::vector<Point>;
using Drawing = std::vector<Stroke>;

// The random numbers of one sample.
class Chance {
 public:
  Chance(std::uint64_t seed, std::int64_t sample)
      : engine_(seed, static_cast<std::uint64_t>(sample)) {}

  float uniform(float low, float high) {
    return low + (high - low) * static_cast<float>(engine_() >> 8) * 0x1p-24F;
  }
  // Triangular on (-width, width): bounded, most often near 0.
  float wobble(float width) { return uniform(-width, width) / 2 + uniform(-width, width) / 2; }
  bool happens(float probability) { return uniform(0, 1) < probability; }
  int one_of(int count) { return static_cast<int>(engine_() % static_cast<unsigned>(count)); }

 private:
  at::philox_engine engine_;
};

// Arc of an ellipse in degrees, clockwise on the page from the right (y points down).
Stroke arc(Point centre, Point radius, float from, float to) {
  constexpr int steps = 7;
  Stroke points;
  for (int i = 0; i <= steps; ++i) {
    const float degrees = from + (to - from) * static_cast<float>(i) / steps;
    const float angle = degrees * std::numbers::pi_v<float> / 180;
    points.push_back(
        {centre.x + radius.x * std::cos(angle), centre.y + radius.y * std::sin(angle)});
  }
  return points;
}

void append(Stroke& stroke, const Stroke& more) {
  stroke.insert(stroke.end(), more.begin(), more.end());
}

// The digits, as strokes through points in a box of width and height 1 or so.

Drawing zero(Chance& chance) {
  const float width = chance.uniform(0.26F, 0.46F);
  const float start = chance.uniform(-130, -40);
  const float turn = chance.uniform(345, 385);
  auto ring = arc({0.5F, 0.5F}, {width, 0.5F}, start, start + turn);
  return {ring};
}

Drawing one(Chance& chance) {
  const float bend = chance.wobble(0.06F);
  Drawing drawing{{{0.5F, 0}, {0.5F + bend, 0.5F}, {0.5F, 1}}};
  if (chance.happens(0.25F)) {
    const float reach = chance.uniform(0.12F, 0.3F);
    drawing.front().insert(drawing.front().begin(), {0.5F - reach, chance.uniform(0.15F, 0.3F)});
    drawing = {{drawing.front()[0], drawing.front()[1]},
               {{0.5F, 0}, {0.5F + bend, 0.5F}, {0.5F, 1}}};
    if (chance.happens(0.4F)) drawing.push_back({{0.25F, 1}, {0.75F, 1}});
  }
  return drawing;
}

Drawing two(Chance& chance) {
  const float width = chance.uniform(0.28F, 0.38F);
  auto stroke =
      arc({0.5F, 0.3F}, {width, 0.3F}, chance.uniform(-200, -150), chance.uniform(10, 40));
  const float foot = chance.uniform(0.1F, 0.25F);
  stroke.push_back({0.42F + chance.wobble(0.08F), 0.75F});
  if (chance.happens(0.45F)) {
    append(stroke, {{foot, 0.97F}, {foot - 0.06F, 0.86F}, {foot + 0.12F, 0.84F}});
    append(stroke, {{0.55F, 0.95F}, {0.92F, chance.uniform(0.86F, 1)}});
    return {stroke};
  }
  stroke.push_back({foot, 1});
  return {stroke,
          {{foot, 1}, {0.5F, 0.97F + chance.wobble(0.05F)}, {0.9F, 0.98F + chance.wobble(0.06F)}}};
}

Drawing three(Chance& chance) {
  const float waist = chance.uniform(0.42F, 0.5F);
  const float upper = chance.uniform(0.24F, 0.34F);
  const float lower = chance.uniform(0.28F, 0.4F);
  const float notch = chance.uniform(0.3F, 0.5F);
  Stroke top;
  if (chance.happens(0.15F)) {
    top = {{0.2F, 0.02F}, {0.8F, 0}};
    auto bowl = arc({0.45F, 0.68F}, {lower, 0.32F}, -80, chance.uniform(130, 165));
    return {top, {{0.8F, 0}, {notch, waist - 0.06F}}, bowl};
  }
  top = arc({0.45F, waist / 2}, {upper, waist / 2}, chance.uniform(-170, -130), 70);
  top.push_back({notch, waist});
  Stroke bowl{{notch, waist}};
  append(bowl,
         arc({0.45F, (1 + waist) / 2}, {lower, (1 - waist) / 2}, -65, chance.uniform(130, 170)));
  return {top, bowl};
}

Drawing four(Chance& chance) {
  const float bar = chance.uniform(0.52F, 0.68F);
  const float stem = chance.uniform(0.6F, 0.75F);
  const float reach = chance.uniform(0.82F, 1);
  if (chance.happens(0.3F)) {
    const float top = chance.uniform(0.5F, 0.66F);
    return {{{top, 0}, {0.1F, bar}},
            {{0.1F, bar}, {reach, bar + chance.wobble(0.05F)}},
            {{top, 0}, {top + chance.wobble(0.06F), 1}}};
  }
  const float left = chance.uniform(0.12F, 0.3F);
  return {{{left + 0.1F, chance.uniform(0, 0.12F)}, {left, bar - 0.2F}, {left + 0.03F, bar}},
          {{left + 0.03F, bar},
           {0.5F, bar + chance.wobble(0.05F)},
           {reach, bar - chance.uniform(0, 0.12F)}},
          {{stem + chance.uniform(0, 0.12F), chance.uniform(0, 0.1F)},
           {stem, 0.5F},
           {stem - chance.uniform(0, 0.08F), 1}}};
}

Drawing five(Chance& chance) {
  const float left = chance.uniform(0.2F, 0.32F);
  const float waist = chance.uniform(0.38F, 0.48F);
  const float width = chance.uniform(0.32F, 0.44F);
  Stroke down{{left + chance.uniform(0, 0.1F), 0}, {left, waist}};
  Stroke bowl{{left, waist}};
  append(bowl, arc({0.42F, (1 + waist) / 2 - 0.02F}, {width, (1 - waist) / 2 + 0.02F}, -75,
                   chance.uniform(120, 165)));
  Stroke hat{
      down.front(), {0.6F, chance.wobble(0.05F)}, {chance.uniform(0.75F, 1), chance.wobble(0.08F)}};
  return {down, bowl, hat};
}

Drawing six(Chance& chance) {
  const float width = chance.uniform(0.24F, 0.36F);
  const float height = chance.uniform(0.2F, 0.28F);
  const float middle = 1 - height;
  const float left = 0.48F - width;
  Stroke stroke{{chance.uniform(0.5F, 0.8F), 0}, {left + 0.12F, 0.3F}, {left, middle}};
  append(stroke, arc({0.48F, middle}, {width, height}, 150, -chance.uniform(180, 225)));
  return {stroke};
}

Drawing seven(Chance& chance) {
  const float foot = chance.uniform(0.25F, 0.5F);
  const float right = chance.uniform(0.8F, 0.95F);
  const float corner = chance.uniform(0, 0.08F);
  Drawing drawing{
      {{0.1F, 0.05F + chance.wobble(0.08F)}, {0.5F, chance.uniform(0, 0.06F)}, {right, corner}},
      {{right, corner}, {(right + foot) / 2 + chance.wobble(0.1F), 0.5F}, {foot, 1}}};
  if (chance.happens(0.25F))
    drawing[0].insert(drawing[0].begin(), {0.1F, chance.uniform(0.15F, 0.25F)});
  if (chance.happens(0.2F))
    drawing.push_back({{0.3F, 0.52F}, {0.85F, 0.48F + chance.wobble(0.05F)}});
  return drawing;
}

Drawing eight(Chance& chance) {
  const float waist = chance.uniform(0.42F, 0.52F);
  const float upper = chance.uniform(0.2F, 0.32F);
  const float lower = chance.uniform(0.24F, 0.36F);
  const float cross = chance.uniform(0.04F, 0.1F);
  const float tilt = chance.uniform(0, 0.12F);
  const float top = waist / 2;
  const float low = (1 + waist) / 2;
  return {{{0.5F + tilt + upper * 0.8F, top * 0.55F},
           {0.5F + tilt, 0},
           {0.5F + tilt - upper, top},
           {0.5F - cross, waist - 0.03F},
           {0.5F + lower * 0.8F, low - 0.1F},
           {0.5F + lower * 0.7F, low + 0.15F},
           {0.5F, 1},
           {0.5F - lower, low + 0.05F},
           {0.5F - lower * 0.5F, low - 0.15F},
           {0.5F + cross, waist},
           {0.5F + tilt + upper, top},
           {0.5F + tilt + upper * chance.uniform(0.6F, 0.9F), top * 0.4F}}};
}

Drawing nine(Chance& chance) {
  const float width = chance.uniform(0.22F, 0.34F);
  const float height = chance.uniform(0.2F, 0.28F);
  const float right = 0.48F + width;
  auto loop =
      arc({0.48F, height}, {width, height}, chance.uniform(-40, -5), -chance.uniform(330, 365));
  Stroke tail{{right + chance.uniform(0, 0.04F), chance.uniform(0.05F, 0.2F)}, {right, 0.5F}};
  if (chance.happens(0.4F)) {
    append(tail, arc({right - 0.25F, 0.78F}, {0.22F, 0.22F}, 10, chance.uniform(100, 165)));
  } else {
    tail.push_back({right - chance.uniform(0, 0.2F), 1});
  }
  return {loop, tail};
}

Drawing sketch(int label, Chance& chance) {
  constexpr std::array digits{zero, one, two, three, four, five, six, seven, eight, nine};
  return digits.at(static_cast<std::size_t>(label))(chance);
}

// An unsteady hand: every point moves a little. Ends that lie together stay together.
void tremble(Drawing& drawing, Chance& chance) {
  const float width = chance.uniform(0.01F, 0.05F);
  std::vector<std::pair<Point, Point>> moved;
  for (auto& stroke : drawing) {
    for (auto& point : stroke) {
      const auto same = std::find_if(moved.begin(), moved.end(), [&](const auto& entry) {
        return entry.first.x == point.x && entry.first.y == point.y;
      });
      if (same != moved.end()) {
        point = same->second;
        continue;
      }
      const auto before = point;
      point.x += chance.wobble(width);
      point.y += chance.wobble(width);
      moved.emplace_back(before, point);
    }
  }
}

// Catmull-Rom curve through the points, as short straight pieces.
Stroke smooth(const Stroke& points) {
  constexpr int pieces = 4;
  const auto at = [&](std::ptrdiff_t i) {
    const auto last = static_cast<std::ptrdiff_t>(points.size()) - 1;
    return points[static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(i, 0, last))];
  };
  const auto blend = [](float a, float b, float c, float d, float t) {
    return b + t * ((c - a) / 2 +
                    t * (a - 2.5F * b + 2 * c - d / 2 + t * (1.5F * (b - c) + (d - a) / 2)));
  };
  Stroke curve{points.front()};
  for (std::ptrdiff_t i = 0; i + 1 < static_cast<std::ptrdiff_t>(points.size()); ++i) {
    for (int k = 1; k <= pieces; ++k) {
      const float t = static_cast<float>(k) / pieces;
      const auto a = at(i - 1), b = at(i), c = at(i + 1), d = at(i + 2);
      curve.push_back({blend(a.x, b.x, c.x, d.x, t), blend(a.y, b.y, c.y, d.y, t)});
    }
  }
  return curve;
}

template <typename Function>
void for_each_point(Drawing& drawing, Function function) {
  for (auto& stroke : drawing) {
    for (auto& point : stroke) function(point);
  }
}

// Slant, rotation and proportions, about the middle of the box.
void deform(Drawing& drawing, Chance& chance) {
  const float slant = 0.15F + chance.wobble(0.45F);
  const float angle = chance.wobble(0.25F);
  const float stretch = chance.uniform(0.75F, 1.05F);
  const float cosine = std::cos(angle);
  const float sine = std::sin(angle);
  for_each_point(drawing, [&](Point& point) {
    const float y = point.y - 0.5F;
    const float x = stretch * (point.x - 0.5F) - slant * y;
    point = {cosine * x - sine * y, sine * x + cosine * y};
  });
}

// Scales the drawing to its box of pixels and puts its centre of mass near the image's.
void place(Drawing& drawing, Chance& chance, float box) {
  Point low{1e9F, 1e9F};
  Point high{-1e9F, -1e9F};
  for_each_point(drawing, [&](const Point& point) {
    low = {std::min(low.x, point.x), std::min(low.y, point.y)};
    high = {std::max(high.x, point.x), std::max(high.y, point.y)};
  });
  float mass = 0;
  Point centre;
  for (const auto& stroke : drawing) {
    for (std::size_t i = 1; i < stroke.size(); ++i) {
      const auto& a = stroke[i - 1];
      const auto& b = stroke[i];
      const float length = std::hypot(b.x - a.x, b.y - a.y);
      mass += length;
      centre.x += length * (a.x + b.x) / 2;
      centre.y += length * (a.y + b.y) / 2;
    }
  }
  const float scale = box / std::max(high.x - low.x, high.y - low.y);
  const Point middle{kSide / 2.0F + chance.wobble(1), kSide / 2.0F + chance.wobble(1)};
  for_each_point(drawing, [&](Point& point) {
    point = {middle.x + scale * (point.x - centre.x / mass),
             middle.y + scale * (point.y - centre.y / mass)};
  });
}

// Square of the distance from p to the straight piece a-b.
float distance_squared(Point p, Point a, Point b) {
  const float dx = b.x - a.x;
  const float dy = b.y - a.y;
  const float along = (p.x - a.x) * dx + (p.y - a.y) * dy;
  const float t = std::clamp(along / std::max(dx * dx + dy * dy, 1e-12F), 0.0F, 1.0F);
  const float x = p.x - a.x - t * dx;
  const float y = p.y - a.y - t * dy;
  return x * x + y * y;
}

using Canvas = std::array<float, kPixels>;

// Lowers `nearest` (squared distance to the ink) where the piece a-b comes closer.
void draw_piece(Canvas& nearest, Point a, Point b, float reach) {
  const auto first = [&](float value) { return std::max(0, static_cast<int>(value - reach)); };
  const auto last = [&](float value) {
    return std::min(kSide - 1, static_cast<int>(value + reach));
  };
  const int right = last(std::max(a.x, b.x));
  for (int row = first(std::min(a.y, b.y)); row <= last(std::max(a.y, b.y)); ++row) {
    for (int column = first(std::min(a.x, b.x)); column <= right; ++column) {
      const Point middle{static_cast<float>(column) + 0.5F, static_cast<float>(row) + 0.5F};
      auto& value =
          nearest[static_cast<std::size_t>(row) * kSide + static_cast<std::size_t>(column)];
      value = std::min(value, distance_squared(middle, a, b));
    }
  }
}

// Ink falls off linearly over `blur` pixels round the pen's radius.
void draw(const Drawing& drawing, float radius, float blur, std::uint8_t* pixels) {
  constexpr float far = 1e6F;
  Canvas nearest;
  nearest.fill(far);
  const float reach = radius + blur / 2;
  for (const auto& stroke : drawing) {
    for (std::size_t i = 1; i < stroke.size(); ++i) {
      draw_piece(nearest, stroke[i - 1], stroke[i], reach + 1);
    }
  }
  for (std::size_t i = 0; i < nearest.size(); ++i) {
    const float ink = nearest[i] >= far ? 0 : (reach - std::sqrt(nearest[i])) / blur;
    pixels[i] = static_cast<std::uint8_t>(std::lround(255 * std::clamp(ink, 0.0F, 1.0F)));
  }
}

std::int64_t draw_sample(std::uint64_t seed, std::int64_t sample, std::uint8_t* pixels) {
  Chance chance(seed, sample);
  const int label = chance.one_of(kClasses);
  auto drawing = sketch(label, chance);
  tremble(drawing, chance);
  deform(drawing, chance);
  for (auto& stroke : drawing) stroke = smooth(stroke);
  const float radius = chance.uniform(0.85F, 1.7F);
  place(drawing, chance, chance.uniform(17, 20) - 2 * radius);
  draw(drawing, radius, chance.uniform(1, 1.6F), pixels);
  return label;
}

}  // namespace

Images drawn_digits(std::int64_t count, std::uint64_t seed, std::int64_t first) {
  TORCH_CHECK(count > 0, "drawn_digits: count must be positive, not ", count);
  TORCH_CHECK(first >= 0, "drawn_digits: the first sample must not be negative, but is ", first);
  Images images{.pixels = at::empty({count, kPixels}, at::kByte),
                .labels = at::empty({count}, at::kLong),
                .rows = kSide,
                .columns = kSide};
  auto* pixels = images.pixels.data_ptr<std::uint8_t>();
  auto* labels = images.labels.data_ptr<std::int64_t>();
  constexpr std::int64_t grain = 64;
  at::parallel_for(0, count, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      labels[i] = draw_sample(seed, first + i, pixels + i * kPixels);
    }
  });
  return images;
}

}  // namespace pcxx::data
