#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <pcxx/core/error.h>
#include <pcxx/core/files.h>
#include <pcxx/data/idx.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pcxx::data {

namespace fs = std::filesystem;

namespace {

constexpr std::uint32_t kUnsignedBytes = 0x0800;
constexpr std::uint32_t kMostDimensions = 8;
// Deflate cannot shrink data by more than this.
constexpr std::uint64_t kBestCompression = 1032;

// The bytes of a file in sequence, decompressed on the way when it is a gzip file.
class ByteReader {
 public:
  ByteReader(std::string text, const fs::path& path) : path_(path), text_(std::move(text)) {
    compressed_ = at_member();
    stream_.next_in = reinterpret_cast<Bytef*>(text_.data());
    if (compressed_ && inflateInit2(&stream_, 16 + MAX_WBITS) != Z_OK) {
      user_error("cannot read '{}': zlib does not start", path_.string());
    }
  }
  ~ByteReader() {
    if (compressed_) inflateEnd(&stream_);
  }
  ByteReader(const ByteReader&) = delete;
  ByteReader& operator=(const ByteReader&) = delete;

  bool empty() const { return text_.empty(); }

  // No more bytes than this can follow the header.
  std::uint64_t bound() const {
    return compressed_ ? text_.size() * kBestCompression : text_.size();
  }

  // Up to `count` bytes; fewer only where the file ends.
  std::size_t read(std::uint8_t* out, std::size_t count) {
    return compressed_ ? inflate_into(out, count) : copy_into(out, count);
  }

  // After the last byte: true when nothing follows. Also checks the sum that ends a gzip file.
  bool at_end() {
    std::uint8_t more = 0;
    return read(&more, 1) == 0 && used_ == text_.size();
  }

 private:
  std::size_t copy_into(std::uint8_t* out, std::size_t count) {
    const auto taken = std::min(count, text_.size() - used_);
    std::memcpy(out, text_.data() + used_, taken);
    used_ += taken;
    return taken;
  }

  std::size_t inflate_into(std::uint8_t* out, std::size_t count) {
    std::size_t written = 0;
    while (written < count && !finished_) {
      const auto room = std::min(count - written, kChunk);
      const auto input = std::min(text_.size() - used_, kChunk);
      stream_.next_out = out + written;
      stream_.avail_out = static_cast<uInt>(room);
      stream_.avail_in = static_cast<uInt>(input);
      const int status = inflate(&stream_, Z_NO_FLUSH);
      used_ += input - stream_.avail_in;
      written += room - stream_.avail_out;
      if (status == Z_STREAM_END) {
        end_member();
      } else {
        check(status);
      }
    }
    return written;
  }

  bool at_member() const {
    return text_.size() >= used_ + 2 && text_[used_] == '\x1f' && text_[used_ + 1] == '\x8b';
  }

  // On to the next member, or to the end, past zeros that fill up a block.
  void end_member() {
    finished_ = !at_member();
    if (!finished_) {
      inflateReset(&stream_);
    } else if (text_.find_first_not_of('\0', used_) == std::string::npos) {
      used_ = text_.size();
    }
  }

  void check(int status) const {
    if (status == Z_OK) return;
    if (status == Z_BUF_ERROR) {
      user_error("'{}' is truncated: its gzip data end too early", path_.string());
    }
    user_error("'{}' is a corrupt gzip file: {}", path_.string(),
               stream_.msg == nullptr ? "its data cannot be decompressed" : stream_.msg);
  }

  static constexpr std::size_t kChunk = std::size_t{1} << 30;

  fs::path path_;
  std::string text_;
  z_stream stream_{};
  std::size_t used_ = 0;
  bool compressed_ = false;
  bool finished_ = false;  // with the last member
};

// What a file of this magic number is, where people take it for images or labels.
std::string_view other_format(std::uint32_t magic) {
  constexpr std::uint32_t kHigh = 0xffff0000;
  if (magic == 0x89504e47) return "a PNG file";
  if ((magic & ~0xffU) == 0xffd8ff00) return "a JPEG file";
  if (magic == 0x934e554d) return "a NumPy file";
  if (magic == 0x504b0304) return "a zip archive";
  if (magic == 0x47494638) return "a GIF file";
  if ((magic & kHigh) == 0x424d0000) return "a BMP file";
  if (magic == 0x3c21444f || magic == 0x3c68746d) return "a web page";
  return "";
}

std::uint32_t read_integer(ByteReader& reader, const fs::path& path) {
  std::array<std::uint8_t, 4> bytes{};
  if (reader.read(bytes.data(), bytes.size()) != bytes.size()) {
    user_error("'{}' is truncated: it ends within its header", path.string());
  }
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 |
         std::uint32_t{bytes[2]} << 8 | std::uint32_t{bytes[3]};
}

std::uint32_t read_dimensions(ByteReader& reader, const fs::path& path) {
  const auto magic = read_integer(reader, path);
  const auto dimensions = magic & 0xffU;
  if (const auto other = other_format(magic); !other.empty()) {
    user_error("'{}' is {}, not an IDX file of unsigned bytes", path.string(), other);
  }
  if ((magic & ~0xffU) != kUnsignedBytes || dimensions == 0 || dimensions > kMostDimensions) {
    user_error(
        "'{}' is not an IDX file of unsigned bytes: its magic number is {}, where images "
        "have 2051 and labels 2049",
        path.string(), magic);
  }
  return dimensions;
}

std::vector<std::int64_t> read_sizes(ByteReader& reader, const fs::path& path) {
  std::vector<std::int64_t> sizes(read_dimensions(reader, path));
  for (auto& size : sizes) {
    size = read_integer(reader, path);
    if (size == 0) {
      user_error("'{}' holds no data: its header has a dimension of size 0", path.string());
    }
  }
  return sizes;
}

// The product of the sizes, checked against what the file can hold.
std::uint64_t count_bytes(const std::vector<std::int64_t>& sizes, const ByteReader& reader,
                          const fs::path& path) {
  std::uint64_t count = 1;
  for (const auto size : sizes) {
    if (static_cast<std::uint64_t>(size) > reader.bound() / count) {
      user_error("'{}' is truncated: its header promises {} bytes, more than it can hold",
                 path.string(), fmt::join(sizes, " x "));
    }
    count *= static_cast<std::uint64_t>(size);
  }
  return count;
}

}  // namespace

at::Tensor read_idx(const fs::path& path) {
  return idx_of_bytes(read_file(path), path);
}

at::Tensor idx_of_bytes(std::string bytes, const fs::path& path) {
  ByteReader reader(std::move(bytes), path);
  if (reader.empty()) user_error("'{}' is empty, not an IDX file", path.string());

  const auto sizes = read_sizes(reader, path);
  const auto count = count_bytes(sizes, reader, path);
  auto values = at::empty(sizes, at::kByte);
  const auto found = reader.read(values.data_ptr<std::uint8_t>(), count);
  if (found != count) {
    user_error("'{}' is truncated: its header promises {} bytes of data, but {} follow",
               path.string(), count, found);
  }
  if (!reader.at_end()) {
    user_error("'{}' is too long: bytes follow after the {} that its header promises",
               path.string(), count);
  }
  return values;
}

}  // namespace pcxx::data
