# Plugins that the tests of the tool load. Built as a user builds one: without Tandem in it.
foreach(plugin mischief other_build no_plugin)
  add_library(plugin_${plugin} MODULE plugins/${plugin}.cpp)
  set_target_properties(plugin_${plugin} PROPERTIES OUTPUT_NAME ${plugin} PREFIX ""
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/plugins)
  target_compile_features(plugin_${plugin} PRIVATE cxx_std_20)
  target_include_directories(plugin_${plugin} PRIVATE $<TARGET_PROPERTY:tandem::tandem,INTERFACE_INCLUDE_DIRECTORIES>)
  target_link_libraries(plugin_${plugin} PRIVATE cereal::cereal tandem_flags)
endforeach()
