#include "cli/model_input.h"

#include <charconv>
#include <string_view>

#include "engine/reference/reference.h"
#include "formats/formats.h"
#include "graph/operator.h"

namespace ounce::cli {

report::NamedShape parse_shape(const std::string& text) {
  report::NamedShape named;
  // Input names may hold '=' (and anything else); dimensions cannot.
  const size_t equals = text.rfind('=');
  std::string_view dims = text;
  if (equals != std::string::npos) {
    named.input = text.substr(0, equals);
    dims.remove_prefix(equals + 1);
  }
  while (true) {
    int64_t dim = 0;
    const auto [end, failed] = std::from_chars(dims.data(), dims.data() + dims.size(), dim);
    if (failed != std::errc() || dim < 1) {
      throw UsageError("--shape " + text + ": not a shape (try: --shape name=1x3x224x224)");
    }
    named.shape.push_back(dim);
    dims.remove_prefix(static_cast<size_t>(end - dims.data()));
    if (dims.empty()) return named;
    if (dims.front() != 'x' && dims.front() != ',') {
      throw UsageError("--shape " + text + ": not a shape (try: --shape name=1x3x224x224)");
    }
    dims.remove_prefix(1);
  }
}

std::vector<report::NamedShape> parse_shapes(const std::vector<std::string>& texts) {
  std::vector<report::NamedShape> shapes;
  for (const std::string& text : texts) shapes.push_back(parse_shape(text));
  return shapes;
}

Graph load_model(const std::filesystem::path& path) {
  Graph graph = formats::read_model(path);
  formats::check_finite(graph);
  return graph;
}

engine::Session open_session(const Graph& graph, const CommonOptions& options) {
  engine::SessionOptions session_options;
  session_options.threads = options.threads;
  return engine::Session(graph, session_options);
}

int64_t file_bytes(const std::filesystem::path& path) {
  std::error_code ignored;
  const auto size = [&](const std::filesystem::path& file) {
    const auto bytes = std::filesystem::file_size(file, ignored);
    return ignored ? int64_t{0} : static_cast<int64_t>(bytes);
  };
  return size(path) + size(path.string() + ".data");
}

void settle_shapes(Graph& graph, const std::vector<report::NamedShape>& shapes) {
  InferOptions options;
  options.evaluator = &engine::reference::evaluator();
  if (const auto known = report::input_shapes_if_known(graph, shapes)) {
    specialize_inputs(graph, *known, options);
  } else {
    infer_shapes(graph, options);
  }
}

}  // namespace ounce::cli
