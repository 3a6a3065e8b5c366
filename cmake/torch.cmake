# libtorch's own CMake package looks for what built it; headers and three libraries are enough.
find_path(OUNCE_TORCH_INCLUDE torch/csrc/api/include/torch/torch.h REQUIRED)
find_path(OUNCE_GLOO_INCLUDE gloo/context.h REQUIRED)  # its distributed headers include Gloo's
add_library(ounce_torch INTERFACE)
target_include_directories(ounce_torch SYSTEM INTERFACE
  ${OUNCE_TORCH_INCLUDE} ${OUNCE_TORCH_INCLUDE}/torch/csrc/api/include ${OUNCE_GLOO_INCLUDE})
foreach(library torch torch_cpu c10)
  find_library(OUNCE_TORCH_${library} ${library} REQUIRED)
  target_link_libraries(ounce_torch INTERFACE ${OUNCE_TORCH_${library}})
endforeach()
# The BLAS that libtorch itself calls.
find_library(OUNCE_BLAS blas REQUIRED)
target_link_libraries(ounce_torch INTERFACE ${OUNCE_BLAS})
# And the oneDNN of its convolutions, whose matrix product it does not call.
find_library(OUNCE_DNNL dnnl REQUIRED)
find_path(OUNCE_DNNL_INCLUDE dnnl.h REQUIRED)
target_link_libraries(ounce_torch INTERFACE ${OUNCE_DNNL})
target_include_directories(ounce_torch SYSTEM INTERFACE ${OUNCE_DNNL_INCLUDE})

# Its loops over elements are OpenMP's, in headers as in the library.
find_package(OpenMP REQUIRED COMPONENTS CXX)
target_link_libraries(ounce_torch INTERFACE OpenMP::OpenMP_CXX)

# Its headers take 8 s to read: once for the library, not once a file. All of <torch/torch.h> would
# be twice the size, which every file then pays for.
function(ounce_precompile_torch name)
  target_precompile_headers(ounce_${name} PRIVATE
    <ATen/ATen.h> <torch/csrc/autograd/custom_function.h>)
endfunction()

# The same for a program, from the header that was compiled for the library `ounce_<name>`: it fits
# only where the flags are the same, and programs would have -fPIE.
function(ounce_reuse_torch program name)
  set_target_properties(${program} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_compile_options(${program} PRIVATE -fPIC)
  target_precompile_headers(${program} REUSE_FROM ounce_${name})
endfunction()
