#include "train/image_set.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <sstream>

#include "formats/ounce_file/mapped_file.h"
#include "formats/ounce_file/safetensors.h"
#include "graph/error.h"
#include "train/tensor.h"

namespace ounce::train {
namespace {

constexpr int64_t kMostClasses = 1'000'000;

/// Independent streams of random numbers for what is drawn in one place of a run.
std::mt19937_64 generator(uint64_t seed, int64_t epoch, int64_t step) {
  std::seed_seq sequence{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32),
                         static_cast<uint32_t>(epoch), static_cast<uint32_t>(step)};
  return std::mt19937_64(sequence);
}

/// In [0, 1), the same on every machine; distributions of the standard library are not.
double uniform(std::mt19937_64& random) {
  return static_cast<double>(random() >> 11) * 0x1.0p-53;
}

int64_t below(std::mt19937_64& random, int64_t limit) {
  return static_cast<int64_t>(uniform(random) * static_cast<double>(limit));
}

/// Standard normal (Box and Muller).
double normal(std::mt19937_64& random) {
  const double radius = std::sqrt(-2 * std::log(1 - uniform(random)));
  return radius * std::cos(2 * M_PI * uniform(random));
}

/// Gamma with scale 1 (Marsaglia and Tsang 2000).
double gamma(std::mt19937_64& random, double shape) {
  if (shape < 1) return gamma(random, shape + 1) * std::pow(1 - uniform(random), 1 / shape);
  const double d = shape - 1.0 / 3;
  const double c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = normal(random);
    const double v = std::pow(1 + c * x, 3);
    if (v > 0 && std::log(1 - uniform(random)) < 0.5 * x * x + d - d * v + d * std::log(v)) {
      return d * v;
    }
  }
}

double beta(std::mt19937_64& random, double alpha) {
  const double x = gamma(random, alpha);
  const double y = gamma(random, alpha);
  return x + y > 0 ? x / (x + y) : 0.5;
}

at::Tensor shuffled(int64_t count, std::mt19937_64& random) {
  std::vector<int64_t> order(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) order[static_cast<size_t>(i)] = i;
  for (int64_t i = count - 1; i > 0; --i) {
    std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(below(random, i + 1))]);
  }
  return at::tensor(order, at::kLong);
}

/// Each picture shifted and mirrored by itself: rows and columns of the padded pictures by index.
at::Tensor crop_and_flip(const at::Tensor& images, const Augmentation& augmentation,
                         std::mt19937_64& random) {
  const int64_t count = images.size(0);
  const int64_t height = images.size(2);
  const int64_t width = images.size(3);
  const int64_t padding = augmentation.crop_padding;
  std::vector<int64_t> rows;
  std::vector<int64_t> columns;
  rows.reserve(static_cast<size_t>(count * height));
  columns.reserve(static_cast<size_t>(count * width));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t top = below(random, 2 * padding + 1);
    const int64_t left = below(random, 2 * padding + 1);
    const bool mirrored = augmentation.flip && uniform(random) < 0.5;
    for (int64_t y = 0; y < height; ++y) rows.push_back(top + y);
    for (int64_t x = 0; x < width; ++x) columns.push_back(left + (mirrored ? width - 1 - x : x));
  }
  const at::Tensor padded = at::constant_pad_nd(images, {padding, padding, padding, padding}, 0);
  const at::Tensor picture = at::arange(count).view({-1, 1, 1, 1});
  const at::Tensor channel = at::arange(images.size(1)).view({1, -1, 1, 1});
  const at::Tensor row = at::tensor(rows, at::kLong).view({count, 1, height, 1});
  const at::Tensor column = at::tensor(columns, at::kLong).view({count, 1, 1, width});
  return at::index(padded, {picture, channel, row, column});
}

/// A rectangle of 2 % to a third of a picture f32 [C, H, W], its sides' ratio 0.3 to 1 / 0.3,
/// becomes normal noise; a rectangle that does not fit is drawn again, a few times.
void erase(const at::Tensor& picture, uint64_t seed) {
  constexpr int kAttempts = 10;
  constexpr double kLeastArea = 0.02;
  constexpr double kLargestArea = 1.0 / 3;
  constexpr double kLeastRatio = 0.3;
  std::mt19937_64 random(seed);
  const int64_t height = picture.size(1);
  const int64_t width = picture.size(2);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const double area = (kLeastArea + (kLargestArea - kLeastArea) * uniform(random)) *
                        static_cast<double>(height * width);
    const double ratio = std::exp((2 * uniform(random) - 1) * std::log(kLeastRatio));
    const int64_t rows = std::llround(std::sqrt(area * ratio));
    const int64_t columns = std::llround(std::sqrt(area / ratio));
    if (rows < 1 || columns < 1 || rows >= height || columns >= width) continue;
    const int64_t top = below(random, height - rows + 1);
    const int64_t left = below(random, width - columns + 1);
    std::vector<float> noise(static_cast<size_t>(picture.size(0) * rows * columns));
    for (float& value : noise) value = static_cast<float>(normal(random));
    picture.narrow(1, top, rows)
        .narrow(2, left, columns)
        .copy_(at::tensor(noise).view({picture.size(0), rows, columns}));
    return;
  }
}

/// Each picture with its partner from the other end of the batch.
void mix(Batch& batch, const Augmentation& augmentation, int64_t classes, std::mt19937_64& random) {
  const bool cut = augmentation.cutmix > 0 && (augmentation.mixup <= 0 || uniform(random) < 0.5);
  double share = beta(random, cut ? augmentation.cutmix : augmentation.mixup);
  const at::Tensor partners = batch.inputs.flip({0});
  if (cut) {
    const int64_t height = batch.inputs.size(2);
    const int64_t width = batch.inputs.size(3);
    const double side = std::sqrt(1 - share);
    const auto extent = [&](int64_t whole) {
      return std::llround(side * static_cast<double>(whole));
    };
    const int64_t top = below(random, height - extent(height) + 1);
    const int64_t left = below(random, width - extent(width) + 1);
    batch.inputs = batch.inputs.clone();
    const auto window = [&](const at::Tensor& of) {
      return of.narrow(2, top, extent(height)).narrow(3, left, extent(width));
    };
    window(batch.inputs).copy_(window(partners));
    share = 1 - static_cast<double>(extent(height) * extent(width)) /
                    static_cast<double>(height * width);
  } else {
    batch.inputs = batch.inputs * share + partners * (1 - share);
  }
  const at::Tensor own = at::one_hot(batch.labels, classes).to(at::kFloat);
  batch.targets = own * share + own.flip({0}) * (1 - share);
}

}  // namespace

ImageSet ImageSet::slice(int64_t first, int64_t count) const {
  return {images.narrow(0, first, count), labels.narrow(0, first, count), classes};
}

ImageSet ImageSet::spread(int64_t count) const {
  if (count >= size()) return *this;
  const at::Tensor chosen = at::arange(count).mul_(size()).floor_divide_(count);
  return {images.index_select(0, chosen), labels.index_select(0, chosen), classes};
}

ImageSet read_image_set(const std::filesystem::path& path) {
  const auto file = formats::MappedFile::open(path);
  const formats::Safetensors contents = formats::parse_safetensors(file->bytes());
  const auto tensor = [&](const char* name, DType dtype, size_t rank) {
    const auto found = contents.entries.find(name);
    if (found == contents.entries.end()) throw Error(path.string() + ": has no tensor " + name);
    const formats::SafetensorsEntry& entry = found->second;
    if (entry.dtype != dtype || entry.shape.size() != rank) {
      throw Error(path.string() + ": tensor " + name + " is " + std::string(name_of(entry.dtype)) +
                  ' ' + to_string(entry.shape) + ", expected " + std::string(name_of(dtype)) +
                  " of rank " + std::to_string(rank));
    }
    return to_torch(Tensor::borrow(entry.dtype, entry.shape, entry.bytes, file));
  };
  ImageSet set{tensor("images", DType::u8, 4), tensor("labels", DType::i64, 1), {}};
  if (set.images.size(0) != set.labels.size(0)) {
    throw Error(path.string() + ": " + std::to_string(set.images.size(0)) + " images, " +
                std::to_string(set.labels.size(0)) + " labels");
  }
  if (const auto classes = contents.metadata.find("classes"); classes != contents.metadata.end()) {
    std::istringstream lines(classes->second);
    for (std::string line; std::getline(lines, line);) set.classes.push_back(line);
  }
  if (set.size() == 0) throw Error(path.string() + ": holds no pictures");
  const auto largest = set.labels.max().item<int64_t>();
  if (set.classes.empty() && largest < kMostClasses) {
    for (int64_t label = 0; label <= largest; ++label) {
      set.classes.push_back(std::to_string(label));
    }
  }
  if (set.labels.min().item<int64_t>() < 0 || largest >= static_cast<int64_t>(set.classes.size())) {
    throw Error(path.string() + ": a label is outside of the " +
                std::to_string(set.classes.size()) + " classes");
  }
  return set;
}

void write_image_set(const ImageSet& set, const std::filesystem::path& path) {
  const Tensor images = from_torch(set.images);
  const Tensor labels = from_torch(set.labels);
  std::string classes;
  for (const std::string& name : set.classes) classes += name + '\n';
  const formats::SafetensorsEntry entries[] = {
      {"images", images.dtype(), images.shape(), {images.raw(), images.bytes()}},
      {"labels", labels.dtype(), labels.shape(), {labels.raw(), labels.bytes()}}};
  formats::write_safetensors({{"classes", classes}}, entries, path);
}

at::Tensor normalize(const at::Tensor& images, const Normalization& normalization) {
  const auto channel = [&](const std::vector<float>& values) {
    return at::tensor(values, at::kFloat).mul(255.0).view({1, -1, 1, 1}).to(images.device());
  };
  return (images.to(at::kFloat) - channel(normalization.mean)) / channel(normalization.deviation);
}

BatchSource::BatchSource(ImageSet set, Options options)
    : set_(std::move(set)), options_(std::move(options)) {
  if (set_.size() < options_.batch_size) {
    throw Error(std::to_string(set_.size()) + " pictures do not fill a batch of " +
                std::to_string(options_.batch_size));
  }
}

Batch BatchSource::batch(int64_t epoch, int64_t step, int64_t rank, int64_t ranks) const {
  std::mt19937_64 order_random = generator(options_.seed, epoch, -1);
  const at::Tensor order = shuffled(set_.size(), order_random);
  const at::Tensor all = order.narrow(0, step * options_.batch_size, options_.batch_size);
  // Drawn for the whole batch, so that shares of it are those of one process.
  std::mt19937_64 random = generator(options_.seed, epoch, step);
  at::Tensor images = set_.images.index_select(0, all);
  const Augmentation& augmentation = options_.augmentation;
  const bool mixes = augmentation.mixup > 0 || augmentation.cutmix > 0;
  // Pictures of this share, and their partners.
  const auto is_needed = [&](int64_t i) {
    return i % ranks == rank || (mixes && (options_.batch_size - 1 - i) % ranks == rank);
  };
  if (augmentation.crop_padding > 0 || augmentation.flip) {
    images = crop_and_flip(images, augmentation, random);
  }
  if (augmentation.change) {
    for (int64_t i = 0; i < options_.batch_size; ++i) {
      const uint64_t seed = random();
      if (is_needed(i)) images[i].copy_(augmentation.change(images[i], seed));
    }
  }
  Batch batch;
  batch.inputs = normalize(images, options_.normalization);
  if (augmentation.erasing > 0) {
    for (int64_t i = 0; i < options_.batch_size; ++i) {
      const bool is_erased = uniform(random) < augmentation.erasing;
      const uint64_t seed = random();
      if (is_erased && is_needed(i)) erase(batch.inputs[i], seed);
    }
  }
  batch.labels = set_.labels.index_select(0, all);
  if (mixes) {
    const int64_t classes = set_.classes.empty() ? set_.labels.max().item<int64_t>() + 1
                                                 : static_cast<int64_t>(set_.classes.size());
    mix(batch, augmentation, classes, random);
  }
  if (ranks > 1) {
    const at::Tensor share = at::arange(rank, options_.batch_size, ranks);
    batch.inputs = batch.inputs.index_select(0, share);
    batch.labels = batch.labels.index_select(0, share);
    if (batch.targets.defined()) batch.targets = batch.targets.index_select(0, share);
  }
  return batch;
}

}  // namespace ounce::train
