#include "methods/trained/react.h"

#include "methods/trained/binary_network.h"

namespace ounce::methods {
namespace {

class React final : public TrainedMethod {
 public:
  explicit React(Ends ends) : ends_(ends) {}
  train::Student student(const Graph& network) override { return binary_network(network, ends_); }

 private:
  Ends ends_;
};

}  // namespace

std::unique_ptr<TrainedMethod> read_react(Settings& stage) {
  return std::make_unique<React>(read_ends(stage));
}

}  // namespace ounce::methods
