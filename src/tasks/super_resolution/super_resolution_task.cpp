#include "graph/error.h"
#include "tasks/contact_sheet.h"
#include "tasks/super_resolution/bicubic.h"
#include "tasks/super_resolution/fidelity.h"
#include "tasks/task.h"

namespace ounce::tasks {
namespace {

std::string size_text(int64_t height, int64_t width) {
  return std::to_string(height) + "x" + std::to_string(width);
}

class SuperResolutionTask final : public Task {
 public:
  SuperResolutionTask(Preprocessing preprocessing, int64_t scale)
      : Task(std::move(preprocessing), {}), scale_(scale) {}

  std::string_view name() const override { return "super-resolution"; }
  std::string_view main_metric() const override { return "psnr"; }
  std::string_view unit_of(std::string_view metric) const override {
    return metric == "psnr" ? "dB" : "";
  }

  using Task::prepare;
  PreparedInput prepare(const Sample& sample, const Image& image) const override {
    const Image original = divisible(sample, image);
    if (sample.low_resolution.empty()) {
      return prepare(resize_bicubic(original, original.width / scale_, original.height / scale_));
    }
    const Image small = read_image(sample.low_resolution);
    if (small.width != original.width / scale_ || small.height != original.height / scale_) {
      throw Error("is " + size_text(small.height, small.width) + ", of " + sample.name + " (" +
                      size_text(image.height, image.width) + ") the network wants " +
                      size_text(original.height / scale_, original.width / scale_),
                  sample.low_resolution.string(),
                  "pictures " + std::to_string(scale_) + " times as small");
    }
    return prepare(small);
  }

  Prediction interpret(std::span<const Tensor> outputs, const Geometry& geometry) const override {
    const Shape wanted = {1, 3, geometry.input.height * scale_, geometry.input.width * scale_};
    if (outputs.empty() || outputs.front().shape() != wanted) {
      throw Error("the network's output is " +
                      (outputs.empty() ? "missing" : ounce::to_string(outputs.front().shape())) +
                      ", not " + ounce::to_string(wanted),
                  "super-resolution");
    }
    Prediction prediction;
    prediction.picture = picture_of(outputs.front(), preprocessing());
    return prediction;
  }

  bool can_judge(const Dataset&) const override { return true; }

  void begin(const Dataset&) override {
    pictures_ = 0;
    psnr_ = 0;
    ssim_ = 0;
  }

  /// Reads the picture again: what stands in a data set is too large to be kept for all of it.
  void add(const Sample& sample, const Prediction& prediction) override {
    const Image original = divisible(sample, read_image(sample.path));
    try {
      psnr_ += luma_psnr(prediction.picture, original, scale_);
      ssim_ += luma_ssim(prediction.picture, original, scale_);
    } catch (const Error& error) {
      throw Error(error.message(), sample.path.string(), error.remedy());
    }
    ++pictures_;
  }

  std::map<std::string, double> metrics() const override {
    if (pictures_ == 0) return {};
    const auto count = static_cast<double>(pictures_);
    return {{"psnr", psnr_ / count}, {"ssim", ssim_ / count}};
  }

  std::vector<Finding> findings(const Prediction&) const override { return {}; }

  Image draw(const Image&, const Prediction& prediction) const override {
    return prediction.picture;
  }

  void store(Graph& graph) const override {
    Task::store(graph);
    graph.metadata[kTaskKey] = "\"super-resolution\"";
  }

 private:
  /// The picture without the last rows and columns that the scale does not divide.
  Image divisible(const Sample& sample, const Image& image) const {
    const int64_t width = image.width / scale_ * scale_;
    const int64_t height = image.height / scale_ * scale_;
    if (width == 0 || height == 0) {
      throw Error(size_text(image.height, image.width) + " pixels cannot be made " +
                      std::to_string(scale_) + " times as small",
                  sample.path.string(), "larger pictures");
    }
    return crop(image, 0, 0, width, height);
  }

  int64_t scale_;
  int64_t pictures_ = 0;
  double psnr_ = 0;  // sums over pictures
  double ssim_ = 0;
};

}  // namespace

std::unique_ptr<Task> make_super_resolution(Preprocessing preprocessing, int64_t scale) {
  validate(preprocessing);
  if (preprocessing.letterbox.set() || preprocessing.crop.set() || preprocessing.resize_short > 0) {
    throw Error("super-resolution takes pictures at their own size", "preprocessing",
                "no --resize, --crop and --letterbox");
  }
  if (scale < 2) throw Error("does not enlarge pictures", "super-resolution");
  return std::make_unique<SuperResolutionTask>(std::move(preprocessing), scale);
}

}  // namespace ounce::tasks
