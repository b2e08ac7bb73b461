# Compiles CASE and compares what the compiler says with the file's first line: `// EXPECT: <regular expression>`.
file(STRINGS ${CASE} first_line LIMIT_COUNT 1)
if(NOT first_line MATCHES "^// EXPECT: (.+)$")
  message(FATAL_ERROR "${CASE} does not begin with `// EXPECT: `")
endif()
set(expected "${CMAKE_MATCH_1}")

execute_process(COMMAND ${COMPILER} -std=c++20 -fsyntax-only -I${INCLUDE} ${CASE}
  RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)

if(expected MATCHES "^nothing")
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "must compile but does not:\n${output}")
  endif()
elseif(result EQUAL 0)
  message(FATAL_ERROR "compiles but must not")
elseif(NOT output MATCHES "${expected}")
  message(FATAL_ERROR "the message lacks `${expected}`:\n${output}")
endif()
