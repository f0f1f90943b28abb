// The figures of the paper as configs/paper/ and files like them describe them.

#include "reproduce/figures.h"

#include <gtest/gtest.h>
#include <pcxx/core/files.h>

#include <set>

#include "support/temporary_folder.h"
#include "support/user_error.h"

namespace pcxx::reproduce {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> ids(const std::vector<Figure>& figures) {
  std::vector<std::string> found;
  for (const auto& figure : figures) found.push_back(figure.id);
  return found;
}

std::vector<Figure> paper(Profile profile = Profile::kPaper) {
  return read_figures(PCXX_SOURCE_DIR "/configs/paper", profile);
}

// Contract: the figures and panels that the paper has, in its order, each with a config that is
// there.
TEST(Figures, AreThoseOfThePaper) {
  std::set<std::string> panels;
  for (const auto& figure : paper()) {
    for (const auto& panel : figure.panels) {
      panels.insert(panel.id);
      EXPECT_TRUE(fs::is_regular_file(panel.config)) << panel.config;
      EXPECT_FALSE(panel.title.empty()) << panel.id;
    }
  }
  const auto known = ids(paper());
  const std::vector<std::string> wanted{"1B", "2", "3", "4", "5", "6", "7", "8", "9", "10"};
  ASSERT_GE(known.size(), wanted.size());
  EXPECT_EQ(std::vector(known.begin(), known.begin() + 10), wanted);
  for (const char* id : {"1B", "2A", "2B", "2C", "2D", "2E", "2F", "2G", "2H", "3A", "3B", "3C",
                         "3D", "4A", "4B", "4C", "4D"}) {
    EXPECT_TRUE(panels.contains(id)) << id;
  }
}

// Contract: a name takes its figure or its panel, and a panel that two figures share comes with
// both.
TEST(Figures, AreSelectedByName) {
  const auto some = select_figures(paper(), "2,3A");
  EXPECT_EQ(ids(some), (std::vector<std::string>{"2", "3"}));
  EXPECT_EQ(some[0].panels.size(), 12U);
  ASSERT_EQ(some[1].panels.size(), 1U);
  EXPECT_EQ(some[1].panels[0].id, "3A");
  const auto shared = select_figures(paper(), "9");
  ASSERT_EQ(shared.size(), 1U);
  EXPECT_EQ(shared[0].panels[0].id, "3D");
  EXPECT_EQ(shared[0].panels[0].program, "pcxx-autoencoder");
  EXPECT_EQ(select_figures(paper(), "").size(), paper().size());
  test::expect_user_error([&] { select_figures(paper(), "2,4Z"); }, "'4Z'");
}

// Contract: the profile's assignments come after those of every profile.
TEST(Figures, FollowTheProfile) {
  const test::TemporaryFolder folder;
  write_file(folder / "figure1.toml",
             "title = 'T'\n[[panels]]\nid = '1A'\ntitle = 't'\nprogram = 'p'\n"
             "config = '../c.toml'\nset = ['a=1']\nquick = ['a=2']\n"
             "seconds = { quick = 3 }\n");
  const auto quick = read_figures(folder.path(), Profile::kQuick)[0].panels[0];
  EXPECT_EQ(quick.set, (std::vector<std::string>{"a=1", "a=2"}));
  EXPECT_EQ(quick.seconds, 3);
  const auto whole = read_figures(folder.path(), Profile::kPaper)[0].panels[0];
  EXPECT_EQ(whole.set, (std::vector<std::string>{"a=1"}));
  EXPECT_EQ(whole.config, (folder.path().parent_path() / "c.toml").lexically_normal());
}

// Contract: one sentence with file, line and key.
TEST(Figures, SayWhatIsWrong) {
  const auto read = [](const std::string& text) {
    const test::TemporaryFolder folder;
    write_file(folder / "figure1.toml", text);
    read_figures(folder.path(), Profile::kPaper);
  };
  test::expect_user_error([&] { read("title = 'T'\ncolour = 1\npanels = []"); },
                          "figure1.toml:2: unknown key colour");
  test::expect_user_error([&] { read("title = 3\npanels = []"); }, "title must be a text");
  test::expect_user_error([&] { read("title = 'T'\n[[panels]]\nid = '1A'"); },
                          "panel 1A has no program");
  test::expect_user_error([&] { read("title = "); }, "figure1.toml:1");
  test::expect_user_error([&] { read_figures("/nowhere", Profile::kPaper); },
                          "'/nowhere' has no figures");
  test::expect_user_error([&] { profile_from("fast"); }, "fast is none of quick, paper, more");
}

}  // namespace
}  // namespace pcxx::reproduce
