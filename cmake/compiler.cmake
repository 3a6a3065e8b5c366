# Compiler settings that hold for every target.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

find_program(CCACHE ccache)
if(CCACHE)
  # Without this, sources behind a precompiled header are never found in the cache.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE})
endif()

add_compile_options(-Wall -Wextra -Wpedantic -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 warns wrongly about `"text" + std::string` (its bug 105651).
  add_compile_options(-Wno-restrict)
endif()
if(OUNCE_SANITIZE OR OUNCE_FUZZ)
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # With its checks in the way GCC no longer sees what bounds a copy or sets a value, and warns.
    add_compile_options(-Wno-stringop-overflow -Wno-stringop-overread
                        -Wno-maybe-uninitialized)
  endif()
endif()
if(OUNCE_SANITIZE_THREADS)
  add_compile_options(-fsanitize=thread)
  add_link_options(-fsanitize=thread)
endif()
if(OUNCE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# Kernels are unrolled by hand and inlined into one another: with every check at every load their
# sanitized build takes minutes a file. AddressSanitizer stays whole (by calls instead of inline
# code); of the undefined behaviour, arithmetic, shifts and bounds stay.
function(ounce_lighten_sanitizers directory)
  if(OUNCE_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    file(GLOB_RECURSE sources ${PROJECT_SOURCE_DIR}/${directory}/*.cpp)
    set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS
      "-fno-sanitize=alignment,null,object-size,pointer-overflow,bool,enum;\
--param=asan-instrumentation-with-call-threshold=500;-fno-var-tracking")
  endif()
endfunction()

# Kernels say themselves what is a vector. The compiler's own would be made of their loops over the
# last few elements, and loops be copied for every condition in them: two to three times the code,
# and no faster.
function(ounce_optimise_kernels directory)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    file(GLOB_RECURSE sources ${PROJECT_SOURCE_DIR}/${directory}/*.cpp)
    set_property(SOURCE ${sources} APPEND PROPERTY COMPILE_OPTIONS
                 -fno-tree-vectorize -fno-unswitch-loops)
  endif()
endfunction()
