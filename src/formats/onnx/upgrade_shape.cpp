// Operators that were renamed, or whose options got other names or defaults.
#include <array>

#include "formats/onnx/upgrade.h"

namespace ounce::formats {
namespace {

void rename_scatter(Upgrade& upgrade) {
  upgrade.node.op = "ScatterElements";
}

void rename_grid_modes(Upgrade& upgrade) {
  const std::string mode = upgrade.node.attributes.get_string("mode", "bilinear");
  if (mode == "bilinear") upgrade.node.attributes.set("mode", std::string("linear"));
  if (mode == "bicubic") upgrade.node.attributes.set("mode", std::string("cubic"));
}

/// Opset 16 shifted the default of the sampling points by half a pixel.
void keep_roi_alignment(Upgrade& upgrade) {
  upgrade.node.attributes.set("coordinate_transformation_mode", std::string("output_half_pixel"));
}

constexpr std::array kRules = {
    UpgradeRule{"Scatter", 11, rename_scatter},
    UpgradeRule{"GridSample", 20, rename_grid_modes},
    UpgradeRule{"RoiAlign", 16, keep_roi_alignment},
};

}  // namespace

std::span<const UpgradeRule> shape_upgrades() {
  return kRules;
}

}  // namespace ounce::formats
