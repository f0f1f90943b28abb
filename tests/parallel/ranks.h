#pragma once

#include <pcxx/parallel/communicator.h>

/// The ranks that run this test program: one by itself, or those of mpirun. All run the same tests
/// in the same order, and none may leave a test before the others do: EXPECT, never ASSERT, on what
/// can differ.
namespace pcxx::test {

parallel::Communicator& ranks();

}  // namespace pcxx::test
