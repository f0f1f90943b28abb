#pragma once

#include <c10/util/Exception.h>

#include <array>
#include <optional>
#include <string_view>

namespace pcxx {

/// A value of an enumeration, and what configs and people call it.
template <typename Enum>
struct Named {
  Enum value;
  std::string_view name;
};

/// The names of an enumeration: one table, which stands beside it.
///
///   enum class Side { kLeft, kRight };
///   template <> inline constexpr auto pcxx::kNames<Side> =
///       std::to_array<pcxx::Named<Side>>({{Side::kLeft, "left"}, {Side::kRight, "right"}});
template <typename Enum>
inline constexpr std::array<Named<Enum>, 0> kNames{};

/// The name of a value. Throws c10::Error where the table lacks it.
template <typename Enum>
std::string_view name_of(Enum value) {
  for (const auto& named : kNames<Enum>) {
    if (named.value == value) return named.name;
  }
  TORCH_CHECK(false, "no name for the value ", static_cast<int>(value));
}

/// The value of that name; nothing where there is none.
template <typename Enum>
std::optional<Enum> value_named(std::string_view name) {
  for (const auto& named : kNames<Enum>) {
    if (named.name == name) return named.value;
  }
  return std::nullopt;
}

}  // namespace pcxx
