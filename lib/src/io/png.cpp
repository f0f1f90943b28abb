#include <c10/util/Exception.h>
#include <pcxx/io/png.h>
#include <zlib.h>

#include <cstdint>
#include <string_view>

namespace pcxx::io {

namespace {

std::string big_endian(std::uint64_t value) {
  std::string bytes;
  for (const int shift : {24, 16, 8, 0}) bytes += static_cast<char>(value >> shift);
  return bytes;
}

const Bytef* data_of(std::string_view bytes) {
  return reinterpret_cast<const Bytef*>(bytes.data());
}

// The CRC is of name and data.
std::string chunk(const std::string& name, const std::string& data) {
  const auto named = name + data;
  return big_endian(data.size()) + named + big_endian(::crc32_z(0, data_of(named), named.size()));
}

std::string compressed(const std::string& bytes) {
  auto size = ::compressBound(static_cast<uLong>(bytes.size()));
  std::string packed(size, '\0');
  const int code = ::compress(reinterpret_cast<Bytef*>(packed.data()), &size, data_of(bytes),
                              static_cast<uLong>(bytes.size()));
  TORCH_CHECK(code == Z_OK, "zlib cannot compress ", bytes.size(), " bytes");
  packed.resize(size);
  return packed;
}

}  // namespace

std::string png(const at::Tensor& pixels) {
  TORCH_CHECK(pixels.dim() == 2 && pixels.scalar_type() == at::kByte,
              "a picture is [rows, columns]"
              " of uint8, not ",
              pixels.sizes(), " of ", pixels.scalar_type());
  const auto grey = pixels.contiguous();
  const auto columns = static_cast<std::size_t>(grey.size(1));
  const auto* row = reinterpret_cast<const char*>(grey.const_data_ptr<std::uint8_t>());
  std::string filtered;  // each row has the filter 0, none, before it
  for (std::int64_t i = 0; i < grey.size(0); ++i, row += columns) {
    filtered += '\0';
    filtered.append(row, columns);
  }
  const std::string eight_bits_grey{"\x08\0\0\0\0", 5};
  const auto size = big_endian(columns) + big_endian(static_cast<std::uint64_t>(grey.size(0)));
  return "\x89PNG\r\n\x1a\n" + chunk("IHDR", size + eight_bits_grey) +
         chunk("IDAT", compressed(filtered)) + chunk("IEND", "");
}

}  // namespace pcxx::io
