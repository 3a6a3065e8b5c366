#include "tasks/contact_sheet.h"

#include <algorithm>
#include <cmath>

#include "graph/error.h"

namespace ounce::tasks {
namespace {

constexpr size_t kChannels = 3;

/// The colour (0 red, 1 green, 2 blue) that channel `c` of the input holds.
size_t colour_of(const Preprocessing& preprocessing, size_t c) {
  return preprocessing.channels == ChannelOrder::bgr ? kChannels - 1 - c : c;
}

}  // namespace

InputRange input_range(const Preprocessing& preprocessing) {
  const double brightest = preprocessing.range == PixelRange::byte ? 255.0 : 1.0;
  InputRange range;
  for (size_t c = 0; c < kChannels; ++c) {
    const size_t colour = colour_of(preprocessing, c);
    range.black[c] = (0.0 - preprocessing.mean[colour]) / preprocessing.std[colour];
    range.white[c] = (brightest - preprocessing.mean[colour]) / preprocessing.std[colour];
  }
  return range;
}

Image picture_of(const Tensor& input, const Preprocessing& preprocessing) {
  if (input.dtype() != DType::f32 || input.rank() != 4 || input.shape()[0] != 1 ||
      input.shape()[1] != static_cast<int64_t>(kChannels)) {
    throw Error("is no picture [1, 3, height, width]", "a network's input");
  }
  const InputRange range = input_range(preprocessing);
  Image image(input.shape()[3], input.shape()[2]);
  const auto values = input.data<float>();
  const size_t plane = image.pixels.size() / kChannels;
  for (size_t c = 0; c < kChannels; ++c) {
    const size_t colour = colour_of(preprocessing, c);
    for (size_t i = 0; i < plane; ++i) {
      const double share = (static_cast<double>(values[c * plane + i]) - range.black[c]) /
                           (range.white[c] - range.black[c]);
      image.pixels[i * kChannels + colour] =
          static_cast<uint8_t>(std::lround(255.0 * std::clamp(share, 0.0, 1.0)));
    }
  }
  return image;
}

Image contact_sheet(std::span<const Image> pictures, int64_t columns, int64_t side) {
  const auto count = static_cast<int64_t>(pictures.size());
  const int64_t rows = (count + columns - 1) / columns;
  constexpr int64_t kGap = 2;
  constexpr uint8_t kPaper = 255;
  const auto extent = [&](int64_t cells) {
    return std::max<int64_t>(1, cells * (side + kGap) - kGap);
  };
  Image sheet(extent(std::min(columns, count)), extent(rows), kPaper);
  for (int64_t i = 0; i < count; ++i) {
    const Image cell =
        resize(pictures[static_cast<size_t>(i)], side, side, Interpolation::area, Antialias::on);
    const int64_t left = (i % columns) * (side + kGap);
    const int64_t top = (i / columns) * (side + kGap);
    for (int64_t y = 0; y < side; ++y) {
      std::copy_n(cell.at(0, y), side * static_cast<int64_t>(kChannels), sheet.at(left, top + y));
    }
  }
  return sheet;
}

}  // namespace ounce::tasks
