#include "formats/npy.h"

#include <array>
#include <charconv>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "formats/ounce_file/atomic_file.h"
#include "formats/ounce_file/located.h"
#include "formats/ounce_file/mapped_file.h"
#include "graph/error.h"

namespace ounce::formats {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
// The header is padded so that the data begins at a multiple of this.
constexpr size_t kDataAlignment = 64;

constexpr std::array<std::pair<std::string_view, DType>, 12> kDescriptors = {
    {{"<f4", DType::f32},
     {"<f8", DType::f64},
     {"<f2", DType::f16},
     {"<i8", DType::i64},
     {"<i4", DType::i32},
     {"<i2", DType::i16},
     {"|i1", DType::i8},
     {"<u8", DType::u64},
     {"<u4", DType::u32},
     {"<u2", DType::u16},
     {"|u1", DType::u8},
     {"|b1", DType::boolean}}};

struct Header {
  DType dtype = DType::undefined;
  bool fortran_order = false;
  Shape shape;
};

/// Reads the header, a Python dictionary literal with three known keys.
class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : text_(text) {}

  Header parse() {
    Header header;
    bool has_shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string_view key = quoted();
      expect(':');
      if (key == "descr") {
        header.dtype = dtype();
      } else if (key == "fortran_order") {
        header.fortran_order = truth();
      } else if (key == "shape") {
        header.shape = tuple();
        has_shape = true;
      } else {
        fail("unknown key '" + std::string(key) + "'");
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    if (header.dtype == DType::undefined || !has_shape) fail("it lacks the type or the shape");
    return header;
  }

 private:
  [[noreturn]] static void fail(const std::string& problem) {
    throw Error("bad NumPy header: " + problem, {}, "save the array again with numpy.save");
  }

  void skip_blanks() {
    while (position_ < text_.size() && (text_[position_] == ' ' || text_[position_] == '\n')) {
      ++position_;
    }
  }

  bool accept(char wanted) {
    skip_blanks();
    if (position_ >= text_.size() || text_[position_] != wanted) return false;
    ++position_;
    return true;
  }

  void expect(char wanted) {
    if (!accept(wanted)) fail(std::string("expected '") + wanted + "'");
  }

  std::string_view quoted() {
    expect('\'');
    const size_t end = text_.find('\'', position_);
    if (end == std::string_view::npos) fail("a string does not end");
    const std::string_view content = text_.substr(position_, end - position_);
    position_ = end + 1;
    return content;
  }

  DType dtype() {
    const std::string_view descriptor = quoted();
    for (const auto& [name, dtype] : kDescriptors) {
      if (name == descriptor) return dtype;
    }
    fail("element type '" + std::string(descriptor) + "' is not supported");
  }

  bool truth() {
    skip_blanks();
    for (const bool value : {true, false}) {
      const std::string_view word = value ? "True" : "False";
      if (text_.substr(position_).starts_with(word)) {
        position_ += word.size();
        return value;
      }
    }
    fail("expected True or False");
  }

  Shape tuple() {
    Shape shape;
    expect('(');
    while (!accept(')')) {
      skip_blanks();
      int64_t dim = 0;
      const char* begin = text_.data() + position_;
      const auto [end, failure] = std::from_chars(begin, text_.data() + text_.size(), dim);
      if (failure != std::errc()) fail("a dimension is not a number");
      position_ += static_cast<size_t>(end - begin);
      shape.push_back(dim);
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return shape;
  }

  std::string_view text_;
  size_t position_ = 0;
};

/// Column-major elements into row-major order.
Tensor from_fortran_order(DType dtype, const Shape& shape, std::span<const std::byte> bytes) {
  Tensor tensor(dtype, shape);
  if (tensor.size() == 0) return tensor;
  const size_t width = static_cast<size_t>(bits_of(dtype)) / 8;
  std::byte* target = tensor.mutable_raw();
  for (int64_t i = 0; i < tensor.size(); ++i) {
    int64_t rest = i;
    int64_t source = 0;
    for (size_t axis = shape.size(); axis-- > 0; rest /= shape[axis]) {
      int64_t stride = 1;  // of this axis in the source: the product of all dimensions before it
      for (size_t before = 0; before < axis; ++before) stride *= shape[before];
      source += rest % shape[axis] * stride;
    }
    std::memcpy(target + static_cast<size_t>(i) * width,
                bytes.data() + static_cast<size_t>(source) * width, width);
  }
  return tensor;
}

/// Splits the file into header text and data.
std::pair<std::string_view, std::span<const std::byte>> split(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!text.starts_with(kMagic) || text.size() < 10) {
    throw Error("not a NumPy array file", {}, "save the array with numpy.save");
  }
  const auto major = static_cast<unsigned char>(text[6]);
  if (major < 1 || major > 3) {
    throw Error("version " + std::to_string(major) + " of the NumPy format is not supported");
  }
  const size_t length_bytes = major == 1 ? 2 : 4;
  if (text.size() < 8 + length_bytes) throw Error("the file is cut off in its header");
  size_t length = 0;
  for (size_t i = length_bytes; i-- > 0;) {
    length = length << 8 | static_cast<unsigned char>(text[8 + i]);
  }
  const size_t start = 8 + length_bytes;
  if (length > text.size() - start) throw Error("the file is cut off in its header");
  return {text.substr(start, length), bytes.subspan(start + length)};
}

}  // namespace

Tensor read_npy_bytes(std::span<const std::byte> bytes) {
  const auto [header_text, data] = split(bytes);
  const Header header = HeaderParser(header_text).parse();
  const size_t wanted = byte_size(header.dtype, element_count(header.shape));
  if (wanted != data.size()) {
    throw Error("an array of shape " + to_string(header.shape) + " needs " +
                    std::to_string(wanted) + " bytes, the file holds " +
                    std::to_string(data.size()),
                {}, "the file is cut off or damaged; save it again");
  }
  // Booleans are normalised on the way: any other byte than 0 or 1 is no C++ bool.
  const bool boolean = header.dtype == DType::boolean;
  const DType stored = boolean ? DType::u8 : header.dtype;
  Tensor tensor;
  if (header.fortran_order) {
    tensor = from_fortran_order(stored, header.shape, data);
  } else {
    tensor = Tensor(stored, header.shape);
    if (wanted > 0) std::memcpy(tensor.mutable_raw(), data.data(), wanted);
  }
  return boolean ? cast(tensor, DType::boolean) : tensor;
}

Tensor read_npy(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  return located(path.string(), [&] { return read_npy_bytes(file->bytes()); });
}

void write_npy(const Tensor& tensor, const std::filesystem::path& path) {
  std::string_view descriptor;
  for (const auto& [name, dtype] : kDescriptors) {
    if (dtype == tensor.dtype()) descriptor = name;
  }
  if (descriptor.empty()) {
    throw Error("NumPy has no type for " + std::string(name_of(tensor.dtype())), path.string(),
                "convert the tensor to f32 first");
  }
  std::string shape;
  for (const int64_t dim : tensor.shape()) shape += std::to_string(dim) + ", ";
  if (tensor.rank() > 1) shape.resize(shape.size() - 2);
  if (tensor.rank() == 1) shape.pop_back();
  std::string header = "{'descr': '" + std::string(descriptor) +
                       "', 'fortran_order': False, 'shape': (" + shape + "), }";
  const size_t prefix = kMagic.size() + 4;
  const size_t unpadded = prefix + header.size() + 1;
  header.append((kDataAlignment - unpadded % kDataAlignment) % kDataAlignment, ' ');
  header += '\n';
  if (header.size() > std::numeric_limits<uint16_t>::max()) {
    throw Error("the tensor has too many dimensions for a NumPy file", path.string());
  }
  AtomicFile file(path);
  file.write(kMagic);
  const std::array<char, 4> rest = {1, 0, static_cast<char>(header.size() & 0xff),
                                    static_cast<char>(header.size() >> 8)};
  file.write(std::string_view(rest.data(), rest.size()));
  file.write(header);
  file.write(std::span(tensor.raw(), tensor.bytes()));
  file.commit();
}

}  // namespace ounce::formats
