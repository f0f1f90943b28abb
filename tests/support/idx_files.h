#pragma once

#include <pcxx/core/files.h>
#include <zlib.h>

#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

namespace pcxx::test {

inline std::string big_endian(std::uint32_t value) {
  std::string bytes;
  for (const int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<char>(value >> shift & 0xffU));
  return bytes;
}

/// Header of an IDX file of unsigned bytes.
inline std::string idx_header(const std::vector<std::uint32_t>& sizes) {
  auto bytes = big_endian(0x0800U + static_cast<std::uint32_t>(sizes.size()));
  for (const auto size : sizes) bytes += big_endian(size);
  return bytes;
}

/// `count` random bytes with half a byte of information each, so that they can be compressed.
inline std::string some_bytes(std::size_t count) {
  std::string bytes;
  std::uint64_t state = 1;
  for (std::size_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    bytes.push_back(static_cast<char>((state >> 60) * 17));
  }
  return bytes;
}

inline std::string idx_file(const std::vector<std::uint32_t>& sizes) {
  std::size_t count = 1;
  for (const auto size : sizes) count *= size;
  return idx_header(sizes) + some_bytes(count);
}

/// `bytes` as a gzip file.
inline std::string gzip(const std::string& bytes) {
  z_stream stream{};
  if (deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, 16 + MAX_WBITS, 8,
                   Z_DEFAULT_STRATEGY) != Z_OK) {
    throw std::runtime_error("zlib does not start");
  }
  std::string packed(deflateBound(&stream, static_cast<uLong>(bytes.size())), '\0');
  std::string input = bytes;
  stream.next_in = reinterpret_cast<Bytef*>(input.data());
  stream.avail_in = static_cast<uInt>(input.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  if (deflate(&stream, Z_FINISH) != Z_STREAM_END) throw std::runtime_error("zlib does not end");
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

}  // namespace pcxx::test
