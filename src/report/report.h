#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "quantize/affine.h"

namespace ounce::report {

/// Latency of a model over repeated runs, in milliseconds of wall time.
struct Latency {
  double median_ms = 0;
  double p95_ms = 0;
  int runs = 0;
};

/// One of the two models that a report sets side by side.
struct ModelSide {
  std::string label;         // "float", "W8A8"
  int64_t file_bytes = 0;    // the .ounce file on disk (the source file for the float model)
  int64_t weight_bytes = 0;  // packed weights in memory
  int64_t arena_bytes = 0;   // activations in memory
  std::optional<Latency> latency;

  /// What the engine holds while the model runs.
  int64_t peak_bytes() const { return weight_bytes + arena_bytes; }
};

/// A task metric before and after compression.
struct Metric {
  std::string name;  // "top1", "ap50", ...
  std::optional<double> before;
  std::optional<double> after;
  std::string unit;  // "%" when the value is a fraction to be shown as a percentage, else free text
};

/// What became of one layer: a convolution or matrix product.
struct Layer {
  std::string name;
  std::string op;
  int64_t parameters = 0;
  int64_t macs = 0;
  int weight_bits = 32;
  bool ternary = false;  // the 2 bits of the weights hold -1, 0, 1
  int activation_bits = 32;
  bool ternary_activations = false;  // their 2 bits hold -1, 0, 1
  bool is_end = false;               // keeps 8 bits as a first or last layer

  /// "8", "ternary", "32"
  std::string weights_text() const { return quantize::bits_text(weight_bits, ternary); }
  std::string activations_text() const {
    return quantize::bits_text(activation_bits, ternary_activations);
  }
};

/// How far one tensor of the quantized model is from its exact twin. Ratios of signal to
/// quantization noise are in dB; 200 means that nothing was lost.
struct TensorError {
  std::string name;  // of the node that computes it
  std::string op;
  std::string tensor;
  /// Float prefix: the input is exact, only this piece is quantized. Names the layer that breaks.
  double own_sqnr_db = 0;
  /// Quantized prefix: everything before it is quantized too. Shows how the loss adds up.
  double accumulated_sqnr_db = 0;
  double own_cosine = 1;
  double accumulated_cosine = 1;
  double own_relative = 0;  // |a - b| / |a|
  double accumulated_relative = 0;
};

/// What ails one tensor or layer, in words.
struct Diagnosis {
  std::string disease;  // "outlier channel", ...
  std::string name;     // of the node that makes the tensor, or the layer
  std::string tensor;
  std::string words;  // one sentence with the figures
  std::string flag;   // of `ounce quantize`, that would help; may be empty
};

/// Signal to noise of the model's outputs with one layer quantized, and with all but it.
struct LayerSensitivity {
  std::string name;
  std::string op;
  double alone_db = 0;
  double restored_db = 0;
};

/// Why a model loses what it loses.
struct Examination {
  std::optional<TensorError> first_broken;  // in network order
  std::vector<Diagnosis> diagnoses;         // in network order
  std::vector<LayerSensitivity> layers;     // in network order; empty: not measured
  double all_db = 0;                        // with every layer quantized
  int64_t runs = 0;                         // inputs that `layers` were measured on
};

/// Time of one piece of work in both models: what the engine fuses is timed together, with the
/// conversions between floats and codes that it causes.
struct PieceTime {
  std::string name;  // of its layer, or of its first node
  std::string op;
  int nodes = 1;
  double float_ms = 0;
  double quantized_ms = 0;
};

/// A layer that stays in float, and why.
struct KeptFloat {
  std::string name;
  std::string op;
  std::string reason;
};

/// Distribution of one tensor over the calibration data, and the range chosen for it.
struct Histogram {
  std::string tensor;
  double low = 0;  // left edge of the first bin
  double high = 0;
  std::vector<double> counts;
  double range_low = 0;  // what the quantizer represents
  double range_high = 0;
  int bits = 8;
  std::string rule;  // "minmax", "unilateral histogram", ...
  std::optional<double> sqnr_db;
};

/// Everything somebody else needs to repeat the result.
struct Provenance {
  std::vector<std::string> command;
  std::vector<std::pair<std::string, std::string>> versions;
  std::string model_hash;  // "sha256:..."
  std::string data;
  std::string data_hash;
  int64_t data_items = 0;
  std::vector<std::string> skipped;  // broken calibration items: "path: reason"
  std::string machine;
  std::string instruction_set;
  int threads = 1;
  uint64_t seed = 0;
  std::string started;                                  // ISO 8601, UTC
  std::vector<std::pair<std::string, double>> seconds;  // by stage, in order
};

/// One model that a search measured.
struct SearchPoint {
  std::string kind;      // "float", "uniform W8A8", "curve", "refined"
  std::string settings;  // "W8A8 x 30, W4A8 x 20"
  double metric = 0;     // 0 .. 1
  double drop = 0;       // points below the float model
  double ms = 0;
  int64_t bytes = 0;
  bool front = false;  // no other one is as good and costs less
  bool best = false;   // what the search chose
};

/// What a layer gained by more than its cheapest setting.
struct RaisedLayer {
  std::string name;
  std::string op;
  std::string from;
  std::string to;
  double loss = 0;  // divergence of the network's outputs that it took away
  double ms = 0;    // that it cost
  int64_t bytes = 0;
};

/// How the bits of each layer were found.
struct Search {
  std::string goal;      // "a drop of at most 1 point of top1 at least latency"
  std::string metric;    // "top1"
  std::string data;      // which pictures calibrated and which judged
  bool by_size = false;  // the front is one of sizes, else of latencies
  bool met = false;
  bool complete = false;            // nothing promising was left to try
  std::vector<SearchPoint> points;  // the float model first
  std::vector<RaisedLayer> raised;  // best bargain first
};

/// The whole story of one compression.
struct Compression {
  std::string model;
  std::string method;
  std::string settings;  // one line for people: "weights 8 bit per channel, activations 8 bit"
  ModelSide before;
  ModelSide after;
  std::vector<Metric> metrics;
  std::vector<Layer> layers;        // in network order
  std::vector<TensorError> errors;  // in network order
  Examination examination;
  std::vector<PieceTime> pieces;  // in network order
  std::vector<Histogram> histograms;
  std::vector<KeptFloat> kept_float;
  std::optional<Search> search;
  std::vector<std::string> files;
  std::vector<std::string> notes;  // warnings that a reader must see
  std::string contact_sheet;       // data URI of the pictures that were made to calibrate on
  Provenance provenance;
};

}  // namespace ounce::report
