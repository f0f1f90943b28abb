#pragma once

#include <pcxx/config/config.h>

#include <string>

/// What the config of one model says of it.
namespace pcxx::catalog {

/// Whether the model's layers are multiplied into one before it trains: the key `collapsed`.
bool is_collapsed(const config::Config& model);

/// Whether the model learns by rule = "kpc", which has no learning rate, rescaling or optimizer.
bool is_kalman(const config::Config& model);

/// "pc + decorrelation", "pc" or "bp + projection, collapsed": a model's name for people.
std::string model_name(const config::Config& model);

}  // namespace pcxx::catalog
