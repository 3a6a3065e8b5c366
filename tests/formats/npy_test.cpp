#include <gtest/gtest.h>

#include <fstream>

#include "formats/npy.h"
#include "tests/formats/expect_error.h"
#include "tests/support/tensors.h"
#include "tests/support/test_data.h"

namespace ounce::formats {
namespace {

using ::ounce::testing::random_tensor;
using ::ounce::testing::TemporaryFolder;

std::string file_of(const std::string& header, const std::string& data) {
  std::string bytes = "\x93NUMPY";
  bytes += '\x01';
  bytes += '\0';
  bytes += static_cast<char>(header.size() & 0xff);
  bytes += static_cast<char>(header.size() >> 8);
  return bytes + header + data;
}

Tensor read(const std::string& bytes) {
  return read_npy_bytes(std::as_bytes(std::span(bytes.data(), bytes.size())));
}

TEST(Npy, RoundTripsEveryTypeAndRank) {
  TemporaryFolder folder;
  const auto path = folder.path() / "a.npy";
  for (const DType dtype :
       {DType::f32, DType::f64, DType::f16, DType::i64, DType::i32, DType::i16, DType::i8,
        DType::u64, DType::u32, DType::u16, DType::u8, DType::boolean}) {
    for (const Shape& shape :
         {Shape{}, Shape{1}, Shape{5}, Shape{0}, Shape{2, 3}, Shape{2, 1, 4}}) {
      const Tensor tensor = cast(random_tensor(shape, 1, 100.0f), dtype);
      write_npy(tensor, path);
      EXPECT_TRUE(read_npy(path).identical_to(tensor)) << name_of(dtype) << to_string(shape);
    }
  }
}

TEST(Npy, DataBeginsAtAMultipleOf64) {
  TemporaryFolder folder;
  for (int64_t n = 1; n < 100000000; n *= 10) {
    const auto path = folder.path() / "a.npy";
    write_npy(Tensor(DType::u8, {0, n}), path);
    EXPECT_EQ(std::filesystem::file_size(path) % 64, 0u);
  }
}

TEST(Npy, ReadsFortranOrder) {
  const std::string data("\0\1\2\3\4\5", 6);
  const Tensor tensor =
      read(file_of("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }", data));
  EXPECT_EQ(tensor.to_i64(), (std::vector<int64_t>{0, 2, 4, 1, 3, 5}));
}

TEST(Npy, RefusesTypesWithoutNumpyForm) {
  TemporaryFolder folder;
  const auto path = folder.path() / "a.npy";
  expect_error([&] { write_npy(Tensor(DType::i4, {4}), path); }, {"i4", "a.npy"});
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(Npy, MalformedFilesAreErrors) {
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
  EXPECT_NO_THROW(read(file_of(good, std::string(8, '\0'))));
  const std::string eight(8, '\0');
  const std::pair<std::string, std::string> cases[] = {
      {"", "not a NumPy"},
      {"\x93NUMPY", "not a NumPy"},
      {std::string("\x93NUMPY\x09\0\x10\0", 10), "version 9"},
      {file_of(good, eight).substr(0, 30), "cut off"},
      {file_of(good, "1234567"), "needs 8 bytes"},
      {file_of(good, "123456789"), "needs 8 bytes"},
      {file_of("{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", eight), "'>f4'"},
      {file_of("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", eight), "'|O'"},
      {file_of("{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2,), }", eight),
       "True or False"},
      {file_of("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", eight), "negative"},
      {file_of("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4611686018427387904), }",
               eight),
       "too large"},
      {file_of("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
               eight),
       "not a number"},
      {file_of("{'descr': '<f4', 'fortran_order': False, }", eight), "lacks"},
      {file_of("{'descr': '<f4', 'evil': 1}", eight), "unknown key"},
      {file_of("{'descr", eight), "does not end"},
      {file_of("", eight), "expected"}};
  for (const auto& [bytes, part] : cases) expect_error([&] { read(bytes); }, {part});
}

TEST(Npy, EveryTruncationIsAnError) {
  const std::string bytes =
      file_of("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", std::string(8, '\0'));
  for (size_t length = 0; length < bytes.size(); ++length) {
    expect_error([&] { read(bytes.substr(0, length)); }, {});
  }
}

}  // namespace
}  // namespace ounce::formats
