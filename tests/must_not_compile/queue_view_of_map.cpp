// EXPECT: GiveAnItemThatLiesInOnePiece
#include <map>

#include <tandem/queue.hpp>

void look(tandem::Queue<std::map<int, int>> queue) {
  static_cast<void>(queue.get_view());
}
