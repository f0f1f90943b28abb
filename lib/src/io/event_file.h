#pragma once

#include <cstdint>
#include <string>
#include <string_view>

/// The parts of TensorBoard's event files.
namespace pcxx::io {

/// CRC-32C (Castagnoli; RFC 3720, appendix B.4).
std::uint32_t crc32c(std::string_view bytes);

/// One record: length, data, and a masked CRC-32C after each.
std::string event_record(std::string_view data);

/// A message in the wire format of protocol buffers, field by field.
class Message {
 public:
  Message& integer(int field, std::int64_t value);
  Message& number(int field, float value);
  Message& bytes(int field, std::string_view value);  ///< also texts and messages
  const std::string& text() const { return text_; }

 private:
  void varint(std::uint64_t value);
  void key(int field, int type);

  std::string text_;
};

}  // namespace pcxx::io
