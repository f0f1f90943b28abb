// What reads what users hand in, once more, with sanitizers and counters: these definitions come
// before those of the library, which has everything else.

#include "../../apps/reproduce/results.cpp"
#include "../../lib/src/config/config.cpp"
#include "../../lib/src/config/schema.cpp"
#include "../../lib/src/config/settings.cpp"
#include "../../lib/src/config/toml_text.cpp"
#include "../../lib/src/core/files.cpp"
#include "../../lib/src/core/state.cpp"
#include "../../lib/src/core/text.cpp"
#include "../../lib/src/data/idx.cpp"
#include "../../lib/src/io/archive.cpp"
#include "../../lib/src/io/json_text.cpp"
#include "../../lib/src/io/safetensors.cpp"
#include "../../lib/src/run/command_line.cpp"
#include "../../lib/src/run/parts.cpp"
#include "../../lib/src/run/saved_run.cpp"
