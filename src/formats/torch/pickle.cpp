#include "formats/torch/pickle.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <string>

#include "graph/error.h"

namespace ounce::formats {
namespace {

/// Instructions that checkpoints use, by their codes in the pickle format.
enum class Op : uint8_t {
  kMark = '(',
  kStop = '.',
  kPop = '0',
  kPopMark = '1',
  kBinFloat = 'G',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kPersistent = 'Q',
  kReduce = 'R',
  kBinString = 'T',
  kShortBinString = 'U',
  kBinUnicode = 'X',
  kEmptyList = ']',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kSetItems = 'u',
  kEmptyDict = '}',
  kEmptyTuple = ')',
  kProtocol = 0x80,
  kNewObject = 0x81,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kTrue = 0x88,
  kFalse = 0x89,
  kLong1 = 0x8a,
  kShortBinUnicode = 0x8c,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
};

/// The stack machine that pickles are written for, with nothing that runs code.
class Machine {
 public:
  explicit Machine(std::span<const std::byte> bytes) : bytes_(bytes) {}

  Pickle run() {
    for (;;) {
      start_ = position_;
      const auto op = static_cast<Op>(byte());
      if (op == Op::kStop) break;
      step(op);
    }
    pickle_.root = pop();
    return std::move(pickle_);
  }
  size_t position() const { return position_; }

 private:
  [[noreturn]] void fail(const std::string& problem) const {
    throw Error("bad pickle: " + problem, "byte " + std::to_string(start_));
  }

  std::string_view take(size_t count) {
    if (count > bytes_.size() - position_) fail("it ends early");
    const auto* first = reinterpret_cast<const char*>(bytes_.data()) + position_;
    position_ += count;
    return {first, count};
  }
  uint8_t byte() { return static_cast<uint8_t>(take(1)[0]); }

  /// A little-endian number of `count` bytes.
  uint64_t number(size_t count) {
    uint64_t value = 0;
    const std::string_view text = take(count);
    for (size_t i = 0; i < count; ++i) {
      value |= static_cast<uint64_t>(static_cast<uint8_t>(text[i])) << (8 * i);
    }
    return value;
  }
  std::string_view line() {
    const size_t begin = position_;
    while (byte() != '\n') {
    }
    return {reinterpret_cast<const char*>(bytes_.data()) + begin, position_ - begin - 1};
  }

  void push(PickleValue value) { stack_.push_back(value); }
  PickleValue pop() {
    const size_t floor = marks_.empty() ? 0 : marks_.back();
    if (stack_.size() <= floor) fail("the stack is empty");
    const PickleValue value = stack_.back();
    stack_.pop_back();
    return value;
  }
  PickleValue& top() {
    if (stack_.empty()) fail("the stack is empty");
    return stack_.back();
  }
  /// What lies above the last mark.
  std::vector<PickleValue> pop_mark() {
    if (marks_.empty()) fail("there is no mark");
    const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<PickleValue> values(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return values;
  }
  void push_list(std::vector<PickleValue> items) {
    pickle_.lists.push_back({std::move(items)});
    push(&pickle_.lists.back());
  }
  void push_tuple(size_t count) {
    std::vector<PickleValue> items(count);
    for (size_t i = count; i-- > 0;) items[i] = pop();
    push_list(std::move(items));
  }

  /// The container on top of the stack. All were made here: they are not really constant.
  template <class T>
  T* top_as() {
    const T* const* pointer = std::get_if<const T*>(&top());
    return pointer == nullptr ? nullptr : const_cast<T*>(*pointer);
  }
  void append(const std::vector<PickleValue>& values) {
    auto* list = top_as<PickleList>();
    if (list == nullptr) fail("items for what is no list");
    list->items.insert(list->items.end(), values.begin(), values.end());
  }
  void set_items(const std::vector<PickleValue>& values) {
    if (values.size() % 2 != 0) fail("a key without a value");
    PickleDict* items = top_as<PickleDict>();
    if (auto* call = top_as<PickleCall>()) items = &call->items;
    if (items == nullptr) fail("items for what is no dictionary");
    for (size_t i = 0; i < values.size(); i += 2) {
      items->items.emplace_back(values[i], values[i + 1]);
    }
  }

  void push_global(std::string_view module, std::string_view name) {
    pickle_.globals.push_back({module, name});
    push(&pickle_.globals.back());
  }
  std::string_view pop_text() {
    const PickleValue value = pop();
    const auto* text = std::get_if<std::string_view>(&value);
    if (text == nullptr) fail("a name that is no text");
    return *text;
  }
  /// Both `callee(*arguments)` and `callee.__new__(*arguments)`.
  void call() {
    const PickleValue arguments = pop();
    const PickleValue callee = pop();
    const auto* tuple = std::get_if<const PickleList*>(&arguments);
    const auto* global = std::get_if<const PickleGlobal*>(&callee);
    if (tuple == nullptr || global == nullptr) fail("a call of what is no function");
    pickle_.calls.push_back({*global, *tuple, {}, {}});
    push(&pickle_.calls.back());
  }
  void build() {
    const PickleValue state = pop();
    auto* call = top_as<PickleCall>();
    if (call == nullptr) fail("state for what is no object");
    call->state = state;
  }

  void put(uint64_t index) { memo_[index] = top(); }
  void get(uint64_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) fail("nothing was remembered as " + std::to_string(index));
    push(found->second);
  }

  int64_t long1() {
    const size_t count = byte();
    const std::string_view text = take(count);
    uint64_t value = 0;
    for (size_t i = 0; i < std::min<size_t>(count, 8); ++i) {
      value |= static_cast<uint64_t>(static_cast<uint8_t>(text[i])) << (8 * i);
    }
    // Longer ones (the magic number of old checkpoints) are cut: nobody computes with them.
    const bool negative = count > 0 && count < 8 && (static_cast<uint8_t>(text[count - 1]) & 0x80);
    if (negative) value |= ~uint64_t{0} << (8 * count);
    return static_cast<int64_t>(value);
  }
  double binary_float() {
    const std::string_view text = take(8);
    uint64_t bits = 0;
    for (const char c : text) bits = bits << 8 | static_cast<uint8_t>(c);
    return std::bit_cast<double>(bits);
  }

  void step(Op op) {
    if (constant(op) || collection(op)) return;
    switch (op) {
      case Op::kProtocol:
        byte();
        break;
      case Op::kFrame:
        take(8);
        break;
      case Op::kMark:
        marks_.push_back(stack_.size());
        break;
      case Op::kPop:
        pop();
        break;
      case Op::kPopMark:
        pop_mark();
        break;
      case Op::kGlobal: {
        const std::string_view module = line();
        push_global(module, line());
        break;
      }
      case Op::kStackGlobal: {
        const std::string_view name = pop_text();
        push_global(pop_text(), name);
        break;
      }
      case Op::kPersistent:
        pickle_.persistents.push_back({pop()});
        push(&pickle_.persistents.back());
        break;
      case Op::kReduce:
      case Op::kNewObject:
        call();
        break;
      case Op::kBuild:
        build();
        break;
      case Op::kBinGet:
        get(byte());
        break;
      case Op::kLongBinGet:
        get(number(4));
        break;
      case Op::kBinPut:
        put(byte());
        break;
      case Op::kLongBinPut:
        put(number(4));
        break;
      case Op::kMemoize:
        put(memo_.size());
        break;
      default:
        fail("unknown instruction " + std::to_string(static_cast<int>(op)));
    }
  }

  bool constant(Op op) {
    switch (op) {
      case Op::kNone:
        push({});
        return true;
      case Op::kTrue:
        push(true);
        return true;
      case Op::kFalse:
        push(false);
        return true;
      case Op::kBinInt:
        push(int64_t{static_cast<int32_t>(number(4))});
        return true;
      case Op::kBinInt1:
        push(int64_t{byte()});
        return true;
      case Op::kBinInt2:
        push(static_cast<int64_t>(number(2)));
        return true;
      case Op::kLong1:
        push(long1());
        return true;
      case Op::kBinFloat:
        push(binary_float());
        return true;
      case Op::kShortBinString:
      case Op::kShortBinUnicode:
        push(take(byte()));
        return true;
      case Op::kBinString:
      case Op::kBinUnicode:
        push(take(number(4)));
        return true;
      default:
        return false;
    }
  }

  bool collection(Op op) {
    switch (op) {
      case Op::kEmptyList:
      case Op::kEmptyTuple:
        push_list({});
        return true;
      case Op::kEmptyDict:
        pickle_.dicts.emplace_back();
        push(&pickle_.dicts.back());

        return true;
      case Op::kTuple1:
        push_tuple(1);
        return true;
      case Op::kTuple2:
        push_tuple(2);
        return true;
      case Op::kTuple3:
        push_tuple(3);
        return true;
      case Op::kTuple:
        push_list(pop_mark());
        return true;
      case Op::kAppend: {
        append({pop()});
        return true;
      }
      case Op::kAppends:
        append(pop_mark());
        return true;
      case Op::kSetItem: {
        const PickleValue value = pop();
        const PickleValue key = pop();
        set_items({key, value});
        return true;
      }
      case Op::kSetItems:
        set_items(pop_mark());
        return true;
      default:
        return false;
    }
  }

  std::span<const std::byte> bytes_;
  Pickle pickle_;
  size_t position_ = 0;
  size_t start_ = 0;  // of the instruction
  std::vector<PickleValue> stack_;
  std::vector<size_t> marks_;  // heights of the stack
  std::map<uint64_t, PickleValue> memo_;
};

}  // namespace

Pickle read_pickle(std::span<const std::byte>& bytes) {
  Machine machine(bytes);
  Pickle pickle = machine.run();
  bytes = bytes.subspan(machine.position());
  return pickle;
}

}  // namespace ounce::formats
