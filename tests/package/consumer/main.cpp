#include <pcxx/core/error.h>
#include <pcxx/core/files.h>
#include <pcxx/core/share.h>
#include <pcxx/data/drawn_digits.h>
#include <pcxx/programs.h>
#include <pcxx/version.h>

#include <iostream>

// One line for each thing that an installed tree has to give.
int main() {
  std::cout << "pcxx " << PCXX_VERSION << '\n';
  std::cout << pcxx::data::drawn_digits(3, 0).size() << " digits\n";
  try {
    pcxx::read_file("/nowhere");
  } catch (const pcxx::UserError& error) {
    std::cout << "caught: " << error.what() << '\n';
  }
  std::cout << pcxx::programs::regression().name << '\n';
  std::cout << "share: " << pcxx::share_folder().string() << '\n';
}
