# Libraries that the tools need and the deployment runtime does not.
find_package(Protobuf REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(tomlplusplus REQUIRED)
find_package(pugixml REQUIRED)
find_package(CLI11 REQUIRED)
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

# The ONNX message format: C++ generated at build time from the schema that libonnx-dev installs.
find_file(OUNCE_ONNX_PROTO onnx/onnx.proto PATHS /usr/include REQUIRED)
set(onnx_generated ${CMAKE_BINARY_DIR}/generated)
file(MAKE_DIRECTORY ${onnx_generated})
get_filename_component(onnx_proto_dir ${OUNCE_ONNX_PROTO} DIRECTORY)
get_filename_component(onnx_proto_root ${onnx_proto_dir} DIRECTORY)
add_custom_command(
  OUTPUT ${onnx_generated}/onnx/onnx.pb.cc ${onnx_generated}/onnx/onnx.pb.h
  COMMAND protobuf::protoc --cpp_out=${onnx_generated} -I${onnx_proto_root} ${OUNCE_ONNX_PROTO}
  DEPENDS ${OUNCE_ONNX_PROTO}
  VERBATIM)
add_library(ounce_onnx_schema STATIC ${onnx_generated}/onnx/onnx.pb.cc)
target_include_directories(ounce_onnx_schema SYSTEM PUBLIC ${onnx_generated})
target_link_libraries(ounce_onnx_schema PUBLIC protobuf::libprotobuf)
target_compile_options(ounce_onnx_schema PRIVATE -w)
