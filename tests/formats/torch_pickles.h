#pragma once

#include <cstdint>
#include <cstring>
#include <string>

/// Checkpoints of the older form, written by hand: the words of the format, each as its bytes.
namespace ounce::formats::torch_pickles {

inline std::string bytes_of(const auto& value) {
  std::string text(sizeof(value), '\0');
  std::memcpy(text.data(), &value, sizeof(value));
  return text;
}
inline std::string text(const std::string& value) {
  return "X" + bytes_of(static_cast<uint32_t>(value.size())) + value;
}
inline std::string small(int value) {
  return std::string("K") + static_cast<char>(value);
}
inline std::string tuple(const std::string& items) {
  return "(" + items + "t";
}
inline std::string pickle(const std::string& body) {
  return std::string("\x80\x02") + body + ".";
}

/// ('storage', torch.FloatStorage, key, 'cpu', elements)
inline std::string storage(const std::string& key, int elements) {
  return tuple(text("storage") + "ctorch\nFloatStorage\n" + text(key) + text("cpu") +
               small(elements)) +
         "Q";
}
inline std::string tensor(const std::string& storage_text, int offset, const std::string& shape,
                          const std::string& strides) {
  return "ctorch._utils\n_rebuild_tensor_v2\n" +
         tuple(storage_text + small(offset) + tuple(shape) + tuple(strides) + "\x89" +
               "ccollections\nOrderedDict\n)R") +
         "R";
}

/// The older form of a checkpoint whose storage "0" holds 1, 2, .. `elements`.
inline std::string checkpoint(const std::string& object, int elements = 6) {
  const std::string magic("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 12);
  std::string file = pickle(magic) + pickle(std::string("M\xe9\x03", 3)) + pickle("}") +
                     pickle(object) + pickle("]" + text("0") + "a") +
                     bytes_of(static_cast<int64_t>(elements));
  for (int i = 1; i <= elements; ++i) file += bytes_of(static_cast<float>(i));
  return file;
}

inline const std::string kMatrix =
    tensor(storage("0", 6), 0, small(2) + small(3), small(3) + small(1));
inline const std::string kSmallCheckpoint =
    checkpoint("}(" + text("net") + "}" + text("weight") + kMatrix + "s" + "u");

}  // namespace ounce::formats::torch_pickles
