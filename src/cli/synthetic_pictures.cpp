#include "cli/synthetic_pictures.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "cli/calibration_inputs.h"
#include "formats/npy.h"
#include "report/format.h"
#include "tasks/contact_sheet.h"

namespace ounce::cli {
namespace {

std::vector<uint8_t> bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

SyntheticPictures::SyntheticPictures(const Graph& graph, const tasks::Task& task,
                                     methods::SynthesisOptions options,
                                     const Invocation& invocation, Progress& progress) {
  const tasks::InputRange range = tasks::input_range(task.preprocessing());
  options.black = range.black;
  options.white = range.white;
  inputs_ = invocation.synthesizer(graph, options, quantize_hooks(progress));
  progress.clear();
}

std::string SyntheticPictures::write(const StagedOutput& output,
                                     const tasks::Preprocessing& preprocessing) const {
  constexpr int64_t kColumns = 8;
  constexpr int64_t kLargestSide = 112;
  const std::filesystem::path folder = output.path("synthetic");
  std::filesystem::create_directory(folder);
  std::vector<tasks::Image> pictures;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    formats::write_npy(inputs_[i], folder / fmt::format("{:04}.npy", i));
    pictures.push_back(tasks::picture_of(inputs_[i], preprocessing));
  }
  const std::filesystem::path sheet = folder / "contact-sheet.jpg";
  const int64_t side = std::min(kLargestSide, pictures.empty() ? 1 : pictures[0].width);
  tasks::write_image(tasks::contact_sheet(pictures, kColumns, side), sheet);
  return "data:image/jpeg;base64," + report::base64(bytes_of(sheet));
}

}  // namespace ounce::cli
