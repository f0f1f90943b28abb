#include <fmt/format.h>
#include <gtest/gtest.h>
#include <pcxx/core/files.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kFiles = {"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz",
                                         "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"};

struct Outcome {
  int code;
  std::string text;  // stdout and stderr
};

class GetData : public ::testing::Test {
 protected:
  GetData() : folder_(fs::temp_directory_path() / ("pcxx_get_data_" + std::to_string(getpid()))) {
    fs::remove_all(folder_);
    fs::create_directories(source() / "mnist");
  }
  ~GetData() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  fs::path source() const { return folder_ / "source"; }
  fs::path target() const { return folder_ / "target"; }

  static Outcome run(const std::string& arguments) {
    const auto command = fmt::format("'{}/data/get_data' {} 2>&1", PCXX_SOURCE_DIR, arguments);
    FILE* pipe = popen(command.c_str(), "r");
    if (pipe == nullptr) return {-1, "popen failed"};
    std::string text;
    std::array<char, 4096> buffer{};
    while (const auto count = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
      text.append(buffer.data(), count);
    }
    const int status = pclose(pipe);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, text};
  }

  Outcome copy() const {
    return run(fmt::format("mnist --from '{}' --out '{}'", source().string(), target().string()));
  }

  // Files in the target, whatever their names.
  int files_written() const {
    int count = 0;
    if (!fs::exists(target())) return count;
    for (const auto& entry : fs::recursive_directory_iterator(target())) {
      count += entry.is_regular_file() ? 1 : 0;
    }
    return count;
  }

  // The real MNIST into the source folder; false where there is none.
  bool copy_mnist_to_source() const {
    const char* data = std::getenv("PCXX_DATA_DIR");
    if (data == nullptr) return false;
    for (const auto& name : kFiles) {
      if (!fs::exists(fs::path(data) / "mnist" / name)) return false;
      pcxx::write_file(source() / "mnist" / name, pcxx::read_file(fs::path(data) / "mnist" / name));
    }
    return true;
  }

 private:
  fs::path folder_;
};

// Oracle of all tests here: the script's contract, one sentence that names what is wrong, exit
// code 2, and no file that is not whole and checked.

TEST_F(GetData, RejectsUnknownNamesAndOptions) {
  for (const std::string arguments :
       {"cifar", "", "mnist fashion-mnist", "mnist --from", "--all"}) {
    const auto outcome = run(arguments);
    EXPECT_EQ(outcome.code, 2) << arguments;
    EXPECT_EQ(std::count(outcome.text.begin(), outcome.text.end(), '\n'), 1) << outcome.text;
  }
  EXPECT_NE(run("cifar").text.find("'cifar'"), std::string::npos);
  EXPECT_EQ(run("--help").code, 0);
}

TEST_F(GetData, NamesAMissingFile) {
  const auto outcome = copy();
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.text.find("mnist/" + kFiles[0]), std::string::npos) << outcome.text;
  EXPECT_EQ(files_written(), 0);
}

TEST_F(GetData, RejectsACorruptedFileAndLeavesNothing) {
  for (const auto& name : kFiles) pcxx::write_file(source() / "mnist" / name, "not a data set");
  const auto outcome = copy();
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.text.find(kFiles[0]), std::string::npos) << outcome.text;
  EXPECT_NE(outcome.text.find("MD5"), std::string::npos) << outcome.text;
  EXPECT_EQ(files_written(), 0);
}

TEST_F(GetData, KeepsTheFilesThatAreThere) {
  for (const auto& name : kFiles) pcxx::write_file(source() / "mnist" / name, "not a data set");
  fs::create_directories(target() / "mnist");
  pcxx::write_file(target() / "mnist" / kFiles[0], "mine");
  EXPECT_EQ(copy().code, 2);
  EXPECT_EQ(files_written(), 1);
  EXPECT_EQ(pcxx::read_file(target() / "mnist" / kFiles[0]), "mine");
}

TEST_F(GetData, CopiesMnistAndDoesNothingASecondTime) {
  if (!copy_mnist_to_source()) GTEST_SKIP() << "PCXX_DATA_DIR has no mnist/";
  const auto first = copy();
  ASSERT_EQ(first.code, 0) << first.text;
  EXPECT_EQ(files_written(), 4);
  for (const auto& name : kFiles) {
    EXPECT_EQ(pcxx::read_file(target() / "mnist" / name),
              pcxx::read_file(source() / "mnist" / name));
  }
  fs::remove_all(source() / "mnist");
  EXPECT_EQ(copy().code, 0);
}

TEST_F(GetData, RejectsATruncatedFile) {
  if (!copy_mnist_to_source()) GTEST_SKIP() << "PCXX_DATA_DIR has no mnist/";
  const auto truncated = source() / "mnist" / kFiles[2];
  fs::resize_file(truncated, fs::file_size(truncated) - 1);
  const auto outcome = copy();
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.text.find(kFiles[2]), std::string::npos) << outcome.text;
  EXPECT_FALSE(fs::exists(target() / "mnist" / kFiles[2]));
  EXPECT_EQ(files_written(), 2);  // the two before it, whole

  // The one that is damaged in the target is replaced once the source is right.
  pcxx::write_file(target() / "mnist" / kFiles[0], "damaged");
  ASSERT_TRUE(copy_mnist_to_source());
  EXPECT_EQ(copy().code, 0);
  EXPECT_EQ(pcxx::read_file(target() / "mnist" / kFiles[0]),
            pcxx::read_file(source() / "mnist" / kFiles[0]));
}

}  // namespace
