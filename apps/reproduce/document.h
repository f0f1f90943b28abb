#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace pcxx::reproduce {

/// A text with tables and pictures that is written as Markdown and as one self-contained HTML page.
/// Words between backticks are code; all else is taken literally.
///
///   Document document("Report");
///   document.heading("Figures");
///   document.picture("figures/figure2.png", "Figure 2");
///   write_file(out / "report.html", document.html(out));
class Document {
 public:
  explicit Document(std::string title);

  Document& heading(std::string text, int level = 2);
  Document& paragraph(std::string text);
  Document& item(std::string text);  ///< of a list; those that follow each other are one
  Document& code(std::string text);
  Document& table(std::vector<std::string> header, std::vector<std::vector<std::string>> rows);
  /// A PNG file, relative to the document.
  Document& picture(std::string path, std::string caption);

  std::string markdown() const;
  /// With the pictures of `folder` inside; one that is not there is named in words.
  std::string html(const std::filesystem::path& folder) const;

 private:
  enum class Kind { kHeading, kParagraph, kItem, kCode, kTable, kPicture };
  struct Block {
    Kind kind;
    std::string text = {};
    int level = 0;
    std::string path = {};
    std::vector<std::vector<std::string>> rows = {};  // the header first
  };

  static std::string markdown(const Block& block);
  static std::string html(const Block& block, const std::filesystem::path& folder);

  std::string title_;
  std::vector<Block> blocks_;
};

}  // namespace pcxx::reproduce
