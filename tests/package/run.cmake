# Uses Tandem as another project would, in a folder made anew, and its cluster if there is one (-D cluster=ON). -D way=
#   find_package          from what the build folder of these tests installs
#   find_package_shared   from an installed shared library
#   add_subdirectory      built by the consumer itself
set(here ${CMAKE_CURRENT_LIST_DIR})
file(REMOVE_RECURSE ${work_dir})
file(MAKE_DIRECTORY ${work_dir})

function(step)
  execute_process(COMMAND ${ARGN} COMMAND_ECHO STDOUT RESULT_VARIABLE code)
  if(NOT code EQUAL 0)
    message(FATAL_ERROR "ended with ${code}")
  endif()
endfunction()

set(options -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER=${compiler} -DCMAKE_CXX_COMPILER_LAUNCHER=${launcher})
set(consumers find_package)
set(consumer_options -DCMAKE_PREFIX_PATH=${work_dir}/prefix)
if(cluster)
  list(APPEND consumers find_cluster)
endif()
if(way STREQUAL find_package_shared)
  set(build_dir ${work_dir}/tandem)
  step(${CMAKE_COMMAND} -S ${source_dir} -B ${build_dir} ${options} -DBUILD_SHARED_LIBS=ON -DTANDEM_TESTS=OFF
    -DTANDEM_BENCH=OFF -DTANDEM_CLI=OFF -DTANDEM_CLUSTER=${cluster})
  step(${CMAKE_COMMAND} --build ${build_dir})
elseif(way STREQUAL add_subdirectory)
  set(consumers add_subdirectory)
  # As projects do that want their builds quick.
  set(consumer_options -DTANDEM_SOURCE_DIR=${source_dir} -DCMAKE_BUILD_TYPE=Debug -DCMAKE_UNITY_BUILD=ON)
endif()
if(NOT way STREQUAL add_subdirectory)
  step(${CMAKE_COMMAND} --install ${build_dir} --prefix ${work_dir}/prefix)
endif()

foreach(consumer IN LISTS consumers)
  step(${CMAKE_COMMAND} -S ${here}/${consumer} -B ${work_dir}/build/${consumer} ${options} ${consumer_options})
  step(${CMAKE_COMMAND} --build ${work_dir}/build/${consumer})
  step(${work_dir}/build/${consumer}/consumer)
endforeach()
if(EXISTS ${work_dir}/prefix/bin/tandem)
  step(${work_dir}/prefix/bin/tandem compare --list)
endif()
