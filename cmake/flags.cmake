# How Tandem's own sources are compiled; nothing of this reaches a user of the library.
add_library(tandem_flags INTERFACE)
target_compile_options(tandem_flags INTERFACE -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual
  -fno-omit-frame-pointer)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  # g++ 12 warns of overlapping copies inside its own std::string at -O3, where there are none (GCC bug 105651).
  target_compile_options(tandem_flags INTERFACE -Wno-restrict)
endif()
option(TANDEM_WERROR "Warnings are errors" ${PROJECT_IS_TOP_LEVEL})
if(TANDEM_WERROR)
  target_compile_options(tandem_flags INTERFACE -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  target_compile_options(tandem_flags INTERFACE -Wthread-safety)
endif()
if(TANDEM_SANITIZE)
  add_compile_options(-fsanitize=${TANDEM_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${TANDEM_SANITIZE})
  target_sources(tandem_flags INTERFACE
    $<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:${CMAKE_CURRENT_LIST_DIR}/sanitizer_options.cpp>)
  if(TANDEM_SANITIZE STREQUAL thread)
    target_sources(tandem_flags INTERFACE
      $<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:${CMAKE_CURRENT_LIST_DIR}/thread_sanitizer_exceptions.cpp>)
  endif()
endif()
find_program(TANDEM_CCACHE ccache)
if(TANDEM_CCACHE AND PROJECT_IS_TOP_LEVEL)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${TANDEM_CCACHE})
endif()
