#include "tests/report/sample_report.h"

#include <cmath>
#include <limits>
#include <string>

namespace ounce::report {
namespace {

Layer layer(std::string name, std::string op, int index) {
  Layer one;
  one.name = std::move(name);
  one.op = std::move(op);
  one.parameters = 110592 * (index % 4 + 1);
  one.macs = 21788000LL * (index % 4 + 1);
  one.weight_bits = 8;
  one.activation_bits = 8;
  return one;
}

Histogram histogram(std::string tensor, double low, double high, double range_high, double peak) {
  Histogram one;
  one.tensor = std::move(tensor);
  one.low = low;
  one.high = high;
  one.range_low = low;
  one.range_high = range_high;
  one.rule = "unilateral histogram";
  one.sqnr_db = 21.3;
  constexpr int kBins = 64;
  for (int i = 0; i < kBins; ++i) {
    const double x = low + (i + 0.5) * (high - low) / kBins;
    one.counts.push_back(std::floor(1e6 * std::exp(-std::abs(x - peak) * 2)));
  }
  return one;
}

}  // namespace

Compression sample_report() {
  Compression report;
  report.model = "vit_<b>tiny</b>.onnx";
  report.method = "q-yolo";
  report.settings = "weights 8 bit per channel, activations 8 bit";
  report.before = {"float", 22'950'000, 22'870'000, 4'210'000, Latency{9.41, 9.88, 50}};
  report.after = {"W8A8", 5'930'000, 5'840'000, 1'420'000, Latency{3.52, 3.71, 50}};
  report.metrics = {{"top1", 0.828, 0.822, "%"}, {"top5", 0.962, std::nullopt, "%"}};
  report.layers.push_back(layer("patch_embed.proj", "Conv", 0));
  for (int block = 0; block < 8; ++block) {
    const std::string scope = "blocks." + std::to_string(block);
    int index = 1 + block * 4;
    for (const char* part : {".attn.qkv", ".attn.proj", ".mlp.fc1", ".mlp.fc2"}) {
      report.layers.push_back(layer(scope + part, "MatMul", index++));
    }
  }
  report.layers[6].name = "blocks.1.</script><script>window.broken=1</script>";
  for (int i = 0; i < static_cast<int>(report.layers.size()); ++i) {
    const Layer& one = report.layers[static_cast<size_t>(i)];
    const double wave = std::sin(i * 1.7);
    report.errors.push_back({.name = one.name,
                             .op = one.op,
                             .tensor = one.name + "_output",
                             .own_sqnr_db = 38 + 6 * wave,
                             .accumulated_sqnr_db = 36 - i * 0.25 + 3 * wave,
                             .own_cosine = 0.9999,
                             .accumulated_cosine = 0.9999 - i * 1e-5,
                             .own_relative = 0.01,
                             .accumulated_relative = 0.02});
    report.pieces.push_back(
        {one.name, one.op, 1 + i % 3, 0.09 + 0.05 * (i % 4), 0.03 + 0.017 * (i % 4)});
  }
  for (const Layer& one : report.layers) {
    const double wave = std::cos(static_cast<double>(report.examination.layers.size()));
    report.examination.layers.push_back({one.name, one.op, 30 + 5 * wave, 12 - 2 * wave});
  }
  report.examination.layers[2].alone_db = 200;
  report.examination.all_db = 9.5;
  report.examination.runs = 4;
  report.examination.first_broken = report.errors[6];
  report.examination.diagnoses = {
      {"clipped tail", "blocks.2.mlp.fc1", "fc1_output", "3 % of the values lie outside of 0 .. 1",
       "--set 'blocks.2.mlp.fc1:range=minmax'"},
      {"outlier channel", "</script><script>window.broken=1</script>", "x",
       "channel 3 is 20 times as wide as a middling one", ""}};
  report.errors[6].own_sqnr_db = 14.25;
  report.errors[3].own_sqnr_db = 200;
  report.errors[4].own_cosine = std::numeric_limits<double>::quiet_NaN();
  report.pieces[9].quantized_ms = 0.2;  // slower than float
  Layer head = layer("head", "Gemm", 33);
  head.weight_bits = head.activation_bits = 32;
  report.layers.push_back(head);
  Search& search = report.search.emplace();
  search.goal = "a drop of at most 1 point of top1 at least size";
  search.metric = "top1";
  search.data = "128 of photos.txt calibrate, 372 others judge by top1";
  search.by_size = true;
  search.met = true;
  search.complete = true;
  search.points = {{"float", "float", 0.828, 0, 9.41, 22'950'000, false, false},
                   {"uniform W8A8", "W8A8 x 33", 0.826, 0.2, 3.52, 5'930'000, true, false},
                   {"uniform W4A8", "W4A8 x 33", 0.781, 4.7, 3.53, 3'320'000, true, false},
                   {"curve", "W4A8 x 20, W8A8 x 13", 0.82, 0.8, 3.52, 4'100'000, true, true},
                   {"refined", "W4A8 x 21, W8A8 x 12", 0.815, 1.3, 3.5, 4'150'000, false, false}};
  search.raised = {{"blocks.0.mlp.fc1", "MatMul", "W4A8", "W8A8", 0.0123, -0.001, 73'728},
                   {"<i>head</i>", "Gemm", "W4A8", "float", 0.004, 0.04, 500'000}};
  report.histograms = {histogram("blocks.1.mlp.fc2_input", -0.17, 9.5, 4.2, 0.1),
                       histogram("<img src=x onerror=window.broken=1>", -6, 6, 5, 0)};
  report.kept_float = {
      {"head", "Gemm", "last layer: kept in float by default"},
      {"blocks.3.attn.softmax", "Softmax", "integer kernel slower: 0.21 > 0.18 ms"}};
  report.files = {"model.ounce", "model.onnx", "manifest.json", "report.html"};
  report.notes = {
      "1 of 101 calibration pictures was skipped: broken.jpg: not a picture & <i>bad</i>"};
  Provenance& from = report.provenance;
  from.command = {"ounce", "quantize", "vit_tiny.onnx", "-o", "out", "--data", "photos"};
  from.versions = {{"ounce", "0.1.0"}, {"opencv", "4.6.0"}};
  from.model_hash = "sha256:0123456789abcdef";
  from.data = "photos";
  from.data_hash = "sha256:fedcba9876543210";
  from.data_items = 100;
  from.skipped = {"broken.jpg: not a picture"};
  from.machine = "AMD EPYC, 2 threads, Linux 6.1";
  from.instruction_set = "avx512vnni";
  from.threads = 2;
  from.seed = 1;
  from.started = "2026-01-01T00:00:00Z";
  from.seconds = {{"calibrate", 3.2}, {"compare", 5.1}};
  return report;
}

}  // namespace ounce::report
