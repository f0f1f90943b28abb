#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

/// The figures of the paper as configs/paper/ describes them.
namespace pcxx::reproduce {

/// How much of an experiment is done: `quick` has fewer rates and seeds, `paper` the paper's own,
/// `more` a hundred seeds where they are cheap.
enum class Profile { kQuick, kPaper, kMore };

/// "quick", "paper", "more".
std::string_view name(Profile profile);
/// Throws UserError when it is none of them.
Profile profile_from(std::string_view name);

/// One run of one program.
struct Panel {
  std::string id;                ///< "2A"; its results lie in panels/<id>
  std::string title;             ///< what it shows, a few words
  std::string program;           ///< "pcxx-alignment"
  std::filesystem::path config;  ///< the run's config
  std::vector<std::string> set;  ///< "key=value" over the config, those of the profile last
  double seconds = 1;            ///< about how long it takes: what the time left is judged by
};

/// Panels that are drawn together.
struct Figure {
  std::string id;     ///< "2"; "beyond-..." where it is not in the paper
  std::string title;  ///< a sentence
  std::string plot;   ///< "curves", or "curves_and_sweeps" where the rates are shown too
  int columns = 2;    ///< of the panels
  std::string notes;  ///< how it differs from the paper's, and which reading is which
  std::vector<Panel> panels;
};

/// Every *.toml of `folder`, in the order of their names:
///
///   title = "..."
///   columns = 4
///   [[panels]]
///   id = "4A"
///   program = "pcxx-alignment"
///   config = "../fig4a_alignment.toml"       # relative to this file
///   set = ["as_printed=true"]                # in every profile
///   quick = ["seeds=3"]                      # in this profile, likewise `more`
///   seconds = { quick = 2, paper = 30, more = 300 }
///   [[panels]]
///   id = "3C"                                # nothing else: figure 3's panel
///
/// Throws UserError with file and key where one is unreadable, lacks a key or has an unknown one.
std::vector<Figure> read_figures(const std::filesystem::path& folder, Profile profile);

/// The figures, whole or some of their panels, that "2,3A,4" names; without names all of them.
/// `beyond` stands for all that are not in the paper. Throws UserError on what is none.
std::vector<Figure> select_figures(std::vector<Figure> figures, const std::string& names);

}  // namespace pcxx::reproduce
