#include <fcntl.h>
#include <fmt/format.h>
#include <pcxx/core/error.h>
#include <pcxx/core/files.h>
#include <pcxx/run/run_lock.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <ctime>
#include <fstream>
#include <iterator>
#include <mutex>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>
#include <stop_token>
#include <string>
#include <system_error>
#include <vector>

#include "core/system_calls.h"
#include "io/json_text.h"

namespace pcxx::run {

namespace fs = std::filesystem;

namespace {

// Other hosts may see the time of a link a minute late.
constexpr std::chrono::seconds kSign{30};
constexpr std::chrono::seconds kSilence{180};

constexpr std::string_view kPrefix = ".pcxx-lock-";
constexpr std::string_view kRun = "run";
constexpr std::string_view kMerge = "merge";
constexpr std::string_view kShard = "shard-";

std::string name_of(const FolderWork& work) {
  if (!work.jobs) return fmt::format("{}{}", kPrefix, kMerge);
  if (work.results) return fmt::format("{}{}", kPrefix, kRun);
  return fmt::format("{}{}{}-of-{}", kPrefix, kShard, work.jobs->index, work.jobs->count);
}

// Of the name of a lock; what is not known is everything.
FolderWork work_of(std::string_view name) {
  name.remove_prefix(kPrefix.size());
  if (name == kMerge) return {.jobs = std::nullopt, .results = true};
  const auto of = name.find("-of-");
  if (!name.starts_with(kShard) || of == std::string_view::npos) return {};
  const auto index = name.substr(kShard.size(), of - kShard.size());
  try {
    return {.jobs = parse_shard(fmt::format("{}/{}", index, name.substr(of + 4))),
            .results = false};
  } catch (const UserError&) {
    return {};
  }
}

// i mod N and j mod M meet where they agree modulo the greatest common divisor of N and M.
bool share_jobs(const Shard& a, const Shard& b) {
  return (a.index - b.index) % std::gcd(a.count, b.count) == 0;
}

bool exclude(const FolderWork& a, const FolderWork& b) {
  return (a.results && b.results) || (a.jobs && b.jobs && share_jobs(*a.jobs, *b.jobs));
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

// When a process of this host began, in ticks since the host did: another may have its number
// later. Nothing for one that has ended; empty where the system does not tell.
std::optional<std::string> start_of(pid_t process) {
  if (::kill(process, 0) != 0 && errno == ESRCH) return std::nullopt;
  std::ifstream stream(fmt::format("/proc/{}/stat", process));
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  const auto name_end = text.rfind(')');
  if (name_end == std::string::npos) return "";
  std::istringstream rest(text.substr(name_end + 1));
  const std::vector<std::string> fields{std::istream_iterator<std::string>(rest), {}};
  constexpr std::size_t kStart = 19;  // the first is the state
  if (fields.size() <= kStart) return "";
  const bool ended = fields.front() == "Z" || fields.front() == "X";
  return ended ? std::nullopt : std::optional(fields[kStart]);
}

// Since a link was last given the time; none where that is not known.
std::chrono::seconds age_of(const fs::path& link) {
  struct stat found{};
  if (::lstat(link.c_str(), &found) != 0) return {};
  return std::chrono::seconds(std::time(nullptr) - found.st_mtime);
}

void give_time_to(const std::stop_token& stop, const fs::path& link) {
  std::mutex mutex;
  std::unique_lock lock(mutex);
  std::condition_variable_any stopped;
  while (!stopped.wait_for(lock, stop, kSign, [&] { return stop.stop_requested(); })) {
    ::utimensat(AT_FDCWD, link.c_str(), nullptr, AT_SYMLINK_NOFOLLOW);
  }
}

// Signals to the process are the other threads' business.
std::jthread start_signs(const fs::path& link) {
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::jthread signs;
  try {
    signs = std::jthread(give_time_to, link);
  } catch (const std::system_error&) {
    // The system gives no more threads: other hosts may take the process for dead.
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return signs;
}

struct Holder {
  std::string program;
  std::string host;
  pid_t process = 0;
  std::string start;

  std::string text() const {
    return nlohmann::json{
        {"program", program}, {"host", host}, {"process", process}, {"start", start}}
        .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
  bool is_here() const { return host == host_name(); }
  bool has_ended(const fs::path& link) const {
    if (!is_here()) return age_of(link) > kSilence;
    const auto now = start_of(process);
    return !now || (!now->empty() && !start.empty() && *now != start);
  }
};

std::optional<Holder> holder_of(const fs::path& link) {
  std::error_code error;
  const auto text = fs::read_symlink(link, error).string();
  const auto json = io::parse_json(text);
  if (error || !json.is_object()) return std::nullopt;
  try {
    return Holder{.program = json.at("program").get<std::string>(),
                  .host = json.at("host").get<std::string>(),
                  .process = json.at("process").get<pid_t>(),
                  .start = json.at("start").get<std::string>()};
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

[[noreturn]] void refuse(const fs::path& folder, const fs::path& link) {
  const auto holder = holder_of(link);
  if (!holder) {
    user_error("'{}' is in use, as '{}' says; if no run is at work there, remove that",
               folder.string(), link.string());
  }
  const auto elsewhere = holder->is_here()
                             ? ""
                             : fmt::format("; if it has ended, remove '{}', or wait for {} minutes",
                                           link.string(), kSilence.count() / 60);
  user_error("'{}' is in use: {}, process {} on {}, is at work there{}", folder.string(),
             holder->program, holder->process, holder->host, elsewhere);
}

std::vector<std::string> locks_in(const fs::path& folder) {
  auto names = names_in(folder);
  std::erase_if(names, [](const std::string& name) { return !name.starts_with(kPrefix); });
  return names;
}

// One process of this host at a time looks for locks and sets its own, where the file system helps.
class Turn {
 public:
  explicit Turn(const fs::path& folder)
      : folder_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (folder_ >= 0) retried([&] { return ::flock(folder_, LOCK_EX); });
  }
  ~Turn() {
    if (folder_ >= 0) ::close(folder_);
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  int folder_;
};

void remove_ended(const fs::path& folder) {
  for (const auto& name : locks_in(folder)) {
    const auto holder = holder_of(folder / name);
    if (!holder || !holder->has_ended(folder / name)) continue;
    if (!remove_entry(folder / name)) file_error("cannot remove", folder / name, errno);
  }
}

bool without_links(int error) {
  return error == EPERM || error == ENOTSUP || error == ENOSYS;
}

}  // namespace

RunLock::RunLock(const fs::path& folder, std::string_view program, const FolderWork& work) {
  const Turn turn(folder);
  remove_ended(folder);
  for (const auto& name : locks_in(folder)) {
    if (exclude(work_of(name), work)) refuse(folder, folder / name);
  }
  const auto link = folder / name_of(work);
  const Holder self{.program = std::string(program),
                    .host = host_name(),
                    .process = ::getpid(),
                    .start = start_of(::getpid()).value_or("")};
  if (retried([&] { return ::symlink(self.text().c_str(), link.c_str()); }) == 0) {
    link_ = link;
    signs_ = start_signs(link);
  } else if (errno == EEXIST) {
    refuse(folder, link);
  } else if (!without_links(errno)) {
    file_error("cannot write", link, errno);
  }
}

RunLock::~RunLock() {
  signs_ = {};
  if (!link_.empty()) remove_entry(link_);
}

void RunLock::sweep(const fs::path& folder) {
  const Turn turn(folder);
  remove_ended(folder);
}

std::size_t RunLock::holders(const fs::path& folder) {
  return locks_in(folder).size();
}

}  // namespace pcxx::run
