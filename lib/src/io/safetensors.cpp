#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <pcxx/core/error.h>
#include <pcxx/io/safetensors.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>

#include "core/text.h"
#include "io/json_text.h"

namespace pcxx::io {

namespace {

static_assert(std::endian::native == std::endian::little, "numbers are stored as they are");

constexpr std::uint64_t kLength = 8;             // bytes of the header's length
constexpr std::uint64_t kLongest = 100'000'000;  // header, as the format's own reader has it
constexpr std::size_t kDimensions = 64;          // as many as LibTorch computes with
constexpr const char* kMetadata = "__metadata__";

constexpr std::array<std::pair<std::string_view, at::ScalarType>, 10> kTypes{{
    {"F64", at::kDouble},
    {"F32", at::kFloat},
    {"F16", at::kHalf},
    {"BF16", at::kBFloat16},
    {"I64", at::kLong},
    {"I32", at::kInt},
    {"I16", at::kShort},
    {"I8", at::kChar},
    {"U8", at::kByte},
    {"BOOL", at::kBool},
}};

std::string_view type_name(at::ScalarType type) {
  const auto* found = std::find_if(kTypes.begin(), kTypes.end(),
                                   [&](const auto& entry) { return entry.second == type; });
  TORCH_CHECK(found != kTypes.end(), "safetensors have no dtype ", type);
  return found->first;
}

// Where a tensor's numbers are in the data.
struct Entry {
  std::string name;
  at::ScalarType type;
  std::vector<std::int64_t> shape;
  std::uint64_t begin;
  std::uint64_t end;
};

// The bytes of so many numbers; nothing when there are too many to count, as there are for a
// tensor's strides even where a size of 0 leaves none.
std::optional<std::uint64_t> byte_count(const std::vector<std::int64_t>& shape,
                                        at::ScalarType type) {
  std::uint64_t count = c10::elementSize(type);
  bool empty = false;
  for (const auto size : shape) {
    const auto factor = static_cast<std::uint64_t>(std::max<std::int64_t>(size, 1));
    if (count > std::numeric_limits<std::int64_t>::max() / factor) return std::nullopt;
    count *= factor;
    empty = empty || size == 0;
  }
  return empty ? 0 : count;
}

bool are_counts(const nlohmann::json& values) {
  return values.is_array() && std::all_of(values.begin(), values.end(), is_count);
}

class Reader {
 public:
  Reader(std::string_view bytes, const std::string& path) : path_(path) {
    if (bytes.size() < kLength) {
      user_error("'{}' is no safetensors file: it has only {} bytes", path, bytes.size());
    }
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), kLength);
    const auto rest = bytes.size() - kLength;
    if (length > kLongest) {
      user_error("'{}' is no safetensors file: a header of {} bytes is too long", path, length);
    }
    if (length > rest) {
      user_error("'{}' is cut short: its header should have {} bytes, not {}", path, length, rest);
    }
    header_ = parse(bytes.substr(kLength, length));
    data_ = bytes.substr(kLength + length);
  }

  Safetensors read() const {
    Safetensors result;
    std::vector<Entry> entries;
    for (const auto& [name, value] : header_.items()) {
      if (name == kMetadata) {
        result.metadata = metadata(value);
      } else {
        entries.push_back(entry(name, value));
      }
    }
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
      return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
    });
    check_places(entries);
    for (const auto& entry : entries) result.tensors.emplace_back(entry.name, tensor(entry));
    return result;
  }

 private:
  nlohmann::json parse(std::string_view text) const {
    const auto outline = outline_of(text);
    if (outline.too_deep) {
      user_error("'{}' is damaged: its header nests more than {} lists or objects", path_,
                 kJsonDepth);
    }
    // Not even a space, or the mark of a byte order, may stand before it.
    if (!outline.valid || !text.starts_with('{')) {
      user_error("'{}' is no safetensors file, or is damaged: its header is no JSON object", path_);
    }
    if (!outline.twice.empty()) {
      user_error("'{}' is damaged: it has '{}' twice", path_, shortened(outline.twice));
    }
    return nlohmann::json::parse(text);
  }

  std::map<std::string, std::string> metadata(const nlohmann::json& value) const {
    std::map<std::string, std::string> texts;
    const bool fits =
        value.is_object() &&
        std::all_of(value.begin(), value.end(), [](const auto& text) { return text.is_string(); });
    if (!fits) user_error("'{}' is damaged: its {} are no texts", path_, kMetadata);
    for (const auto& [name, text] : value.items()) texts[name] = text.template get<std::string>();
    return texts;
  }

  Entry entry(const std::string& name, const nlohmann::json& value) const {
    static const nlohmann::json none;
    const auto member = [&](const char* key) -> const nlohmann::json& {
      return value.is_object() && value.contains(key) ? value[key] : none;
    };
    const auto& type = member("dtype");
    const auto& shape = member("shape");
    const auto& offsets = member("data_offsets");
    if (!type.is_string() || !are_counts(shape) || !are_counts(offsets) || offsets.size() != 2) {
      user_error("'{}' is damaged: its '{}' has no dtype, shape and data_offsets", path_,
                 shortened(name));
    }
    const auto* known = std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& one) {
      return one.first == type.get<std::string>();
    });
    if (known == kTypes.end()) {
      user_error("'{}' has a '{}' of the unknown dtype {}", path_, shortened(name),
                 shortened(type.get<std::string>()));
    }
    if (shape.size() > kDimensions) {
      user_error("'{}' is damaged: its '{}' has {} dimensions", path_, shortened(name),
                 shape.size());
    }
    Entry entry{name, known->second, shape.get<std::vector<std::int64_t>>(),
                offsets[0].get<std::uint64_t>(), offsets[1].get<std::uint64_t>()};
    check(entry);
    return entry;
  }

  void check(const Entry& entry) const {
    if (entry.begin > entry.end) {
      user_error("'{}' is damaged: its '{}' ends at {}, before it begins at {}", path_,
                 shortened(entry.name), entry.end, entry.begin);
    }
    if (entry.end > data_.size()) {
      user_error("'{}' is cut short, or damaged: its '{}' should end at byte {} of {}", path_,
                 shortened(entry.name), entry.end, data_.size());
    }
    if (byte_count(entry.shape, entry.type) != entry.end - entry.begin) {
      user_error("'{}' is damaged: its '{}' has {} bytes, which is not what its shape says", path_,
                 shortened(entry.name), entry.end - entry.begin);
    }
  }

  // The tensors take up all of the data, each its own.
  void check_places(const std::vector<Entry>& entries) const {
    std::uint64_t end = 0;
    for (const auto& entry : entries) {
      if (entry.begin < end) {
        user_error("'{}' is damaged: its '{}' overlaps another tensor", path_,
                   shortened(entry.name));
      }
      if (entry.begin > end) {
        user_error("'{}' is damaged: there is a gap before its '{}'", path_, shortened(entry.name));
      }
      end = entry.end;
    }
    if (end != data_.size()) {
      user_error("'{}' is damaged: {} bytes at its end are of no tensor", path_,
                 data_.size() - end);
    }
  }

  at::Tensor tensor(const Entry& entry) const {
    auto tensor = at::empty(entry.shape, entry.type);
    const auto bytes = data_.substr(entry.begin, entry.end - entry.begin);
    if (entry.type == at::kBool &&
        bytes.find_first_not_of(std::string_view("\0\1", 2)) != bytes.npos) {
      user_error("'{}' is damaged: its '{}' has values that are neither true nor false", path_,
                 shortened(entry.name));
    }
    if (!bytes.empty()) std::memcpy(tensor.mutable_data_ptr(), bytes.data(), bytes.size());
    return tensor;
  }

  const std::string& path_;
  nlohmann::json header_;
  std::string_view data_;
};

}  // namespace

void write_safetensors(std::ostream& stream, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::string text = "{";
  if (!metadata.empty()) text += fmt::format("\"{}\":{}", kMetadata, json_line(metadata));
  std::vector<at::Tensor> values;
  std::uint64_t end = 0;
  for (const auto& [name, tensor] : tensors) {
    values.push_back(tensor.detach().cpu().contiguous());
    const auto begin = end;
    end += values.back().nbytes();
    text +=
        fmt::format(R"({}{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                    text.size() > 1 ? "," : "", nlohmann::json(name).dump(),
                    type_name(tensor.scalar_type()), fmt::join(tensor.sizes(), ","), begin, end);
  }
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = text.size();
  stream.write(reinterpret_cast<const char*>(&length), kLength);
  stream << text;
  for (const auto& value : values) {
    stream.write(static_cast<const char*>(value.const_data_ptr()),
                 static_cast<std::streamsize>(value.nbytes()));
  }
}

Safetensors read_safetensors(std::string_view bytes, const std::string& path) {
  return Reader(bytes, path).read();
}

}  // namespace pcxx::io
