# Libraries that the tools need and the deployment runtime does not.
find_package(Protobuf REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(tomlplusplus REQUIRED)
find_package(pugixml REQUIRED)
find_package(CLI11 REQUIRED)
find_package(Eigen3 REQUIRED NO_MODULE)
find_package(PkgConfig REQUIRED)
pkg_check_modules(LIBZIP REQUIRED IMPORTED_TARGET libzip)  # its CMake package wants its tools

# OpenCV's own CMake package wants every module's development files; three modules are enough here.
set(OUNCE_OPENCV)
find_path(OUNCE_OPENCV_INCLUDE opencv2/imgcodecs.hpp PATH_SUFFIXES opencv4 REQUIRED)
foreach(module core imgproc imgcodecs)
  find_library(OUNCE_OPENCV_${module} opencv_${module} REQUIRED)
  list(APPEND OUNCE_OPENCV ${OUNCE_OPENCV_${module}})
endforeach()
add_library(ounce_opencv INTERFACE)
target_include_directories(ounce_opencv SYSTEM INTERFACE ${OUNCE_OPENCV_INCLUDE})
target_link_libraries(ounce_opencv INTERFACE ${OUNCE_OPENCV})
set(OUNCE_OPENCV ounce_opencv)

# ounce_messages(<name> <proto> <root>): a library of the C++ that protoc makes of a schema at build
# time; `root` is what its path in includes is relative to.
function(ounce_messages name proto root)
  set(generated ${CMAKE_BINARY_DIR}/generated)
  file(MAKE_DIRECTORY ${generated})
  file(RELATIVE_PATH relative ${root} ${proto})
  string(REGEX REPLACE "\\.proto$" ".pb" base ${generated}/${relative})
  add_custom_command(
    OUTPUT ${base}.cc ${base}.h
    COMMAND protobuf::protoc --cpp_out=${generated} -I${root} ${proto}
    DEPENDS ${proto}
    VERBATIM)
  add_library(${name} STATIC ${base}.cc)
  target_include_directories(${name} SYSTEM PUBLIC ${generated})
  target_link_libraries(${name} PUBLIC protobuf::libprotobuf)
  target_compile_options(${name} PRIVATE -w)
endfunction()

# The ONNX message format: the schema that libonnx-dev installs.
find_file(OUNCE_ONNX_PROTO onnx/onnx.proto PATHS /usr/include REQUIRED)
get_filename_component(onnx_proto_dir ${OUNCE_ONNX_PROTO} DIRECTORY)
get_filename_component(onnx_proto_root ${onnx_proto_dir} DIRECTORY)
ounce_messages(ounce_onnx_schema ${OUNCE_ONNX_PROTO} ${onnx_proto_root})
