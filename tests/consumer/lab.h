#pragma once

// One function a file: each adds a part to the programs (pcxx/catalog/extend.h, and
// pcxx/train/observer.h for what is measured).

void add_feedback_alignment();
void add_gated_layer();
void add_gratings();
void add_lion();
void add_log_cosh();
void add_momentum_descent();
void add_normalised();
void add_softplus();
void add_sparse_init();
void add_weight_norm();

inline void add_everything() {
  add_feedback_alignment();
  add_gated_layer();
  add_gratings();
  add_lion();
  add_log_cosh();
  add_momentum_descent();
  add_normalised();
  add_softplus();
  add_sparse_init();
  add_weight_norm();
}
