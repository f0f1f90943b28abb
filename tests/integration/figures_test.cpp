// What the package pcxx_plots draws, and how it answers what it cannot draw, where a Python with
// matplotlib is found. Each test is one Python: it takes a second to load.

#include <gtest/gtest.h>

#include "support/environment.h"
#include "support/python.h"

namespace pcxx {
namespace {

namespace fs = std::filesystem;

const std::string kPlots = PCXX_SOURCE_DIR "/plots";

// A Python, a folder, and functions that the scripts of these tests share: `write` makes the run
// folder of a list of (rule, rescaling, architecture, seed, step, metric, value), `main` runs a
// module and gives its exit code and what it said.
class Figures : public ::testing::Test {
 protected:
  void SetUp() override {
    if (python_.empty()) GTEST_SKIP() << "no Python with numpy and matplotlib";
    write_file(folder_ / "shared.py", R"(
import contextlib, importlib, io, json, os, sys
sys.path.insert(0, sys.argv[1])
HEADER = ("rule,rescaling,architecture,init,hidden_layers,width,condition_number,batch_size,"
          "learning_rate,targets,steps,dtype,seed,step,metric,value\n")
def text(rows, depth=1):
    return HEADER + "".join(
        f"{rule},{rescaling},{architecture},kaiming,{depth},8,0,1,0.1,teacher,2,float64,"
        f"{seed},{step},{metric},{value}\n"
        for rule, rescaling, architecture, seed, step, metric, value in rows)
def write(folder, content, summary=None):
    os.makedirs(folder, exist_ok=True)
    content = content if isinstance(content, bytes) else content.encode()
    open(folder + "/metrics.csv", "wb").write(content)
    if summary is not None:
        open(folder + "/summary.json", "w").write(summary)
def main(module, *words):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        code = importlib.import_module("pcxx_plots." + module).main(list(words))
    return code, said.getvalue()
)");
  }

  // What the script prints, run in the folder.
  std::string printed(const std::string& script) {
    write_file(folder_ / "script.py", "from shared import *\n" + script);
    const test::CurrentFolder here(folder_.path());
    std::string text;
    EXPECT_EQ(test::run_command({python_, "script.py", kPlots}, text), 0) << text;
    return text;
  }

  test::TemporaryFolder folder_;
  std::string python_ = test::python_with("numpy, matplotlib");
};

// Contract: a picture, whatever the numbers are.
TEST_F(Figures, AreDrawnOfAnyNumbers) {
  EXPECT_EQ(printed(R"(
for value in ("nan", "inf", "-inf", "0", "-1", "1e-320", "1e308"):
    for module, metrics in (("regression", ["map_error"]), ("alignment", ["target_alignment"]),
                            ("classifier", ["test_error", "test_accuracy"])):
        if module != "regression" and value not in ("nan", "1e308"): continue
        for bad in ({0}, {0, 1}):
            steps = (0, 1) if module != "alignment" else (1,)
            write("run", text([("bp", "none", "dln", seed, step, metric,
                                value if (step if len(steps) > 1 else seed) in bad else 0.5)
                               for seed in (0, 1) for step in steps for metric in metrics]))
            code, said = main(module, "run", "--out", "a.png")
            if code or not os.path.exists("a.png"): print(module, value, bad, code, said)
            os.remove("a.png")
)"),
            "");
}

// By hand: two rows, 0.5 and 1, in each encoding; and one sentence for what is no text.
TEST_F(Figures, ReadWhatASpreadsheetHasSaved) {
  EXPECT_EQ(printed(R"(
import pcxx_plots
rows = text([("bp", "none", "dln", 0, step, "map_error", value) for step, value in ((0, 1), (1, 0.5))])
for encoding in ("utf-8", "utf-8-sig", "utf-16"):
    write("run", rows.replace("teacher", "t\u00e9acher").encode(encoding))
    print(pcxx_plots.load("run")["value"].tolist())
for bad in (rows.replace("teacher", "t\u00e9acher").encode("latin-1"), (rows + '"' + 200000 * "x").encode(), b""):
    write("run", bad)
    code, said = main("regression", "run")
    print(code, said.count("\n"), "run/metrics.csv" in said)
)"),
            "[1.0, 0.5]\n[1.0, 0.5]\n[1.0, 0.5]\n2 1 True\n2 1 True\n2 1 True\n");
}

// Contract: exit code 2 and one sentence that names the file.
TEST_F(Figures, RefuseMalformedJson) {
  EXPECT_EQ(printed(R"(
rows = text([("bp", "none", "dln", 0, step, metric, 1) for step in (0, 1)
             for metric in ("map_error", "prediction1", "prediction2")])
for summary in ("[]", "null", "1", "", "[" * 100000, '{"models": null}', '{"models": [null]}',
                '{"models": ["a"]}', '{"models": [{"best_rate": "a"}]}', '{"models": [{"best_rate": NaN}]}',
                '{"models": [{"best_rate": -1}]}', '{"models": [], "best_by": []}', '{"target": [1, "a"]}',
                '{"target": 3}', '{"picture_rows": [1]}', '{"models": [{"best_rate": 1' + 400 * "0" + "}]}"):
    write("run", rows, summary)
    for module in ("regression", "trajectory"):
        code, said = main(module, "run", "--out", "a.png")
        if (code, said.count("\n")) != (2, 1) or "run/summary.json" not in said:
            print(summary[:40], module, code, said)
for description in ("[]", '{"figures": {}}', '{"figures": [1]}',
                    '{"figures": [{"id": "1", "title": "a", "columns": "2", "panels": []}]}',
                    '{"figures": [{"id": "1", "title": "a", "panels": [{"id": "1"}]}]}',
                    '{"figures": [{"id": [], "title": "a", "panels": []}]}'):
    open("run/paper.json", "w").write(description)
    code, said = main("paper", "run")
    if (code, said.count("\n")) != (2, 1) or "run/paper.json" not in said:
        print(description, code, said)
)"),
            "");
}

// Contract: a script runs under every guard of Python's against the current folder, beside modules
// of the names of its own and Jupyter's back end, and says in a sentence what it lacks.
TEST_F(Figures, AreDrawnFromAnywhere) {
  printed(
      R"(write("run", text([("bp", "none", "dln", 0, step, "map_error", 1) for step in (0, 1)])))");
  const test::CurrentFolder here(folder_.path());
  const test::Variable backend("MPLBACKEND", "module://a_back_end.that_is_not_there");
  for (const std::string name : {"records", "style", "training", "regression", "numpy", "json"}) {
    write_file(folder_ / (name + ".py"), "raise SystemExit('of the current folder')\n");
  }
  const auto expect_run = [&](std::vector<std::string> options, int expected) {
    std::vector<std::string> command{python_};
    command.insert(command.end(), options.begin(), options.end());
    command.insert(command.end(), {kPlots + "/regression.py", "run", "--out", "run/a.png"});
    std::string text;
    EXPECT_EQ(test::run_command(command, text), expected) << text;
    EXPECT_EQ(fs::remove(folder_ / "run/a.png"), expected == 0);
    return text;
  };
  for (const std::vector<std::string>& options :
       {std::vector<std::string>{}, {"-I"}, {"-E", "-s"}}) {
    EXPECT_EQ(expect_run(options, 0), "");
  }
  {
    const test::Variable safe("PYTHONSAFEPATH", "1");
    EXPECT_EQ(expect_run({}, 0), "");
  }
  const auto text = expect_run({"-I", "-S"}, 2);  // without its packages
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
  EXPECT_NE(text.find("has not what figures need"), std::string::npos) << text;

  for (const std::string name : {"numpy", "json"}) fs::remove(folder_ / (name + ".py"));
  write_file(folder_ / "run/environment.json", R"({"program": "pcxx-regression"})");
  const std::string own =
      "import sys; sys.path.append(sys.argv[1]); import pcxx_plots; "
      "pcxx_plots.save('run', 'run/a.png')";
  std::string said;
  EXPECT_EQ(test::run_command({python_, "-c", own, kPlots}, said), 0) << said;
}

// Invariant: two custom parts differ in colour (rules), dash or marker (rescalings), keep that
// within a figure, and do not look like the library's. Thirty have room in a legend.
TEST_F(Figures, TellCustomPartsApart) {
  EXPECT_EQ(printed(R"(
from pcxx_plots import style
with style.using():
    rules = [style.line((rule, "none"))["color"] for rule in ("bp", "pc", "kpc", "mine", "yours", "mine")]
    print(len(set(rules)), rules[3] == rules[5])
    looks = [style.line(("bp", name)) for name in ("none", "alpha", "projection", "mine", "yours", "mine")]
    dashes = [(str(look["linestyle"]), look["marker"]) for look in looks]
    print(len(set(dashes)), dashes[3] == dashes[5])
    looks = [style.line((f"rule{k}", "none")) for k in range(30)]
    print(len({(look["color"], look["marker"]) for look in looks}))
for part in (0, 1):
    rows = [("bp", "none", "dln", 0, step, "map_error", 1) for step in (0, 1)]
    rows = [(*row[:part], f"custom{k}", *row[part + 1:]) for k in range(30) for row in rows]
    write("run", text(rows))
    open("run/environment.json", "w").write('{"program": "pcxx-regression"}')
    print(*main("regression", "run", "--out", "a.png"), main("redraw", "run", "--size", "3x2")[0])
)"),
            "5 True\n5 True\n30\n0  0\n0  0\n");
}

// By hand: of the errors 1 and 3 the mean 2, and 2 -+ sqrt(2) cut to the seeds' own 1 and 3; of 1,
// 2 and 3 the mean 2 and 2 -+ 1; of one seed the seed. A value that is none leaves a gap.
TEST_F(Figures, ShowTheMeanOfTheErrors) {
  EXPECT_EQ(printed(R"(
import numpy as np
from pcxx_plots import training
for seeds in ([1, 3], [1, 2, 3], [4], [1, np.nan], [1e-300, 0]):
    print(*(round(float(part[0]), 12) for part in training.mean_and_range(np.array([seeds], dtype=float))))
)"),
            "2.0 1.0 3.0\n2.0 1.0 3.0\n4.0 4.0 4.0\nnan nan nan\n0.0 0.0 0.0\n");
}

// By hand: BP and PC with and without projection at 2 depths of 2 architectures, whose alignments
// stand in one panel: a line, two edges of a band and the bars of the theory each. Bands end at 1.
TEST_F(Figures, OfThePaperHaveItsModelsAlone) {
  EXPECT_EQ(printed(R"(
from pcxx_plots import paper, style
rows = ""
for depth in (1, 2):
    rows += text([(rule, rescaling, architecture, seed, 1, metric, 0.6 + 0.4 * seed)
                  for rule in ("bp", "pc") for rescaling in ("none", "projection")
                  for architecture in ("residual", "dln") for seed in (0, 1)
                  for metric in ("target_alignment", "predicted_alignment")], depth).replace(HEADER, "")
write("out/panels/5", HEADER + rows)
open("out/paper.json", "w").write(json.dumps({"figures": [{"id": "5", "title": "Both", "panels": [
    {"id": "5", "title": "plain", "program": "pcxx-alignment", "folder": "panels/5"}]}]}))
figure = paper.read_description("out")["figures"][0]
with style.using():
    for ours in (False, True):
        fig = paper.draw("out", figure, "", ours)
        lines = fig.axes[0].lines
        words = [text.get_text() for legend in fig.legends for text in legend.get_texts()]
        print(len(fig.axes), len(lines), max(line.get_ydata().max() for line in lines), "; ".join(sorted(words)))
print(main("paper", "out")[0], main("paper", "out", "--ours")[0], *sorted(os.listdir("out/figures")))
)"),
            "1 16 1.0 BP; PC; deep linear network; predicted by the theory; residual network\n"
            "1 32 1.0 BP; BP + projection (ours); PC; PC + projection (ours); deep linear network; "
            "predicted by the theory; residual network\n"
            "0 0 figure5-ours.pdf figure5-ours.png figure5.pdf figure5.png\n");
}

// By hand: what captions say of panels with 10, 10 and 3 seeds, of one seed, and of how the best
// rate was chosen.
TEST_F(Figures, SayWhatTheyShow) {
  EXPECT_EQ(
      printed(R"(
from pcxx_plots import style, training
print(style.averages(style.seeds_by_panel("ABD", [10, 10, 3])))
print(style.averages(style.seeds_by_panel("A", [1])))
for rule in ("final", "area", None):
    print(training.note("2 seeds", [], [{"best_by": rule} if rule else {}], False))
)"),
      "mean and one standard deviation over 10 seeds (3 in D)\n"
      "1 seed\n"
      "Curves: mean and one standard deviation over 2 seeds, each model at its best rate, the "
      "one with the lowest final error.\n"
      "Curves: mean and one standard deviation over 2 seeds, each model at its best rate, the "
      "one with the lowest mean of the logarithm over the run.\n"
      "Curves: mean and one standard deviation over 2 seeds, each model at its best rate.\n");
}

// By hand: counts of two seeds are summed; rows are fractions of their class; a title has what
// tells the models apart, and the accuracy. Without counts there is no matrix, and the curves stay.
TEST_F(Figures, OfClassifiersHaveConfusionMatrices) {
  EXPECT_EQ(printed(R"(
from pcxx_plots import confusion, classifier, style
write("run", text([("bp", "none", "relu", seed, step, metric, 0.5) for seed in (0, 1) for step in (0, 1)
                   for metric in ("test_error", "test_accuracy")]))
def count(*rows):
    open("run/confusion.csv", "w").write("model,rule,rescaling,width,seed,target,predicted,count\n" +
        "".join(",".join(map(str, row)) + "\n" for row in rows))
count(*[("m", "bp", "none", width, seed, i, j, 1 + 2 * (i == j) + seed) for width in (4, 8) for seed in (0, 1)
        for i in (0, 1) for j in (0, 1)])
found = confusion.read(["run"])
print([one.counts.tolist() for one in found], found[0].seeds)
with style.using():
    print(confusion.titles(found), confusion.titles(found[:1]))
    fig = classifier.draw(["run"])
    image = fig.axes[3].images[0].get_array()
    print(len(fig.axes), image.tolist(), [word.get_text() for word in fig.axes[3].texts])
    print(len(confusion.draw(["run"]).axes))
print(main("confusion", "run", "--out", "a.png"), os.path.getsize("a.png") > 5000)
count()
with style.using(): print(len(classifier.draw(["run"]).axes))
print(main("confusion", "run", "--out", "a.png"))
os.remove("run/confusion.csv")
with style.using(): print(len(classifier.draw(["run"]).axes))
)"),
            "[[[7, 3], [3, 7]], [[7, 3], [3, 7]]] 2\n"
            "['BP, width 4: 70 %', 'BP, width 8: 70 %'] ['BP: 70 %']\n"
            "5 [[0.7, 0.3], [0.3, 0.7]] ['7', '3', '3', '7']\n"
            "2\n(0, '') True\n3\n"
            "(2, 'script.py: run has no confusion.csv with the counts of a model\\n')\n3\n");
}

// Contract: exit code 2 and one sentence that names the file.
TEST_F(Figures, RefuseMalformedCounts) {
  EXPECT_EQ(printed(R"(
header = "model,rule,rescaling,seed,target,predicted,count\n"
write("run", text([("bp", "none", "relu", 0, step, metric, 0.5) for step in (0, 1)
                   for metric in ("test_error", "test_accuracy")]))
for content in ("a,b\n1,2\n", header + "m,bp,none,0,0,0\n", header + "m,bp,none,0,0,0,1,2\n",
                header + "m,bp,none,0,0,0,-1\n", header + "m,bp,none,0,0,0,x\n", header + "m,bp,none,0,1e3,0,1\n",
                header + "m,bp,none,0,99999999,0,1\n", header + "m,bp,none,0,0,0," + "9" * 30 + "\n",
                header + "m,,none,0,0,0,1\n", header + 'm,bp,"none'):
    open("run/confusion.csv", "w").write(content)
    for module in ("classifier", "confusion"):
        code, said = main(module, "run", "--out", "a.png")
        if (code, said.count("\n")) != (2, 1) or "run/confusion.csv" not in said: print(repr(content), code, said)
)"),
            "");
}

}  // namespace
}  // namespace pcxx
