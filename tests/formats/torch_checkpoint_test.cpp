#include "formats/torch/torch_checkpoint.h"

#include <gtest/gtest.h>

#include <fstream>

#include "graph/error.h"
#include "tests/formats/torch_pickles.h"
#include "tests/support/test_data.h"

namespace ounce::formats {
namespace {

using namespace torch_pickles;  // NOLINT: words of the format

class TorchCheckpoint : public ::testing::Test {
 protected:
  std::map<std::string, Tensor> read(const std::string& contents) const {
    const auto path = folder_.path() / "file.pth";
    std::ofstream(path, std::ios::binary) << contents;
    return read_torch_checkpoint(path);
  }
  ounce::testing::TemporaryFolder folder_;
};

TEST_F(TorchCheckpoint, NamesAreKeysJoinedByDots) {
  const auto tensors = read(kSmallCheckpoint);
  ASSERT_EQ(tensors.size(), 1U);
  const Tensor& weight = tensors.at("net.weight");
  EXPECT_EQ(weight.shape(), (Shape{2, 3}));
  EXPECT_EQ(weight.to_f32(), (std::vector<float>{1, 2, 3, 4, 5, 6}));
}

TEST_F(TorchCheckpoint, StridesAndOffsetsAreFollowed) {
  const std::string turned = tensor(storage("0", 6), 0, small(3) + small(2), small(1) + small(3));
  const std::string last = tensor(storage("0", 6), 4, small(2), small(1));
  const auto tensors = read(checkpoint("}(" + text("a") + turned + text("b") + last + "u"));
  EXPECT_EQ(tensors.at("a").to_f32(), (std::vector<float>{1, 4, 2, 5, 3, 6}));
  EXPECT_EQ(tensors.at("b").to_f32(), (std::vector<float>{5, 6}));
}

TEST_F(TorchCheckpoint, ObjectsThatAreNotKnownArePassedOverAndNeverRun) {
  const std::string call =
      "cos\nsystem\n" + tuple(text("touch " + folder_.path().string() + "/x")) + "R";
  const auto tensors = read(checkpoint("}(" + text("a") + kMatrix + text("b") + call + "u"));
  EXPECT_EQ(tensors.size(), 1U);
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "x"));
}

TEST_F(TorchCheckpoint, EveryCutIsAnError) {
  for (size_t length = 0; length < kSmallCheckpoint.size(); ++length) {
    EXPECT_THROW(read(kSmallCheckpoint.substr(0, length)), Error) << length << " bytes";
  }
}

TEST_F(TorchCheckpoint, DamagedBytesNeverCrash) {
  for (size_t i = 0; i < kSmallCheckpoint.size(); ++i) {
    for (const int flip : {0x01, 0x80, 0xff}) {
      std::string damaged = kSmallCheckpoint;
      damaged[i] = static_cast<char>(damaged[i] ^ flip);
      try {
        read(damaged);
      } catch (const Error&) {
      }
    }
  }
}

TEST_F(TorchCheckpoint, TensorsBeyondTheirStorageAreRefused) {
  for (const std::string& bad :
       {tensor(storage("0", 6), 1, small(6), small(1)),
        tensor(storage("0", 6), 0, small(7), small(0)),
        tensor(storage("0", 6), 0, small(2) + small(2), small(5) + small(1))}) {
    EXPECT_THROW(read(checkpoint("}" + text("a") + bad + "s")), Error);
  }
}

TEST_F(TorchCheckpoint, ContainersThatHoldThemselvesOrEachOtherEndInAnError) {
  EXPECT_THROW(read(checkpoint("]q\x01h\x01"
                               "a")),
               Error);
  std::string doubled = "]";  // each list holds the one before twice: 2^40 in all
  for (int i = 0; i < 40; ++i) {
    const char name = static_cast<char>(i + 1);
    doubled = doubled + "q" + name + "0](h" + name + "h" + name + "e";
  }
  EXPECT_THROW(read(checkpoint(doubled)), Error);
}

TEST_F(TorchCheckpoint, ManyCopiesOfOneStorageAreRefused) {
  std::string object = "}(";
  for (int i = 0; i < 40; ++i) object += text("t" + std::to_string(i)) + kMatrix;
  EXPECT_THROW(read(checkpoint(object + "u")), Error);
}

TEST_F(TorchCheckpoint, ReadsBothFormsOfRealFiles) {
  OUNCE_REQUIRE_DATA(data);
  const auto old_form = read_torch_checkpoint(data / "resnet_cifar10/resnet20-12fca82f.th");
  EXPECT_EQ(old_form.at("state_dict.module.conv1.weight").shape(), (Shape{16, 3, 3, 3}));
  const auto zip = read_torch_checkpoint(data / "sr_models/team20_mobilesr.pth");
  EXPECT_EQ(zip.size(), 315U);
}

}  // namespace
}  // namespace ounce::formats
