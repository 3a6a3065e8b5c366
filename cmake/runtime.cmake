# The runtime with its C interface as one archive, libounce.a: graph, engine and the .ounce reader.
add_library(ounce_runtime STATIC src/capi/ounce.cpp
  $<TARGET_OBJECTS:ounce_graph> $<TARGET_OBJECTS:ounce_engine> $<TARGET_OBJECTS:ounce_engine_file>)
add_library(ounce::runtime ALIAS ounce_runtime)
set_target_properties(ounce_runtime PROPERTIES OUTPUT_NAME ounce EXPORT_NAME runtime)
target_include_directories(ounce_runtime PRIVATE src
  PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src/capi>
         $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_features(ounce_runtime PRIVATE cxx_std_20)
target_compile_definitions(ounce_runtime PRIVATE OUNCE_VERSION="${PROJECT_VERSION}")
# Named for programs in C, whose compiler does not add the C++ library.
target_link_libraries(ounce_runtime PUBLIC Threads::Threads INTERFACE stdc++ m)
