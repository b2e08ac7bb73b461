// EXPECT: UseAValueWithALockSinceItIsLargerThanAWord
#include <tandem/raw_value.hpp>

struct Point {
  double x, y;
};
void move(tandem::RawValue<Point> point) {
  point.update([](Point& it) { it.x += 1; });
}
