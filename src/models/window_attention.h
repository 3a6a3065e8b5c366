#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "models/builder.h"

namespace ounce::models {

struct WindowAttention {
  int64_t width = 0;  // features of a token
  int64_t heads = 0;
  bool qkv_bias = true;
  std::string_view projection = "proj";  // what the last layer is called
};

/// Attention among the tokens of each window: x [batch, windows, tokens, width], and so is the
/// result. `score_bias` makes what is added to the scores [batch, windows, heads, tokens, tokens];
/// without it nothing is.
ValueId window_attention(LayerBuilder& layers, const std::string& name, ValueId x,
                         const WindowAttention& spec,
                         const std::function<ValueId()>& score_bias = nullptr);

/// Biases of scores that are learned for each head and distance of two tokens in a window of
/// `window` x `window` (Liu et al. 2021). [heads, tokens, tokens]
ValueId position_biases(LayerBuilder& layers, const std::string& name, int64_t window,
                        int64_t heads);

/// Rows (axis 1) or columns (axis 2) of x [batch, height, width, features], those from `first` on
/// before the others; a negative `first` counts from the end.
ValueId roll(LayerBuilder& layers, const std::string& name, ValueId x, int64_t axis, int64_t first);

/// Windows of `window` x `window` tokens over a picture of any size.
class PictureWindows {
 public:
  /// x [batch, height, width, features]; both sides must be whole numbers of windows when the
  /// network runs.
  PictureWindows(LayerBuilder& layers, std::string_view name, ValueId x, int64_t window,
                 int64_t features);

  /// [batch, windows, window * window, features], row by row.
  ValueId cut();
  /// The way back: tokens as `cut` gives them -> [batch, height, width, features].
  ValueId join(ValueId tokens);

  /// How many windows stand in a column and in a row. i64 [1]
  ValueId down() const { return down_; }
  ValueId across() const { return across_; }

 private:
  LayerBuilder& layers_;
  std::string name_;
  ValueId x_;
  int64_t window_;
  int64_t features_;
  ValueId width_, down_, across_;
};

}  // namespace ounce::models
