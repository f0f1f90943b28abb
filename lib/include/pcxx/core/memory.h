#pragma once

namespace pcxx {

/// Tells the C library to keep freed memory up to a gibibyte, where it is glibc, rather than to
/// give it back: a training step frees and allocates the same megabytes again, and pages that come
/// back are filled with zeros first. For programs; call it before anything is allocated.
void keep_freed_memory();

}  // namespace pcxx
