#include "io/event_file.h"

#include <array>
#include <bit>

namespace pcxx::io {

namespace {

constexpr std::uint32_t kCastagnoli = 0x82f63b78;  // the polynomial, bits reversed

constexpr std::array<std::uint32_t, 256> make_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    auto crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1U) != 0 ? kCastagnoli : 0);
    table[i] = crc;
  }
  return table;
}

// So that the CRC of data which hold CRCs is no special value.
std::uint32_t masked(std::uint32_t crc) {
  return std::rotr(crc, 15) + 0xa282ead8U;
}

template <typename Number>
std::string little_endian(Number value) {
  std::string bytes;
  for (std::size_t i = 0; i < sizeof value; ++i) bytes += static_cast<char>(value >> (8 * i));
  return bytes;
}

// Wire types.
constexpr int kVarint = 0;
constexpr int kLengthDelimited = 2;
constexpr int kFixed32 = 5;

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  static constexpr auto kTable = make_table();
  std::uint32_t crc = ~0U;
  for (const char c : bytes) {
    crc = (crc >> 8) ^ kTable[(crc ^ static_cast<unsigned char>(c)) & 0xffU];
  }
  return ~crc;
}

std::string event_record(std::string_view data) {
  const auto length = little_endian<std::uint64_t>(data.size());
  auto record = length + little_endian(masked(crc32c(length)));
  record += data;
  return record + little_endian(masked(crc32c(data)));
}

Message& Message::integer(int field, std::int64_t value) {
  key(field, kVarint);
  varint(static_cast<std::uint64_t>(value));
  return *this;
}

Message& Message::number(int field, float value) {
  key(field, kFixed32);
  text_ += little_endian(std::bit_cast<std::uint32_t>(value));
  return *this;
}

Message& Message::bytes(int field, std::string_view value) {
  key(field, kLengthDelimited);
  varint(value.size());
  text_ += value;
  return *this;
}

// Seven bits a byte, the lowest first; the eighth says that another byte follows.
void Message::varint(std::uint64_t value) {
  for (; value >= 128; value >>= 7) text_ += static_cast<char>(value | 128U);
  text_ += static_cast<char>(value);
}

void Message::key(int field, int type) {
  varint(static_cast<std::uint64_t>(field) << 3 | static_cast<std::uint64_t>(type));
}

}  // namespace pcxx::io
