# Checks of the tree itself, each a short program in tools/.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
foreach(check check_docs check_conformance check_layers)
  add_test(NAME tree.${check} COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/tools/${check})
endforeach()
