#include "capi/ounce.h"

#include <cstdio>
#include <exception>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "engine/reference/reference.h"
#include "engine/session.h"
#include "formats/ounce_file/located.h"
#include "formats/ounce_file/mapped_file.h"
#include "formats/ounce_file/ounce_file.h"
#include "graph/error.h"
#include "graph/graph.h"
#include "graph/operator.h"

namespace {

using ounce::DType;
using ounce::Error;
using ounce::Graph;
using ounce::Shape;
using ounce::Tensor;
using ounce::ValueId;

static_assert(OUNCE_F32 == static_cast<int>(DType::f32));
static_assert(OUNCE_BOOL == static_cast<int>(DType::boolean));
static_assert(OUNCE_U1 == static_cast<int>(DType::u1));

constexpr int kMostThreads = 1024;

// Of fixed size: telling that memory has run out must not take any.
thread_local char g_last_error[1024] = "";

int fail(int status, const char* text) noexcept {
  std::snprintf(g_last_error, sizeof(g_last_error), "%s", text);
  return status;
}

/// An error whose status is known where it is thrown.
class Failure : public Error {
 public:
  Failure(ounce_status status, const std::string& message, const std::string& where = {})
      : Error(message, where), status_(status) {}
  ounce_status status() const { return status_; }

 private:
  ounce_status status_;
};

Failure bad_argument(const std::string& message, const std::string& where = {}) {
  return Failure(OUNCE_BAD_ARGUMENT, message, where);
}

/// Runs `body`; an `Error` that it throws means `status`, unless it says so itself.
template <class Body>
int guarded(ounce_status status, const Body& body) noexcept {
  try {
    body();
    return OUNCE_OK;
  } catch (const Failure& failure) {
    return fail(failure.status(), failure.what());
  } catch (const Error& error) {
    return fail(status, error.what());
  } catch (const std::bad_alloc&) {
    return fail(OUNCE_OUT_OF_MEMORY, "out of memory");
  } catch (const std::system_error& error) {
    return fail(OUNCE_OUT_OF_MEMORY, error.what());
  } catch (const std::exception& error) {
    return fail(OUNCE_FAILED, error.what());
  } catch (...) {
    return fail(OUNCE_FAILED, "an unknown exception");
  }
}

/// `pointer`, which must not be null.
template <class T>
T& required(T* pointer, const char* name) {
  if (pointer == nullptr) throw bad_argument(std::string(name) + " is NULL");
  return *pointer;
}

/// One input or output as callers see it.
struct Port {
  std::string name;
  DType dtype = DType::undefined;
  bool has_rank = false;
  std::vector<int64_t> shape;  // -1: open

  explicit Port(const ounce::Value& value) : name(value.name), dtype(value.dtype) {
    if (!value.shape) return;
    has_rank = true;
    for (const ounce::Dim& dim : *value.shape) shape.push_back(dim.known() ? dim.value : -1);
  }

  std::string text() const {
    return std::string(ounce::name_of(dtype)) + " " +
           (has_rank ? ounce::to_string(shape) : std::string("of any shape"));
  }

  bool takes(DType given, const Shape& given_shape) const {
    if (given != dtype) return false;
    if (!has_rank) return true;
    if (given_shape.size() != shape.size()) return false;
    for (size_t i = 0; i < shape.size(); ++i) {
      if (shape[i] >= 0 && shape[i] != given_shape[i]) return false;
    }
    return true;
  }
};

std::vector<Port> ports_of(const Graph& graph, const std::vector<ValueId>& values) {
  std::vector<Port> ports;
  for (const ValueId id : values) ports.emplace_back(graph.value(id));
  return ports;
}

const Port& port_at(const std::vector<Port>& ports, size_t index, const char* kind) {
  if (index >= ports.size()) {
    throw bad_argument(std::string("there is no ") + kind + " " + std::to_string(index) +
                       ", the model has " + std::to_string(ports.size()));
  }
  return ports[index];
}

void describe(const Port& port, ounce_port& out) {
  out = {port.name.c_str(), static_cast<int32_t>(port.dtype),
         port.has_rank ? port.shape.size() : OUNCE_UNKNOWN_RANK, port.shape.data()};
}

ounce::engine::SessionOptions session_options(const ounce_options* options) {
  ounce::engine::SessionOptions result;
  if (options == nullptr) return result;
  if (options->threads < 0 || options->threads > kMostThreads) {
    throw bad_argument("threads is " + std::to_string(options->threads) + ", not 0 to " +
                       std::to_string(kMostThreads));
  }
  if (options->threads > 0) result.threads = options->threads;
  return result;
}

/// The tensor as ours, after every check that does not need the model.
Tensor borrowed(const ounce_tensor& tensor) {
  if (tensor.dtype < OUNCE_F32 || tensor.dtype > OUNCE_U1) {
    throw bad_argument("no element type has the number " + std::to_string(tensor.dtype));
  }
  if (tensor.rank > ounce::kMaxRank) throw ounce::rank_error();
  if (tensor.rank > 0) required(tensor.shape, "the shape");
  Shape shape(tensor.shape, tensor.shape + tensor.rank);
  const auto dtype = static_cast<DType>(tensor.dtype);
  const size_t bytes = ounce::byte_size(dtype, ounce::element_count(shape));
  if (bytes != tensor.bytes) {
    throw bad_argument(std::string(ounce::name_of(dtype)) + " " + ounce::to_string(shape) +
                       " takes " + std::to_string(bytes) + " bytes, not " +
                       std::to_string(tensor.bytes));
  }
  const auto* data = static_cast<const std::byte*>(tensor.data);
  if (bytes > 0) required(data, "the data pointer");
  return Tensor::borrow(dtype, std::move(shape), {data, bytes}, nullptr);
}

}  // namespace

struct ounce_model {
  ounce_model(const Graph& graph, const ounce::engine::SessionOptions& options)
      : session(graph, options),
        inputs(ports_of(graph, graph.inputs)),
        outputs(ports_of(graph, graph.outputs)),
        feeds(inputs.size()),
        results(outputs.size()) {}

  ounce::engine::Session session;
  std::vector<Port> inputs;
  std::vector<Port> outputs;
  std::vector<Tensor> feeds;  // undefined: not set yet
  std::vector<Tensor> results;
  bool has_run = false;
};

namespace {

/// Loads what `read` gives; `*model` is null if that fails.
template <class Read>
int load(const ounce_options* options, ounce_model** model, const Read& read) noexcept {
  if (model != nullptr) *model = nullptr;
  return guarded(OUNCE_BAD_MODEL, [&] {
    ounce_model*& loaded = required(model, "model");
    const ounce::engine::SessionOptions chosen = session_options(options);
    Graph graph = read();
    try {
      // A file need not say what follows from its inputs.
      ounce::InferOptions infer;
      infer.evaluator = &ounce::engine::reference::evaluator();
      ounce::infer_shapes(graph, infer);
      loaded = std::make_unique<ounce_model>(graph, chosen).release();
    } catch (const Error& error) {
      throw Failure(OUNCE_CANNOT_RUN, error.what());
    }
  });
}

std::shared_ptr<const ounce::formats::MappedFile> open_file(const char* path) {
  try {
    return ounce::formats::MappedFile::open(path);
  } catch (const Error& error) {
    throw Failure(OUNCE_BAD_FILE, error.what());
  }
}

}  // namespace

extern "C" {

const char* ounce_version(void) {
  return OUNCE_VERSION;
}

const char* ounce_error_text(int status) {
  switch (status) {
    case OUNCE_OK:
      return "no error";
    case OUNCE_BAD_ARGUMENT:
      return "an argument is NULL, out of range, or not what the model's input is";
    case OUNCE_BAD_FILE:
      return "the file is missing or cannot be read";
    case OUNCE_BAD_MODEL:
      return "no .ounce model, or a damaged one, or one of an unknown version";
    case OUNCE_CANNOT_RUN:
      return "the model does not work out, or not on inputs of these shapes";
    case OUNCE_NOT_READY:
      return "inputs are missing, or the model has not run yet";
    case OUNCE_OUT_OF_MEMORY:
      return "out of memory or threads";
    case OUNCE_FAILED:
      return "an unexpected error";
    default:
      return "no such status";
  }
}

const char* ounce_last_error(void) {
  return g_last_error;
}

int ounce_load_file(const char* path, const ounce_options* options, ounce_model** model) {
  return load(options, model, [&] {
    required(path, "path");
    const auto file = open_file(path);
    return ounce::formats::located(
        path, [&] { return ounce::formats::read_ounce_bytes(file->bytes(), file); });
  });
}

int ounce_load_memory(const void* data, size_t bytes, const ounce_options* options,
                      ounce_model** model) {
  return load(options, model, [&] {
    const auto* first = static_cast<const std::byte*>(data);
    required(first, "data");
    return ounce::formats::read_ounce_bytes({first, bytes}, nullptr);
  });
}

void ounce_free(ounce_model* model) {
  delete model;
}

int ounce_input_count(const ounce_model* model, size_t* count) {
  return guarded(OUNCE_FAILED,
                 [&] { required(count, "count") = required(model, "model").inputs.size(); });
}

int ounce_output_count(const ounce_model* model, size_t* count) {
  return guarded(OUNCE_FAILED,
                 [&] { required(count, "count") = required(model, "model").outputs.size(); });
}

int ounce_input(const ounce_model* model, size_t index, ounce_port* port) {
  return guarded(OUNCE_FAILED, [&] {
    describe(port_at(required(model, "model").inputs, index, "input"), required(port, "port"));
  });
}

int ounce_output(const ounce_model* model, size_t index, ounce_port* port) {
  return guarded(OUNCE_FAILED, [&] {
    describe(port_at(required(model, "model").outputs, index, "output"), required(port, "port"));
  });
}

int ounce_set_input(ounce_model* model, size_t index, const ounce_tensor* tensor) {
  return guarded(OUNCE_BAD_ARGUMENT, [&] {
    const Port& port = port_at(required(model, "model").inputs, index, "input");
    Tensor given = borrowed(required(tensor, "tensor"));
    if (!port.takes(given.dtype(), given.shape())) {
      throw bad_argument("expected " + port.text() + ", got " +
                             std::string(ounce::name_of(given.dtype())) + " " +
                             ounce::to_string(given.shape()),
                         "input \"" + port.name + "\"");
    }
    model->feeds[index] = std::move(given);
  });
}

int ounce_run(ounce_model* model) {
  return guarded(OUNCE_CANNOT_RUN, [&] {
    required(model, "model");
    for (size_t i = 0; i < model->feeds.size(); ++i) {
      if (model->feeds[i].defined()) continue;
      throw Failure(OUNCE_NOT_READY, "has not been set", "input \"" + model->inputs[i].name + "\"");
    }
    model->has_run = false;
    model->session.run_into(model->feeds, model->results);
    model->has_run = true;
  });
}

int ounce_get_output(const ounce_model* model, size_t index, ounce_tensor* tensor) {
  return guarded(OUNCE_FAILED, [&] {
    port_at(required(model, "model").outputs, index, "output");
    ounce_tensor& out = required(tensor, "tensor");
    if (!model->has_run) throw Failure(OUNCE_NOT_READY, "the model has not run yet");
    const Tensor& result = model->results[index];
    out = {static_cast<int32_t>(result.dtype()), result.shape().size(), result.shape().data(),
           result.raw(), result.bytes()};
  });
}

}  // extern "C"
