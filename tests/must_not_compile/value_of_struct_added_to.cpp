// EXPECT: UseUpdateSinceItIsNoNumber
#include <tandem/value.hpp>

struct Point {
  double x, y;
};
void move(tandem::Value<Point> point) {
  point += Point{1, 1};
}
