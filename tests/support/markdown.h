#pragma once

#include <pcxx/core/files.h>

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <filesystem>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace pcxx::test {

/// A block of code of a Markdown file.
///
///   language     what stands behind the fence; "sh" for a block that is indented
///   line         of its first line, from 1
///   tested_with  what the comment before it says: <!-- tested with: ... -->
///   not_run      the same of <!-- not run: ... -->
struct Block {
  std::string language;
  std::string text;
  std::size_t line = 0;
  std::string tested_with = {};
  std::string not_run = {};
};

/// A Markdown file, as far as its tests need it.
///
///   prose     all but blocks and comments
///   headings  their anchors, as GitHub makes them
struct Markdown {
  std::vector<Block> blocks;
  std::string prose;
  std::vector<std::string> headings;
};

inline std::string trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return "";
  return std::string(text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1));
}

inline std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

/// "Where an equation of the paper is" as "where-an-equation-of-the-paper-is".
inline std::string anchor(std::string_view heading) {
  std::string result;
  for (const char c : trimmed(heading)) {
    const auto letter = static_cast<unsigned char>(c);
    if (std::isalnum(letter) != 0 || c == '-' || c == '_' || letter >= 0x80) {
      result += static_cast<char>(std::tolower(letter));
    } else if (c == ' ') {
      result += '-';
    }
  }
  return result;
}

/// Reads a Markdown file line by line.
class MarkdownReader {
 public:
  explicit MarkdownReader(const std::string& text) : lines_(lines_of(text)) {}

  /// Throws std::runtime_error with the line of a fence or comment that does not end, or of a
  /// comment about a block that no block follows.
  Markdown read() {
    while (at_ < lines_.size()) {
      const auto line = trimmed(lines_[at_]);
      if (line.starts_with("```")) {
        read_fence();
      } else if (line.starts_with("<!--")) {
        read_comment();
      } else if (begins_indented()) {
        read_indented();
      } else {
        read_prose(line);
      }
    }
    if (!pending_.empty()) fail("no block follows the comment");
    return result_;
  }

 private:
  [[noreturn]] void fail(const std::string& fault) const {
    throw std::runtime_error("line " + std::to_string(at_ + 1) + ": " + fault);
  }

  static std::size_t indentation(const std::string& line) {
    const auto first = line.find_first_not_of(' ');
    return first == std::string::npos ? line.size() : first;
  }

  bool blank(std::size_t i) const { return i >= lines_.size() || trimmed(lines_[i]).empty(); }

  // Lists in lists are indented as well, with a mark.
  bool begins_indented() const {
    if (blank(at_) || indentation(lines_[at_]) < 4 || !after_blank_) return false;
    const auto line = trimmed(lines_[at_]);
    return !line.starts_with("- ") && !line.starts_with("* ") &&
           (std::isdigit(static_cast<unsigned char>(line[0])) == 0 ||
            line.find(". ") == std::string::npos);
  }

  void add(Block block) {
    block.tested_with = pending_["tested with"];
    block.not_run = pending_["not run"];
    pending_.clear();
    result_.blocks.push_back(std::move(block));
    after_blank_ = true;
  }

  void read_fence() {
    const auto indent = indentation(lines_[at_]);
    Block block{trimmed(trimmed(lines_[at_]).substr(3)), "", at_ + 2};
    for (++at_; at_ < lines_.size() && trimmed(lines_[at_]) != "```"; ++at_) {
      const auto& line = lines_[at_];
      block.text += line.substr(std::min(indent, indentation(line))) + "\n";
    }
    if (at_ == lines_.size()) fail("the block does not end");
    ++at_;
    add(std::move(block));
  }

  void read_indented() {
    const auto indent = indentation(lines_[at_]);
    Block block{"sh", "", at_ + 1};
    std::size_t end = at_;
    for (auto i = at_; i < lines_.size() && (blank(i) || indentation(lines_[i]) >= 4); ++i) {
      if (!blank(i)) end = i + 1;
    }
    for (; at_ < end; ++at_) {
      block.text += lines_[at_].substr(std::min(indent, indentation(lines_[at_]))) + "\n";
    }
    add(std::move(block));
  }

  void read_comment() {
    std::string comment;
    for (; at_ < lines_.size(); ++at_) {
      comment += trimmed(lines_[at_]) + " ";
      if (comment.find("-->") != std::string::npos) break;
    }
    if (at_ == lines_.size()) fail("the comment does not end");
    ++at_;
    comment = trimmed(comment.substr(4, comment.find("-->") - 4));
    for (const std::string name : {"tested with", "not run"}) {
      if (comment.starts_with(name + ": ")) pending_[name] = comment.substr(name.size() + 2);
    }
    after_blank_ = true;
  }

  void read_prose(const std::string& line) {
    after_blank_ = line.empty();
    if (!line.empty() && !pending_.empty()) fail("no block follows the comment");
    if (line.starts_with("#")) read_heading(line.substr(line.find_first_not_of('#')));
    result_.prose += lines_[at_++] + "\n";
  }

  void read_heading(const std::string& heading) {
    const auto name = anchor(heading);
    const int before = headings_[name]++;
    result_.headings.push_back(before == 0 ? name : name + "-" + std::to_string(before));
  }

  std::vector<std::string> lines_;
  std::size_t at_ = 0;
  bool after_blank_ = true;
  std::map<std::string, std::string> pending_;
  std::map<std::string, int> headings_;
  Markdown result_;
};

inline Markdown read_markdown(const std::filesystem::path& file) {
  try {
    return MarkdownReader(read_file(file)).read();
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(file.string() + ": " + error.what());
  }
}

/// What stands between backticks, line breaks as spaces.
inline std::vector<std::string> inline_code(const std::string& prose) {
  std::vector<std::string> spans;
  for (std::size_t at = prose.find('`'); at != std::string::npos; at = prose.find('`', at)) {
    const auto end = prose.find('`', at + 1);
    if (end == std::string::npos) break;
    auto span = prose.substr(at + 1, end - at - 1);
    for (auto& c : span) c = c == '\n' ? ' ' : c;
    spans.push_back(trimmed(span));
    at = end + 1;
  }
  return spans;
}

/// Targets of all links and images, [text](target); code in backticks has none.
inline std::vector<std::string> links(const std::string& prose) {
  std::string text;
  bool code = false;
  for (const char c : prose) {
    if (c == '`') code = !code;
    text += code && c != '\n' ? ' ' : c;
  }
  std::vector<std::string> targets;
  for (auto at = text.find("]("); at != std::string::npos; at = text.find("](", at + 2)) {
    const auto begin = at + 2;
    targets.push_back(text.substr(begin, text.find_first_of(") ", begin) - begin));
  }
  return targets;
}

}  // namespace pcxx::test
