# The first C++ block of a Markdown file as a source file, so that a test can build it.
#   cmake -DFROM=README.md -DTO=build/readme_example.cpp -P cmake/ReadmeExample.cmake
file(READ "${FROM}" text)
string(FIND "${text}" "```cpp\n" begin)
if(begin EQUAL -1)
  message(FATAL_ERROR "${FROM} has no block of C++")
endif()
math(EXPR begin "${begin} + 7")
string(SUBSTRING "${text}" ${begin} -1 text)
string(FIND "${text}" "```" end)
string(SUBSTRING "${text}" 0 ${end} text)
file(CONFIGURE OUTPUT "${TO}" CONTENT "${text}" @ONLY)
