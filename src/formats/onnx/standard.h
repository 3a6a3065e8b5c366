#pragma once

#include <string_view>

namespace ounce::formats {

/// Throws `Error` when the default ONNX domain does not have `op` in `opset`: an operator of
/// ounce's own that only shares its table with ONNX (a later standard may give the same name
/// another meaning), one that came with a later opset, one that was withdrawn. Names that neither
/// ONNX nor ounce knows pass.
void check_standard_operator(std::string_view op, int opset);

}  // namespace ounce::formats
