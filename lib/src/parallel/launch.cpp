#include <pcxx/core/error.h>
#include <pcxx/parallel/launch.h>

#include <array>
#include <cstdlib>

#include "parallel/mpi_communicator.h"

namespace pcxx::parallel {

namespace {

// Of Open MPI, of MPICH and its relatives, of a step that srun has started.
constexpr std::array kSizes{"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"};
constexpr std::array kRanks{"OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"};
constexpr std::array kLocalRanks{"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"};

int number(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr || *text == '\0' ? otherwise
                                          : static_cast<int>(std::strtol(text, nullptr, 10));
}

}  // namespace

Launch launched() {
  for (std::size_t i = 0; i < kSizes.size(); ++i) {
    const int size = number(kSizes[i], 1);
    if (size > 1) return {number(kRanks[i], 0), size, number(kLocalRanks[i], 0)};
  }
  return {};
}

bool has_mpi() {
#ifdef PCXX_HAS_MPI
  return true;
#else
  return false;
#endif
}

std::unique_ptr<Communicator> join(const Launch& launch, [[maybe_unused]] WaitOptions options) {
  if (launch.size == 1) return std::make_unique<Alone>();
#ifdef PCXX_HAS_MPI
  auto ranks = std::make_unique<MpiCommunicator>(std::move(options));
  if (ranks->size() == launch.size) return ranks;
  user_error(
      "started as one of {} ranks, but MPI finds {}: start with the mpirun of this MPI, or with "
      "srun "
      "--mpi=pmix or pmi2, whichever it was built for",
      launch.size, ranks->size());
#else
  user_error(
      "started as one of {} ranks, which need MPI, and this build has none: install it (Debian: "
      "libopenmpi-dev and openmpi-bin) and build with -DPCXX_MPI=ON",
      launch.size);
#endif
}

}  // namespace pcxx::parallel
