#include "train/checkpoint.h"

#include <vector>

#include "formats/ounce_file/mapped_file.h"
#include "formats/ounce_file/safetensors.h"
#include "graph/error.h"
#include "train/tensor.h"

namespace ounce::train {
namespace {

constexpr const char* kKind = "ounce.kind";
constexpr const char* kCheckpoint = "checkpoint";

}  // namespace

const at::Tensor& Checkpoint::tensor(const std::string& name) const {
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw Error("checkpoint has no tensor " + name);
  return found->second;
}

const std::string& Checkpoint::fact(const std::string& name) const {
  const auto found = facts.find(name);
  if (found == facts.end()) throw Error("checkpoint does not say " + name);
  return found->second;
}

void write_checkpoint(const Checkpoint& checkpoint, const std::filesystem::path& path) {
  std::map<std::string, Tensor> contents;
  for (const auto& [name, tensor] : checkpoint.tensors) contents[name] = from_torch(tensor);
  std::vector<formats::SafetensorsEntry> entries;
  for (const auto& [name, tensor] : contents) {
    entries.push_back({name, tensor.dtype(), tensor.shape(), {tensor.raw(), tensor.bytes()}});
  }
  std::map<std::string, std::string> facts = checkpoint.facts;
  facts[kKind] = kCheckpoint;
  formats::write_safetensors(facts, entries, path);
}

Checkpoint read_checkpoint(const std::filesystem::path& path) {
  const auto file = formats::MappedFile::open(path);
  const formats::Safetensors contents = formats::parse_safetensors(file->bytes());
  Checkpoint checkpoint;
  checkpoint.facts = contents.metadata;
  const auto kind = checkpoint.facts.find(kKind);
  if (kind == checkpoint.facts.end() || kind->second != kCheckpoint) {
    throw Error(path.string() + ": is no checkpoint of a training run");
  }
  checkpoint.facts.erase(kind);
  for (const auto& [name, entry] : contents.entries) {
    checkpoint.tensors[name] =
        to_torch(Tensor::borrow(entry.dtype, entry.shape, entry.bytes, file));
  }
  return checkpoint;
}

}  // namespace ounce::train
