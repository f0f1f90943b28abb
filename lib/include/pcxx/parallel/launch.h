#pragma once

#include <pcxx/parallel/communicator.h>
#include <pcxx/parallel/patience.h>

#include <memory>

namespace pcxx::parallel {

/// As which of how many processes mpirun or srun has started this one, by its environment (that of
/// Open MPI, MPICH and its relatives, and Slurm); rank 0 of 1 elsewhere.
struct Launch {
  int rank = 0;
  int size = 1;
  int local_rank = 0;  ///< on this machine
};
Launch launched();

/// Whether this build has MPI.
bool has_mpi();

/// All processes of the launch; Alone where there is one. Throws UserError where there are several
/// and this build has no MPI, or where MPI does not know of them. Once a process: the ranks part
/// when the result is destroyed.
std::unique_ptr<Communicator> join(const Launch& launch, WaitOptions options);

}  // namespace pcxx::parallel
