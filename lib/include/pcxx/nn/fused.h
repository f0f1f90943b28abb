#pragma once

#include <ATen/core/Tensor.h>
#include <pcxx/nn/activation.h>

/// The elementwise work between two matrix products, each in one pass over memory. On the CPU, for
/// contiguous float32 and float64, these are SIMD loops chosen at run time for the processor; for
/// other devices, and for activations without such loops, they are the equivalent tensor
/// expressions. f' is taken from a = f(z), so that activations whose slope is one of z have no
/// place here, but in times_slope. Rows (all leading dimensions) go to
/// threads; a row's result does not depend on how many there are.
namespace pcxx::nn::fused {

/// a <- f(a) and x <- f(a) + eps (+ below when it is defined: a residual layer's input).
/// a, eps, x, below: the same shape [.., n]; x may not alias the others.
void activate_and_add(at::Tensor& a, const at::Tensor& eps, const at::Tensor& below,
                      Activation activation, at::Tensor& x);

/// a <- f(a), r <- target - f(a) (- below), h <- r * f'; squares <- sum_n r^2 per row.
/// a, target, r, h [.., n]; squares [..]. h may be undefined for the identity, where it is r.
void output_error(at::Tensor& a, const at::Tensor& target, const at::Tensor& below,
                  Activation activation, at::Tensor& r, at::Tensor& h, at::Tensor& squares);

/// An output layer there and back: a <- W x, then output_error, then delta <- h W. For one sample W
/// is read once. x, delta [.., n], weight [.., m, n], the others as in output_error.
void output_round_trip(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& target,
                       Activation activation, at::Tensor& a, at::Tensor& r, at::Tensor& h,
                       at::Tensor& squares, at::Tensor& delta);

/// One gradient step on a layer's errors: with the gradient g = eps - delta,
/// gradient_squares += sum_n g^2, error_squares += sum_n eps^2, eps <- eps - step * g, and
/// h <- delta * f' where h is defined (it may alias delta). step and the squares hold one value a
/// row.
void descend(at::Tensor& eps, const at::Tensor& delta, const at::Tensor& a, Activation activation,
             const at::Tensor& step, at::Tensor& gradient_squares, at::Tensor& error_squares,
             at::Tensor& h);

/// The same without a step: eps stays, and g is kept in `gradient`, shaped like eps.
void gradient(const at::Tensor& eps, const at::Tensor& delta, const at::Tensor& a,
              Activation activation, at::Tensor& gradient, at::Tensor& gradient_squares,
              at::Tensor& error_squares, at::Tensor& h);

/// g * f', a new tensor; g itself for the identity. a: what `nn::slope` takes.
at::Tensor times_slope(const at::Tensor& g, const at::Tensor& a, Activation activation);

}  // namespace pcxx::nn::fused
