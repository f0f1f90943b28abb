#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>
#include <nanobind/nanobind.h>
#include <torch/csrc/Dtype.h>
#include <torch/csrc/DynamicTypes.h>
#include <torch/csrc/autograd/python_variable.h>

/// Tensors, as Python's torch has them: the same object on both sides, nothing is copied. An
/// undefined one is None.
template <>
struct nanobind::detail::type_caster<at::Tensor> {
  NB_TYPE_CASTER(at::Tensor, const_name("torch.Tensor"))

  bool from_python(handle source, std::uint8_t, cleanup_list*) noexcept {
    if (!THPVariable_Check(source.ptr())) return false;
    value = THPVariable_Unpack(source.ptr());
    return true;
  }

  static handle from_cpp(const at::Tensor& tensor, rv_policy, cleanup_list*) noexcept {
    return tensor.defined() ? handle(THPVariable_Wrap(tensor)) : none().release();
  }
};

template <>
struct nanobind::detail::type_caster<at::ScalarType> {
  NB_TYPE_CASTER(at::ScalarType, const_name("torch.dtype"))

  bool from_python(handle source, std::uint8_t, cleanup_list*) noexcept {
    if (!THPDtype_Check(source.ptr())) return false;
    value = reinterpret_cast<THPDtype*>(source.ptr())->scalar_type;
    return true;
  }

  static handle from_cpp(at::ScalarType type, rv_policy, cleanup_list*) noexcept {
    return handle(reinterpret_cast<PyObject*>(torch::getTHPDtype(type))).inc_ref();
  }
};
