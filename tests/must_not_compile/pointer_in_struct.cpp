// EXPECT: a member of this type refers to memory of this process \(a pointer, a view\) or has its own serialize
#include "start.hpp"

struct Image {
  int width;
  int height;
  const unsigned char* pixels;
};
void blur(Image);

void caller(const Image& image) {
  start(blur, image);
}
