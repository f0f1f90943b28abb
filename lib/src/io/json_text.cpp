#include "io/json_text.h"

#include <limits>
#include <set>
#include <vector>

namespace pcxx::io {

namespace {

using Json = nlohmann::json;

class Outliner final : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return true; }
  bool boolean(bool /*value*/) override { return true; }
  bool number_integer(number_integer_t /*value*/) override { return true; }
  bool number_unsigned(number_unsigned_t /*value*/) override { return true; }
  bool number_float(number_float_t /*value*/, const string_t& /*text*/) override { return true; }
  bool string(string_t& /*value*/) override { return true; }
  bool binary(binary_t& /*value*/) override { return true; }
  bool start_object(std::size_t /*size*/) override { return enter(); }
  bool end_object() override { return leave(); }
  bool start_array(std::size_t /*size*/) override { return enter(); }
  bool end_array() override { return leave(); }

  bool key(string_t& name) override {
    const bool fresh = names_.back().insert(name).second;
    if (!fresh && outline.twice.empty()) outline.twice = name;
    return true;
  }

  bool parse_error(std::size_t /*place*/, const std::string& /*token*/,
                   const nlohmann::detail::exception& /*error*/) override {
    outline.valid = false;
    return false;
  }

  JsonOutline outline;

 private:
  bool enter() {
    names_.emplace_back();
    outline.too_deep = names_.size() > kJsonDepth;
    return !outline.too_deep;
  }

  bool leave() {
    names_.pop_back();
    return true;
  }

  std::vector<std::set<std::string>> names_;  // of each list or object that is open
};

}  // namespace

JsonOutline outline_of(std::string_view text) {
  Outliner outliner;
  const bool whole = Json::sax_parse(text, &outliner);
  auto outline = outliner.outline;
  outline.valid = outline.valid && (whole || outline.too_deep);
  return outline;
}

nlohmann::json parse_json(std::string_view text) {
  const auto outline = outline_of(text);
  if (!outline.valid || outline.too_deep) return Json(Json::value_t::discarded);
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

bool is_count(const nlohmann::json& value) {
  return value.is_number_unsigned() &&
         value.get<std::uint64_t>() <= std::numeric_limits<std::int64_t>::max();
}

std::string json_line(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace pcxx::io
