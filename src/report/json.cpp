#include "report/json.h"

#include <string_view>

namespace ounce::report {
namespace {

Json nullable(const std::optional<double>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json to_json(const ModelSide& side) {
  Json json{{"label", side.label},
            {"file_bytes", side.file_bytes},
            {"weight_bytes", side.weight_bytes},
            {"arena_bytes", side.arena_bytes},
            {"peak_bytes", side.peak_bytes()},
            {"median_ms", nullptr},
            {"p95_ms", nullptr},
            {"runs", 0}};
  if (side.latency) {
    json["median_ms"] = side.latency->median_ms;
    json["p95_ms"] = side.latency->p95_ms;
    json["runs"] = side.latency->runs;
  }
  return json;
}

Json to_json(const TensorError& error) {
  return Json{{"name", error.name},
              {"op", error.op},
              {"tensor", error.tensor},
              {"own_sqnr_db", error.own_sqnr_db},
              {"accumulated_sqnr_db", error.accumulated_sqnr_db},
              {"own_cosine", error.own_cosine},
              {"accumulated_cosine", error.accumulated_cosine},
              {"own_relative", error.own_relative},
              {"accumulated_relative", error.accumulated_relative}};
}

Json to_json(const PieceTime& piece) {
  return Json{{"name", piece.name},
              {"op", piece.op},
              {"nodes", piece.nodes},
              {"float_ms", piece.float_ms},
              {"quantized_ms", piece.quantized_ms}};
}

Json to_json(const Histogram& histogram) {
  return Json{{"tensor", histogram.tensor},
              {"low", histogram.low},
              {"high", histogram.high},
              {"counts", histogram.counts},
              {"range_low", histogram.range_low},
              {"range_high", histogram.range_high},
              {"bits", histogram.bits},
              {"rule", histogram.rule},
              {"sqnr_db", nullable(histogram.sqnr_db)}};
}

Json to_json(const SearchPoint& point) {
  return Json{{"kind", point.kind},     {"settings", point.settings},
              {"metric", point.metric}, {"drop", point.drop},
              {"ms", point.ms},         {"bytes", point.bytes},
              {"front", point.front},   {"best", point.best}};
}

Json to_json(const RaisedLayer& layer) {
  return Json{{"name", layer.name}, {"op", layer.op}, {"from", layer.from},  {"to", layer.to},
              {"loss", layer.loss}, {"ms", layer.ms}, {"bytes", layer.bytes}};
}

Json to_json(const Search& search) {
  Json json{{"goal", search.goal},         {"met", search.met},
            {"complete", search.complete}, {"metric", search.metric},
            {"data", search.data},         {"by", search.by_size ? "size" : "latency"},
            {"points", Json::array()},     {"raised", Json::array()}};
  for (const SearchPoint& point : search.points) json["points"].push_back(to_json(point));
  for (const RaisedLayer& layer : search.raised) json["raised"].push_back(to_json(layer));
  return json;
}

}  // namespace

Json to_json(const Layer& layer) {
  return Json{{"name", layer.name},
              {"op", layer.op},
              {"parameters", layer.parameters},
              {"macs", layer.macs},
              {"weight_bits", layer.weight_bits},
              {"weights", layer.weights_text()},
              {"activation_bits", layer.activation_bits},
              {"activations", layer.activations_text()},
              {"first_or_last", layer.is_end}};
}

void add_json(Json& json, const Examination& examination) {
  json["first_broken"] =
      examination.first_broken ? to_json(*examination.first_broken) : Json(nullptr);
  json["diagnoses"] = Json::array();
  for (const Diagnosis& one : examination.diagnoses) {
    json["diagnoses"].push_back({{"disease", one.disease},
                                 {"name", one.name},
                                 {"tensor", one.tensor},
                                 {"words", one.words},
                                 {"flag", one.flag}});
  }
  json["sensitivity"] = nullptr;
  if (examination.layers.empty()) return;
  Json layers = Json::array();
  for (const LayerSensitivity& layer : examination.layers) {
    layers.push_back({{"name", layer.name},
                      {"op", layer.op},
                      {"alone_db", layer.alone_db},
                      {"restored_db", layer.restored_db}});
  }
  json["sensitivity"] = {
      {"all_db", examination.all_db}, {"runs", examination.runs}, {"layers", layers}};
}

Json to_json(const std::vector<TensorError>& errors) {
  Json json = Json::array();
  for (const TensorError& error : errors) json.push_back(to_json(error));
  return json;
}

Json to_json(const Provenance& provenance) {
  Json json{{"command", provenance.command},
            {"versions", Json::object()},
            {"model_hash", provenance.model_hash},
            {"data", provenance.data},
            {"data_hash", provenance.data_hash},
            {"data_items", provenance.data_items},
            {"skipped", provenance.skipped},
            {"machine", provenance.machine},
            {"instruction_set", provenance.instruction_set},
            {"threads", provenance.threads},
            {"seed", provenance.seed},
            {"started", provenance.started},
            {"seconds", Json::object()}};
  for (const auto& [name, version] : provenance.versions) json["versions"][name] = version;
  for (const auto& [stage, seconds] : provenance.seconds) json["seconds"][stage] = seconds;
  return json;
}

Json to_json(const Compression& report) {
  Json json{{"model", report.model},
            {"method", report.method},
            {"settings", report.settings},
            {"files", report.files},
            {"float_bytes", report.before.file_bytes},
            {"bytes", report.after.file_bytes},
            {"kept_float", Json::array()},
            {"before", to_json(report.before)},
            {"after", to_json(report.after)},
            {"metrics", Json::array()},
            {"layers", Json::array()},
            {"errors", to_json(report.errors)},
            {"pieces", Json::array()},
            {"histograms", Json::array()},
            {"notes", report.notes},
            {"provenance", to_json(report.provenance)}};
  for (const KeptFloat& kept : report.kept_float) {
    json["kept_float"].push_back({{"name", kept.name}, {"op", kept.op}, {"reason", kept.reason}});
  }
  for (const Metric& metric : report.metrics) {
    json["metrics"].push_back({{"name", metric.name},
                               {"before", nullable(metric.before)},
                               {"after", nullable(metric.after)},
                               {"unit", metric.unit}});
  }
  add_json(json, report.examination);
  for (const Layer& layer : report.layers) json["layers"].push_back(to_json(layer));
  for (const PieceTime& piece : report.pieces) json["pieces"].push_back(to_json(piece));
  if (report.search) json["search"] = to_json(*report.search);
  for (const Histogram& histogram : report.histograms) {
    json["histograms"].push_back(to_json(histogram));
  }
  return json;
}

std::string json_text(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

std::string script_safe_json(const Json& json) {
  const std::string text = json_text(json, -1);
  std::string safe;
  safe.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const std::string_view rest = std::string_view(text).substr(i);
    if (c == '<') {
      safe += "\\u003c";
    } else if (c == '>') {
      safe += "\\u003e";
    } else if (c == '&') {
      safe += "\\u0026";
    } else if (rest.starts_with("\xe2\x80\xa8") || rest.starts_with("\xe2\x80\xa9")) {
      safe += rest[2] == '\xa8' ? "\\u2028" : "\\u2029";
      i += 2;
    } else {
      safe += c;
    }
  }
  return safe;
}

}  // namespace ounce::report
