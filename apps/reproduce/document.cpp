#include "reproduce/document.h"

#include <fmt/format.h>
#include <pcxx/core/files.h>

#include <cstdint>

namespace pcxx::reproduce {

namespace fs = std::filesystem;

namespace {

constexpr const char* kStyle =
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color:#222}h1,h2,h3{line-height:1.25}h2{margin-top:2.5rem;border-bottom:1px solid #ddd}"
    "table{border-collapse:collapse;font-size:13px;display:block;overflow-x:auto;margin:1rem 0}"
    "th,td{padding:.25rem .6rem;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}"
    "th{background:#f4f4f4}figure{margin:1rem 0}img{max-width:100%}"
    "figcaption{color:#555;font-size:13px}code,pre{background:#f4f4f4;font-size:12px}"
    "pre{padding:.6rem;overflow-x:auto}";

std::string escape(const std::string& text) {
  std::string out;
  bool code = false;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '`':
        out += code ? "</code>" : "<code>";
        code = !code;
        break;
      default:
        out += c;
    }
  }
  return code ? out + "</code>" : out;
}

// Of a cell of a Markdown table.
std::string cell(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

std::string base64(const std::string& bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t triple = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      triple = triple << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    }
    for (std::size_t j = 0; j < 4; ++j) {
      out += i + j > bytes.size() ? '=' : kDigits[triple >> (18 - 6 * j) & 63];
    }
  }
  return out;
}

std::string html_row(const std::vector<std::string>& cells, const char* tag) {
  std::string out = "<tr>";
  for (const auto& text : cells) out += fmt::format("<{0}>{1}</{0}>", tag, escape(text));
  return out + "</tr>\n";
}

std::string markdown_row(const std::vector<std::string>& cells) {
  std::string out = "|";
  for (const auto& text : cells) out += fmt::format(" {} |", cell(text));
  return out + "\n";
}

}  // namespace

Document::Document(std::string title) : title_(std::move(title)) {}

Document& Document::heading(std::string text, int level) {
  blocks_.push_back({.kind = Kind::kHeading, .text = std::move(text), .level = level});
  return *this;
}

Document& Document::paragraph(std::string text) {
  blocks_.push_back({.kind = Kind::kParagraph, .text = std::move(text)});
  return *this;
}

Document& Document::item(std::string text) {
  blocks_.push_back({.kind = Kind::kItem, .text = std::move(text)});
  return *this;
}

Document& Document::code(std::string text) {
  blocks_.push_back({.kind = Kind::kCode, .text = std::move(text)});
  return *this;
}

Document& Document::table(std::vector<std::string> header,
                          std::vector<std::vector<std::string>> rows) {
  rows.insert(rows.begin(), std::move(header));
  blocks_.push_back({.kind = Kind::kTable, .rows = std::move(rows)});
  return *this;
}

Document& Document::picture(std::string path, std::string caption) {
  blocks_.push_back({.kind = Kind::kPicture, .text = std::move(caption), .path = std::move(path)});
  return *this;
}

std::string Document::markdown(const Block& block) {
  switch (block.kind) {
    case Kind::kHeading:
      return fmt::format("{} {}\n\n", std::string(static_cast<std::size_t>(block.level), '#'),
                         block.text);
    case Kind::kParagraph:
      return block.text + "\n\n";
    case Kind::kItem:
      return "- " + block.text + "\n";
    case Kind::kCode:
      return fmt::format("```\n{}\n```\n\n", block.text);
    case Kind::kPicture:
      return fmt::format("![{}]({})\n\n", block.text, block.path);
    case Kind::kTable:
      break;
  }
  auto out = markdown_row(block.rows.front());
  out += markdown_row(std::vector<std::string>(block.rows.front().size(), "---"));
  for (std::size_t i = 1; i < block.rows.size(); ++i) out += markdown_row(block.rows[i]);
  return out + "\n";
}

std::string Document::html(const Block& block, const fs::path& folder) {
  switch (block.kind) {
    case Kind::kHeading:
      return fmt::format("<h{0}>{1}</h{0}>\n", block.level, escape(block.text));
    case Kind::kParagraph:
      return fmt::format("<p>{}</p>\n", escape(block.text));
    case Kind::kItem:
      return fmt::format("<li>{}</li>\n", escape(block.text));
    case Kind::kCode:
      return fmt::format("<pre>{}</pre>\n", escape(block.text));
    case Kind::kPicture: {
      std::error_code error;
      if (!fs::is_regular_file(folder / block.path, error)) {
        return fmt::format("<p>{} is not there: {}</p>\n", escape(block.path), escape(block.text));
      }
      return fmt::format(
          "<figure><img alt=\"{0}\" src=\"data:image/png;base64,{1}\">"
          "<figcaption>{0}</figcaption></figure>\n",
          escape(block.text), base64(read_file(folder / block.path)));
    }
    case Kind::kTable:
      break;
  }
  std::string out = "<table>\n" + html_row(block.rows.front(), "th");
  for (std::size_t i = 1; i < block.rows.size(); ++i) out += html_row(block.rows[i], "td");
  return out + "</table>\n";
}

std::string Document::markdown() const {
  std::string out = "# " + title_ + "\n\n";
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    out += markdown(blocks_[i]);
    const bool item = blocks_[i].kind == Kind::kItem;
    if (item && (i + 1 == blocks_.size() || blocks_[i + 1].kind != Kind::kItem)) out += '\n';
  }
  return out;
}

std::string Document::html(const fs::path& folder) const {
  auto out = fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<title>{0}</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>{1}</style>\n</head>\n"
      "<body>\n<h1>{0}</h1>\n",
      escape(title_), kStyle);
  bool list = false;
  for (const auto& block : blocks_) {
    const bool item = block.kind == Kind::kItem;
    if (item != list) out += item ? "<ul>\n" : "</ul>\n";
    list = item;
    out += html(block, folder);
  }
  return out + (list ? "</ul>\n" : "") + "</body>\n</html>\n";
}

}  // namespace pcxx::reproduce
