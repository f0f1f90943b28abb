#include <gtest/gtest.h>
#include <pcxx/nn/upsample2d.h>

#include "support/networks.h"

namespace pcxx::nn {
namespace {

using test::relative_difference;

// Oracle: PyTorch's upsampling of the images, autograd through it; a linear map is its derivative.
TEST(Upsample2d, IsPyTorchsNearestNeighbour) {
  for (const auto& options :
       {Upsample2dOptions(2, 2).size(3, 4), Upsample2dOptions(1, 3).size(5, 2),
        Upsample2dOptions(3, 1).size(2, 2), Upsample2dOptions(2, 4).size(1, 1)}) {
    const Upsample2d layer(options);
    SCOPED_TRACE(layer.description());
    auto x = at::randn({4, layer.in_features()}, at::kDouble).requires_grad_();
    const auto expected =
        at::upsample_nearest2d(x.view({4, options.channels(), options.height(), options.width()}),
                               {options.out_height(), options.out_width()})
            .flatten(1);
    ASSERT_EQ(expected.size(1), layer.out_features());
    const auto made = layer.run(x.detach());
    EXPECT_TRUE(made.prediction.equal(expected.detach()));
    const auto signal = at::randn_like(expected);
    expected.backward(signal);
    for (const bool ensemble : {false, true}) {
      const auto lead = [&](const at::Tensor& t) {
        return ensemble ? t.detach().unsqueeze(0) : t.detach();
      };
      const auto given = lead(x);
      const auto output = layer.run(given).kept.output;
      EXPECT_TRUE(output.equal(lead(expected)));
      EXPECT_LT(relative_difference(layer.pull_back(given, output, lead(signal), {}).input,
                                    lead(x.grad())),
                1e-14);
      EXPECT_TRUE(layer.push_forward(given, output, given, {}).equal(output));
      EXPECT_TRUE(layer.push_forward(given, output, {}, {}).equal(at::zeros_like(output)));
      EXPECT_TRUE(layer.moved(given, {}, 1).equal(output));
    }
  }
  EXPECT_EQ(Upsample2d(Upsample2dOptions(2, 3).size(5, 4)).description(),
            "upsample(factor=3, input=2x5x4)");
}

// Contract: what cannot be is refused.
TEST(Upsample2d, RefusesWhatCannotBe) {
  EXPECT_THROW(Upsample2d(Upsample2dOptions(0, 2).size(5, 5)), c10::Error);
  EXPECT_THROW(Upsample2d(Upsample2dOptions(1, 0).size(5, 5)), c10::Error);
  EXPECT_THROW(Upsample2d(Upsample2dOptions(1, 2).size(5, 0)), c10::Error);
}

}  // namespace
}  // namespace pcxx::nn
