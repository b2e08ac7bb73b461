// The blocks of docs/reference/broadcast.md.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include <tandem/tandem.hpp>

#include "support/leak_checked_test.hpp"

namespace tandem::testing {
namespace {

using Rates = std::map<std::string, double>;
struct Order {
  std::string item;
  double count = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(item, count);
  }
};

double price(const tandem::Broadcast<Rates>& rates, const Order& order) {
  return rates->at(order.item) * order.count;
}
double price_plain(const Rates& rates, const Order& order) {
  return rates.at(order.item) * order.count;
}

struct Price {
  tandem::Broadcast<Rates> rates;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(rates);
  }
  double operator()(const Order& order) const { return rates->at(order.item) * order.count; }
};

class BroadcastReferenceTest : public LeakCheckedTest {};

TEST_F(BroadcastReferenceTest, Use) {
  const std::vector<Order> orders = {{"apple", 3}, {"pear", 2}};
  tandem::ProcessExecutor executor(2);
  tandem::Broadcast<Rates> rates({{"apple", 0.5}, {"pear", 0.75}});
  std::vector<tandem::Future<double>> prices;
  for (const Order& order : orders) prices.push_back(executor.submit(price, rates, order));
  EXPECT_EQ(prices[0].get() + prices[1].get(), 3.0);

  EXPECT_EQ(executor.submit(price_plain, rates, orders[0]).get(), 1.5);  // a function that knows nothing of it

  std::vector<double> all = executor.map(Price{rates}, orders).to_vector();
  EXPECT_EQ(all, (std::vector<double>{1.5, 1.5}));
}

}  // namespace
}  // namespace tandem::testing
