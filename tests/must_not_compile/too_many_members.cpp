// EXPECT: this type has too many members, or one without a default, to be checked for pointers: give it a serialize
#include "start.hpp"

struct Wide {
  long a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x, y;
};
void work(Wide);

void caller(const Wide& wide) {
  start(work, wide);
}
