#include "train/checkpoint.h"

#include <vector>

#include "formats/ounce_file/mapped_file.h"
#include "formats/ounce_file/safetensors.h"
#include "graph/error.h"
#include "train/distributed.h"
#include "train/tensor.h"

namespace ounce::train {
namespace {

constexpr const char* kKind = "ounce.kind";
constexpr const char* kCheckpoint = "checkpoint";

/// `owner` keeps `bytes` alive, `name` appears in errors.
Checkpoint parse_checkpoint(std::span<const std::byte> bytes,
                            const std::shared_ptr<const void>& owner, const std::string& name) {
  formats::Safetensors contents;
  try {
    contents = formats::parse_safetensors(bytes);
  } catch (const Error& error) {
    throw Error(name + ": " + error.what());
  }
  Checkpoint checkpoint;
  checkpoint.facts = contents.metadata;
  const auto kind = checkpoint.facts.find(kKind);
  if (kind == checkpoint.facts.end() || kind->second != kCheckpoint) {
    throw Error(name + ": is no checkpoint of a training run");
  }
  checkpoint.facts.erase(kind);
  for (const auto& [key, entry] : contents.entries) {
    checkpoint.tensors[key] =
        to_torch(Tensor::borrow(entry.dtype, entry.shape, entry.bytes, owner));
  }
  return checkpoint;
}

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
  return parse_checkpoint(file->bytes(), file, path.string());
}

std::optional<Checkpoint> find_checkpoint(const std::filesystem::path& path) {
  const bool exists = world().is_first() && !path.empty() && std::filesystem::exists(path);
  if (world().size() == 1) return exists ? std::optional(read_checkpoint(path)) : std::nullopt;
  std::string text;
  if (exists) {
    const auto file = formats::MappedFile::open(path);
    const auto* first = reinterpret_cast<const char*>(file->bytes().data());
    text.assign(first, file->bytes().size());
  }
  const auto shared = std::make_shared<const std::string>(world().broadcast(text));
  if (shared->empty()) return std::nullopt;
  return parse_checkpoint(std::as_bytes(std::span(*shared)), shared, path.string());
}

}  // namespace ounce::train
