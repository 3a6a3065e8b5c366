#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>

#include "graph/tensor.h"

namespace ounce::formats {

/// The tensors of a PyTorch checkpoint (`torch.save`: the zip form and the one before version 1.6)
/// by name: keys of nested dictionaries joined by dots, numbers of lists among them, such as
/// "state_dict.module.conv1.weight".
///
/// Nothing in the file is executed: of functions, only those that rebuild tensors, parameters and
/// ordered dictionaries are known. Other objects, numbers and texts are passed over. Throws `Error`
/// for a file that is neither form or is damaged, and for tensors that reach beyond their storage.
std::map<std::string, Tensor> read_torch_checkpoint(const std::filesystem::path& path);

/// As `read_torch_checkpoint`, from bytes.
std::map<std::string, Tensor> read_torch_checkpoint_bytes(std::span<const std::byte> bytes);

}  // namespace ounce::formats
