// What reads what users hand in, once more, with sanitizers and counters: these definitions come
// before those of the library, which has everything else.

#include "../../apps/reproduce/results.cpp"
#include "../../lib/src/core/files.cpp"
#include "../../lib/src/core/state.cpp"
#include "../../lib/src/data/idx.cpp"
#include "../../lib/src/train/archive.cpp"
#include "../../lib/src/train/command_line.cpp"
#include "../../lib/src/train/config.cpp"
#include "../../lib/src/train/json_text.cpp"
#include "../../lib/src/train/parts.cpp"
#include "../../lib/src/train/safetensors.cpp"
#include "../../lib/src/train/saved_run.cpp"
#include "../../lib/src/train/schema.cpp"
#include "../../lib/src/train/settings.cpp"
#include "../../lib/src/train/text.cpp"
#include "../../lib/src/train/toml_text.cpp"
