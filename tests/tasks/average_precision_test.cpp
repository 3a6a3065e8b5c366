#include "tasks/detection/average_precision.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>

#include "graph/error.h"

namespace ounce::tasks {
namespace {

ObjectLabel object(const Box& box, int64_t class_index = 0, bool crowd = false) {
  ObjectLabel label;
  label.box = box;
  label.class_index = class_index;
  label.area = box.area();
  label.crowd = crowd;
  return label;
}

Box square(double left, double top, double side) {
  return {left, top, left + side, top + side};
}

TEST(AveragePrecision, PerfectDetectionsGiveOne) {
  AveragePrecision figures(2);
  const std::vector<ObjectLabel> objects = {object(square(0, 0, 20)),
                                            object(square(50, 50, 40), 1)};
  const std::vector<Detection> found = {{square(0, 0, 20), 0, 0.9}, {square(50, 50, 40), 1, 0.8}};
  figures.add(objects, found);
  const auto metrics = figures.metrics();
  EXPECT_DOUBLE_EQ(metrics.at("ap"), 1.0);
  EXPECT_DOUBLE_EQ(metrics.at("ap_small"), 1.0);
  EXPECT_DOUBLE_EQ(metrics.at("ap_medium"), 1.0);
  EXPECT_FALSE(metrics.contains("ap_large")) << "no large object to judge by";
  EXPECT_DOUBLE_EQ(figures.of_class(1), 1.0);
}

// The widely published worked example of 24 detections of 15 objects in order of confidence
// (a "1" is a detection of a new object). Its published precisions after each find are 1, 2/3,
// 3/10, 4/12, 5/13, 6/14 and 7/23; its 11-point figure 26.84 %. At 101 recalls: 7 points (0 to .06)
// read 1, 7 (.07 to .13) read 2/3, 27 (.14 to .40) read 6/14, 6 (.41 to .46) read 7/23, the rest 0.
TEST(AveragePrecision, PublishedExampleReadAt101Recalls) {
  const std::string fates = "101000000101110000000010";
  ASSERT_EQ(fates.size(), 24u);
  AveragePrecision figures(1);
  std::vector<ObjectLabel> objects;
  for (int i = 0; i < 15; ++i) objects.push_back(object(square(i * 100.0, 0, 50)));
  std::vector<Detection> found;
  double next_object = 0;
  for (size_t i = 0; i < fates.size(); ++i) {
    const double score = 0.95 - 0.03 * static_cast<double>(i);
    const bool right = fates[i] == '1';
    found.push_back(
        {right ? square(next_object * 100, 0, 50) : square(static_cast<double>(i) * 100, 5000, 50),
         0, score});
    next_object += right ? 1 : 0;
  }
  figures.add(objects, found);
  const double expected = (7 * 1.0 + 7 * 2.0 / 3 + 27 * 6.0 / 14 + 6 * 7.0 / 23) / 101;
  EXPECT_NEAR(figures.metrics().at("ap50"), expected, 1e-12);
  EXPECT_NEAR(expected, 0.2482, 5e-5);
}

TEST(AveragePrecision, HandComputedOverlapsCountAtTheirThresholdsOnly) {
  // IoU of two 10 x 10 squares shifted by 2: 80 / 120 = 2/3: right at .50 .55 .60 .65 of ten.
  AveragePrecision figures(1);
  figures.add(std::vector<ObjectLabel>{object(square(0, 0, 10))},
              std::vector<Detection>{{{2, 0, 12, 10}, 0, 0.9}});
  const auto metrics = figures.metrics();
  EXPECT_NEAR(metrics.at("ap"), 0.4, 1e-12);
  EXPECT_NEAR(metrics.at("ap50"), 1.0, 1e-12);
  EXPECT_NEAR(metrics.at("ap75"), 0.0, 1e-12);
  EXPECT_NEAR(metrics.at("ar100"), 0.4, 1e-12);
}

TEST(AveragePrecision, ASecondDetectionOfAnObjectIsWrong) {
  AveragePrecision figures(1);
  figures.add(
      std::vector<ObjectLabel>{object(square(0, 0, 10)), object(square(100, 0, 10))},
      std::vector<Detection>{
          {square(0, 0, 10), 0, 0.9}, {square(0, 0, 10), 0, 0.8}, {square(100, 0, 10), 0, 0.7}});
  // Precision 1 up to recall .5 (51 points), then 2/3 (50 points).
  EXPECT_NEAR(figures.metrics().at("ap50"), (51 + 50 * 2.0 / 3) / 101, 1e-12);
}

TEST(AveragePrecision, CrowdsAbsorbAnyNumberOfDetections) {
  AveragePrecision figures(1);
  figures.add(
      std::vector<ObjectLabel>{object(square(0, 0, 10)), object(square(100, 100, 500), 0, true)},
      std::vector<Detection>{{square(120, 120, 10), 0, 0.95},
                             {square(300, 300, 20), 0, 0.94},
                             {square(0, 0, 10), 0, 0.9}});
  EXPECT_DOUBLE_EQ(figures.metrics().at("ap"), 1.0);
}

TEST(AveragePrecision, ClassesWithoutObjectsDoNotCount) {
  AveragePrecision figures(3);
  figures.add(std::vector<ObjectLabel>{object(square(0, 0, 10))},
              std::vector<Detection>{{square(0, 0, 10), 0, 0.9}, {square(0, 0, 10), 2, 0.99}});
  EXPECT_DOUBLE_EQ(figures.metrics().at("ap"), 1.0);
  EXPECT_EQ(figures.of_class(2), -1);
  EXPECT_TRUE(AveragePrecision(3).metrics().empty());
  EXPECT_THROW(figures.add({}, std::vector<Detection>{{square(0, 0, 1), 3, 0.5}}), Error);
}

// An independent, slow reading of the protocol, straight from its definition, for random cases.
struct Picture {
  std::vector<ObjectLabel> objects;
  std::vector<Detection> detections;
};

struct Verdict {
  double score;
  bool right;
};

double plain_overlap(const Box& a, const Box& b, bool crowd) {
  const double w = std::min(a.right, b.right) - std::max(a.left, b.left);
  const double h = std::min(a.bottom, b.bottom) - std::max(a.top, b.top);
  if (w <= 0 || h <= 0) return 0;
  const double mine = (a.right - a.left) * (a.bottom - a.top);
  return w * h / (crowd ? mine : mine + (b.right - b.left) * (b.bottom - b.top) - w * h);
}

bool in_area(double area, double low, double high) {
  return area >= low && area <= high;
}

/// Verdicts on the counting detections of one picture and class.
std::vector<Verdict> judge_plainly(const Picture& picture, int64_t class_index, double threshold,
                                   double low, double high, int64_t& countable) {
  std::vector<const ObjectLabel*> counting;
  std::vector<const ObjectLabel*> ignorable;
  for (const ObjectLabel& label : picture.objects) {
    if (label.class_index != class_index) continue;
    const bool ignore = label.crowd || !in_area(label.area, low, high);
    (ignore ? ignorable : counting).push_back(&label);
  }
  countable += static_cast<int64_t>(counting.size());
  std::vector<Detection> mine;
  for (const Detection& d : picture.detections) {
    if (d.class_index == class_index) mine.push_back(d);
  }
  std::sort(mine.begin(), mine.end(),
            [](const auto& a, const auto& b) { return a.score > b.score; });
  if (mine.size() > 100) mine.resize(100);
  std::set<const ObjectLabel*> taken;
  std::vector<Verdict> verdicts;
  for (const Detection& d : mine) {
    const auto best_of = [&](const std::vector<const ObjectLabel*>& labels) {
      const ObjectLabel* best = nullptr;
      double best_overlap = -1;
      for (const ObjectLabel* label : labels) {
        if (taken.contains(label) && !label->crowd) continue;
        const double value = plain_overlap(d.box, label->box, label->crowd);
        if (value >= threshold && value > best_overlap) {
          best = label;
          best_overlap = value;
        }
      }
      return best;
    };
    const ObjectLabel* hit = best_of(counting);
    const bool right = hit != nullptr;
    if (!right) hit = best_of(ignorable);
    if (hit != nullptr) taken.insert(hit);
    const double area = (d.box.right - d.box.left) * (d.box.bottom - d.box.top);
    if (right || (hit == nullptr && in_area(area, low, high))) verdicts.push_back({d.score, right});
  }
  return verdicts;
}

/// Mean over classes and thresholds of the best precision at any recall of at least r = 0 .. 1.
double plain_ap(const std::vector<Picture>& pictures, int64_t classes,
                const std::vector<double>& thresholds, double low, double high) {
  double sum = 0;
  int count = 0;
  for (int64_t c = 0; c < classes; ++c) {
    for (const double threshold : thresholds) {
      int64_t countable = 0;
      std::vector<Verdict> all;
      for (const Picture& picture : pictures) {
        for (const Verdict& v : judge_plainly(picture, c, threshold, low, high, countable)) {
          all.push_back(v);
        }
      }
      if (countable == 0) continue;
      std::sort(all.begin(), all.end(), [](auto& a, auto& b) { return a.score > b.score; });
      double area = 0;
      for (int r = 0; r <= 100; ++r) {
        double best = 0;
        double hits = 0;
        for (size_t i = 0; i < all.size(); ++i) {
          hits += all[i].right ? 1 : 0;
          if (hits / static_cast<double>(countable) >= r * 0.01) {
            best = std::max(best, hits / static_cast<double>(i + 1));
          }
        }
        area += best;
      }
      sum += area / 101;
      ++count;
    }
  }
  return count > 0 ? sum / count : -1;
}

TEST(AveragePrecision, AgreesWithABruteForceReadingOnRandomCases) {
  const std::vector<double> all = {.5, .55, .6, .65, .7, .75, .8, .85, .9, .95};
  for (uint32_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> unit(0, 1);
    const int64_t classes = 1 + seed % 4;
    AveragePrecision figures(classes);
    std::vector<Picture> pictures(6);
    for (Picture& picture : pictures) {
      for (uint32_t i = random() % 8; i > 0; --i) {
        const double side = 10 + unit(random) * 140;
        ObjectLabel label = object({unit(random) * 200, unit(random) * 200, 0, 0},
                                   random() % classes, random() % 6 == 0);
        label.box.right = label.box.left + side;
        label.box.bottom = label.box.top + side * (0.5 + unit(random));
        label.area = label.box.area() * (0.5 + 0.5 * unit(random));  // as of a mask
        picture.objects.push_back(label);
      }
      const uint32_t guesses = seed == 7 ? 300 : random() % 25;
      for (uint32_t i = 0; i < guesses; ++i) {
        Detection d{{unit(random) * 200, unit(random) * 200, 0, 0},
                    static_cast<int64_t>(random() % classes),
                    unit(random)};
        d.box.right = d.box.left + 10 + unit(random) * 140;
        d.box.bottom = d.box.top + 10 + unit(random) * 140;
        if (!picture.objects.empty() && random() % 3 != 0) {  // near an object
          const ObjectLabel& near = picture.objects[random() % picture.objects.size()];
          const double jitter = near.box.width() * 0.3;
          d.box = {near.box.left + (unit(random) - 0.5) * jitter,
                   near.box.top + (unit(random) - 0.5) * jitter,
                   near.box.right + (unit(random) - 0.5) * jitter,
                   near.box.bottom + (unit(random) - 0.5) * jitter};
          d.class_index = random() % 5 == 0 ? d.class_index : near.class_index;
        }
        picture.detections.push_back(d);
      }
      figures.add(picture.objects, picture.detections);
    }
    const auto metrics = figures.metrics();
    const auto got = [&](const char* key) {
      return metrics.contains(key) ? metrics.at(key) : -1.0;
    };
    EXPECT_NEAR(got("ap"), plain_ap(pictures, classes, all, 0, 1e10), 1e-9);
    EXPECT_NEAR(got("ap50"), plain_ap(pictures, classes, {.5}, 0, 1e10), 1e-9);
    EXPECT_NEAR(got("ap75"), plain_ap(pictures, classes, {.75}, 0, 1e10), 1e-9);
    EXPECT_NEAR(got("ap_small"), plain_ap(pictures, classes, all, 0, 1024), 1e-9);
    EXPECT_NEAR(got("ap_medium"), plain_ap(pictures, classes, all, 1024, 9216), 1e-9);
    EXPECT_NEAR(got("ap_large"), plain_ap(pictures, classes, all, 9216, 1e10), 1e-9);
  }
}

}  // namespace
}  // namespace ounce::tasks
