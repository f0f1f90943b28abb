#pragma once

#include <pcxx/run/run.h>
#include <pcxx/run/work.h>
#include <pcxx/train/image_training.h>

#include <cstdint>

namespace pcxx::train {

/// Inputs and targets of the images that networks are tested on; nullptr where there is no
/// validation.
struct Tested {
  const data::Batch* test;
  const data::Batch* validation;
};

/// Trains one network on images, from its seed or from the job's checkpoint: what it measured and
/// its weights.
run::Part train_on_images(const run::Run& run, const ImageTask& task, const data::Images& images,
                          const Tested& tested, const catalog::Model& model, double rate,
                          std::int64_t seed, run::JobContext& job);

}  // namespace pcxx::train
