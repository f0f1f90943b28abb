#pragma once

// One function a file: each adds a part to the programs (pcxx/catalog/extend.h).

void add_feedback_alignment();
void add_gated_layer();
void add_gratings();
void add_momentum_descent();
void add_normalised();

inline void add_everything() {
  add_feedback_alignment();
  add_gated_layer();
  add_gratings();
  add_momentum_descent();
  add_normalised();
}
