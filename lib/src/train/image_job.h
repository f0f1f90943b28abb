#pragma once

#include <pcxx/run/run.h>
#include <pcxx/run/work.h>
#include <pcxx/train/image_training.h>

#include <cstdint>

namespace pcxx::train {

/// Trains one network on images, from its seed or from the job's checkpoint: what it measured and
/// its weights. test_batch: inputs and targets of the test images.
run::Part train_on_images(const run::Run& run, const ImageTask& task, const data::Images& images,
                          const data::Batch& test_batch, const catalog::Model& model, double rate,
                          std::int64_t seed, run::JobContext& job);

}  // namespace pcxx::train
