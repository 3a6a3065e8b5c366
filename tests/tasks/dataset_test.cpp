#include "tasks/dataset.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <set>

#include "graph/error.h"
#include "tests/support/test_data.h"

namespace ounce::tasks {
namespace {

namespace fs = std::filesystem;

void write_text(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

void write_picture(const fs::path& path, uint8_t fill = 90) {
  fs::create_directories(path.parent_path());
  write_image(Image(8, 6, fill), path);
}

std::string error_of(const fs::path& path, const DatasetOptions& options = {}) {
  try {
    open_dataset(path, options);
  } catch (const Error& failure) {
    return failure.what();
  }
  return "no error";
}

std::vector<std::string> names_of(const Dataset& dataset) {
  std::vector<std::string> names;
  for (const Sample& sample : dataset.samples) names.push_back(sample.name);
  return names;
}

TEST(Dataset, ClassFoldersNumberTheirClassesByName) {
  const testing::TemporaryFolder folder;
  write_picture(folder.path() / "dog" / "2.png");
  write_picture(folder.path() / "dog" / "1.PNG.png");
  write_picture(folder.path() / "cat" / "x.jpg");
  write_text(folder.path() / "cat" / "notes.txt", "not a picture");
  const Dataset dataset = open_dataset(folder.path());
  EXPECT_EQ(dataset.kind, DatasetKind::class_folders);
  EXPECT_EQ(dataset.classes, (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(names_of(dataset),
            (std::vector<std::string>{"cat/x.jpg", "dog/1.PNG.png", "dog/2.png"}));
  EXPECT_EQ(dataset.samples[2].class_index, 1);

  const Dataset mapped = open_dataset(folder.path(), {.classes = {"dog", "bird", "cat"}});
  EXPECT_EQ(mapped.samples[0].class_index, 2);
  EXPECT_EQ(mapped.samples[2].class_index, 0);
}

TEST(Dataset, FoldersCalledByNumbersMeanThoseClasses) {
  const testing::TemporaryFolder folder;
  for (const char* name : {"2", "10", "7"}) write_picture(folder.path() / name / "a.png");
  const Dataset dataset = open_dataset(folder.path());
  std::set<int64_t> found;
  for (const Sample& sample : dataset.samples) found.insert(sample.class_index);
  EXPECT_EQ(found, (std::set<int64_t>{2, 7, 10}));
}

TEST(Dataset, ListsAreRelativeToThemselvesAndMayHoldBlanks) {
  const testing::TemporaryFolder folder;
  write_picture(folder.path() / "pictures" / "my cat.png");
  write_text(folder.path() / "list.txt", "# comment\n\npictures/my cat.png 3\r\nb.png\t0\n");
  const Dataset dataset = open_dataset(folder.path() / "list.txt");
  ASSERT_EQ(dataset.size(), 2);
  EXPECT_EQ(dataset.samples[1].name, "pictures/my cat.png");
  EXPECT_EQ(dataset.samples[1].class_index, 3);
  EXPECT_TRUE(fs::exists(dataset.samples[1].path));

  write_text(folder.path() / "bad.txt", "a.png 1\nb.png one\n");
  EXPECT_NE(error_of(folder.path() / "bad.txt").find("bad.txt:2"), std::string::npos);
  write_text(folder.path() / "negative.txt", "a.png -1\n");
  EXPECT_NE(error_of(folder.path() / "negative.txt").find("negative.txt:1"), std::string::npos);
}

TEST(Dataset, EmptyAndMissingDataSetsAreErrors) {
  const testing::TemporaryFolder folder;
  EXPECT_NE(error_of(folder.path()).find("no pictures"), std::string::npos);
  EXPECT_NE(error_of(folder.path() / "none").find("no such file"), std::string::npos);
  write_text(folder.path() / "empty.txt", "");
  EXPECT_NE(error_of(folder.path() / "empty.txt").find("no pictures"), std::string::npos);
  write_text(folder.path() / "a.tar.xz", "x");
  EXPECT_NE(error_of(folder.path() / "a.tar.xz").find("unpacking"), std::string::npos);
}

TEST(Dataset, ABrokenPictureIsNamedCountedAndPassedOver) {
  const testing::TemporaryFolder folder;
  write_picture(folder.path() / "a.png");
  write_text(folder.path() / "b.jpg", "this is no JPEG");
  write_text(folder.path() / "c.png", "");
  write_picture(folder.path() / "d.jpg");
  const Dataset dataset = open_dataset(folder.path());
  DatasetStream stream(dataset);
  std::vector<std::string> read;
  while (const auto item = stream.next()) read.push_back(item->sample->name);
  EXPECT_EQ(read, (std::vector<std::string>{"a.png", "d.jpg"}));
  ASSERT_EQ(stream.skipped().size(), 2u);
  EXPECT_NE(stream.skipped()[0].path.find("b.jpg"), std::string::npos);
  EXPECT_NE(stream.skipped()[1].reason.find("empty"), std::string::npos);
  EXPECT_EQ(stream.position(), 4);
}

TEST(Dataset, NothingReadableIsAnError) {
  const testing::TemporaryFolder folder;
  write_text(folder.path() / "b.jpg", "this is no JPEG");
  const Dataset dataset = open_dataset(folder.path());
  DatasetStream stream(dataset);
  EXPECT_THROW(stream.next(), Error);
}

TEST(Dataset, LimitSpreadsOverTheClassesAndShuffleRepeats) {
  const testing::TemporaryFolder folder;
  for (const char* name : {"a", "b", "c", "d"}) {
    for (int i = 0; i < 5; ++i) {
      write_picture(folder.path() / name / (std::to_string(i) + ".png"));
    }
  }
  std::set<int64_t> classes;
  for (const Sample& s : open_dataset(folder.path(), {.limit = 4}).samples) {
    classes.insert(s.class_index);
  }
  EXPECT_EQ(classes.size(), 4u);
  const DatasetOptions seven{.limit = 9, .shuffle_seed = 7};
  const auto first = names_of(open_dataset(folder.path(), seven));
  EXPECT_EQ(first.size(), 9u);
  EXPECT_EQ(first, names_of(open_dataset(folder.path(), seven)));
  EXPECT_NE(first, names_of(open_dataset(folder.path(), {.limit = 9, .shuffle_seed = 8})));
}

TEST(Dataset, HashFollowsBytesNamesAndLabels) {
  const testing::TemporaryFolder folder;
  write_picture(folder.path() / "a" / "1.png");
  write_picture(folder.path() / "b" / "2.png");
  const std::string before = data_hash(open_dataset(folder.path()));
  EXPECT_EQ(before.size(), std::string("fnv1a64:0123456789abcdef").size());
  EXPECT_EQ(before, data_hash(open_dataset(folder.path())));
  write_picture(folder.path() / "b" / "2.png", 91);
  const std::string changed = data_hash(open_dataset(folder.path()));
  EXPECT_NE(before, changed);
  EXPECT_NE(changed, data_hash(open_dataset(folder.path(), {.classes = {"b", "a"}})));
}

class CocoFile : public ::testing::Test {
 protected:
  std::string open_with(const std::string& images, const std::string& annotations) {
    write_picture(folder_.path() / "images" / "1.png");
    const fs::path file = folder_.path() / "instances.json";
    write_text(file, "{\"images\": " + images + ", \"annotations\": " + annotations +
                         ", \"categories\": [{\"id\": 90, \"name\": \"toothbrush\"},"
                         "{\"id\": 1, \"name\": \"person\"}]}");
    return error_of(file);
  }
  testing::TemporaryFolder folder_;
  const std::string image_ = R"([{"id": 5, "file_name": "1.png"}])";
};

TEST_F(CocoFile, MapsSparseCategoriesAndKeepsCrowds) {
  EXPECT_EQ(open_with(image_, R"([{"image_id": 5, "category_id": 90, "bbox": [1, 2, 3, 4],
                                   "area": 10.5, "iscrowd": 1}])"),
            "no error");
  const Dataset dataset = open_dataset(folder_.path() / "instances.json");
  EXPECT_EQ(dataset.classes, (std::vector<std::string>{"person", "toothbrush"}));
  ASSERT_EQ(dataset.samples.at(0).objects.size(), 1u);
  const ObjectLabel& object = dataset.samples[0].objects[0];
  EXPECT_EQ(object.class_index, 1);
  EXPECT_EQ(object.box, (Box{1, 2, 4, 6}));
  EXPECT_EQ(object.area, 10.5);
  EXPECT_TRUE(object.crowd);
}

TEST_F(CocoFile, HostileContentIsAnErrorThatSaysWhere) {
  EXPECT_NE(open_with(R"([{"id": 5, "file_name": "../../etc/passwd"}])", "[]").find("outside"),
            std::string::npos);
  EXPECT_NE(open_with(R"([{"id": 5, "file_name": "/etc/passwd"}])", "[]").find("outside"),
            std::string::npos);
  EXPECT_NE(open_with("5", "[]").find("no list 'images'"), std::string::npos);
  EXPECT_NE(open_with("[7]", "[]").find("images[0]"), std::string::npos);
  EXPECT_NE(open_with(R"([{"file_name": "1.png"}])", "[]").find("'id' is missing"),
            std::string::npos);
  for (const char* bad : {
           R"([{"image_id": 6, "category_id": 1, "bbox": [1, 2, 3, 4]}])",
           R"([{"image_id": 5, "category_id": 2, "bbox": [1, 2, 3, 4]}])",
           R"([{"image_id": 5, "category_id": 1, "bbox": [1, 2, 3]}])",
           R"([{"image_id": 5, "category_id": 1, "bbox": [1, 2, -3, 4]}])",
           R"([{"image_id": 5, "category_id": 1, "bbox": "wide"}])",
           R"([{"image_id": 5.5, "category_id": 1, "bbox": [1, 2, 3, 4]}])",
           R"([{"image_id": 1e300, "category_id": 1, "bbox": [1, 2, 3, 4]}])",
       }) {
    EXPECT_NE(open_with(image_, bad).find("annotations[0]"), std::string::npos) << bad;
  }
  write_text(folder_.path() / "broken.json", "{\"images\": [");
  EXPECT_NE(error_of(folder_.path() / "broken.json").find("not a JSON object"), std::string::npos);
}

TEST_F(CocoFile, PicturesThatCannotBeFoundAskForTheirFolder) {
  EXPECT_NE(open_with(R"([{"id": 5, "file_name": "other.png"}])", "[]").find("--images"),
            std::string::npos);
}

std::string voc(const std::string& box) {
  return "<annotation><object><name>cell</name><difficult>1</difficult><bndbox>" + box +
         "</bndbox></object></annotation>";
}

TEST(VocFolder, ReadsBoxesFromOneAndSplits) {
  const testing::TemporaryFolder folder;
  const std::string box = "<xmin>1</xmin><ymin>1</ymin><xmax>8</xmax><ymax>6</ymax>";
  for (const char* name : {"a", "b"}) {
    write_text(folder.path() / "Annotations" / (std::string(name) + ".xml"), voc(box));
    write_picture(folder.path() / "JPEGImages" / (std::string(name) + ".jpg"));
  }
  write_text(folder.path() / "ImageSets" / "Main" / "test.txt", "b\n");
  const Dataset all = open_dataset(folder.path());
  EXPECT_EQ(all.size(), 2);
  ASSERT_EQ(all.samples[0].objects.size(), 1u);
  EXPECT_EQ(all.samples[0].objects[0].box, (Box{0, 0, 8, 6}));
  EXPECT_TRUE(all.samples[0].objects[0].difficult);
  EXPECT_EQ(names_of(open_dataset(folder.path() / "ImageSets" / "Main" / "test.txt")),
            (std::vector<std::string>{"b.jpg"}));
  EXPECT_NE(error_of(folder.path(), {.classes = {"nucleus"}}).find("class 'cell'"),
            std::string::npos);

  write_text(folder.path() / "ImageSets" / "Main" / "bad.txt", "../../secret\n");
  EXPECT_NE(error_of(folder.path() / "ImageSets" / "Main" / "bad.txt").find("outside"),
            std::string::npos);
  write_text(folder.path() / "Annotations" / "b.xml", voc("<xmin>nan</xmin>"));
  EXPECT_NE(error_of(folder.path()).find("b.xml, object 1"), std::string::npos);
  write_text(folder.path() / "Annotations" / "b.xml", "<annotation><object>");
  EXPECT_NE(error_of(folder.path()).find("not well-formed"), std::string::npos);
}

// The real data sets; counts are those of their authors.

TEST(RealData, ImagenetList) {
  OUNCE_REQUIRE_DATA(data);
  const Dataset dataset = open_dataset(data / "imagenet1000_s288" / "pick.txt");
  EXPECT_EQ(dataset.size(), 500);
  for (const Sample& sample : dataset.samples) {
    EXPECT_EQ(sample.class_index, std::stoi(fs::path(sample.name).filename().string()));
    EXPECT_TRUE(fs::exists(sample.path));
  }
  EXPECT_EQ(read_class_names(data / "imagenet1000_s288" / "classes.txt").size(), 1000u);
  EXPECT_EQ(open_dataset(data / "imagenet1000_s288" / "pick").kind, DatasetKind::pictures);
}

void expect_coco(const fs::path& file, int64_t objects, int64_t crowds) {
  const Dataset dataset = open_dataset(file);
  EXPECT_EQ(dataset.size(), 80);
  EXPECT_EQ(dataset.classes.size(), 80u);
  EXPECT_EQ(dataset.classes.back(), "toothbrush");
  int64_t all = 0;
  int64_t crowd = 0;
  for (const Sample& sample : dataset.samples) {
    all += static_cast<int64_t>(sample.objects.size());
    for (const ObjectLabel& object : sample.objects) crowd += object.crowd ? 1 : 0;
    EXPECT_TRUE(fs::exists(sample.path)) << sample.path;
  }
  EXPECT_EQ(all, objects);
  EXPECT_EQ(crowd, crowds);
}

TEST(RealData, CocoTinyAndMini) {
  OUNCE_REQUIRE_DATA(data);
  expect_coco(data / "coco_tiny" / "annotations" / "instances_train2017.json", 705, 6);
  expect_coco(data / "coco_tiny" / "annotations" / "instances_val2017.json", 815, 11);
  expect_coco(data / "coco_mini" / "annotations" / "instances_train2017.json", 739, 8);
}

TEST(RealData, BloodCellsInVocForm) {
  OUNCE_REQUIRE_DATA(data);
  const Dataset dataset = open_dataset(data / "bccd");
  EXPECT_EQ(dataset.size(), 364);
  EXPECT_EQ(dataset.classes, (std::vector<std::string>{"Platelets", "RBC", "WBC"}));
  DatasetStream stream(dataset);
  int64_t read = 0;
  while (const auto item = stream.next()) {
    ++read;
    for (const ObjectLabel& object : item->sample->objects) {
      EXPECT_LE(object.box.right, static_cast<double>(item->image.width)) << item->sample->name;
    }
  }
  EXPECT_EQ(read, 364);
  EXPECT_TRUE(stream.skipped().empty());
  EXPECT_EQ(open_dataset(data / "bccd" / "ImageSets" / "Main" / "test.txt").size(), 72);
}

TEST(RealData, CifarAfterUnpacking) {
  OUNCE_REQUIRE_DATA(data);
  const testing::TemporaryFolder folder;
  const std::string command = "tar -xf '" + (data / "cifar10_jpg" / "test_pick.tar.xz").string() +
                              "' -C '" + folder.path().string() + "'";
  if (std::system(command.c_str()) != 0) GTEST_SKIP() << "no tar with xz on this machine";
  const Dataset dataset = open_dataset(folder.path() / "test");
  EXPECT_EQ(dataset.size(), 5000);
  EXPECT_EQ(dataset.classes.front(), "airplane");
  EXPECT_EQ(dataset.classes.size(), 10u);
  const Image image = read_image(dataset.samples.front().path);
  EXPECT_EQ(image.width, 32);
}

}  // namespace
}  // namespace ounce::tasks
