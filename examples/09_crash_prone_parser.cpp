// A parser that crashes on some inputs, hangs on others and wants all memory for a third, kept at bay: it runs in
// worker processes, and what goes wrong there costs that one input.
#include <tandem/tandem.hpp>

#include <chrono>
#include <csignal>
#include <iostream>
#include <string>
#include <vector>

using namespace std::chrono_literals;

/// Counts the tags of a page. Written long ago, by nobody who is still here.
int count_tags(const std::string& page) {
  int tags = 0;
  for (const char letter : page) {
    if (letter == '<') ++tags;
    if (letter == '!') std::raise(SIGSEGV);  // A stray pointer.
    for (volatile bool lost = letter == '&'; lost;) continue;
    if (letter == '#') tags += static_cast<int>(std::vector<char>(std::size_t{1} << 40).size());
  }
  return tags;
}

int main() {
  tandem::init();
  tandem::ProcessExecutor parsers({.workers = 2, .name_prefix = "parser"});
  const tandem::TaskOptions limits{.deadline = 5s, .memory_limit_bytes = 256 << 20};
  const std::vector<std::string> pages = {"<a><b>", "<!>", "<i>", "<&>", "<#>", "<p><p><p>"};
  std::vector<tandem::Future<int>> counts;
  for (const std::string& page : pages) counts.push_back(parsers.submit(limits, count_tags, page));
  for (std::size_t at = 0; at < pages.size(); ++at) {
    std::cout << pages[at] << ": ";
    try {
      std::cout << counts[at].get() << '\n';
    } catch (const tandem::TaskCrashed& crash) {
      std::cout << "crashed, signal " << crash.report().signal << '\n';
    } catch (const tandem::DeadlineExceeded&) {
      std::cout << "took too long\n";
    } catch (const tandem::OutOfMemory& error) {
      std::cout << "wanted more than " << (error.limit_bytes() >> 20) << " MiB\n";
    }
  }
}
