// Standard streams and descriptors: what a child has of its parent's, and what goes through.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>

#include <tandem/descriptor.hpp>

#include "support/bodies.hpp"
#include "support/process_fixture.hpp"

namespace tandem::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class ProcessStreamsTest : public ProcessesTest {};
class ProcessDescriptorsTest : public ProcessesTest {};

// Puts something else in a standard stream's place while it lives.
class StreamInstead {
 public:
  StreamInstead(int stream, int instead) : stream_(stream), saved_(::fcntl(stream, F_DUPFD_CLOEXEC, 10)) {
    if (instead >= 0)
      ::dup2(instead, stream);
    else
      ::close(stream);
  }
  ~StreamInstead() { ::dup2(saved_.get(), stream_); }
  StreamInstead(const StreamInstead&) = delete;
  StreamInstead& operator=(const StreamInstead&) = delete;

 private:
  int stream_;
  detail::Fd saved_;
};

void write_on_both() {
  std::cout << "on output" << std::endl;
  std::cerr << "on error" << std::endl;
}

// PRC-22
TEST_P(ProcessStreamsTest, MissingStandardStreamsSpoilNothing) {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    const StreamInstead closed(stream, -1);
    EXPECT_EQ(exitcode_of(GetParam(), write_on_both), 0);
  }
  const StreamInstead no_input(STDIN_FILENO, -1), no_output(STDOUT_FILENO, -1), no_error(STDERR_FILENO, -1);
  EXPECT_EQ(exitcode_of(GetParam(), write_on_both), 0);
  EXPECT_EQ(exitcode_of(GetParam(), bodies::throw_body_error, std::string("nobody reads this")), 1);
}

void close_streams() {
  ::close(STDOUT_FILENO);
  ::close(STDERR_FILENO);
  std::cout << "lost";
}
void break_streams() {
  ::dup2(::open("/dev/full", O_WRONLY), STDOUT_FILENO);
  std::cout << "refused" << std::endl;
  std::fputs("refused", stdout);
}

// PRC-23
TEST_P(ProcessStreamsTest, AChildThatBreaksItsStreamsEndsAsUsual) {
  EXPECT_EQ(exitcode_of(GetParam(), close_streams), 0);
  EXPECT_EQ(exitcode_of(GetParam(), break_streams), 0);
}

void write_without_flushing(Queue<int> done) {
  std::fputs("by stdio, ", stdout);
  std::cout << "by iostream";
  done.put(1);
}

// PRC-29 STM-17: text in the parent's buffers is written once, and the child's own when it ends.
TEST_P(ProcessStreamsTest, BufferedTextIsWrittenOnce) {
  const std::filesystem::path path = "/tmp/tandem_test_output_" + std::to_string(::getpid());
  {
    detail::Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600));
    std::fflush(stdout);
    const StreamInstead to_file(STDOUT_FILENO, file.get());
    std::fputs("of the parent; ", stdout);
    std::cout << "and more; ";
    Queue<int> done;
    EXPECT_EQ(exitcode_of(GetParam(), write_without_flushing, done), 0);
    std::cout.flush();
    std::fflush(stdout);
  }
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  std::filesystem::remove(path);
  const auto count = [&text](const std::string& part) {
    std::size_t found = 0;
    for (std::size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++found;
    return found;
  };
  EXPECT_EQ(count("of the parent; "), 1u) << text;
  EXPECT_EQ(count("and more; "), 1u) << text;
  EXPECT_EQ(count("by stdio, "), 1u) << text;
  EXPECT_EQ(count("by iostream"), 1u) << text;
}

void throw_with_words() {
  std::cerr << "words before\n";
  throw bodies::BodyError("the text");
}

// PRC-25
TEST_P(ProcessStreamsTest, TheWholeReportIsThereWhenItIsJoined) {
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(exitcode_of(GetParam(), throw_with_words), 1);
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(text, HasSubstr("words before\nException in process Process-"));
  EXPECT_THAT(text, HasSubstr("BodyError: the text\n"));
}

void echo(Queue<std::string> read) {
  std::string line;
  std::getline(std::cin, line);
  read.put(line);
}

TEST_P(ProcessStreamsTest, StandardInputIsTheParents) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const detail::Fd reader(ends[0]), writer(ends[1]);
  ASSERT_EQ(::write(writer.get(), "a line\n", 7), 7);
  const StreamInstead input(STDIN_FILENO, reader.get());
  Queue<std::string> read;
  EXPECT_EQ(exitcode_of(GetParam(), echo, read), 0);
  EXPECT_EQ(read.get(), "a line");
}

TEST_P(ProcessStreamsTest, WithoutATailTheChildWritesItself) {
  ::testing::internal::CaptureStderr();
  ProcessOptions options = options_for(GetParam());
  options.keep_stderr_tail = false;
  Process process(options, throw_with_words);
  process.start();
  process.join();
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("words before\n"));
  EXPECT_THAT(process.crash_report()->stderr_tail, SizeIs(0));
}

void write_much(std::size_t bytes) {
  const std::string text(bytes, 'x');
  static_cast<void>(!::write(STDERR_FILENO, text.data(), text.size()));
}

// Nobody reads the parent's standard error: the end of a child is noticed all the same, also that of others.
TEST_P(ProcessStreamsTest, AStandardErrorThatTakesNothingHoldsNobodyUp) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  detail::Fd reader(ends[0]), writer(ends[1]);
  ASSERT_GT(::fcntl(writer.get(), F_SETPIPE_SZ, 4096), 0);
  std::string got;
  {
    const StreamInstead full(STDERR_FILENO, writer.get());
    writer.reset();
    EXPECT_EQ(exitcode_of(GetParam(), write_much, std::size_t{60'000}), 0);
    EXPECT_EQ(exitcode_of(GetParam(), write_much, std::size_t{60'000}), 0);
    EXPECT_EQ(exitcode_of(GetParam(), bodies::do_nothing), 0);
    // Now somebody does, and gets everything.
    char bytes[4096];
    while (got.size() < 120'000) {
      const ssize_t size = ::read(reader.get(), bytes, sizeof bytes);
      if (size <= 0) break;
      got.append(bytes, static_cast<std::size_t>(size));
    }
  }
  EXPECT_EQ(got.size(), 120'000u);
}

void leave_a_writer(Queue<pid_t> told, Queue<int> go) {
  if (::fork() != 0) {
    told.put(told.get());  // Not before it is there: a bare fork whose maker is gone at once is given up.
    return;
  }
  told.put(::getpid());
  static_cast<void>(go.get());
  static_cast<void>(!::write(STDERR_FILENO, "words from behind\n", 18));
  ::_exit(0);
}

// What has inherited a child's standard error and lives on without it, as daemons do, is still heard.
TEST_P(ProcessStreamsTest, WhoInheritsStandardErrorFromAChildIsHeardAfterItsEnd) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  detail::Fd reader(ends[0]), writer(ends[1]);
  const StreamInstead heard(STDERR_FILENO, writer.get());
  Queue<pid_t> told;
  Queue<int> go;
  EXPECT_EQ(exitcode_of(GetParam(), leave_a_writer, told, go), 0);
  const detail::Fd behind = detail::open_pidfd(told.get());
  go.put(1);
  char bytes[64];
  EXPECT_EQ(::read(reader.get(), bytes, sizeof bytes), 18);
  EXPECT_TRUE(ends_within(behind, std::chrono::seconds(60)));
}

void tell_descriptors(Queue<std::vector<std::string>> told) {
  told.put(open_descriptors());
}

// PRC-20 PRC-33
TEST_P(ProcessDescriptorsTest, AChildHasTheSameFewHoweverManySiblingsRun) {
  Queue<std::vector<std::string>> told;
  ProcessOptions options = options_for(GetParam());
  options.crash_handler = false;  // It has a pipe of its own, for the unwinder.
  Process first(options, tell_descriptors, told), second(options, tell_descriptors, told);
  first.start();
  const std::vector<std::string> alone = told.get();
  std::vector<Process> siblings;
  for (int i = 0; i < 5; ++i) {
    siblings.push_back(process_in(GetParam(), bodies::wait_for_stop));
    siblings.back().start();
  }
  second.start();
  const std::vector<std::string> among = told.get();
  // The standard three, the arena and the lifeline. A forked one also has what the parent's other threads had open just
  // then.
  if (GetParam() != Where::Fork) {
    EXPECT_EQ(alone.size(), among.size()) << ::testing::PrintToString(among);
    EXPECT_THAT(among, SizeIs(5)) << ::testing::PrintToString(among);
  }
}

void tell_whether_open(int fd, Queue<bool> told) {
  told.put(::fcntl(fd, F_GETFD) >= 0);
}

// PRC-31
TEST_P(ProcessDescriptorsTest, AnUnrelatedOneIsInheritedByForkOnly) {
  const detail::Fd high(::fcntl(STDIN_FILENO, F_DUPFD, 500));
  ASSERT_TRUE(high);
  Queue<bool> told;
  EXPECT_EQ(exitcode_of(GetParam(), tell_whether_open, high.get(), told), 0);
  EXPECT_EQ(told.get(), GetParam() == Where::Fork);
}

void write_to(Descriptor descriptor, std::string text) {
  if (::write(descriptor.get(), text.data(), text.size()) < 0) throw std::runtime_error("cannot write");
}

// PRC-33
TEST_P(ProcessDescriptorsTest, OneThatIsAnArgumentArrives) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const detail::Fd reader(ends[0]);
  Descriptor writer(ends[1]);
  EXPECT_EQ(exitcode_of(GetParam(), write_to, writer, std::string("hello")), 0);
  writer.reset();
  char bytes[16];
  EXPECT_EQ(::read(reader.get(), bytes, sizeof bytes), 5);
  EXPECT_EQ(::read(reader.get(), bytes, sizeof bytes), 0);  // Nobody else has it.
}

void count_them(std::vector<Descriptor> many, Queue<std::size_t> told) {
  std::size_t open = 0;
  for (const Descriptor& each : many) open += ::fcntl(each.get(), F_GETFD) >= 0 ? 1 : 0;
  told.put(open);
}

TEST_P(ProcessDescriptorsTest, ManyCanTravelAndTooManyAreRefused) {
  Queue<std::size_t> told;
  std::vector<Descriptor> many;
  for (int i = 0; i < 240; ++i) many.push_back(Descriptor::duplicate(STDIN_FILENO));
  EXPECT_EQ(exitcode_of(GetParam(), count_them, many, told), 0);
  EXPECT_EQ(told.get(), 240u);
  if (GetParam() == Where::Fork) return;
  for (int i = 0; i < 20; ++i) many.push_back(many.front());
  Process process = process_in(GetParam(), count_them, many, told);
  EXPECT_THROW(process.start(), std::invalid_argument);
  EXPECT_FALSE(process.is_alive());
}

TANDEM_TEST_IN_PROCESSES(ProcessStreamsTest);
TANDEM_TEST_IN_PROCESSES(ProcessDescriptorsTest);

TEST(DescriptorTest, IsSharedByItsCopiesAndClosedWithTheLast) {
  EXPECT_THROW(Descriptor(9999), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(Descriptor::duplicate(-1)), std::invalid_argument);
  EXPECT_EQ(Descriptor().get(), -1);
  Descriptor one = Descriptor::duplicate(STDIN_FILENO);
  const int fd = one.get();
  Descriptor two = one;
  EXPECT_EQ(two.get(), fd);
  one.reset();
  EXPECT_FALSE(one);
  EXPECT_GE(::fcntl(fd, F_GETFD), 0);
  two.reset();
  EXPECT_LT(::fcntl(fd, F_GETFD), 0);
}

TEST(DescriptorTest, CannotBeAnItemOfAQueue) {
  Queue<Descriptor> queue;
  EXPECT_THROW(queue.put(Descriptor::duplicate(STDIN_FILENO)), WireError);
}

}  // namespace
}  // namespace tandem::testing
