#include "report/summary.h"

#include <fmt/format.h>

#include <algorithm>

#include "quantize/decibels.h"
#include "report/format.h"
#include "report/table.h"

namespace ounce::report {
namespace {

using Align = Table::Align;
constexpr size_t kNameWidth = 48;

std::string decibel_text(double decibels) {
  return decibels >= quantize::kSilentDb ? "exact" : number_text(decibels, 1) + " dB";
}

std::string gain_of(const Metric& metric) {
  if (!metric.before || !metric.after) return "-";
  const double change = *metric.after - *metric.before;
  if (metric.unit == "%") return fmt::format("{:+.2f} points", change * 100);
  return fmt::format("{:+.4f}", change);
}

void add_latency_rows(Table& table, const Compression& report) {
  const auto& before = report.before.latency;
  const auto& after = report.after.latency;
  if (!before && !after) return;
  const auto row = [&](const char* name, double Latency::*field) {
    table.add_row({name, before ? milliseconds_text((*before).*field) : "-",
                   after ? milliseconds_text((*after).*field) : "-",
                   before && after ? ratio_text((*before).*field, (*after).*field) : "-"});
  };
  row("latency, median", &Latency::median_ms);
  row("latency, p95", &Latency::p95_ms);
}

std::string before_after_table(const Compression& report) {
  Table table({{"", Align::left},
               {report.before.label, Align::right},
               {report.after.label, Align::right},
               {"gain", Align::right}});
  const auto bytes_row = [&](const char* name, int64_t before, int64_t after) {
    table.add_row({name, bytes_text(before), bytes_text(after),
                   ratio_text(static_cast<double>(before), static_cast<double>(after))});
  };
  bytes_row("size on disk", report.before.file_bytes, report.after.file_bytes);
  if (report.before.peak_bytes() > 0 && report.after.peak_bytes() > 0) {
    bytes_row("peak memory", report.before.peak_bytes(), report.after.peak_bytes());
  }
  add_latency_rows(table, report);
  for (const Metric& metric : report.metrics) {
    table.add_row({metric.name, metric_text(metric.before, metric.unit),
                   metric_text(metric.after, metric.unit), gain_of(metric)});
  }
  return table.text();
}

/// "8/8" for a layer with bits of its own, "" for what stands between layers.
std::string bits_of(const Compression& report, const std::string& name) {
  for (const Layer& layer : report.layers) {
    if (layer.name == name) return layer.weights_text() + "/" + layer.activations_text();
  }
  return "";
}

std::string worst_layers_table(const Compression& report, size_t count) {
  Table table({{"layers that lost most", Align::left, kNameWidth},
               {"op", Align::left},
               {"bits w/a", Align::right},
               {"SQNR alone", Align::right},
               {"SQNR so far", Align::right},
               {"cosine so far", Align::right}});
  for (const TensorError& error : worst_first(report.errors, count)) {
    table.add_row({error.name, error.op, bits_of(report, error.name),
                   decibel_text(error.own_sqnr_db), decibel_text(error.accumulated_sqnr_db),
                   number_text(error.accumulated_cosine, 5)});
  }
  return table.text();
}

bool is_layer(const Compression& report, const std::string& name) {
  return std::any_of(report.layers.begin(), report.layers.end(),
                     [&](const Layer& layer) { return layer.name == name; });
}

/// Layers one by one; what stands between them (norms, residuals, ...) together by kind and reason.
std::string kept_float_table(const Compression& report) {
  Table table(
      {{"kept in float", Align::left, kNameWidth}, {"op", Align::left}, {"reason", Align::left}});
  std::vector<std::pair<KeptFloat, int>> groups;
  for (const KeptFloat& kept : report.kept_float) {
    if (is_layer(report, kept.name)) {
      table.add_row({kept.name, kept.op, kept.reason});
      continue;
    }
    const auto same = std::find_if(groups.begin(), groups.end(), [&](const auto& group) {
      return group.first.op == kept.op && group.first.reason == kept.reason;
    });
    if (same == groups.end()) {
      groups.emplace_back(kept, 1);
    } else {
      ++same->second;
    }
  }
  for (const auto& [kept, count] : groups) {
    table.add_row({count == 1 ? kept.name : fmt::format("{} nodes", count), kept.op, kept.reason});
  }
  return table.text();
}

}  // namespace

std::vector<TensorError> worst_first(const std::vector<TensorError>& errors, size_t count) {
  std::vector<TensorError> sorted = errors;
  std::stable_sort(sorted.begin(), sorted.end(), [](const TensorError& a, const TensorError& b) {
    return a.own_sqnr_db < b.own_sqnr_db;
  });
  std::erase_if(sorted,
                [](const TensorError& error) { return error.own_sqnr_db >= quantize::kSilentDb; });
  sorted.resize(std::min(sorted.size(), count));
  return sorted;
}

std::string errors_text(const std::vector<TensorError>& errors) {
  Table table({{"node", Align::left, kNameWidth},
               {"op", Align::left},
               {"SQNR alone", Align::right},
               {"SQNR so far", Align::right},
               {"cosine alone", Align::right},
               {"cosine so far", Align::right},
               {"error alone", Align::right},
               {"error so far", Align::right}});
  for (const TensorError& error : errors) {
    table.add_row({error.name, error.op, decibel_text(error.own_sqnr_db),
                   decibel_text(error.accumulated_sqnr_db), number_text(error.own_cosine, 6),
                   number_text(error.accumulated_cosine, 6), number_text(error.own_relative, 5),
                   number_text(error.accumulated_relative, 5)});
  }
  return table.text();
}

std::string examination_text(const Examination& examination, size_t count) {
  std::string text;
  if (const auto& broken = examination.first_broken) {
    text += fmt::format("breaks first: {} ({}), {} so far, {} alone\n", printable(broken->name),
                        broken->op, decibel_text(broken->accumulated_sqnr_db),
                        decibel_text(broken->own_sqnr_db));
  }
  for (const Diagnosis& one : examination.diagnoses) {
    text += fmt::format("{} at {}: {}", one.disease, printable(one.name), printable(one.words));
    text += one.flag.empty() ? "\n" : fmt::format(" (try {})\n", printable(one.flag));
  }
  if (examination.layers.empty()) return text;
  Table table({{"layers that cost the outputs most", Align::left, kNameWidth},
               {"op", Align::left},
               {"only it quantized", Align::right},
               {"only it restored", Align::right},
               {"gain", Align::right}});
  std::vector<LayerSensitivity> layers = examination.layers;
  std::stable_sort(layers.begin(), layers.end(),
                   [](const auto& a, const auto& b) { return a.restored_db > b.restored_db; });
  layers.resize(std::min(layers.size(), count));
  for (const LayerSensitivity& layer : layers) {
    table.add_row({layer.name, layer.op, decibel_text(layer.alone_db),
                   decibel_text(layer.restored_db),
                   fmt::format("{:+.1f} dB", layer.restored_db - examination.all_db)});
  }
  if (!text.empty()) text += '\n';
  return text + table.text() +
         fmt::format("all layers quantized: {}, over {} inputs\n", decibel_text(examination.all_db),
                     examination.runs);
}

std::string summary_text(const Compression& report, size_t worst_layers) {
  std::string text = before_after_table(report);
  for (const std::string& part : {worst_layers_table(report, worst_layers),
                                  examination_text(report.examination), kept_float_table(report)}) {
    if (!part.empty()) text += '\n' + part;
  }
  if (!report.notes.empty()) text += '\n';
  for (const std::string& note : report.notes) text += "note: " + printable(note) + '\n';
  return text;
}

}  // namespace ounce::report
