# PCXX_GIT_COMMIT: the commit that is checked out; empty outside a checkout of this project. A new
# commit configures again, so that programs never name an old one.
set(PCXX_GIT_COMMIT "")
execute_process(
  COMMAND git rev-parse --show-toplevel --git-path logs/HEAD HEAD
  WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
  OUTPUT_VARIABLE _git OUTPUT_STRIP_TRAILING_WHITESPACE
  ERROR_QUIET RESULT_VARIABLE _git_status)
if(_git_status EQUAL 0)
  string(REPLACE "\n" ";" _git "${_git}")
  list(GET _git 0 _git_root)
  if(_git_root STREQUAL PROJECT_SOURCE_DIR)
    list(GET _git 2 PCXX_GIT_COMMIT)
    list(GET _git 1 _git_log)
    get_filename_component(_git_log "${_git_log}" ABSOLUTE BASE_DIR ${PROJECT_SOURCE_DIR})
    if(EXISTS "${_git_log}")
      set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${_git_log}")
    endif()
  endif()
endif()
