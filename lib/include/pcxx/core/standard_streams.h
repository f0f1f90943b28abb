#pragma once

#include <cstdio>
#include <string_view>

/// What programs read and print: descriptors 0 to 2.
namespace pcxx {

/// Opens /dev/null on those of the three that are closed. Otherwise the first files that a program
/// opens would get their numbers, and what it prints would stand in them. Call it first.
void open_standard_streams();

/// Prints text for people on `stdout` or `stderr`. That nobody can read it is no failure.
void print_to(std::FILE* stream, std::string_view text) noexcept;

/// Prints what was asked for, such as a help text, on stdout. Throws FileError when it cannot be
/// written. A reader that went away, as in `| head`, has read enough.
void print_answer(std::string_view text);

}  // namespace pcxx
