#include <pcxx/nn/init.h>

#include <utility>

#include "catalog/registry.h"

namespace pcxx::catalog {
namespace {

InitPart part(std::string name, std::string doc, nn::DrawWeight draw) {
  InitPart made;
  made.name = std::move(name);
  made.doc = std::move(doc);
  made.make = [draw = std::move(draw)](const config::Config&) { return draw; };
  return made;
}

}  // namespace

std::vector<InitPart> init_parts() {
  return {
      part("kaiming", "U(-1/sqrt(n_in), 1/sqrt(n_in))", nn::init::kaiming),
      part("norm_preserving", "N(0, 1/n_out)", nn::init::norm_preserving),
      part("orthogonal", "kaiming with all singular values made equal", nn::init::orthogonal),
      part("unit_orthogonal", "all singular values 1", nn::init::unit_orthogonal),
      part("lecun", "N(0, 1/n_in)", nn::init::lecun),
      part("normal", "N(0, 1)", nn::init::normal),
  };
}

}  // namespace pcxx::catalog
