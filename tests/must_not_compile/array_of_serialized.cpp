// EXPECT: ShareAStructOfPlainMembers
#include <string>

#include <tandem/array.hpp>

struct Job {
  std::string name;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(name);
  }
};
tandem::Array<Job> jobs(10);
