#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"

/// Builders of known architectures with random weights: shapes to measure speed on, and (with a
/// trainer) networks to train.
namespace ounce::models {

/// ResNet-18 for 224x224 pictures, 1000 classes, BatchNormalization folded (He et al. 2016).
Graph resnet18(uint64_t seed);

/// The same with binary 3x3 convolutions: blocks of shift, sign, convolution, shortcut, shifted
/// PReLU, a shortcut around every convolution; first, last and 1x1 shortcut layers in f32
/// (ReActNet, Liu et al. 2020).
Graph resnet18_binary(uint64_t seed);

/// ResNets for small pictures: a 3x3 convolution, three stages of `blocks` blocks whose width
/// doubles and whose side halves, pooling, a linear layer (He et al. 2016, section 4.2).
/// BatchNormalization is kept: they are to be trained. ResNet-20 is the default, ResNet-56 has 9
/// blocks.
struct CifarResnetSpec {
  int64_t image = 32;
  int64_t classes = 10;
  int64_t width = 16;
  int64_t blocks = 3;
  /// Shortcuts across stages without weights (option A of the paper); else average pooling and a
  /// 1x1 convolution.
  bool padded_shortcuts = false;
  /// Blocks of two units of shift, convolution, BatchNormalization, shortcut and shifted PReLU
  /// (ReActNet): what binary methods put signs into.
  bool react = false;
};
Graph cifar_resnet(std::string_view name, const CifarResnetSpec& spec, uint64_t seed);

/// The same blocks in the form for large pictures: a 7x7 convolution of stride 2 and pooling before
/// the stages. ResNet-18 is the default, ResNet-34 has depths 3, 4, 6, 3.
struct ResnetSpec {
  int64_t image = 224;
  int64_t classes = 1000;
  int64_t width = 64;
  std::vector<int64_t> depths = {2, 2, 2, 2};
  bool react = false;
};
Graph resnet(std::string_view name, const ResnetSpec& spec, uint64_t seed);

/// MobileNetV2 at width 1.0 for 224x224 pictures, 1000 classes, BatchNormalization folded (Sandler
/// et al. 2018).
Graph mobilenet_v2(uint64_t seed);

/// A vision transformer with class token, pre-norm blocks and erf GELU, for square pictures.
struct VitSpec {
  int64_t image = 224;
  int64_t classes = 1000;
  int64_t patch = 16;
  int64_t width = 384;
  int64_t depth = 12;
  int64_t heads = 6;
  /// All products of the blocks are binary: linear layers, q k^T and p v; normalised q and k, no
  /// GELU (the sign of its result is that of its argument), no biases (Bi-ViT).
  bool binary = false;
  /// A second token with a head of its own, that a teacher teaches; the result is the mean of both
  /// heads' logits, which are the values "head.logits" and "head_dist.logits" (Touvron et al.
  /// 2021).
  bool distilled = false;
  /// All biases and shifts begin at 0; else they are random, as a trained network's are.
  bool zero_biases = false;
};
/// DeiT-S is the default VitSpec, DeiT-T has width 192 and 3 heads (Touvron et al. 2021).
Graph vit(std::string_view name, const VitSpec& spec, uint64_t seed);

/// A Swin transformer for square pictures (Liu et al. 2021): attention within windows, every second
/// block's windows shifted by half of one, a position bias learned for each head and distance;
/// between stages four neighbours become one token of twice the width. Where a stage's side is no
/// larger than a window, it is one window. Throws `Error` when windows or merging do not fit.
struct SwinSpec {
  int64_t image = 224;
  int64_t classes = 1000;
  int64_t patch = 4;
  int64_t window = 7;
  int64_t width = 96;  // of the first stage
  std::vector<int64_t> depths = {2, 2, 6, 2};
  std::vector<int64_t> heads = {3, 6, 12, 24};
  /// All biases and shifts begin at 0; else they are random, as a trained network's are.
  bool zero_biases = false;
};
/// Swin-T is the default.
Graph swin(std::string_view name, const SwinSpec& spec, uint64_t seed);

/// Super-resolution: networks that enlarge pictures of any size, pixels [batch, 3, height, width]
/// to [batch, 3, height * 4, width * 4]. Values named as in the published checkpoints.

/// Information multi-distillation: blocks whose convolutions each put aside a quarter of their
/// channels and work on with the rest (Hui et al. 2019), in the simplified form of 64 channels and
/// eight blocks without attention. Pixels lie in 0..1.
Graph imdn(uint64_t seed);

/// Residual feature distillation: as IMDN, but 1x1 convolutions put aside what is kept, and each
/// block ends with spatial attention (Liu et al. 2020), in the form of 50 channels and four blocks.
/// Pixels lie in 0..255, and the graph says so. Sides from 15 pixels on.
Graph rfdn(uint64_t seed);

/// Information multi-distillation with grouped convolutions, and two Swin blocks with windows of
/// 6 x 6 behind each of its three blocks. The network mirrors pictures to whole windows by itself.
/// Pixels lie in 0..1.
Graph imdtn(uint64_t seed);

/// Five layers of 40 channels: attention within windows of 8 x 8, which the network fills with
/// zeros at the ends, and a residual block of depthwise convolutions; added to the bilinearly
/// enlarged picture. Pixels lie in 0..1.
Graph mobilesr(uint64_t seed);

/// Every architecture that can be built by name.
struct Architecture {
  std::string_view name;
  Graph (*build)(uint64_t seed);
  /// What names in the published checkpoint begin with.
  std::string_view prefix = {};
};
std::span<const Architecture> architectures();

/// Networks that only a checkpoint makes: `read` takes its tensors under PyTorch's names.
struct CheckpointArchitecture {
  std::string_view name;
  Graph (*read)(const std::map<std::string, Tensor>& checkpoint);
};
std::span<const CheckpointArchitecture> checkpoint_architectures();

}  // namespace ounce::models
