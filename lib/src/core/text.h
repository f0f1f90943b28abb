#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

/// Text for people and shells.
namespace pcxx {

/// Appends words and a line break, starting new lines at `indent` where a line would pass column
/// 100.
void append_wrapped(std::string& out, const std::string& text, std::size_t indent);

/// A text of the user's for messages: no more than its first 100 bytes or so, on one line.
std::string shortened(std::string_view text);

/// Words as one line that a shell splits into the same words again; a line break becomes \x0a.
std::string shell_line(const std::vector<std::string>& words);

/// A sentence with the control characters of what it names written as \n, \t or \x1b: one line.
std::string one_line(std::string_view text);

/// Whether LibTorch says by this that there was no memory left.
bool is_out_of_memory(std::string_view text);

}  // namespace pcxx
