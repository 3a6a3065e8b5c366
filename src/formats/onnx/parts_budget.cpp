#include "formats/onnx/parts_budget.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <array>
#include <string>

#include "graph/error.h"
#include "onnx/onnx.pb.h"

namespace ounce::formats {
namespace {

namespace pb = google::protobuf;
using pb::internal::WireFormatLite;

/// A pointer in the list of its parent, and the header of an allocation.
constexpr size_t kPerPart = 8 + 16;
/// An unpacked number takes two bytes of the file at least.
constexpr size_t kPerNumber = 8;
/// The parser gives up at this depth as well.
constexpr int kMaxDepth = 100;

/// The messages of the format that can repeat, or hold what can.
enum class Part {
  attribute,
  dimension,
  entry,
  function,
  graph,
  model,
  node,
  opset,
  quantization,
  shape,
  sparse,
  tensor,
  text,  // a string, for this purpose
  training,
  type,
  type_inner,  // tensor, sequence, map, optional
  value,
};

/// What parsing one part allocates. Characters and packed numbers are not counted: the file is
/// about as large as they are.
size_t size_of(Part part) {
  switch (part) {
    case Part::attribute:
      return sizeof(onnx::AttributeProto);
    case Part::dimension:
      return sizeof(onnx::TensorShapeProto_Dimension);
    case Part::function:
      return sizeof(onnx::FunctionProto);
    case Part::graph:
      return sizeof(onnx::GraphProto);
    case Part::model:
      return sizeof(onnx::ModelProto);
    case Part::node:
      return sizeof(onnx::NodeProto);
    case Part::sparse:
      return sizeof(onnx::SparseTensorProto);
    case Part::tensor:
      return sizeof(onnx::TensorProto);
    case Part::text:
      return sizeof(std::string);
    case Part::training:
      return sizeof(onnx::TrainingInfoProto);
    case Part::value:
      return sizeof(onnx::ValueInfoProto);
    case Part::entry:
    case Part::opset:
    case Part::quantization:
    case Part::shape:
    case Part::type:
    case Part::type_inner:
      return sizeof(onnx::TensorAnnotation);  // the largest of them
  }
  return 0;
}

/// Field `number` of `parent` is a `child`.
struct Field {
  Part parent;
  int number;
  Part child;
};

constexpr std::array kFields = {
    Field{Part::attribute, 5, Part::tensor},  Field{Part::attribute, 6, Part::graph},
    Field{Part::attribute, 9, Part::text},    Field{Part::attribute, 10, Part::tensor},
    Field{Part::attribute, 11, Part::graph},  Field{Part::attribute, 14, Part::type},
    Field{Part::attribute, 15, Part::type},   Field{Part::attribute, 22, Part::sparse},
    Field{Part::attribute, 23, Part::sparse}, Field{Part::function, 4, Part::text},
    Field{Part::function, 5, Part::text},     Field{Part::function, 6, Part::text},
    Field{Part::function, 7, Part::node},     Field{Part::function, 9, Part::opset},
    Field{Part::graph, 1, Part::node},        Field{Part::graph, 5, Part::tensor},
    Field{Part::graph, 11, Part::value},      Field{Part::graph, 12, Part::value},
    Field{Part::graph, 13, Part::value},      Field{Part::graph, 14, Part::quantization},
    Field{Part::graph, 15, Part::sparse},     Field{Part::model, 7, Part::graph},
    Field{Part::model, 8, Part::opset},       Field{Part::model, 14, Part::entry},
    Field{Part::model, 20, Part::training},   Field{Part::model, 25, Part::function},
    Field{Part::node, 1, Part::text},         Field{Part::node, 2, Part::text},
    Field{Part::node, 5, Part::attribute},    Field{Part::quantization, 2, Part::entry},
    Field{Part::shape, 1, Part::dimension},   Field{Part::sparse, 1, Part::tensor},
    Field{Part::sparse, 2, Part::tensor},     Field{Part::tensor, 6, Part::text},
    Field{Part::tensor, 13, Part::entry},     Field{Part::training, 1, Part::graph},
    Field{Part::training, 2, Part::graph},    Field{Part::training, 3, Part::entry},
    Field{Part::training, 4, Part::entry},    Field{Part::type, 1, Part::type_inner},
    Field{Part::type, 4, Part::type_inner},   Field{Part::type, 5, Part::type_inner},
    Field{Part::type, 8, Part::type_inner},   Field{Part::type, 9, Part::type_inner},
    Field{Part::type_inner, 1, Part::type},   Field{Part::type_inner, 2, Part::shape},
    Field{Part::value, 2, Part::type},
};

class PartsCounter {
 public:
  PartsCounter(pb::io::CodedInputStream& stream, size_t max_bytes)
      : stream_(stream), max_bytes_(max_bytes) {}

  /// Walks one message up to its end or the first damage; false: stop here.
  bool walk(Part message, int depth) {
    if (depth > kMaxDepth) return false;
    while (const uint32_t tag = stream_.ReadTag()) {
      if (!field(message, tag, depth)) return false;
    }
    return stream_.ConsumedEntireMessage();
  }

 private:
  bool field(Part parent, uint32_t tag, int depth) {
    if (WireFormatLite::GetTagWireType(tag) != WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      add(kPerNumber);
      return WireFormatLite::SkipField(&stream_, tag);
    }
    const int number = WireFormatLite::GetTagFieldNumber(tag);
    const auto* const known = std::find_if(kFields.begin(), kFields.end(), [&](const Field& row) {
      return row.parent == parent && row.number == number;
    });
    if (known == kFields.end()) return WireFormatLite::SkipField(&stream_, tag);
    add(size_of(known->child) + kPerPart);
    if (known->child == Part::text) return WireFormatLite::SkipField(&stream_, tag);
    int length = 0;
    if (!stream_.ReadVarintSizeAsInt(&length)) return false;
    const auto limit = stream_.PushLimit(length);
    const bool whole = walk(known->child, depth + 1);
    stream_.PopLimit(limit);
    return whole;
  }

  void add(size_t bytes) {
    bytes_ += bytes;
    if (bytes_ <= max_bytes_) return;
    throw Error("the model has too many parts: its structure alone would take over " +
                    std::to_string(max_bytes_ >> 20) + " MB of memory",
                {}, "a model with fewer nodes");
  }

  pb::io::CodedInputStream& stream_;
  size_t max_bytes_;
  size_t bytes_ = 0;
};

}  // namespace

void check_parts(std::span<const std::byte> model, size_t max_bytes) {
  pb::io::CodedInputStream stream(reinterpret_cast<const uint8_t*>(model.data()),
                                  static_cast<int>(model.size()));
  PartsCounter(stream, max_bytes).walk(Part::model, 0);
}

}  // namespace ounce::formats
