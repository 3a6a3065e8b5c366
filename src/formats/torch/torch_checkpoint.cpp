#include "formats/torch/torch_checkpoint.h"

#include <zip.h>

#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "formats/ounce_file/located.h"
#include "formats/ounce_file/mapped_file.h"
#include "formats/torch/pickle.h"
#include "graph/error.h"

namespace ounce::formats {
namespace {

constexpr int kDeepest = 32;  // of nested dictionaries; a pickle can hold itself
constexpr int64_t kMostVisits = int64_t{1} << 22;  // two shared in each of 32 levels are 2^32
constexpr std::string_view kRemedy = "save the state_dict again with torch.save";

struct Storage {
  DType dtype = DType::undefined;
  int64_t elements = 0;
  std::shared_ptr<std::vector<std::byte>> bytes;  // filled before tensors are made
};
using Storages = std::map<std::string, Storage>;

[[noreturn]] void fail(const std::string& problem) {
  throw Error(problem, {}, std::string(kRemedy));
}

const int64_t* as_integer(const PickleValue& value) {
  return std::get_if<int64_t>(&value);
}
const std::string_view* as_text(const PickleValue& value) {
  return std::get_if<std::string_view>(&value);
}
/// The container or name that a value stands for, or nullptr.
template <class T>
const T* as(const PickleValue& value) {
  const T* const* pointer = std::get_if<const T*>(&value);
  return pointer == nullptr ? nullptr : *pointer;
}

DType storage_dtype(const PickleGlobal& type) {
  static const std::map<std::string_view, DType> kTypes = {
      {"FloatStorage", DType::f32},     {"DoubleStorage", DType::f64}, {"HalfStorage", DType::f16},
      {"BFloat16Storage", DType::bf16}, {"LongStorage", DType::i64},   {"IntStorage", DType::i32},
      {"ShortStorage", DType::i16},     {"CharStorage", DType::i8},    {"ByteStorage", DType::u8},
      {"BoolStorage", DType::boolean}};
  const auto found = kTypes.find(type.name);
  if (type.module != "torch" || found == kTypes.end()) {
    fail("storages of type " + std::string(type.name) + " are not known");
  }
  return found->second;
}

/// The key of ('storage', type, key, location, elements[, view]); the storage joins `storages`.
std::string note_storage(const PicklePersistent& persistent, Storages& storages) {
  const auto* id = as<PickleList>(persistent.id);
  if (id == nullptr || id->items.size() < 5) fail("a reference to what is no storage");
  const auto* type = as<PickleGlobal>(id->items[1]);
  const auto* key = as_text(id->items[2]);
  const auto* elements = as_integer(id->items[4]);
  if (type == nullptr || key == nullptr || elements == nullptr || *elements < 0) {
    fail("a storage without type, key or size");
  }
  const Storage storage{storage_dtype(*type), *elements, nullptr};
  const auto [place, fresh] = storages.try_emplace(std::string(*key), storage);
  if (!fresh && (place->second.dtype != storage.dtype || place->second.elements != *elements)) {
    fail("storage " + std::string(*key) + " is described in two ways");
  }
  return place->first;
}

std::vector<int64_t> integers(const PickleValue& value) {
  const auto* list = as<PickleList>(value);
  if (list == nullptr || list->items.size() > kMaxRank) fail("a tensor without a shape");
  std::vector<int64_t> result;
  for (const PickleValue& item : list->items) {
    const auto* number = as_integer(item);
    if (number == nullptr || *number < 0) fail("a tensor whose shape is no list of numbers");
    result.push_back(*number);
  }
  return result;
}

/// A tensor as the pickle describes it.
struct View {
  std::string storage;
  int64_t offset = 0;
  Shape shape;
  std::vector<int64_t> strides;
};

/// The arguments of torch._utils._rebuild_tensor and _rebuild_tensor_v2.
View read_view(const PickleCall& call, Storages& storages) {
  const std::vector<PickleValue>& arguments = call.arguments->items;
  if (arguments.size() < 4) fail("a tensor with too few arguments");
  const auto* storage = as<PicklePersistent>(arguments[0]);
  if (storage == nullptr) fail("a tensor without a storage");
  View view{note_storage(*storage, storages), 0, integers(arguments[2]), integers(arguments[3])};
  const auto* offset = as_integer(arguments[1]);
  if (offset == nullptr || *offset < 0 || view.strides.size() != view.shape.size()) {
    fail("a tensor whose strides do not fit its shape");
  }
  view.offset = *offset;
  return view;
}

/// Finds tensors in nested containers.
class Collector {
 public:
  std::map<std::string, View> views;
  Storages storages;

  /// Also storages of what is passed over: the older form lists them all.
  void collect(const Pickle& pickle) {
    for (const PicklePersistent& persistent : pickle.persistents) {
      note_storage(persistent, storages);
    }
    collect(pickle.root, "", 0);
  }

 private:
  void collect(const PickleValue& value, const std::string& name, int depth) {
    if (depth > kDeepest) fail("containers nested deeper than " + std::to_string(kDeepest));
    if (++visits_ > kMostVisits) fail("containers that hold each other over and over");
    if (const auto* dict = as<PickleDict>(value)) {
      collect_items(*dict, name, depth);
    } else if (const auto* list = as<PickleList>(value)) {
      for (size_t i = 0; i < list->items.size(); ++i) {
        collect(list->items[i], join(name, std::to_string(i)), depth + 1);
      }
    } else if (const auto* call = as<PickleCall>(value)) {
      collect_call(*call, name, depth);
    }
  }

  static std::string join(const std::string& name, const std::string& key) {
    return name.empty() ? key : name + '.' + key;
  }
  void collect_items(const PickleDict& dict, const std::string& name, int depth) {
    for (const auto& [key, item] : dict.items) {
      if (const auto* text = as_text(key)) collect(item, join(name, std::string(*text)), depth + 1);
      if (const auto* number = as_integer(key)) {
        collect(item, join(name, std::to_string(*number)), depth + 1);
      }
    }
  }
  void collect_call(const PickleCall& call, const std::string& name, int depth) {
    if (call.callee->is("torch._utils", "_rebuild_tensor_v2") ||
        call.callee->is("torch._utils", "_rebuild_tensor")) {
      views.insert_or_assign(name, read_view(call, storages));
    } else if (call.callee->is("torch._utils", "_rebuild_parameter") &&
               !call.arguments->items.empty()) {
      collect(call.arguments->items[0], name, depth + 1);
    } else if (call.callee->is("collections", "OrderedDict")) {
      collect_items(call.items, name, depth);
    }
  }

  int64_t visits_ = 0;
};

/// The elements of a view, row by row.
Tensor gather(const View& view, const Storage& storage) {
  int64_t last = view.offset;
  const int64_t count = element_count(view.shape);
  for (size_t d = 0; d < view.shape.size() && count > 0; ++d) {
    const int64_t extent = view.shape[d] - 1;
    if (view.strides[d] > 0 && extent > (storage.elements - last) / view.strides[d]) {
      fail("a tensor that reaches beyond its storage");
    }
    last += extent * view.strides[d];
  }
  if (count > storage.elements || (count > 0 && last >= storage.elements)) {
    fail("a tensor that reaches beyond its storage");
  }
  Tensor tensor(storage.dtype, view.shape);
  const auto size = static_cast<size_t>(bits_of(storage.dtype)) / 8;
  const std::vector<std::byte>& bytes = *storage.bytes;
  std::byte* target = tensor.mutable_raw();
  Shape index(view.shape.size(), 0);
  for (int64_t i = 0; i < count; ++i) {
    int64_t from = view.offset;
    for (size_t d = 0; d < index.size(); ++d) from += index[d] * view.strides[d];
    std::memcpy(target + static_cast<size_t>(i) * size,
                bytes.data() + static_cast<size_t>(from) * size, size);
    for (size_t d = index.size(); d-- > 0;) {
      if (++index[d] < view.shape[d]) break;
      index[d] = 0;
    }
  }
  return tensor;
}

/// One storage may be the memory of many tensors, each of which becomes a copy; a small file must
/// not fill the memory so.
constexpr int64_t kMostCopies = 16;

std::map<std::string, Tensor> gather_all(const Collector& collector) {
  size_t room = 0;
  for (const auto& [key, storage] : collector.storages) room += storage.bytes->size() * kMostCopies;
  for (const auto& [name, view] : collector.views) {
    const size_t bytes =
        byte_size(collector.storages.at(view.storage).dtype, element_count(view.shape));
    if (bytes > room) fail("its tensors take far more room than its storages");
    room -= bytes;
  }
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, view] : collector.views) {
    tensors[name] = located("tensor " + name,
                            [&] { return gather(view, collector.storages.at(view.storage)); });
  }
  return tensors;
}

size_t storage_bytes(const Storage& storage) {
  return byte_size(storage.dtype, storage.elements);
}

// ---- The zip form: <name>/data.pkl, <name>/data/<key> ----

struct ZipDeleter {
  void operator()(zip_t* archive) const { zip_discard(archive); }
};
using Zip = std::unique_ptr<zip_t, ZipDeleter>;

Zip open_zip(std::span<const std::byte> file) {
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* source = zip_source_buffer_create(file.data(), file.size(), 0, &error);
  Zip archive(source == nullptr ? nullptr : zip_open_from_source(source, ZIP_RDONLY, &error));
  const std::string problem = archive == nullptr ? zip_error_strerror(&error) : "";
  zip_error_fini(&error);
  if (archive == nullptr) {
    zip_source_free(source);  // an archive would own it
    fail("the archive is damaged: " + problem);
  }
  return archive;
}

std::vector<std::byte> read_entry(zip_t* archive, const std::string& name, size_t most) {
  zip_stat_t facts;
  if (zip_stat(archive, name.c_str(), 0, &facts) != 0 || (facts.valid & ZIP_STAT_SIZE) == 0) {
    fail("the archive has no " + name);
  }
  if (facts.size > most) fail(name + " claims more than the file has room for");
  const std::unique_ptr<zip_file_t, int (*)(zip_file_t*)> file(zip_fopen(archive, name.c_str(), 0),
                                                               zip_fclose);
  std::vector<std::byte> bytes(facts.size);
  if (file == nullptr ||
      zip_fread(file.get(), bytes.data(), bytes.size()) != static_cast<zip_int64_t>(facts.size)) {
    fail(name + " is damaged");
  }
  return bytes;
}

std::map<std::string, Tensor> read_zip(std::span<const std::byte> file) {
  const Zip archive = open_zip(file);
  std::optional<std::string> folder;
  constexpr std::string_view kPickle = "/data.pkl";
  const zip_int64_t entries = zip_get_num_entries(archive.get(), 0);
  for (zip_int64_t i = 0; i < entries && !folder; ++i) {
    const char* text = zip_get_name(archive.get(), static_cast<zip_uint64_t>(i), 0);
    const std::string name = text == nullptr ? "" : text;
    if (name.ends_with(kPickle)) folder = name.substr(0, name.size() - kPickle.size());
  }
  if (!folder) fail("the archive holds no data.pkl: it is no checkpoint");
  // torch.save stores without compression: nothing in the archive is larger than the file.
  const std::vector<std::byte> pickle =
      read_entry(archive.get(), *folder + std::string(kPickle), file.size());
  std::span<const std::byte> rest(pickle);
  Collector collector;
  const Pickle object = read_pickle(rest);
  collector.collect(object);
  for (auto& [key, storage] : collector.storages) {
    storage.bytes = std::make_shared<std::vector<std::byte>>(
        read_entry(archive.get(), *folder + "/data/" + key, file.size()));
    if (storage.bytes->size() < storage_bytes(storage)) fail("storage " + key + " is too short");
  }
  return gather_all(collector);
}

// ---- The older form: pickles of a magic number, a version, the machine, the object, the keys of
// its storages; then each storage as a count of elements and the elements ----

constexpr int64_t kMagic = static_cast<int64_t>(0xa86a20f9469cfc6cULL);  // the last eight bytes
constexpr int64_t kVersion = 1001;

std::map<std::string, Tensor> read_legacy(std::span<const std::byte> rest) {
  const Pickle magic = read_pickle(rest);
  const Pickle version = read_pickle(rest);
  const auto is = [](const Pickle& pickle, int64_t wanted) {
    const auto* number = as_integer(pickle.root);
    return number != nullptr && *number == wanted;
  };
  if (!is(magic, kMagic) || !is(version, kVersion)) {
    fail("is no PyTorch checkpoint");
  }
  read_pickle(rest);
  Collector collector;
  const Pickle object = read_pickle(rest);
  collector.collect(object);
  const Pickle keys = read_pickle(rest);
  const auto* list = as<PickleList>(keys.root);
  if (list == nullptr) fail("the list of storages is missing");
  for (const PickleValue& item : list->items) {
    const auto* key = as_text(item);
    const auto found =
        key == nullptr ? collector.storages.end() : collector.storages.find(std::string(*key));
    int64_t elements = 0;
    if (rest.size() < sizeof(elements)) fail("the file ends within its storages");
    std::memcpy(&elements, rest.data(), sizeof(elements));
    rest = rest.subspan(sizeof(elements));
    if (found == collector.storages.end()) fail("a storage that no tensor has");
    Storage& storage = found->second;
    const size_t size = storage_bytes(storage);
    if (elements != storage.elements || size > rest.size())
      fail("storage " + found->first + " is cut off");
    storage.bytes = std::make_shared<std::vector<std::byte>>(
        rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(size));
    rest = rest.subspan(size);
  }
  for (const auto& [key, storage] : collector.storages) {
    if (storage.bytes == nullptr) fail("storage " + key + " is missing");
  }
  return gather_all(collector);
}

}  // namespace

std::map<std::string, Tensor> read_torch_checkpoint_bytes(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.starts_with("PK\x03\x04")) return read_zip(bytes);
  if (text.starts_with("\x80")) return read_legacy(bytes);
  fail("is no PyTorch checkpoint");
}

std::map<std::string, Tensor> read_torch_checkpoint(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  return located(path.string(), [&] { return read_torch_checkpoint_bytes(file->bytes()); });
}

}  // namespace ounce::formats
