#pragma once

#include "methods/method.h"

namespace ounce::methods {

/// Q-YOLO (arXiv 2307.04816): post-training quantization of one-stage detectors. See q_yolo.cpp.
Method q_yolo_method();

}  // namespace ounce::methods
