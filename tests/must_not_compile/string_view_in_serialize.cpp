// EXPECT: std::string_view refers to memory of this process: send std::string
#include <string_view>

#include "start.hpp"

struct Person {
  std::string_view name;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(name);
  }
};

void caller(tandem::detail::Encoder& encoder, const Person& person) {
  tandem::detail::encode(encoder, person);
}
