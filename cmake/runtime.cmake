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

# Time is spent in kernels and, between them, in the thread pool; all the rest runs while a model is
# loaded, or for operators that have no kernel. So does what packs weights of few bits.
if(OUNCE_SMALL)
  file(GLOB_RECURSE sources ${PROJECT_SOURCE_DIR}/src/graph/*.cpp ${PROJECT_SOURCE_DIR}/src/engine/*.cpp
                            ${PROJECT_SOURCE_DIR}/src/formats/ounce_file/*.cpp
                            ${PROJECT_SOURCE_DIR}/src/capi/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/kernels/|/thread_pool")
  list(APPEND sources ${PROJECT_SOURCE_DIR}/src/engine/kernels/codes/packed_codes.cpp
                      ${PROJECT_SOURCE_DIR}/src/engine/kernels/bits/pack_bits.cpp)
  set_source_files_properties(${sources} PROPERTIES
                              COMPILE_OPTIONS "-Os;-ffunction-sections;-fdata-sections")
endif()
