#include "cli/picture_source.h"

namespace ounce::cli {

std::optional<std::vector<Tensor>> PictureSource::next() {
  const std::optional<tasks::DatasetStream::Item> item = stream_.next();
  if (!item) return std::nullopt;
  return std::vector<Tensor>{task_.prepare(item->image).pixels};
}

}  // namespace ounce::cli
