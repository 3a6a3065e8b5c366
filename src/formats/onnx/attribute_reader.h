#pragma once

#include "formats/onnx/tensor_proto.h"
#include "graph/attributes.h"

namespace ounce::formats {

/// The attributes of an ONNX node; tensors are taken out of the message. Throws `Error` naming the
/// attribute on subgraphs and other kinds that the graph has no place for.
AttributeMap take_attributes(onnx::NodeProto& node, ExternalData& external);

}  // namespace ounce::formats
