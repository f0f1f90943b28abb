// Oracles: Markdown and HTML written by hand, and base64 of RFC 4648, section 10.

#include "reproduce/document.h"

#include <gtest/gtest.h>
#include <pcxx/core/files.h>

#include "support/temporary_folder.h"

namespace pcxx::reproduce {
namespace {

Document example() {
  Document document("Title");
  document.heading("Part").paragraph("a < `b`").item("one").item("two");
  document.table({"x", "y"}, {{"1|2", "3"}}).picture("p.png", "A picture");
  return document;
}

TEST(Document, AsMarkdown) {
  EXPECT_EQ(example().markdown(),
            "# Title\n\n## Part\n\na < `b`\n\n- one\n- two\n\n| x | y |\n| --- | --- |\n"
            "| 1\\|2 | 3 |\n\n![A picture](p.png)\n\n");
}

TEST(Document, AsHtmlWithItsPicturesInside) {
  const test::TemporaryFolder folder;
  for (const auto& [bytes, text] : {std::pair{"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}}) {
    write_file(folder / "p.png", bytes);
    const auto html = example().html(folder.path());
    EXPECT_NE(html.find(std::string("data:image/png;base64,") + text + "\""), std::string::npos);
    EXPECT_NE(html.find("<p>a &lt; <code>b</code></p>"), std::string::npos);
    EXPECT_NE(html.find("<ul>\n<li>one</li>\n<li>two</li>\n</ul>"), std::string::npos);
    EXPECT_NE(html.find("<tr><td>1|2</td><td>3</td></tr>"), std::string::npos);
  }
}

TEST(Document, NamesAPictureThatIsNotThere) {
  const test::TemporaryFolder folder;
  const auto html = example().html(folder.path());
  EXPECT_EQ(html.find("<img"), std::string::npos);
  EXPECT_NE(html.find("p.png is not there"), std::string::npos);
}

}  // namespace
}  // namespace pcxx::reproduce
