# What must not be sent must not compile.
add_subdirectory(must_not_compile)

# A library with callables in it, in three builds: callable_test loads and unloads them at run time. They find Tandem in the
# executable that loads them.
add_library(callable_library MODULE callable_library.cpp)
add_library(callable_library_other_build MODULE callable_library.cpp)
target_compile_definitions(callable_library_other_build PRIVATE TANDEM_OTHER_BUILD)
add_library(callable_library_without_build_id MODULE callable_library.cpp)
target_link_options(callable_library_without_build_id PRIVATE LINKER:--build-id=none)
foreach(library callable_library callable_library_other_build callable_library_without_build_id)
  target_include_directories(${library} PRIVATE ${PROJECT_SOURCE_DIR}/include)
  target_link_libraries(${library} PRIVATE cereal::cereal tandem_flags)
  target_compile_features(${library} PRIVATE cxx_std_20)
  # Beside the test executables, which look for them there.
  set_target_properties(${library} PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
  # Deferred until the executables are there.
  foreach(executable tandem_tests callable_test)
    cmake_language(EVAL CODE "cmake_language(DEFER CALL add_dependencies ${executable} ${library})")
  endforeach()
endforeach()
