#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace ounce::train {

/// Everything a run needs to go on as if it had never stopped: tensors by name and facts as text.
struct Checkpoint {
  std::map<std::string, at::Tensor> tensors;
  std::map<std::string, std::string> facts;

  /// Throws `Error` that names what is missing.
  const at::Tensor& tensor(const std::string& name) const;
  const std::string& fact(const std::string& name) const;
};

/// Writes a safetensors file: beside its name, then renamed, so that a kill or a full disk leaves
/// the last one whole.
void write_checkpoint(const Checkpoint& checkpoint, const std::filesystem::path& path);

/// Throws `Error` for a file that is no checkpoint.
Checkpoint read_checkpoint(const std::filesystem::path& path);

/// The checkpoint that rank 0 of `world()` finds, on all ranks, whose machines need not share
/// files; nothing when there is none.
std::optional<Checkpoint> find_checkpoint(const std::filesystem::path& path);

}  // namespace ounce::train
