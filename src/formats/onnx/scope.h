#pragma once

#include <string>
#include <string_view>

namespace ounce::formats {

/// The module path in a node name, as exporters write it: "/blocks.3/attn/MatMul" ->
/// "blocks.3.attn",
/// "/layer1/layer1.0/conv1/Conv" -> "layer1.0.conv1". Empty when the name has no slash.
std::string scope_of(std::string_view node_name);

}  // namespace ounce::formats
