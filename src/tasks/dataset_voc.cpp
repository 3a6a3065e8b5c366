#include <algorithm>
#include <cmath>
#include <pugixml.hpp>

#include "graph/error.h"
#include "tasks/dataset_readers.h"
#include "tasks/read_file.h"
#include "tasks/text.h"

namespace ounce::tasks {
namespace {

namespace fs = std::filesystem;

double coordinate(const pugi::xml_node& box, const char* side, const std::string& where) {
  const std::optional<double> value = parse_number(box.child(side).text().get());
  if (!value || std::abs(*value) > 1e9) {
    throw Error(std::string("<bndbox> has no number <") + side + ">", where);
  }
  return *value;
}

/// The objects of one annotation file.
std::vector<ObjectLabel> read_annotation(const fs::path& file, ClassTable& classes) {
  const std::string text = read_text_file(file);
  pugi::xml_document document;
  const pugi::xml_parse_result parsed = document.load_buffer(text.data(), text.size());
  if (!parsed) {
    throw Error(std::string("is not well-formed XML: ") + parsed.description() + " at byte " +
                    std::to_string(parsed.offset),
                file.string());
  }
  const pugi::xml_node root = document.child("annotation");
  if (!root) throw Error("has no <annotation>", file.string(), "a VOC annotation file");
  std::vector<ObjectLabel> objects;
  for (const pugi::xml_node& node : root.children("object")) {
    const std::string where = file.string() + ", object " + std::to_string(objects.size() + 1);
    const pugi::xml_node box = node.child("bndbox");
    const std::string name = node.child("name").text().get();
    if (name.empty()) throw Error("has no <name>", where);
    if (!box) throw Error("has no <bndbox>", where);
    ObjectLabel& object = objects.emplace_back();
    object.class_index = classes.index(name, where);
    // VOC counts pixels from 1 and includes the last one.
    object.box = {coordinate(box, "xmin", where) - 1, coordinate(box, "ymin", where) - 1,
                  coordinate(box, "xmax", where), coordinate(box, "ymax", where)};
    object.area = object.box.area();
    object.difficult = node.child("difficult").text().as_int() != 0;
  }
  return objects;
}

/// Names without extension: those of the list, or of every annotation.
std::vector<std::string> annotation_names(const fs::path& folder, const fs::path& split) {
  std::vector<std::string> names;
  if (!split.empty()) {
    for (const std::string& line : split_lines(read_text_file(split))) {
      const std::string name = line.substr(0, line.find_first_of(" \t"));
      if (!name.empty()) names.push_back(name);
    }
    return names;
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(folder / "Annotations")) {
    if (entry.path().extension() == ".xml") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

fs::path find_picture(const fs::path& folder, const std::string& name, const std::string& where) {
  for (const char* extension : {".jpg", ".jpeg", ".png", ".JPG", ".bmp"}) {
    fs::path candidate = confined(folder, name + extension, where);
    if (fs::is_regular_file(candidate)) return candidate;
  }
  // Let the stream name it as unreadable: one missing picture must not stop the others.
  return confined(folder, name + ".jpg", where);
}

}  // namespace

Dataset read_voc(const fs::path& folder, const fs::path& split, const DatasetOptions& options) {
  Dataset dataset;
  dataset.kind = DatasetKind::voc;
  dataset.root = folder;
  ClassTable classes(options.classes);
  const std::string where = split.empty() ? (folder / "Annotations").string() : split.string();
  for (const std::string& name : annotation_names(folder, split)) {
    Sample& sample = dataset.samples.emplace_back();
    sample.path = find_picture(folder / "JPEGImages", name, where);
    sample.name = sample.path.filename().string();
    sample.has_boxes = true;
    sample.objects =
        read_annotation(confined(folder / "Annotations", name + ".xml", where), classes);
  }
  const std::vector<int64_t> new_index = classes.sort();
  for (Sample& sample : dataset.samples) {
    for (ObjectLabel& object : sample.objects) {
      object.class_index = new_index[static_cast<size_t>(object.class_index)];
    }
  }
  dataset.classes = classes.names();
  return dataset;
}

}  // namespace ounce::tasks
