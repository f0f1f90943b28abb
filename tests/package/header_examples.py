"""One source file of all examples in the comments of public headers, to be compiled.

    header_examples.py OUT.cpp HEADERS...     writes the file
    header_examples.py --list HEADERS...      names the examples, by header and line

An example is a run of comment lines that are indented by two spaces or more, one of which ends as a
statement does. It is compiled in the namespace of its header: functions, and classes with what stands
beside them, as they are; statements in a function that is given the objects they name.
"""

import pathlib
import re
import sys

# What examples take for granted, by name; some names mean another thing in one package.
OBJECTS = {
    "adam": "torch::optim::Adam& adam",
    "batch": "const pcxx::data::Batch& batch",
    "batches": "const std::vector<pcxx::data::Batch>& batches",
    "config": "const pcxx::config::Config& config",
    "conv": "const pcxx::inference::Layer& conv",
    "done": "bool (*done)()",
    "folder": "const std::filesystem::path& folder",
    "head": "torch::nn::Linear head",
    "images": "const pcxx::data::Images& images",
    "job": "pcxx::run::JobContext& job",
    "maps": "const at::Tensor& maps",
    "minibatches": "pcxx::data::Minibatches& minibatches",
    "model": "const pcxx::config::Config& model",
    "net": "pcxx::nn::Network net",
    "network": "pcxx::nn::Network network",
    "network_map": "const at::Tensor& network_map",
    "next": "const std::function<pcxx::data::Batch(std::int64_t)>& next",
    "optimizer": "pcxx::optim::Rescaled& optimizer",
    "options": "const pcxx::parallel::WaitOptions& options",
    "ranks": "pcxx::parallel::Communicator& ranks",
    "rates": "const at::Tensor& rates",
    "records": "pcxx::run::Records& records",
    "rescaling": "pcxx::optim::Rescaling& rescaling",
    "rule": "pcxx::learning::LearningRule& rule",
    "run": "pcxx::run::Run& run",
    "schema": "const pcxx::config::Schema& schema",
    "seed": "std::uint64_t seed",
    "seeds": "const at::Tensor& seeds",
    "targets": "const at::Tensor& targets",
    "task": "const pcxx::train::ImageTask& task",
    "text": "const std::string& text",
    "train": "void (*train)(const std::string&, const std::vector<double>&)",
    "w1": "const at::Tensor& w1",
    "w2": "const at::Tensor& w2",
}
IN_PACKAGE = {
    "ensemble": {"run": None},
    "inference": {"images": "const at::Tensor& images", "optimizer": "torch::optim::Adam& optimizer"},
    "nn": {"images": "const at::Tensor& images"},
}

# What functions and classes take for granted.
DECLARATIONS = """
namespace pcxx::catalog {
struct Sign : optim::Rescaling {
  std::vector<optim::Direction> directions(const std::vector<learning::LayerFactors>&) override;
  std::string_view name() const override;
};
}
namespace pcxx::inference {
struct Momentum : Solver {
  explicit Momentum(const at::Tensor& like);
  void step(Energy&, SampleControl&, bool) override;
  void keep(const at::Tensor&) override;
  at::Tensor step_sizes() const override;
};
}
namespace pcxx::run {
void measure_alignment(Run& run);
void restore(const Part& part);
Part state();
void update();
Part results();
extern std::int64_t step;
extern std::int64_t steps;
}
"""

COMMENT = re.compile(r"\s*///( ?)(.*)")
STATEMENT = re.compile(r".*(\(|=|::).*;|.*\)( const)?( override)? \{|.*\) \{\}|(class|struct|enum) .*[{;]")


def code_of(line):
    """Without a comment at its end."""
    return re.sub(r"\s+//.*", "", line).rstrip()


def is_code(block):
    return any(STATEMENT.fullmatch(code_of(line).strip()) for _, line in block)


def blocks_of(text):
    """Runs of indented comment lines, as (number, line); blank ones within stay."""
    block = []
    for number, line in enumerate(text.splitlines(), start=1):
        found = COMMENT.fullmatch(line)
        if found and found.group(2).startswith("  "):
            block.append((number, found.group(2)[2:]))
            continue
        if block:
            yield block
        block = []


def examples_of(header):
    return [block for block in blocks_of(header.read_text()) if is_code(block)]


def namespace_of(header):
    return re.search(r"^namespace (pcxx[\w:]*) \{", header.read_text(), re.MULTILINE).group(1)


def stands_alone(code):
    """Whether it is a function, a class or a template, and no statements."""
    first = code_of(code.splitlines()[0])
    keyword = first.split()[0]
    return keyword in {"class", "struct", "enum", "template"} or (
        first.endswith("{") and re.match(r"[\w:<>]+ \w+\(.*\) \{", first) is not None
        and keyword not in {"for", "if", "while"})


def objects_in(code, package):
    known = {**OBJECTS, **IN_PACKAGE.get(package, {})}
    words = set(re.findall(r"(?<![\w.>])\w+(?!::)\b", re.sub(r"//.*|\"[^\"]*\"", "", code)))
    return [known[word] for word in sorted(words) if known.get(word)]


def as_source(header, block):
    code = "\n".join(line for _, line in block)
    namespace = namespace_of(header)
    place = f'#line {block[0][0]} "{header}"'
    if stands_alone(code):
        if code.startswith("enum"):  # with a specialisation of pcxx's beside it
            return f"{place}\n{code}"
        return f"namespace {namespace} {{\n{place}\n{code}\n}}"
    package = header.parent.name
    parameters = ",\n    ".join(objects_in(code, package))
    name = f"example_of_{header.stem}_{block[0][0]}"
    return f"namespace {namespace} {{\nvoid {name}({parameters}) {{ {{\n{place}\n{code}\n}} }}\n}}"


def include_of(header):
    return str(header).split("/include/")[1]


def source_of(headers):
    includes = [f"#include <{include_of(header)}>" for header in headers]
    includes.append("#include <torch/torch.h>")
    sources = [as_source(header, block) for header in headers for block in examples_of(header)]
    return "\n".join([*includes, DECLARATIONS, *sources, ""])


def main(words):
    target, *headers = words
    headers = [pathlib.Path(header) for header in headers]
    if target == "--list":
        for header in headers:
            for block in examples_of(header):
                print(f"{header}:{block[0][0]}: {block[0][1].strip()}")
        return
    found = sum(len(examples_of(header)) for header in headers)
    if found < 25:
        sys.exit(f"header_examples.py: only {found} examples: is this how they are written?")
    pathlib.Path(target).write_text(source_of(headers))


if __name__ == "__main__":
    main(sys.argv[1:])
