// Two large maps, filled when the program is initialised.
#include <cstdint>
#include <map>
#include <string>

struct Record {
  double price;
  int64_t stock;
  std::string name;
};

static std::map<uint32_t, Record> by_id;
static std::map<std::string, uint32_t> by_name;

extern "C" __attribute__((export_name("wizer-initialize"))) void init() {
  uint32_t x = 2463534242u;  // Marsaglia's xorshift
  for (int i = 0; i < 60000; i++) {
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    std::string name = "item " + std::to_string(x);
    by_id[x] = Record{(x % 100000) / 100.0, i % 500, name};
    by_name[name] = x;
  }
}

extern "C" __attribute__((export_name("first"))) int64_t first() {
  return by_id.lower_bound(123456789)->second.stock;
}

extern "C" __attribute__((export_name("check"))) uint64_t check() {
  uint64_t sum = by_name.size();
  for (auto& entry : by_id)
    sum = sum * 31 + entry.first + entry.second.stock + by_name[entry.second.name];
  return sum;
}
