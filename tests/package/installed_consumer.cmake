# tests/consumer, the project of docs/extending.md, builds on the moved tree, and its parts run in the
# programs: from TOML, swept, shared out and merged, drawn, refused.
# Oracles: the names in what the programs write, the same sweep done in one piece, the exit codes.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)
fresh_folder(${WORK})
set(project ${SOURCE}/tests/consumer)
configure(text ${project} ${WORK}/build -Dpcxx_ROOT=${PREFIX})
run(text ${WORK} ${CMAKE_COMMAND} --build ${WORK}/build --parallel 2)
set(lab ${WORK}/build/lab)

function(expect_refused text)
  execute_process(COMMAND ${ARGN} WORKING_DIRECTORY ${WORK}
    OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE status)
  if(NOT status EQUAL 2)
    message(FATAL_ERROR "exit code ${status} in place of 2\n${output}")
  endif()
  expect_part("${output}" "${text}")
endfunction()

# A learning rule, a rescaling, an inference method, an optimizer, an initialisation, a loss and a metric,
# from one config.
set(ENV{PCXX_PYTHON} /nonexistent)
set(parts --config ${project}/parts.toml --set steps=20)
run(text ${WORK} ${lab}-regression ${parts} --out whole)
file(READ ${WORK}/whole/metrics.csv whole)
foreach(name IN ITEMS feedback_alignment normalised momentum_descent lion sparse weight_norm log_cosh softplus)
  expect_part("${whole}" "${name}")
endforeach()
expect_no_part("${text}" "diverged ")
foreach(shard IN ITEMS 0 1)
  run(text ${WORK} ${lab}-regression ${parts} --out shared --shard ${shard}/2)
endforeach()
run(text ${WORK} ${lab}-regression --merge shared)
file(READ ${WORK}/shared/metrics.csv shared)
if(NOT whole STREQUAL shared)
  message(FATAL_ERROR "the merged metrics.csv is not the whole one")
endif()
run(text ${WORK} ${lab}-regression --config whole/config.toml --out again)
file(READ ${WORK}/again/metrics.csv again)
if(NOT whole STREQUAL again)
  message(FATAL_ERROR "the config that a run leaves does not repeat it")
endif()

# A layer type and a data set.
run(text ${WORK} ${lab}-classifier --config ${project}/gratings.toml
  --set steps=40 --set seeds=1 --set learning_rate=0.3 --out gratings)
file(READ ${WORK}/gratings/summary.json summary)
expect_part("${summary}" "\"dataset\": \"gratings\"")
expect_part("${summary}" "\"layer\": \"gated\"")
# Eight classes: guesses are right once in eight.
string(JSON accuracy GET "${summary}" models 0 final_accuracy)
if(accuracy LESS 0.25)
  message(FATAL_ERROR "gratings were not learnt: ${accuracy}")
endif()
run(text ${WORK} ${lab}-alignment --set layer=[dense,gated] --set gate_gain=[1,2]
  --set architecture=relu --set width=8 --set hidden_layers=2 --set seeds=1 --out alignment)
file(READ ${WORK}/alignment/metrics.csv alignment)
expect_part("${alignment}" "gate_gain")

# What --help says of the parts, and how they refuse.
run(text ${WORK} ${lab}-regression --help)
string(REGEX REPLACE "[ \n]+" " " text "${text}")
foreach(part IN ITEMS "momentum_descent" "fraction of its last step that momentum_descent repeats"
                      "gated: tanh(V x) sigmoid(G x)" "feedback_seed"
                      "sparse: a few inputs a unit" "lion: the sign of a mean" "lion_b2"
                      "weight_norm: norm of all parameters")
  expect_part("${text}" "${part}")
endforeach()
expect_refused("inference = 'momentum_descent' needs an inference_step_size above 0"
  ${lab}-regression --set rule=pc --set inference=momentum_descent)
expect_refused("needs layers of one weight or none"
  ${lab}-regression --set rule=kpc --set layer=gated)
expect_refused("gate_gain" ${lab}-regression --set gate_gain=0)

# Figures, where there is matplotlib.
foreach(python IN ITEMS ${SOURCE}/.venv/bin/python python3)
  execute_process(COMMAND ${python} -c "import numpy, matplotlib" RESULT_VARIABLE status ERROR_QUIET)
  if(status EQUAL 0)
    foreach(name IN ITEMS regression classifier alignment)
      string(REPLACE "regression" "whole" run_folder ${name})
      string(REPLACE "classifier" "gratings" run_folder ${run_folder})
      run(text ${WORK} ${python} ${PREFIX}/share/pcxx/plots/${name}.py ${run_folder}
        --out ${name}.png)
      expect_file(${WORK}/${name}.png)
    endforeach()
    break()
  endif()
endforeach()
