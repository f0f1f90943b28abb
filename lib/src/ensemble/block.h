#pragma once

#include <pcxx/ensemble/ensemble.h>

#include <cstddef>
#include <cstdint>
#include <vector>

/// What passes between the engine (ensemble.cpp) and the code compiled once per instruction set
/// (kernels.cpp).
namespace pcxx::ensemble {

/// A batch of every stream as the kernels read it: [S][n][columns], times 1 / sqrt(samples), so
/// that products of two activities are means over samples. `full` is the batch before compression,
/// not scaled.
template <typename T>
struct StepData {
  std::int64_t samples = 0;
  std::int64_t columns = 0;
  std::vector<T> input;
  std::vector<T> target;
  std::int64_t full_columns = 0;
  std::vector<T> full_input;
  std::vector<T> full_target;
};

/// The samples of one step as they are drawn: input [S][rows][inputs], target [S][rows][outputs].
struct Samples {
  const double* input = nullptr;
  const double* target = nullptr;
  std::int64_t streams = 0;
  std::int64_t rows = 0;
  std::int64_t inputs = 0;
  std::int64_t outputs = 0;
};

/// The same second moments in fewer columns, as data::compress has them.
///   input [S][inputs][columns], target [S][outputs][columns]
struct Compressed {
  std::int64_t columns = 0;
  std::vector<double> input;
  std::vector<double> target;
};
Compressed compress(const Samples& samples);

/// One vector of members: W of them, the last ones copies where members have run out (member -1).
template <typename T>
struct Group {
  T* weights = nullptr;  // M_1..M_L one after the other; M = I + W when residual
  T* memory = nullptr;   // Q_1..Q_L of the recursive projection
  T* teacher = nullptr;  // W_data
  T* rates = nullptr;    // [W] each from here on
  T* regularisation = nullptr;
  T* first_error = nullptr;
  std::vector<std::int64_t> member;
  std::vector<std::int64_t> stream;
  std::vector<char> active;
  bool done = false;  // no member is active
};

/// Where measurements go; rows of R numbers.
template <typename T>
struct Records {
  std::int64_t members = 0;
  double* errors = nullptr;
  double* alignments = nullptr;
  std::int64_t* left_at = nullptr;
  std::int64_t* zero_denominators = nullptr;
  std::vector<T*> weights;  // [R, n_l, n_{l-1}] of every layer
};

/// Steps [first, first + data.size()) of a run of `steps`; step `steps` is only measured.
template <typename T>
struct Chunk {
  std::int64_t first = 0;
  std::int64_t steps = 0;
  std::vector<StepData<T>> data;
};

/// Largest batches of a run, which set the size of a worker's buffers.
struct Columns {
  std::int64_t batch = 0;
  std::int64_t full = 0;
};

/// W: members in a vector.
template <typename T>
std::int64_t lanes();

/// Numbers of type T that a worker needs beside the groups it trains.
template <typename T>
std::size_t scratch_size(const Problem& problem, Columns columns);

/// Trains groups through a chunk, step by step.
template <typename T>
void run_block(const Problem& problem, const Chunk<T>& chunk, Columns columns,
               std::vector<Group<T>*>& groups, const Records<T>& records, T* scratch);

}  // namespace pcxx::ensemble
